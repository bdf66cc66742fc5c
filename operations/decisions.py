"""Decisions of `throughline operate`: action, reason, facts and outcome.

Each is a file, `output/operate/<model>/decisions/NNNNNN.json`, and an execution
in the metadata store. The key is a hash of what was decided upon, so the same facts
give the same key, and nothing is decided twice. A file is created exclusively, and an
execution's name is unique: of two processes, or machines that share the store, one
gets to act.
"""

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_BLESSED,
    ThroughlineError,
)
from pipeline.store import durable, records
from pipeline.store.records import Record

EXECUTION_TYPE = "throughline.Operate"
ARTIFACT_TYPE = "OperateDecision"

_KEY_DIGITS = 12


class FencedError(ThroughlineError):
    """Another process has decided in the meantime; nothing was done."""


class Action(StrEnum):
    """The kinds of decisions."""

    START = "start"
    """Operation begins: what there is now is no trigger."""
    RUN = "run"
    """Start a run of the pipeline."""
    ROLLBACK = "rollback"
    """Make the version before live again."""
    NOTE = "note"
    """Nothing can be done about it by a run; somebody is told."""
    STOP = "stop"
    """No more runs after several failures in a row."""
    GO_ON = "go on"
    """The user wants runs again."""


@dataclass(frozen=True)
class Attempt:
    """One start of a run.

    Attributes:
        run_id: Name of the run.
        started: When, ISO 8601 in UTC.
        ended: When it ended; empty if it hasn't, or was killed with its parent.
        exit_code: What it ended with; `None` if that is unknown.
    """

    run_id: str
    started: str
    ended: str = ""
    exit_code: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it failed in a way that a retry may fix."""
        final = {EXIT_DONE, EXIT_DATA_REFUSED, EXIT_NOT_BLESSED, EXIT_INTERRUPTED}
        return bool(self.ended) and self.exit_code not in final

    @property
    def minutes(self) -> float:
        """How long it took; 0 if it hasn't ended."""
        if not self.ended:
            return 0.0
        began = datetime.fromisoformat(self.started)
        took = datetime.fromisoformat(self.ended) - began
        return max(took.total_seconds() / 60, 0.0)


@dataclass(frozen=True)
class Decision:
    """A decision.

    Attributes:
        number: Its place in the order, from 1.
        key: Hash of what was decided upon.
        action: What was decided.
        rule: The rule that led to it, such as "span".
        because: Why, as a sentence.
        at: When, ISO 8601 in UTC.
        facts: What it was decided from, as JSON values.
        config: Settings of the run, as JSON values; empty without one.
        attempts: Starts of the run.
        ended: When it was carried out; empty as long as it isn't.
        outcome: What came of it, in words.
        notified: Whether somebody was told of the decision, and of its outcome.
    """

    number: int
    key: str
    action: Action
    rule: str
    because: str
    at: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    ended: str = ""
    outcome: str = ""
    notified: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it is still to be carried out."""
        return not self.ended

    @property
    def spans(self) -> set[int]:
        """The spans that its run reads, and those that it skips by the policy."""
        read, skipped = self.facts.get("spans", ()), self.facts.get("skipped", ())
        return {*read, *skipped}

    @property
    def last_time(self) -> datetime:
        """The latest time that it has."""
        times = [self.at, self.ended, *(a.started for a in self.attempts)]
        times += [attempt.ended for attempt in self.attempts]
        return max(datetime.fromisoformat(time) for time in times if time)

    def to_json(self) -> str:
        """Writes it as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"


def key_of(*parts: Any) -> str:
    """Computes the key of a decision: a hash of what it is about.

    Args:
        parts: JSON values.
    """
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def text_of(moment: datetime) -> str:
    """Formats a time as decisions have it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Decisions:
    """The decisions about a model.

    Attributes:
        directory: Directory of their files.
    """

    directory: Path

    def all(self) -> list[Decision]:
        """Reads all, oldest first.

        Raises:
            ThroughlineError: One can't be read; skipping it would decide it again.
        """
        return [_read(path) for path in sorted(self.directory.glob("[0-9]*.json"))]

    def path_of(self, decision: Decision) -> Path:
        """Returns the file of a decision."""
        return self.directory / f"{decision.number:06d}.json"

    def add(self, decision: Decision, before: Sequence[Decision]) -> Decision:
        """Writes a new decision, durably and exclusively.

        Args:
            decision: The decision; its number is replaced.
            before: All decisions that it was made upon.

        Returns:
            The decision with its number.

        Raises:
            FencedError: Another process has decided since.
        """
        number = max((each.number for each in before), default=0) + 1
        made = dataclasses.replace(decision, number=number)
        self.directory.mkdir(parents=True, exist_ok=True)
        part = self.directory / f".{uuid.uuid4().hex}"
        durable.stage(part, made.to_json())
        try:
            # Not a rename, which would replace what another process has decided.
            os.link(part, self.path_of(made))
        except FileExistsError:
            raise FencedError(
                f"another process has made decision {number} in {self.directory}; "
                "this one did nothing"
            ) from None
        finally:
            part.unlink()
        durable.force_to_disk(self.directory)
        return made

    def save(self, decision: Decision) -> Decision:
        """Replaces a decision's file, atomically."""
        durable.write(self.path_of(decision), decision.to_json())
        return decision

    def record(
        self, store: MetadataStore, pipeline: str, decision: Decision, model: int | None
    ) -> bool:
        """Records a decision in the metadata store, unless it is there.

        Args:
            store: The metadata store.
            pipeline: Name of the pipeline.
            decision: The decision.
            model: Id of the live Model artifact, which it was made about.

        Returns:
            Whether it is ours: false if another output directory has decided it.
        """
        name = f"{pipeline}/operate/{decision.key}"
        file = str(self.path_of(decision))
        values = {
            "action": decision.action.value,
            "rule": decision.rule,
            "because": decision.because,
            "at": decision.at,
            "facts": json.dumps(decision.facts, sort_keys=True),
            "file": file,
        }
        record = Record(
            EXECUTION_TYPE,
            name,
            values,
            output=("decision", ARTIFACT_TYPE, file),
            output_values={n: v for n, v in values.items() if n != "facts"},
            inputs={} if model is None else {"live_model": model},
        )
        if records.put(store, pipeline, record):
            return True
        known = store.get_execution_by_type_and_name(EXECUTION_TYPE, name)
        return bool(known and known.custom_properties["file"].string_value == file)


def _read(path: Path) -> Decision:
    try:
        values = json.loads(path.read_text("utf-8"))
        attempts = tuple(Attempt(**each) for each in values["attempts"])
        return Decision(
            **{
                **values,
                "action": Action(values["action"]),
                "attempts": attempts,
                "notified": tuple(values["notified"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ThroughlineError(
            f"{path} can't be read: {error}; restore it, or move it away: what it "
            "decided would then be decided again"
        ) from error
