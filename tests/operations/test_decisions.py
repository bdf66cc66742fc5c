"""Decisions: their files, and their executions in the metadata store."""

from dataclasses import replace
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations.decisions import (
    Action,
    Attempt,
    Decision,
    Decisions,
    FencedError,
    key_of,
)
from pipeline.config import Config
from pipeline.errors import ThroughlineError
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph

AT = "2026-03-01T00:00:00+00:00"
LATER = "2026-03-01T00:30:00+00:00"
MADE = Decision(0, "abc", Action.RUN, "span", "new: span 8", AT, {"spans": [8]})


def test_decisions_are_read_in_their_order(tmp_path: Path) -> None:
    """With all that they have, also after they were saved again."""
    book = Decisions(tmp_path)
    first = book.add(MADE, [])
    attempt = Attempt("r1", AT, LATER, 1)
    book.save(replace(first, attempts=(attempt,), notified=("decided",)))
    book.add(replace(MADE, key="def"), book.all())

    one, two = book.all()

    assert (one.number, two.number) == (1, 2)
    assert one.attempts == (attempt,)
    assert one.notified == ("decided",)
    assert not list(tmp_path.glob(".*"))


def test_a_number_is_given_once(tmp_path: Path) -> None:
    """Of two processes that decide upon the same facts, one gets to act."""
    book = Decisions(tmp_path)
    book.add(MADE, [])

    with pytest.raises(FencedError, match="another process has made decision 1"):
        book.add(MADE, [])

    assert len(book.all()) == 1


def test_a_damaged_decision_is_named(tmp_path: Path) -> None:
    """To skip it could start its run again."""
    book = Decisions(tmp_path)
    path = book.path_of(book.add(MADE, []))
    path.write_text("{")

    with pytest.raises(ThroughlineError, match=f"{path} can't be read"):
        book.all()


def test_the_store_knows_who_decided(config: Config, tmp_path: Path) -> None:
    """Recorded once; another directory that shares the store learns that it lost."""
    store = MetadataStore(open_store(config.metadata_url))
    ours, theirs = Decisions(tmp_path / "a"), Decisions(tmp_path / "b")
    mine, other = ours.add(MADE, []), theirs.add(MADE, [])

    answers = [
        ours.record(store, config.name, mine, None),
        ours.record(store, config.name, mine, None),
        theirs.record(store, config.name, other, None),
    ]

    (artifact,) = Graph(store).of_type("OperateDecision")
    assert answers == [True, True, False]
    assert artifact.uri == str(ours.path_of(mine))
    assert artifact.properties["because"] == "new: span 8"


def test_keys_depend_on_all_parts() -> None:
    """And on nothing else."""
    assert key_of("run", [1], None) == key_of("run", [1], None)
    assert key_of("run", [1], None) != key_of("run", [1], 2)


def test_what_counts_as_a_failure() -> None:
    """Refused data and an unfit model are results: trying again would repeat them."""
    codes = [0, 1, 2, 3, 4, 130, -9]

    failed = [c for c in codes if Attempt("r", AT, ended=LATER, exit_code=c).failed]

    assert failed == [1, 2, -9]
    assert not Attempt("r", AT).failed


def test_times_of_a_decision() -> None:
    """How long attempts took, and the last moment that is known of."""
    attempt = Attempt("r", AT, ended=LATER, exit_code=0)
    decision = replace(MADE, attempts=(attempt, Attempt("s", LATER)))

    assert attempt.minutes == 30
    assert Attempt("r", AT).minutes == 0
    assert decision.last_time.isoformat() == LATER
    assert decision.spans == {8}
