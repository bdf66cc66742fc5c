"""Sums for the gates: groups, batches, and rows without weight."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from models.declarations import Group
from pipeline.quality.aggregates import Scored, merged
from pipeline.quality.gated import Gated, grouped
from pipeline.quality.gates import Settings
from pipeline.quality.slices import Values
from tests.pipeline.quality.trips import logits, rows, scored

RULES = ("auc >= 0.5", "auc by payment_type >= 0.1")
GATED = Gated(Settings(RULES, 0.95, 50, ("pickup_side",)).to_json(), (0.5,))


def test_batches_add_up_to_all_rows() -> None:
    """Sums of two batches, merged, are the sums of all their rows."""
    batch, labels = rows()
    model = scored(logits())
    half = len(labels) // 2

    def part(start: int, stop: int) -> Scored:
        chosen = slice(start, stop)
        return Scored(*(v[chosen] for v in vars(model).values()))

    first = GATED.summed(batch.slice(0, half), [part(0, half)])
    second = GATED.summed(batch.slice(half), [part(half, len(labels))])
    together = GATED.judge(merged(GATED.kinds, [first, second]))

    alone = GATED.judge(GATED.summed(batch, [model]))
    key = ["where", "rows", "positives"]
    assert sorted(str([m[k] for k in key]) for m in together.metrics) == sorted(
        str([m[k] for k in key]) for m in alone.metrics
    )
    assert [f.text for f in together.findings] == [f.text for f in alone.findings]


def test_rows_without_a_known_label_count_nowhere() -> None:
    """Rows of weight 0 are in no metric, and make no slice."""
    batch, _ = rows()
    card = np.array(batch.column("payment_type").flatten()) == b"Credit Card"
    model = replace(scored(logits()), weights=card.astype(float))

    judged = GATED.judge(GATED.summed(batch, [model]))

    (overall,) = [each for each in judged.metrics if not each["where"]]
    assert overall["rows"] == pytest.approx(card.sum())
    cash = [m for m in judged.metrics if m["where"] == [["payment_type", "Cash"]]]
    assert [each["rows"] for each in cash] == [0.0]


def test_values_are_joined_into_groups() -> None:
    """A value of no group is in none, and a row is once in each of its groups."""
    group = Group("g", "c", {"low": (1, 2), "high": (3,)})
    column = pa.array([[1], [2, 1], [3, 1], [9], None])

    found = grouped(Values.of(column), group)

    names = [found.vocabulary[code] for code in found.codes.tolist()]
    assert list(zip(found.rows.tolist(), names, strict=True)) == [
        (0, "low"),
        (1, "low"),
        (2, "low"),
        (2, "high"),
    ]


def test_texts_are_grouped_as_bytes_too() -> None:
    """Columns of Parquet hold texts as bytes; groups are declared as texts."""
    group = Group("g", "c", {"both": ("a", "b")})

    found = grouped(Values.of(pa.array([[b"a"], [b"x"], [b"b"]])), group)

    assert found.rows.tolist() == [0, 2]
