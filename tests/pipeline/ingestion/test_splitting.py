"""Which split a row is in, what that depends on, and what examples say of it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ingestion.columns import Kind
from pipeline.ingestion.splitting import AppliedRule, SplitRule, differences, unseen

PARTS = {"train": 7, "eval": 1, "test": 2}
ROWS = 1000
KINDS: dict[str, Kind] = {"fare": "FLOAT", "hour": "INT", "company": "BYTES"}
RULE = SplitRule(PARTS).over(["company", "fare", "hour"])


@pytest.fixture
def batch() -> pa.RecordBatch:
    """Rows that all differ, some with values missing."""
    return pa.record_batch(
        {
            "fare": pa.array(np.arange(ROWS) / 4, pa.float32()),
            "hour": pa.array([n % 24 if n % 7 else None for n in range(ROWS)]),
            "company": pa.array([f"cab {n % 50}".encode() for n in range(ROWS)]),
        }
    )


def splits_of(rule: SplitRule, batch: pa.RecordBatch) -> list[int]:
    """The index of each row's split."""
    found, wrong = rule.split_of(batch)
    assert not wrong
    return list(found)


def test_a_column_that_nobody_reviewed_moves_no_row(batch: pa.RecordBatch) -> None:
    """A new column, at the end or before others, leaves each row in its split."""
    new = pa.array([b"new"] * ROWS)
    more = pa.record_batch([new, *batch.columns], ["note", *batch.schema.names])

    assert splits_of(RULE, more) == splits_of(RULE, batch)


def test_the_order_of_columns_moves_no_row(batch: pa.RecordBatch) -> None:
    """Neither the header's order nor the schema's matters."""
    other = batch.select(["company", "hour", "fare"])
    turned = SplitRule(PARTS).over(["hour", "fare", "company"])

    assert splits_of(RULE, other) == splits_of(RULE, batch)
    assert splits_of(turned, batch) == splits_of(RULE, batch)


def test_chosen_columns_stay_the_chosen_ones() -> None:
    """The schema is asked only where no columns were chosen."""
    assert SplitRule(PARTS, ("id",)).over(["fare"]).hash_columns == ("id",)
    assert SplitRule(PARTS).over([]).hash_columns == ()


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        replace(RULE, time_column="hour", test_from="12"),
        replace(RULE, time_column="hour", eval_from="8", test_from="12"),
    ],
    ids=["hash", "time and hash", "time"],
)
def test_examples_keep_the_rule_and_its_types(
    batch: pa.RecordBatch, rule: SplitRule
) -> None:
    """What examples note of their rule finds the rows that it has put into `test`."""
    applied = AppliedRule.of(rule, KINDS)

    again = AppliedRule.from_mapping(json.loads(applied.to_json()))

    found, wrong = rule.split_of(batch)
    held = np.delete(np.arange(ROWS), list(wrong))
    expected = [row for row in held if found[row] == 2]
    assert 0 < len(expected) < ROWS
    assert list(np.flatnonzero(again.in_test(batch))) == expected
    assert again.fingerprint == applied.fingerprint
    assert differences(applied, again) == []


def test_cells_may_be_lists_of_one(batch: pa.RecordBatch) -> None:
    """Examples hold cells as lists; a missing one is empty or null."""
    lists = [
        pa.array([None if v is None else [v] for v in c.to_pylist()], pa.list_(c.type))
        for c in batch.columns
    ]
    wrapped = pa.RecordBatch.from_arrays(lists, batch.schema.names)
    applied = AppliedRule.of(RULE, KINDS)

    found = applied.in_test(wrapped.slice(10))

    assert list(found) == list(applied.in_test(batch))[10:]


@pytest.mark.parametrize(
    ("other", "kinds", "said"),
    [
        (RULE, KINDS, []),
        (
            SplitRule(PARTS).over(["company", "fare", "hour", "note"]),
            {**KINDS, "note": "BYTES"},
            ["columns that now decide: note"],
        ),
        (
            replace(RULE, hash_columns=("company",)),
            KINDS,
            ["columns that no longer decide: fare, hour"],
        ),
        (RULE, {**KINDS, "hour": "FLOAT"}, ["hour was INT and is FLOAT"]),
        (
            replace(RULE, parts={**PARTS, "test": 3}),
            KINDS,
            [
                (
                    "parts was {'train': 7, 'eval': 1, 'test': 2} and is "
                    "{'train': 7, 'eval': 1, 'test': 3}"
                )
            ],
        ),
        (replace(RULE, test_spans=2), KINDS, ["test-spans was 0 and is 2"]),
    ],
    ids=["same", "more columns", "fewer columns", "type", "parts", "spans"],
)
def test_rules_that_differ_have_other_fingerprints(
    other: SplitRule, kinds: dict[str, Kind], said: list[str]
) -> None:
    """A fingerprint differs with everything that moves rows, and words say what."""
    before, now = AppliedRule.of(RULE, KINDS), AppliedRule.of(other, kinds)

    assert differences(before, now) == said
    assert (before.fingerprint != now.fingerprint) == bool(said)


def test_columns_that_do_not_decide_have_no_part_in_the_fingerprint() -> None:
    """What isn't hashed may come, go and change its type."""
    with_note = AppliedRule.of(RULE, {**KINDS, "note": "INT"})

    assert with_note.fingerprint == AppliedRule.of(RULE, KINDS).fingerprint


def test_rows_that_neither_model_has_seen(batch: pa.RecordBatch) -> None:
    """Those in `test` by both rules; none where it can't be told."""
    before = AppliedRule.of(replace(RULE, hash_columns=("fare",)), KINDS)
    now = AppliedRule.of(RULE, KINDS)
    of_spans = AppliedRule.of(replace(RULE, test_spans=1), KINDS)
    of_gone = AppliedRule.of(replace(RULE, hash_columns=("a",)), {"a": "INT"})

    both = unseen([before, now], batch)

    assert 0 < both.sum() < min(before.in_test(batch).sum(), now.in_test(batch).sum())
    assert list(both) == list(before.in_test(batch) & now.in_test(batch))
    assert not unseen([now, of_spans], batch).any()
    assert not unseen([now, of_gone], batch).any()
