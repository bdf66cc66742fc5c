"""Rules as texts."""

import pytest

from pipeline.errors import UsageError
from pipeline.quality.rules import Kind, Rule, parse


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("auc >= 0.9", Rule("auc", Kind.AT_LEAST, 0.9)),
        ("log_loss <= 0.3", Rule("log_loss", Kind.AT_MOST, 0.3)),
        ("auc loss <= 0.005", Rule("auc", Kind.LOSS, 0.005)),
        ("recall by company >= .5", Rule("recall", Kind.AT_LEAST, 0.5, ("company",))),
        (
            " auc by a, b loss<=1e-2 ",
            Rule("auc", Kind.LOSS, 0.01, ("a", "b")),
        ),
        (
            "selection_rate by side gap <= 0.2",
            Rule("selection_rate", Kind.GAP, 0.2, ("side",)),
        ),
    ],
)
def test_rules_are_read_and_written(text: str, rule: Rule) -> None:
    """A rule's own text is read as the same rule."""
    assert parse(text) == rule
    assert parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auc", "is no rule; write METRIC"),
        ("auc > 0.9", "is no rule"),
        ("auc >= 0.9.9", "ends with no number"),
        ("auk >= 0.9", "is about 'auk'; expected auc, accuracy"),
        ("auc loss >= 0.1", "a loss is at most something; write <="),
        ("selection_rate loss <= 0.1", "is neither better nor worse if it is larger"),
        ("recall gap <= 0.1", "a gap is between slices; say by which column"),
    ],
)
def test_what_is_no_rule_is_told(text: str, said: str) -> None:
    """The message has the text, and what was expected."""
    with pytest.raises(UsageError) as refused:
        parse(text)

    assert str(refused.value).startswith(repr(text))
    assert said in str(refused.value)
