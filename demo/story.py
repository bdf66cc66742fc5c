"""Tells the day: what is planned, and what the processes decided, in plain lines."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from operations import facts, labels, monitor_files, monitoring
from operations.decisions import Action, Decision
from pipeline.config import Config
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.store import windows

_LONGEST = 160


@dataclass
class Story:
    """Prints lines with the simulated time of day.

    Attributes:
        config: Names the model and its output directory.
        clock: Returns the simulated time.
    """

    config: Config
    clock: Callable[[], datetime]
    _told: set[str] = field(default_factory=set)

    def say(self, text: str, what: str = "") -> None:
        """Prints a line.

        Args:
            text: The line.
            what: What it is about, in a word.
        """
        sys.stdout.write(f"{self.clock():%H:%M}  {what:8}  {text}\n")
        sys.stdout.flush()

    def catch_up(self) -> None:
        """Tells what has been decided, and has come of it, since the last call."""
        for entry in labels.ledger_of(self.config).entries():
            if not entry.is_pending and self._is_new(f"labels {entry.number}"):
                about = entry.about
                self.say(
                    f"{about.joined} outcomes came two hours late; joined as span "
                    f"{about.span}",
                    "labels",
                )
        for decision in facts.decisions_of(self.config).all():
            self._decision(decision)

    def hour(self, trips: int, versions: str) -> None:
        """Tells of an hour that is over.

        Args:
            trips: How many trips were asked about.
            versions: Which versions answered.
        """
        found = monitor_files.read(monitoring.directory_of(self.config))
        alarms = found[-1].alarms if found else ()
        kinds = dict.fromkeys(alarm.kind for alarm in alarms)
        named = [_named(k, [a.column for a in alarms if a.kind is k]) for k in kinds]
        says = ", ".join(named) or "no alarm"
        self.say(f"{trips} trips, answered by version {versions}; {says}", "traffic")

    def _decision(self, decision: Decision) -> None:
        if decision.action is Action.START:
            return
        if self._is_new(f"decision {decision.number}"):
            is_note = decision.action is Action.NOTE
            self.say(_short(decision.because), "alarm" if is_note else decision.action)
        over = decision.action in {Action.RUN, Action.ROLLBACK} and decision.ended
        if over and self._is_new(f"end {decision.number}"):
            live = history.read(self.config.serving_directory).live
            outcome, _, _ = decision.outcome.partition(";")
            self.say(f"{outcome}; version {live} is live", "ended")
            for line in self._refusals(decision):
                self.say(line)

    def _refusals(self, decision: Decision) -> Iterator[str]:
        """Yields what the gate or the Evaluator has refused, with a reason."""
        for attempt in decision.attempts[-1:]:
            steps = open_lineage(self.config).graph.run(attempt.run_id)
            window = windows.of_run(steps)
            for span in window.refused if window else ():
                yield f"the gate keeps span {span.number} out: {_short(span.refused)}"
            record = facts.record_of(self.config, attempt.run_id)
            for node in record.nodes.values() if record else ():
                # The gate's findings are indented, the worst of the kinds last.
                lines = str(node["cause"] or "").splitlines()
                for line in [each for each in lines if each.startswith("  ")][-1:]:
                    yield f"the gate refuses the newest span: {_short(line.strip())}"

    def _is_new(self, what: str) -> bool:
        is_new = what not in self._told
        self._told.add(what)
        return is_new


def _named(kind: str, columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 1} more" if len(columns) > 1 else ""
    return f"{kind} of {columns[0]}{more}"


def _short(text: str) -> str:
    """Shortens a reason to what was measured, and what follows from it."""
    first, *others = text.removeprefix("alarm: ").split("; ")
    # Numbers of bins are for the report.
    wanted = [part for part in others if "(" not in part and part[-1] not in "…)"][-1:]
    whole = "; ".join([first, *wanted])
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 2]} …"
