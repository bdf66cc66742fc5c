"""Counts, histograms and distances of features."""

import pytest

from pipeline.store import artifact_files
from pipeline.trust.distributions import (
    Bar,
    Feature,
    Value,
    distance,
    features_of,
    rebinned,
)
from tests.pipeline.tfx_store import StockStore


def numbers(*bars: tuple[float, float, float]) -> Feature:
    """Creates a numeric feature."""
    return Feature("fare", "FLOAT", 100, 0, bars=tuple(Bar(*bar) for bar in bars))


def texts(**values: float) -> Feature:
    """Creates a text feature."""
    found = tuple(Value(value, rows) for value, rows in values.items())
    return Feature("payment_type", "STRING", 100, 0, texts=found)


def test_features_of_a_split(store: StockStore) -> None:
    """Features have kind, rows, missing values and distribution."""
    split = artifact_files.read_statistics(store.path(store.statistics(train=40)))[
        "train"
    ]

    fare, payment_type = features_of(split)

    assert (fare.name, fare.kind, fare.rows, fare.missing) == ("fare", "FLOAT", 40, 0)
    assert (fare.lowest, fare.median, fare.highest) == (0, 5, 10)
    assert fare.bars == (Bar(0, 5, 20), Bar(5, 10, 20))
    assert payment_type.share_missing == 0.1
    assert payment_type.texts == (Value("Cash", 30), Value("Card", 10))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (numbers((0, 10, 9)), numbers((0, 10, 3)), 0),
        (numbers((0, 5, 50), (5, 10, 50)), numbers((0, 10, 7)), 0),
        (numbers((0, 1, 5)), numbers((9, 10, 5)), 1),
        (texts(Cash=3, Card=1), texts(Cash=30, Card=10), 0),
        (texts(Cash=3, Card=1), texts(Cash=1, Card=1), 0.25),
        (texts(Cash=3), texts(Card=1), 1),
        (numbers(), numbers((0, 1, 1)), None),
        (numbers((0, 1, 1)), texts(Cash=1), None),
    ],
)
def test_distance(before: Feature, after: Feature, expected: float | None) -> None:
    """The distance is 0 for equal shares and 1 for disjoint ones."""
    found = distance(before, after)

    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))
    assert distance(after, before) == (
        None if expected is None else pytest.approx(expected, abs=1e-9)
    )


def test_common_bars_keep_all_rows() -> None:
    """`rebinned` returns common bars, and keeps the number of rows."""
    ours, theirs = rebinned([numbers((0, 10, 40)), numbers((5, 20, 30))], bins=4)

    assert [(b.lower, b.upper) for b in ours] == [(0, 5), (5, 10), (10, 15), (15, 20)]
    assert [b.rows for b in ours] == pytest.approx([20, 20, 0, 0])
    assert [b.rows for b in theirs] == pytest.approx([0, 10, 10, 10])


def test_a_long_tail_is_cut_and_counted() -> None:
    """A wide tail quantile is cut off; the last bar has its rows."""
    feature = numbers((0, 1, 10), (1, 2, 10), (2, 3, 10), (3, 500, 10))

    (bars,) = rebinned([feature], bins=3)

    assert [(b.lower, b.upper) for b in bars] == [(0, 1), (1, 2), (2, 3)]
    assert [b.rows for b in bars] == pytest.approx([10, 10, 20])


def test_a_single_value_has_bars_too() -> None:
    """All rows of a constant feature are in one bar."""
    (bars,) = rebinned([numbers((7, 7, 12))], bins=4)

    assert sum(b.rows for b in bars) == pytest.approx(12)
    assert len([b for b in bars if b.rows]) == 1
