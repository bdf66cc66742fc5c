"""Changes of unit among changes."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.trust import profile, units
from pipeline.trust.profile import Column

THRESHOLD = 0.02
NUMBERS = np.random.default_rng(1)


def column(values: np.ndarray) -> Column:
    """The profile of some numbers."""
    batch = pa.RecordBatch.from_pydict({"miles": pa.array(values, pa.float32())})
    nothing = np.zeros(len(values), np.int64)
    return profile.of_batch(batch, nothing, nothing).columns["miles"]


def miles(rows: int) -> np.ndarray:
    """Lengths of trips, many of them 0."""
    lengths = NUMBERS.lognormal(1, 0.8, rows)
    return np.where(NUMBERS.random(rows) < 0.2, 0, lengths)


@pytest.mark.parametrize(
    ("factor", "old", "said"),
    [
        (1.609, 700, "as if kilometres were sent for miles (times 1.609)"),
        (1 / 1.609, 100, "as if miles were sent for kilometres (times 0.6214)"),
        (1000, 100, "as if whole ones were sent for thousands (times 1000)"),
        (1 / 60, 100, "as if minutes were sent for seconds (times 0.01667)"),
    ],
)
def test_a_unit_is_named(factor: float, old: int, said: str) -> None:
    """Also if a part of the clients still sends the old one."""
    new = miles(2_000)
    new[old:] *= factor

    assert units.changed(column(miles(8_000)), column(new), THRESHOLD) == said


def test_other_changes_are_none() -> None:
    """Higher prices, long trips that are longer, a constant, and a fixed charge."""
    before = column(miles(8_000))
    raised, charged = miles(2_000) * 1.1, miles(2_000) + 5

    for values in (raised, miles(2_000) ** 1.5, np.full(2_000, 3.0), charged):
        assert units.changed(before, column(values), THRESHOLD) == ""


def test_equal_and_missing_values_are_none() -> None:
    """Nothing has changed that a unit could explain."""
    before = column(miles(8_000))

    assert units.changed(before, column(miles(2_000)), THRESHOLD) == ""
    assert units.changed(before, column(np.full(9, np.nan)), THRESHOLD) == ""
