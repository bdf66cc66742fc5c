"""One tick of `throughline operate`: gathers facts, decides, acts.

A tick remembers nothing. Under the lock it joins the labels that came, looks at the
request log, derives the facts and decides. What was decided is written down before it
is done, so the tick after a kill finds it, and does the rest: a run is adopted or
resumed, a rollback that was made already changes nothing.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations import facts as derived
from operations import (
    label_records,
    labels,
    monitor_files,
    monitoring,
    rules,
    tick_lock,
    timeline,
    watching,
)
from operations.decisions import Action, Decision, Decisions, key_of, text_of
from operations.facts import Facts
from operations.launching import PIPELINE, Clock, Launcher
from operations.notices import Notices
from operations.rules import Attempting, Wait
from operations.settings import Operate
from operations.tick_lock import Token
from operations.training_files import Place
from pipeline.config import Config
from pipeline.errors import (
    EXIT_ALARM,
    EXIT_DONE,
    EXIT_FAILED,
    DataRefusedError,
    UsageError,
)
from pipeline.ingestion import digests
from pipeline.ingestion.spans import Pattern
from pipeline.registry import changes, history, recording, shadow_order
from pipeline.store import connection
from pipeline.store.connection import open_store

_LOG = logging.getLogger(__name__)
AUTHOR = "throughline operate"
# A tick decides until nothing is left; more than this is a rule that contradicts
# itself, and would go on forever.
_MOST_DECISIONS = 20
_TOLD_AGAIN = timedelta(days=1)


@dataclass(frozen=True)
class Reconciler:
    """The settings and places that ticks share.

    Attributes:
        config: The pipeline's settings.
        settings: When to do what.
        clock: Tells the time.
        say: Prints a line.
        program: Runs the pipeline, see `launching.Launcher`.
    """

    config: Config
    settings: Operate
    clock: Clock
    say: Callable[[str], None] = print
    program: tuple[str, ...] = PIPELINE

    @property
    def directory(self) -> Path:
        """Directory of what is written."""
        return derived.directory_of(self.config)

    @property
    def decisions(self) -> Decisions:
        """The decisions."""
        return derived.decisions_of(self.config)

    def tick(self) -> int:
        """Runs one tick under the lock.

        Returns:
            0, or the exit code of a run that failed, 5 for an alarm or a rollback, 1 if
            it has stopped because of failures.

        Raises:
            HeldError: Another process is at work.
            FencedError: Another process has taken over in the meantime.
            ThroughlineError: The metadata store or a decision can't be read.
        """
        with tick_lock.held(self.directory) as token:
            return _Tick(self, token).run()

    def go_on(self, because: str) -> None:
        """Allows runs again after failures, and forgets pauses.

        Args:
            because: The reason, for the history.
        """
        with tick_lock.held(self.directory) as token:
            tick = _Tick(self, token)
            now = text_of(self.clock())
            before = self.decisions.all()
            key = key_of("go on", now, len(before))
            made = Decision(
                0, key, Action.GO_ON, "user", because, now, {}, ended=now, outcome="on"
            )
            tick.add(made, before)


@dataclass
class _Tick:
    """One tick, under the lock."""

    whole: Reconciler
    token: Token
    exit_code: int = EXIT_DONE

    def run(self) -> int:
        """Joins labels, monitors, and decides until nothing is left to do."""
        self._say_again()
        self._join_labels()
        self._monitor()
        for _ in range(_MOST_DECISIONS):
            facts = self._facts()
            if (made := self._watch(facts)) is not None:
                self.add(made, facts.decisions)
                continue
            if unfinished := _unfinished_rollback(facts):
                self._roll_back(unfinished)
                continue
            step = rules.decide(facts, self.whole.config, self.whole.settings)
            if isinstance(step, Wait):
                self._end(facts, step)
                break
            if isinstance(step, Attempting):
                self._attempt(step.decision)
            else:
                self.add(step, facts.decisions)
        self._show()
        return self.exit_code

    def _show(self) -> None:
        config = self.whole.config
        page, moments = config.monitoring_page, timeline.read(config)
        try:
            monitor_files.write_page(page, config.name, moments)
        except OSError as error:
            # What was decided is done; the next tick writes the page again.
            self.whole.say(f"{page} can't be written: {error.strerror}")

    def add(self, decision: Decision, before: Sequence[Decision]) -> Decision:
        """Writes a new decision down, in a file and in the metadata store."""
        self.token.check()
        made = self.whole.decisions.add(decision, before)
        self._note(made)
        self.whole.say(f"{made.rule}: {made.because}")
        codes = {Action.NOTE: EXIT_ALARM, Action.STOP: EXIT_FAILED}
        self.exit_code = codes.get(made.action, self.exit_code)
        return self._tell(made, "decided") if made.action is not Action.START else made

    def _facts(self) -> Facts:
        return derived.gather(self.whole.config, self.whole.clock())

    def _note(self, decision: Decision) -> bool:
        """Records a decision in the store; returns whether it is this directory's."""
        config = self.whole.config
        store = MetadataStore(open_store(config.metadata_url))
        facts = self._facts()
        model = facts.live.artifact if facts.live else None
        return self.whole.decisions.record(store, config.name, decision, model)

    def _attempt(self, decision: Decision) -> None:
        """Starts or resumes the run of an open decision."""
        launcher = self._launcher()
        facts = self._facts()
        adopted = launcher.adopted(decision, facts)
        if adopted != decision:
            self._over(adopted)
            return
        self.token.check()
        if not self._note(decision):
            now = text_of(self.whole.clock())
            self._over(
                self.whole.decisions.save(
                    dataclasses.replace(
                        decision, ended=now, outcome="decided by another installation"
                    )
                )
            )
            return
        self.whole.say(f"runs the pipeline; {launcher.logs} has its output")
        self._over(launcher.attempt(decision))

    def _launcher(self) -> Launcher:
        whole = self.whole
        logs = whole.directory / "logs"
        clock, program = whole.clock, whole.program
        return Launcher(whole.config, whole.decisions, clock, logs, program)

    def _over(self, decision: Decision) -> None:
        """Reports the outcome of a run's attempt."""
        self.whole.say(self._result(decision))
        last = decision.attempts[-1] if decision.attempts else None
        if last and last.exit_code:
            self.exit_code = last.exit_code if last.exit_code > 0 else EXIT_FAILED
        self._tell(decision, _end_of(decision))

    def _result(self, decision: Decision) -> str:
        """Describes the outcome of a run or rollback, with the version it left live."""
        live = history.read(self.whole.config.serving_directory).live
        is_done = decision.attempts and decision.attempts[-1].exit_code == EXIT_DONE
        if not is_done or live is None:
            return decision.outcome
        return f"{decision.outcome}, version {live} is live"

    def _roll_back(self, decision: Decision) -> None:
        self.token.check()
        config, now = self.whole.config, text_of(self.whole.clock())
        base = config.serving_directory
        version, restores = decision.facts["version"], decision.facts["restores"]
        author = changes.Author(by=AUTHOR, because=decision.because)
        # Someone may have rolled back by hand in the meantime.
        if history.read(base).live == version:
            memory = config.output.absolute() / digests.MEMORY_FILE
            change = changes.rollback(base, restores, author, memory)
            outcome = f"version {restores} is live again, as {change.version}"
        else:
            outcome = f"version {version} is no longer live"
        store = MetadataStore(open_store(config.metadata_url))
        recording.record(store, config.name, history.read(base))
        done = dataclasses.replace(decision, ended=now, outcome=outcome)
        self.whole.say(outcome)
        self.exit_code = EXIT_ALARM
        self._tell(self.whole.decisions.save(done), "ended")

    def _watch(self, facts: Facts) -> Decision | None:
        whole = self.whole
        if not facts.decisions:
            return None
        watch = whole.settings.watch
        self.token.check()
        base = whole.config.serving_directory
        shadow_order.follow(base, watching.order(facts, watch))
        found = watching.judge(whole.config, facts, watch)
        known = {decision.key for decision in facts.decisions}
        return found if found and found.key not in known else None

    def _end(self, facts: Facts, step: Wait) -> None:
        self.whole.say(step.because)
        if facts.behind:
            minutes = facts.behind / timedelta(minutes=1)
            self.whole.say(
                f"the clock is {minutes:.1f} minutes behind the newest decision; times "
                "count from that"
            )

    def _tell(self, decision: Decision, what: str) -> Decision:
        """Sends a notification about a decision, at most once."""
        settings = self.whole.settings
        notices = Notices(settings.notify_command, settings.notify_webhook)
        is_wanted = notices.command or notices.webhook
        if what in decision.notified or not is_wanted:
            return decision
        has_ended = what.startswith("ended")
        text = self._result(decision) if has_ended else decision.because
        problem = notices.tell(
            {
                "model": self.whole.config.name,
                "event": decision.action.value,
                "rule": decision.rule,
                "text": f"{self.whole.config.name}: {text}",
                "at": text_of(self.whole.clock()),
                "decision": decision.number,
            }
        )
        if problem:
            # Told again by the next tick.
            self.whole.say(problem)
            return decision
        told = dataclasses.replace(decision, notified=(*decision.notified, what))
        return self.whole.decisions.save(told)

    def _say_again(self) -> None:
        """Sends the notifications that an earlier process could not send."""
        now = self.whole.clock()
        for decision in self.whole.decisions.all()[-_MOST_DECISIONS:]:
            is_old = now - decision.last_time > _TOLD_AGAIN
            if decision.action is Action.START or is_old:
                continue
            told = self._tell(decision, "decided")
            # A failed run has ended, although its decision is still open.
            ended = told.attempts[-1].ended if told.attempts else told.ended
            if ended and told.action in {Action.RUN, Action.ROLLBACK}:
                self._tell(told, _end_of(told))

    def _join_labels(self) -> None:
        """Adds what is in the inbox, and tries outcomes without a request again."""
        config, inbox = self.whole.config, self.whole.settings.inbox
        if inbox.directory is None:
            return
        place = Place(config.data_directory, Pattern(config.pattern), config.encoding)
        job = labels.job_of(inbox, place)
        for file in (*_arrived(inbox.directory), None):
            try:
                added = labels.add(config, file, job, self.whole.clock())
            except (DataRefusedError, UsageError) as error:
                self._refuse_labels(file, error)
                continue
            for entry in added.entries:
                for line in label_records.lines(entry):
                    self.whole.say(line)
        if connection.exists(config.metadata_url):
            label_records.record_if_possible(config, labels.ledger_of(config))

    def _refuse_labels(self, file: Path | None, error: Exception) -> None:
        """Reports an invalid outcome file once; it stays in the inbox."""
        content = digests.sha256_of([file])[file] if file and file.is_file() else ""
        key = key_of("note", "labels", content or str(error))
        before = self.whole.decisions.all()
        if any(decision.key == key for decision in before):
            return
        now = text_of(self.whole.clock())
        facts = {"file": str(file or "")}
        self.add(
            Decision(
                0,
                key,
                Action.NOTE,
                "labels",
                str(error),
                now,
                facts,
                ended=now,
                outcome="told",
            ),
            before,
        )

    def _monitor(self) -> None:
        """Looks at the request log, if it is time again and a version is live."""
        config, settings = self.whole.config, self.whole.settings
        now = self.whole.clock()
        registry = history.read(config.serving_directory)
        directory = monitoring.directory_of(config)
        if registry.live is None or not _is_due(directory, now, settings):
            return
        found = monitoring.observe(config, settings.monitor, now)
        monitor_files.write(directory, found)
        self.whole.say(found.line())


def _unfinished_rollback(facts: Facts) -> Decision | None:
    """Returns a rollback that was decided and, after a kill, not carried out."""
    return next(
        (d for d in facts.decisions if d.is_open and d.action is Action.ROLLBACK), None
    )


def _end_of(decision: Decision) -> str:
    """Names the end of a run or rollback, as `Decision.notified` has it."""
    return f"ended {len(decision.attempts)}" if decision.attempts else "ended"


def _arrived(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        raise UsageError(f"inbox.directory is {directory}, which is not a directory")
    # Files are renamed into an inbox when they are complete: hidden ones aren't yet.
    found = sorted(path for path in directory.iterdir() if path.is_file())
    return (path for path in found if not path.name.startswith("."))


def _is_due(directory: Path, now: datetime, settings: Operate) -> bool:
    found = monitor_files.read(directory)
    if not found:
        return True
    last = datetime.fromisoformat(found[-1].until)
    pause = timedelta(minutes=settings.monitor_minutes)
    # A clock that was set back must not end monitoring.
    return now >= last + pause or now < last
