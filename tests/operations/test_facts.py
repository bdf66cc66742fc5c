"""The facts that decisions are made from."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from operations import facts, labels, monitor_files, monitoring
from operations.decisions import Action, Attempt, Decision, text_of
from operations.facts import NewData
from operations.labels import Job
from operations.outcomes import Roles
from operations.training_files import Place
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.runners.local import run_record
from pipeline.store import locks
from tests.operations import live_models, request_logs
from tests.operations.conftest import WriteCsv
from tests.operations.request_logs import START
from tests.operations.test_observation import FOUND

RUN = Decision(0, "k", Action.RUN, "span", "new", text_of(START), {"spans": [7]})


@pytest.fixture
def spanned(config: Config) -> Config:
    """Training data of one span, number 7."""
    request_logs.write_training_data(config.data_directory)
    return replace(config, pattern=request_logs.PATTERN)


def test_spans_that_are_labels_have_their_rows(
    spanned: Config, log: Path, place: Place, outcomes: WriteCsv
) -> None:
    """Those that others delivered have none."""
    rows = [{"request_id": f"r{n}", "tips": 1} for n in range(3)]
    job = Job(place, Roles(), timedelta(days=1))
    labels.add(spanned, outcomes("a.csv", rows), job, START)

    found = facts.gather(spanned, START)

    assert found.spans == (NewData(7), NewData(8, 3))
    assert found.unseen == found.spans


@pytest.fixture
def place(spanned: Config) -> Place:
    """The training data's place."""
    from pipeline.ingestion.spans import Pattern

    return Place(spanned.data_directory, Pattern(spanned.pattern))


def test_spans_of_decisions_are_seen(spanned: Config) -> None:
    """Whatever came of the decision."""
    facts.decisions_of(spanned).add(RUN, [])

    found = facts.gather(spanned, START)

    assert found.unseen == ()
    assert found.open is not None
    assert found.attempts() == []


def test_the_live_model_and_its_observation(spanned: Config) -> None:
    """An observation of another version says nothing about this one."""
    pushed = live_models.push(spanned, request_logs.trips(20), spans=(6, 7))
    directory = monitoring.directory_of(spanned)
    monitor_files.write(directory, FOUND)
    without = facts.gather(spanned, START)

    mine = replace(FOUND, version=pushed.version, until="2026-03-04T00:00:00+00:00")
    monitor_files.write(directory, mine)
    found = facts.gather(spanned, START)

    assert without.observation is None
    assert found.observation == mine
    assert found.live is not None
    assert found.live.version == pushed.version


def test_time_never_runs_backwards(spanned: Config) -> None:
    """Not before the newest decision, up to the last --go-on."""
    book = facts.decisions_of(spanned)
    future = text_of(START + timedelta(hours=5))
    first = book.add(replace(RUN, at=future, ended=future), [])
    before = facts.gather(spanned, START)
    now = text_of(START)
    on = Decision(
        0, "g", Action.GO_ON, "user", "the clock is right now", now, ended=now
    )
    book.add(on, [first])

    after = facts.gather(spanned, START)

    assert (before.now, before.behind) == (
        START + timedelta(hours=5),
        timedelta(hours=5),
    )
    assert (after.now, after.behind) == (START, timedelta(0))


def test_a_run_under_way_is_known(spanned: Config) -> None:
    """By its lock; or, before it has a record, by the one that it was started with."""
    run = run_record.new_run(spanned, "r1")
    with run_record.held(run):
        run.save()
        locked = facts.gather(spanned, START).alive
    attempt = Attempt("r2", text_of(START))
    facts.decisions_of(spanned).add(replace(RUN, attempts=(attempt,)), [])
    file = facts.directory_of(spanned) / facts.RUNNING_FILE
    file.touch()
    killed = facts.gather(spanned, START).alive
    with locks.exclusive(file):
        started = facts.gather(spanned, START).alive

    assert (locked, killed, started) == ("r1", "", "r2")


def test_contents_stand_for_data_without_spans(config: Config) -> None:
    """A digest of the files; before the first run writes the sample, a word."""
    assert facts.gather(replace(config, data=None), START).contents == "sample"
    config.data_directory.mkdir()
    (config.data_directory / "a.csv").write_text("a\n1\n")
    one = facts.gather(config, START).contents
    (config.data_directory / "a.csv").write_text("a\n2\n")

    assert one
    assert facts.gather(config, START).contents != one


def test_fixed_spans_are_refused(spanned: Config) -> None:
    """Nothing new would ever be read."""
    with pytest.raises(UsageError, match="span is 7, so new spans are never read"):
        facts.gather(replace(spanned, span="7"), START)
