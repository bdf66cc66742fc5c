"""The files of the ledger."""

from pathlib import Path

import pyarrow as pa
import pytest

from operations.joining import Status
from operations.ledger import FIXED, About, Ledger
from pipeline.errors import ThroughlineError

TABLE = pa.table(
    {"status": ["joined", "late"], "request_id": ["a", "b"], "value.tips": [1.0, 2.0]}
)


def about(digest: str) -> About:
    """What is known of a file."""
    return About(
        "x.csv", digest, "2026-03-01T00:00:00+00:00", {"joined": 1}, notes=("n",)
    )


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    (tmp_path / "labels").mkdir()
    return Ledger(tmp_path / "labels")


def test_entries_are_in_the_order_of_their_arrival(book: Ledger) -> None:
    """A pending one is the last; all that is known comes back."""
    book.commit(book.write_pending(TABLE, about("f" * 12)))
    book.write_pending(TABLE, about("0" * 12))

    first, second = book.entries()

    assert (first.number, first.is_pending) == (1, False)
    assert (second.number, second.is_pending) == (2, True)
    assert first.about == about("f" * 12)
    assert book.find("0" * 12) == second
    assert book.find("1" * 12) is None


def test_rows_are_chosen_by_status(book: Ledger) -> None:
    """A column that a file lacks is null, of its own type."""
    book.commit(book.write_pending(TABLE, about("f" * 12)))

    (batch,) = book.rows([Status.LATE], ["request_id", "version", "value.tips", "x"])

    assert batch.to_pydict() == {
        "request_id": ["b"],
        "version": [None],
        "value.tips": [2.0],
        "x": [None],
    }
    assert batch.column("version").type == FIXED["version"]


def test_a_damaged_file_is_named(book: Ledger) -> None:
    """Skipping it would join its labels again."""
    entry = book.commit(book.write_pending(TABLE, about("f" * 12)))
    entry.path.write_bytes(b"nothing")

    with pytest.raises(ThroughlineError, match=f"{entry.path} is damaged"):
        book.entries()
