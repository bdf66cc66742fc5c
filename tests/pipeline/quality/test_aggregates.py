"""Partial sums don't depend on batches or on the order of merging."""

import itertools

import apache_beam as beam
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pipeline.columnar import engine
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.quality.aggregates import (
    AboveThresholds,
    Count,
    Histogram,
    LogLoss,
    Moments,
    Partial,
    Scored,
    Sums,
    merged,
    summed,
)
from pipeline.quality.slices import Spec, Values, members

KINDS: tuple[Sums, ...] = (
    Histogram("", by_weight=True, buckets=100, left=0.0, right=1.0),
    AboveThresholds("", by_weight=True, thresholds=(0.5, 0.25, 0.5)),
    Moments("", by_weight=True),
    LogLoss("", by_weight=True),
    Count("", by_weight=False),
)
COUNT = 1000


def scored(count: int = COUNT) -> Scored:
    """Rows with weights, a few of them 0."""
    numbers = np.random.default_rng(3)
    return Scored(
        numbers.integers(0, 2, count).astype(np.float64),
        numbers.random(count),
        numbers.choice([0.0, 1.0, 2.5], count),
    )


def partial_of(bounds: tuple[int, int]) -> Partial:
    """Sums of some of the rows, by slice of the row number's last digit."""
    start, end = bounds
    rows = scored()
    part = Scored(
        rows.labels[start:end], rows.predictions[start:end], rows.weights[start:end]
    )
    digits = Values.of(np.arange(start, end) % 10)
    inside = members([Spec(), Spec(("digit",))], {"digit": digits}, end - start)
    tables = summed(KINDS, {"": part}, inside)
    return Partial(inside.keys, tables, rows=end - start)


def merge(partials: list[Partial]) -> Partial:
    """Merges partial sums."""
    return merged(KINDS, partials)


def cut(parts: int) -> list[tuple[int, int]]:
    """Divides the rows into parts."""
    ends = np.linspace(0, COUNT, parts + 1).astype(int).tolist()
    return list(itertools.pairwise(ends))


def sums_of(partial: Partial) -> dict[object, np.ndarray]:
    """Returns cells and sums by slice and kind."""
    found: dict[object, np.ndarray] = {}
    for number, key in enumerate(partial.slices):
        for kind, table in zip(KINDS, partial.tables, strict=True):
            cells, sums = table.of_slice(number, kind.width)
            found[key, kind] = np.column_stack([cells, sums])
    return found


@pytest.mark.parametrize("parts", [2, 7, 100])
def test_batches_add_up_to_the_whole(parts: int) -> None:
    """Merged sums of parts are equal to the sums of all rows."""
    whole = sums_of(partial_of((0, COUNT)))

    together = merge([partial_of(bounds) for bounds in cut(parts)])

    assert together.rows == COUNT
    assert len(together.slices) == 11
    parted = sums_of(together)
    assert parted.keys() == whole.keys()
    for key, table in whole.items():
        assert parted[key] == pytest.approx(table, rel=1e-12, abs=1e-12)


def test_beam_gives_the_same_sums(tmp_path: object) -> None:
    """Sums merged by local workers and by Beam are bit-identical."""
    parts = cut(20)
    on_beam = engine.OnBeam(
        lambda: beam.Pipeline(argv=[IN_PROCESS_BEAM_RUNNER]), str(tmp_path)
    )

    local = engine.aggregate(partial_of, merge, parts, engine.Workers(2))
    there = engine.aggregate(partial_of, merge, parts, on_beam)

    assert local
    assert there
    assert local.slices == there.slices
    for one, other in zip(local.tables, there.tables, strict=True):
        assert (one.keys == other.keys).all()
        assert (one.sums == other.sums).all()


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_log_loss_is_that_of_scikit_learn(parts: int) -> None:
    """The log loss is scikit-learn's to nine digits, also for scores of 0 and 1."""
    rows = scored()
    rows.predictions[:4] = [0.0, 1.0, 0.0, 1.0]
    rows.labels[:4] = [0.0, 0.0, 1.0, 1.0]
    kind = LogLoss("", by_weight=True)
    partials = []
    for start, end in cut(parts):
        part = Scored(
            rows.labels[start:end], rows.predictions[start:end], rows.weights[start:end]
        )
        inside = members([Spec()], {}, end - start)
        tables = summed([kind], {"": part}, inside)
        partials.append(Partial(inside.keys, tables))

    (table,) = merged([kind], partials).tables

    loss, weight = table.sums[0, :2]
    expected = sklearn_metrics.log_loss(
        rows.labels, rows.predictions, sample_weight=rows.weights
    )
    assert loss / weight == pytest.approx(expected, abs=1e-9)


def test_no_rows_have_no_slices() -> None:
    """Empty sums can be merged with others."""
    nothing, something = partial_of((0, 0)), partial_of((0, 10))

    together = merge([nothing, something])

    assert nothing.slices == ()
    assert sums_of(together).keys() == sums_of(something).keys()
