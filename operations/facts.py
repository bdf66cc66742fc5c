"""The facts that decisions are made from; all are derived, none is remembered.

They come from the data directory, the registry, the metadata store, the ledger of
labels, the observations, the runs' records and the earlier decisions. Whoever derives
them again after a kill gets the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from operations import labels, live, monitor_files, monitoring
from operations.decisions import Action, Attempt, Decision, Decisions
from operations.live import LiveModel
from operations.observation import Observation
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion import spans
from pipeline.ingestion.spans import Newest, Pattern
from pipeline.registry import history
from pipeline.registry.history import Registry
from pipeline.runners.local import run_record
from pipeline.store import locks
from pipeline.store.run_files import Run, read_run, read_runs

RUNNING_FILE = "running"
"""Locked by the run that was started, as long as its process lives."""


@dataclass(frozen=True)
class NewData:
    """A span of the training data.

    Attributes:
        number: Its number.
        labels: Rows that `labels add` has written; 0 if others delivered the span.
    """

    number: int
    labels: int = 0


@dataclass(frozen=True)
class Facts:
    """The facts of one tick.

    Attributes:
        now: The time, never before that of the newest decision.
        behind: How far the clock is behind that decision.
        registry: The model's versions and their history.
        live: The live model; `None` without one.
        spans: The spans that exist, oldest first; empty if the data has none.
        contents: Digest of the data, if it has no spans.
        observation: The newest observation of the live version, if there is one.
        alive: Name of a run that is being executed now, whoever started it.
        decisions: All decisions, oldest first.
        open_run: Record of the run of the last attempt of an open decision, if any.
    """

    now: datetime
    behind: timedelta
    registry: Registry
    live: LiveModel | None
    spans: tuple[NewData, ...]
    contents: str
    observation: Observation | None
    alive: str
    decisions: tuple[Decision, ...]
    open_run: Run | None = None

    @property
    def open(self) -> Decision | None:
        """The decision whose run is still to be started, or to end."""
        runs = (d for d in reversed(self.decisions) if d.action is Action.RUN)
        return next((d for d in runs if d.is_open), None)

    @property
    def unseen(self) -> tuple[NewData, ...]:
        """Spans that no decision is about, nor the model that was live at the start."""
        seen = {number for each in self.decisions for number in each.spans}
        return tuple(s for s in self.spans if s.number not in seen)

    def attempts(self) -> list[Attempt]:
        """Returns the starts of all runs, oldest first."""
        return [a for decision in self.decisions for a in decision.attempts]

    def failures_in_a_row(self) -> list[Attempt]:
        """Returns the newest attempts, as long as they failed and nobody went on."""
        failed: list[Attempt] = []
        for decision in reversed(self.decisions):
            if decision.action is Action.GO_ON:
                break
            for attempt in reversed(decision.attempts):
                if not attempt.failed:
                    return failed[::-1]
                failed.append(attempt)
        return failed[::-1]


def directory_of(config: Config) -> Path:
    """Returns the directory of what `throughline operate` writes."""
    return config.output.absolute() / "operate" / config.name


def decisions_of(config: Config) -> Decisions:
    """Returns the decisions about a model."""
    return Decisions(directory_of(config) / "decisions")


def gather(config: Config, clock: datetime) -> Facts:
    """Derives the facts.

    Args:
        config: The pipeline's settings; they select the newest spans.
        clock: What the clock says.

    Raises:
        UsageError: The settings select spans by number, or the pattern is wrong.
        DataRefusedError: The data directory has what can't be read.
        ThroughlineError: A decision's file is damaged.
    """
    if config.wanted_spans and not isinstance(config.wanted_spans, Newest):
        raise UsageError(
            f"span is {config.span}, so new spans are never read; leave --span out, "
            "and give --window"
        )
    decisions = tuple(decisions_of(config).all())
    now = _not_before(decisions, clock)
    registry = history.read(config.serving_directory)
    found = monitor_files.read(monitoring.directory_of(config))
    mine = [each for each in found if each.version == registry.live]
    last = [a for d in decisions if d.is_open for a in d.attempts][-1:]
    return Facts(
        now=now,
        behind=now - clock,
        registry=registry,
        live=live.read(config) if registry.live is not None else None,
        spans=tuple(_spans(config)),
        contents="" if config.wanted_spans else _contents(config),
        observation=mine[-1] if mine else None,
        alive=_alive(config, decisions),
        decisions=decisions,
        open_run=record_of(config, last[0].run_id) if last else None,
    )


def _not_before(decisions: Sequence[Decision], clock: datetime) -> datetime:
    """Returns the time, or that of the newest decision if the clock was set back.

    Pauses, budgets and the schedule count from decisions: a clock that was set back
    must not start anything twice. `--go-on` begins anew, also after a clock that was
    years ahead.
    """
    times = [clock]
    for decision in reversed(decisions):
        times.append(decision.last_time)
        if decision.action is Action.GO_ON:
            break
    return max(times)


def _spans(config: Config) -> Sequence[NewData]:
    if config.wanted_spans is None or not config.data_directory.is_dir():
        return []
    directory = str(config.data_directory)
    joined = {
        entry.about.span: entry.about.joined
        for entry in labels.ledger_of(config).entries()
        if entry.about.data == directory
    }
    found = spans.available(config.data_directory, Pattern(config.pattern))
    return [
        NewData(span.number, joined.get(span.number, 0))
        for span in found
        if not span.fault
    ]


def _contents(config: Config) -> str:
    if config.data is not None and not config.data.is_dir():
        return ""
    if config.data is None and not config.data_directory.is_dir():
        return "sample"  # Which the first run writes.
    return run_record.data_digest(config)


def _alive(config: Config, decisions: Sequence[Decision]) -> str:
    running = [run for run in read_runs(config.runs_directory) if run.is_alive()]
    if running:
        return running[-1].run_id
    # A run that has just been started has no record yet.
    if not _is_locked(directory_of(config) / RUNNING_FILE):
        return ""
    started = [a.run_id for d in decisions if d.is_open for a in d.attempts]
    return started[-1] if started else "of a decision"


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with locks.exclusive(path):
            return False
    except BlockingIOError:
        return True


def record_of(config: Config, run_id: str) -> Run | None:
    """Returns the record of a run; `None` if there is none."""
    try:
        return read_run(config.runs_directory / run_id)
    except UsageError:
        return None
