"""Which conditions training covers."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.columnar.engine import Workers
from pipeline.columnar.shards import ShardWriter, shards_of
from pipeline.trust import coverage
from pipeline.trust.checks import Check, Severity
from pipeline.trust.coverage import MISSING, Cells, Counts
from pipeline.trust.policy import Finding, Policy, Value

CROSS = ("hour", "area")
TRAIN: Counts = {CROSS: Cells({("3", "8"): 40, ("4", "8"): 9, ("5", MISSING): 2})}
TEST: Counts = {
    CROSS: Cells({("3", "8"): 60, ("4", "8"): 20, ("5", "77"): 12, ("5", MISSING): 8})
}


@pytest.fixture
def split(tmp_path: Path) -> str:
    """Five rows in row groups of two."""
    batch = pa.RecordBatch.from_pydict(
        {
            "hour": pa.array([3, 3, 4, None, 3]),
            "pay": pa.array([b"Cash", b"Cash", b"Card", b"Card", None]),
        }
    )
    with ShardWriter(tmp_path / "a.parquet", batch.schema, rows=2) as writer:
        writer.write(batch)
    return str(tmp_path)


def test_rows_are_counted_by_cell(split: str) -> None:
    """A missing value is one of the values; crosses without a column are left out."""
    crosses = coverage.parse(["hour*pay", "pay", "pay*absent"])

    found = coverage.count(shards_of(split), crosses, Workers())

    assert found[("hour", "pay")].rows == {
        ("3", "Cash"): 2,
        ("3", MISSING): 1,
        ("4", "Card"): 1,
        (MISSING, "Card"): 1,
    }
    assert found[("pay",)].rows == {("Cash",): 2, ("Card",): 2, (MISSING,): 1}
    assert found.keys() == {("hour", "pay"), ("pay",)}


def test_cells_are_bounded(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent ones are kept, and the rows of the others are counted."""
    monkeypatch.setattr(coverage, "CELLS", 2)

    found = coverage.count(shards_of(split), [("pay",)], Workers())

    assert found[("pay",)] == Cells({("Card",): 2, ("Cash",): 2}, other=1)
    assert found[("pay",)].total == 5


def test_cells_travel_as_a_file() -> None:
    """With the rest, and with crosses and splits without rows."""
    splits: dict[str, Counts] = {
        "train": {CROSS: Cells({("3", "8"): 40}, other=7), ("pay",): Cells({}, 0)},
        "test": TEST,
    }

    read = coverage.from_bytes(coverage.to_bytes(splits))

    assert read == splits
    assert coverage.from_bytes(coverage.to_bytes({})) == {}


def test_cells_are_covered_barely_or_never() -> None:
    """By their rows in training; where training's cells aren't all known, none."""
    (found,) = coverage.coverage(TRAIN, TEST, min_rows=10).values()

    assert found.covered == 1
    assert found.barely == {("4", "8"): (9, 20), ("5", MISSING): (2, 8)}
    assert found.never == {("5", "77"): 12}
    assert found.uncovered == pytest.approx(0.12)
    unsure: Counts = {CROSS: Cells(TRAIN[CROSS].rows, other=1)}
    assert coverage.coverage(unsure, TEST, 10)[CROSS].never == {}


@pytest.mark.parametrize(("limit", "findings"), [(0.1, 1), (0.2, 0)])
def test_uncovered_rows_are_a_finding(limit: float, findings: int) -> None:
    """Above the limit, with the cells that have most rows."""
    policy = Policy({Check.UNCOVERED_CELLS: Severity.WARN}, max_uncovered=limit)

    found = list(coverage.find_uncovered(TRAIN, TEST, policy, split="test"))

    texts = [each.text for each in found if isinstance(each, Finding)]
    values = [each for each in found if isinstance(each, Value)]
    assert values == [Value("uncovered_rows", 0.12, limit, "hour*area", "test")]
    assert len(texts) == findings
    if findings:
        assert texts[0].startswith(
            "12.0% of the rows are in 1 cells that training never has, such as "
            "5 * 77 (12 rows)"
        )


def test_uncovered_cells_are_ignored_unless_asked_for() -> None:
    """A cross of many cells always has new ones; without a setting none is too many."""
    found = list(coverage.find_uncovered(TRAIN, TEST, Policy(), split="test"))

    assert found == [Value("uncovered_rows", 0.12, None, "hour*area", "test")]


def test_rare_cells_become_slices() -> None:
    """Those with rows to evaluate, most first, and no cell without a value."""
    slices = coverage.rare_slices(TRAIN, TEST, min_rows=10)

    assert slices == [{"hour": "4", "area": "8"}, {"hour": "5", "area": "77"}]
    few: Counts = {CROSS: Cells({("9", "9"): 4})}
    assert coverage.rare_slices(TRAIN, few, min_rows=10) == []


def test_coverage_is_listed() -> None:
    """A line per cross, and its rarest cells by the rows that ask for them."""
    lines = list(coverage.lines({"train": TRAIN, "test": TEST}, "train", 10))

    assert lines[0] == (
        "hour*area: 1 cells covered (at least 10 training rows), 2 barely, 1 never, "
        "which have 12.00% of the other 100 rows"
    )
    assert [line.split() for line in lines[2:]] == [
        ["4", "*", "8", "barely", "9", "20"],
        ["5", "*", "77", "never", "0", "12"],
        ["5", "*", MISSING, "barely", "2", "8"],
    ]
