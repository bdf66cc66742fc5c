"""Starts the run of a decision, waits for it, and notes how it ended."""

import dataclasses
import fcntl
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from operations import facts as derived
from operations.decisions import Attempt, Decision, Decisions, text_of
from operations.facts import Facts
from pipeline.config import METADATA_VARIABLE, Config, environment
from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_BLESSED,
    EXIT_USAGE,
)
from pipeline.runners.local import run_record
from pipeline.store.run_files import Outcome, Run

_ENDING = (signal.SIGTERM, signal.SIGINT)
_OUTCOMES = {
    EXIT_DONE: "is done",
    EXIT_NOT_BLESSED: "pushed nothing",
    EXIT_DATA_REFUSED: "was stopped by the data gate",
}
_NOTHING_PUSHED = {
    Outcome.NOT_BLESSED: "its model was not blessed, or unfit to be served",
    Outcome.NOT_PUSHED: "its model was rolled back before",
}

PIPELINE = (sys.executable, "-m", "operations.pipeline_run")

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Launcher:
    """Starts runs.

    Attributes:
        config: The pipeline's settings.
        decisions: Where attempts are noted.
        clock: Tells the time.
        logs: Directory for what runs print.
        program: Runs the pipeline; gets a decision's file and the run's name.
    """

    config: Config
    decisions: Decisions
    clock: Clock
    logs: Path
    program: tuple[str, ...] = PIPELINE

    def adopted(self, decision: Decision, facts: Facts) -> Decision:
        """Notes the end of an attempt whose parent was killed, if it has ended.

        Args:
            decision: An open decision; none of its runs is alive.
            facts: Have the record of its last run.
        """
        last = decision.attempts[-1] if decision.attempts else None
        if last is None or last.ended:
            return decision
        record = facts.open_run
        code = -int(signal.SIGKILL)
        if record and record.outcome is not Outcome.RUNNING:
            code = record.exit_code if record.exit_code is not None else code
        return self._ended(decision, code)

    def attempt(self, decision: Decision) -> Decision:
        """Starts the run of a decision, or resumes it, and waits for its end.

        Args:
            decision: An open decision; none of its runs is alive.

        Raises:
            KeyboardInterrupt: SIGTERM or Ctrl-C came; the run has ended cleanly.
        """
        run_id = self._name(decision)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{run_id}.txt"
        decided = str(self.decisions.path_of(decision))
        child_environment = dict(environment())
        if self.config.metadata:
            child_environment[METADATA_VARIABLE] = self.config.metadata
        # Noted before it starts: a kill in between leaves an attempt that failed, never
        # a run that nobody knows of.
        begun = self._begun(decision, run_id)
        with log.open("ab") as output, self._running() as lock:
            # A session of its own: Ctrl-C goes to this process, which passes it on.
            process = subprocess.Popen(
                [*self.program, decided, run_id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment,
                start_new_session=True,
                # The run holds the lock from its first moment on, and after this
                # process was killed.
                pass_fds=[lock],
            )
        code, is_asked = _waited(process)
        ended = self._ended(begun, code)
        if is_asked:
            raise KeyboardInterrupt
        return ended

    def _name(self, decision: Decision) -> str:
        """Returns the name of the last run if it can be resumed, else a new one."""
        last = decision.attempts[-1] if decision.attempts else None
        if last and last.exit_code in {-signal.SIGKILL, EXIT_INTERRUPTED}:
            record = derived.record_of(self.config, last.run_id)
            config = run_record.from_json(decision.config)
            config = dataclasses.replace(config, metadata=self.config.metadata)
            now = run_record.new_run(config, last.run_id)
            same = record and record.definition == now.definition
            # Under the old name, finished nodes would count as done although their
            # code or data has changed.
            if record and same and record.data == now.data:
                return last.run_id
        return run_record.new_name(self.config, self.clock(), decision.key)

    @contextmanager
    def _running(self) -> Iterator[int]:
        """Locks the file that a run holds; yields its descriptor for the run."""
        path = derived.directory_of(self.config) / derived.RUNNING_FILE
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file.fileno()

    def _begun(self, decision: Decision, run_id: str) -> Decision:
        attempt = Attempt(run_id, text_of(self.clock()))
        attempts = (*decision.attempts, attempt)
        return self.decisions.save(dataclasses.replace(decision, attempts=attempts))

    def _ended(self, decision: Decision, code: int) -> Decision:
        now = text_of(self.clock())
        *before, last = decision.attempts
        ended = dataclasses.replace(last, ended=now, exit_code=code)
        made = dataclasses.replace(decision, attempts=(*before, ended))
        is_final = code in _OUTCOMES
        made = dataclasses.replace(
            made,
            ended=now if is_final else "",
            outcome=_outcome(
                code,
                last.run_id,
                _reason(derived.record_of(self.config, last.run_id)),
                self.logs / f"{last.run_id}.txt",
            ),
        )
        return self.decisions.save(made)


def _reason(record: Run | None) -> str:
    """Returns why a run ended so, by its record; empty if that has no reason."""
    if record is None:
        return ""
    if record.outcome in _NOTHING_PUSHED:
        return f": {_NOTHING_PUSHED[record.outcome]}"
    causes = ((name, node.get("cause")) for name, node in record.nodes.items())
    # Further lines are details, which the log has.
    first = (f": {name}: {cause.splitlines()[0]}" for name, cause in causes if cause)
    return next(first, "")


def _outcome(code: int, run_id: str, reason: str, log: Path) -> str:
    """Describes how a run ended; its log is named unless all is well."""
    if code == EXIT_DONE:
        return f"run {run_id} {_OUTCOMES[code]}"
    if code < 0:
        return f"run {run_id} was killed by signal {-code}{reason}; {log}"
    other = {
        **_OUTCOMES,
        EXIT_INTERRUPTED: "was interrupted, and is resumed",
        EXIT_USAGE: "could not start",
    }
    return f"run {run_id} {other.get(code, f'failed with {code}')}{reason}; {log}"


def _waited(process: "subprocess.Popen[bytes]") -> tuple[int, bool]:
    """Waits for a run; SIGTERM and Ctrl-C are passed on to it, and end it cleanly.

    Returns:
        Its exit code, and whether this process is to end too.
    """
    asked = False

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number, frame
        asked = True
        process.send_signal(signal.SIGTERM)

    before = {each: signal.signal(each, forward) for each in _ENDING}
    try:
        return process.wait(), asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
