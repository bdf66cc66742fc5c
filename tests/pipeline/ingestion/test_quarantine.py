"""Rows that don't fit, written down and counted."""

import base64
import json
from pathlib import Path

import pytest

from pipeline.ingestion import quarantine
from pipeline.ingestion.quarantine import Rejected, Tally


def rejected(line: int, reason: str = "'x' is not a number; mend it") -> Rejected:
    """A row of a file whose fare is wrong."""
    return Rejected("a.csv", line, "fare", reason, b"x,1")


def test_bytes_that_are_no_text_are_kept() -> None:
    """A row that is not UTF-8 is readable, and its bytes are there in base64."""
    raw = b"caf\xe9,1"

    entry = json.loads(Rejected("a.csv", 3, None, "wrong", raw).to_json())

    assert entry["text"] == r"caf\xe9,1"
    assert base64.b64decode(entry["base64"]) == raw


def test_place_counts_lines_of_text_and_rows_of_parquet() -> None:
    """The place names file, line or row, and the column if it is one column's."""
    assert rejected(7).place == "a.csv, line 7, column 'fare'"
    assert Rejected("a.parquet", 7, None, "w", b"").place == "a.parquet, row 7"


def test_tallies_add_up_in_the_order_of_the_data() -> None:
    """Counts of two shards are added; the first five rows are shown."""
    one, two = Tally(), Tally()
    one.read["a.csv"], two.read["a.csv"] = 30, 10
    one.note(rejected(line) for line in (3, 9))
    two.note(rejected(line) for line in (31, 32, 33, 34))

    one.add(two)

    assert (one.rows, one.share) == (40, 0.15)
    assert one.reasons == {"fare: not a number": 6}
    assert [text.partition(",")[2][:8] for text in one.first] == [
        " line 3,",
        " line 9,",
        " line 31",
        " line 32",
        " line 33",
    ]
    assert Tally().share == 0


def test_a_tally_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Counts, reasons and examples survive the file."""
    tally = Tally()
    tally.read["a.csv"], tally.written["train"] = 2, 1
    tally.note([rejected(2)])
    (tmp_path / quarantine.COUNTS_FILE).write_text(tally.to_json(), "utf-8")

    assert quarantine.read_tally(tmp_path) == tally


@pytest.mark.parametrize(
    ("most", "said"), [(0.01, "at most 0.01 of them may"), (0, "none may")]
)
def test_refusal_counts_what_it_does_not_show(most: float, said: str) -> None:
    """It has the counts, the first five rows, the rest by reason, and what to do."""
    tally = Tally()
    tally.read["a.csv"] = 1_000
    tally.note(rejected(line) for line in range(2, 32))

    text = quarantine.refusal(tally, most)

    assert f"30 of 1,000 rows don't fit, and {said}" in text
    assert "25 more" in text
    assert "fare: not a number (30)" in text
    assert "--gate.max-quarantined" in text
