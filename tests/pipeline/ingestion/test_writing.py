"""Shards as ingestion writes them: literal lines in, Parquet and quarantine out."""

import json
from pathlib import Path

import pytest

from pipeline.columnar import shards
from pipeline.errors import DataRefusedError
from pipeline.ingestion import plan, source, writing
from pipeline.ingestion.columns import Kinds
from pipeline.ingestion.plan import Piece
from pipeline.ingestion.splitting import SplitRule

KINDS: Kinds = {"color": "BYTES", "size": "INT", "weight": "FLOAT"}
TEXT = "color,size\nred,1\nblue,two\n,3\n"


def job(root: Path, count: int = 1) -> writing.Job:
    """Writes all rows to one split."""
    rule = SplitRule({"train": 1})
    return writing.Job(rule, {"train": root / "train"}, root / "bad", count)


def pieces_of(path: Path, text: str) -> list[Piece]:
    """Makes a CSV file, small enough for one shard, and its pieces."""
    path.write_text(text)
    (pieces,) = plan.divide([source.look_at(path)], 1 << 20)
    return list(pieces)


def test_rows_that_fit_are_written_and_others_noted(tmp_path: Path) -> None:
    """Cells become lists, a missing one none; a bad row keeps its reason."""
    pieces = pieces_of(tmp_path / "a.csv", TEXT)

    writing.write_shard((0, pieces), KINDS, job(tmp_path))

    found = shards.shards_of(tmp_path / "train")
    # The schema has a third column, which this data hasn't.
    assert shards.read_table(found).to_pydict() == {
        "color": [[b"red"], None],
        "size": [[1], [3]],
    }
    (line,) = (tmp_path / "bad" / "rows-00000-of-00001.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["line"], row["column"]) == (3, "size")


def test_counts_of_all_shards_are_added_up(tmp_path: Path) -> None:
    """Rows read, written and rejected are summed, and the partial counts deleted."""
    job_of_two = job(tmp_path, count=2)
    for number, name in enumerate(("a.csv", "b.csv")):
        numbered = number, pieces_of(tmp_path / name, TEXT)
        writing.write_shard(numbered, KINDS, job_of_two)

    tally = writing.added_up(job_of_two)

    assert tally.rows == 6
    assert tally.written == {"train": 4}
    assert tally.quarantined.total() == 2
    assert sorted(p.name for p in (tmp_path / "bad").iterdir()) == [
        "rows-00000-of-00002.jsonl",
        "rows-00001-of-00002.jsonl",
    ]


def test_a_shard_that_can_not_be_read_is_reported_when_all_are_done(
    tmp_path: Path,
) -> None:
    """The error of a shard is raised where the counts are added up."""
    pieces = pieces_of(tmp_path / "a.csv", TEXT)
    (tmp_path / "a.csv").unlink()

    writing.write_shard((0, pieces), KINDS, job(tmp_path))

    with pytest.raises(DataRefusedError, match=r"a\.csv"):
        writing.added_up(job(tmp_path))


def test_types_are_the_narrowest_that_hold_every_shard(tmp_path: Path) -> None:
    """A column is as wide as its widest value in any shard."""
    job_of_two = job(tmp_path, count=2)
    texts = ("color,size,weight\nred,1,2\n", "color,size,weight\nblue,,2.5\n")
    for number, text in enumerate(texts):
        numbered = number, pieces_of(tmp_path / f"{number}.csv", text)
        writing.note_kinds(numbered, job_of_two)

    kinds = writing.noted_kinds(job_of_two)

    assert kinds == KINDS
    assert list((tmp_path / "bad").iterdir()) == []
