"""The gate's labels are those that training uses."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.trust import labels

COLUMNS: dict[str, list[Any]] = {
    "tips": [3.0, 1.0, None, 3.0],
    "fare": [10.0, 10.0, 10.0, 10.0],
    "payment_type": ["Credit Card", "Credit Card", "Cash", None],
}


@pytest.mark.parametrize(
    ("policy", "known", "positive"),
    [
        ("all-trips", [1, 1, 0, 1], [1, 0, 0, 1]),
        ("card-trips", [1, 1, 0, 0], [1, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("lists", [False, True])
def test_labels(
    policy: str, known: list[int], positive: list[int], *, lists: bool
) -> None:
    """A row is labelled by the definition and the policy of the model."""
    columns = {
        name: [[] if v is None else [v] for v in values] if lists else values
        for name, values in COLUMNS.items()
    }
    batch = pa.RecordBatch.from_pydict(columns)

    found = labels.label_of(policy, batch)

    assert [each.tolist() for each in found] == [known, positive]


def test_whole_dollars_are_numbers_too() -> None:
    """Integer columns have the same labels, with -1 for a missing value."""
    batch = pa.RecordBatch.from_pydict(
        {"tips": [3, None], "fare": [10, 10], "payment_type": ["Cash", "Cash"]}
    )

    known, positive = labels.label_of("all-trips", batch)

    assert (known.tolist(), positive.tolist()) == ([1, 0], [1, 0])


def test_without_the_columns_there_are_no_labels() -> None:
    """Data that lacks a column of the label has no labels, and no error."""
    batch = pa.RecordBatch.from_pydict({"tips": [3.0]})

    known, positive = labels.label_of("all-trips", batch)

    assert (known.tolist(), positive.tolist()) == ([0], [0])
