"""The order of spans, by the property that TFX's driver sets."""

from tfx.types.standard_artifacts import Examples

from pipeline.components.span_order import by_span, span_of


def _examples(number: int, span: int | None) -> Examples:
    examples = Examples()
    examples.id = number
    if span is not None:
        examples.set_int_custom_property("span", span)
    return examples


def test_spans_come_before_ids() -> None:
    """A span that came late is in its place; of one span, the id decides."""
    found = by_span(
        [_examples(1, 7), _examples(2, 9), _examples(4, 7), _examples(3, 5)]
    )

    assert [artifact.id for artifact in found] == [3, 1, 4, 2]
    assert [span_of(artifact) for artifact in found] == [5, 7, 7, 9]


def test_without_spans_it_is_zero() -> None:
    """Examples of another tool may have no span."""
    assert span_of(_examples(1, None)) == 0
