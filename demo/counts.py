"""What the day has come to, counted in what the processes left, and what differs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operations import facts, labels, requests
from operations.decisions import Action, Decision
from operations.joining import Status
from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE, EXIT_NOT_BLESSED
from pipeline.registry import history
from serving import request_log

_REFUSED = {EXIT_DATA_REFUSED, EXIT_NOT_BLESSED}
_VERSIONS = 2


@dataclass(frozen=True)
class Counts:
    """The counts of the day.

    Attributes:
        sent: Requests that the clients sent.
        answered: Requests that got a prediction.
        logged: Rows of the request log.
        distinct: Request ids in the log.
        outcomes: Outcomes that were put into the inbox.
        joined: Those that became labels.
        other_labels: Outcomes with another status, by status.
        runs: Exit codes of the runs by rule, in their order.
        skews: Alarms of skew that were noted.
        pushed: Versions that were pushed, oldest first.
        live: The live version.
        served: The version that answers.
    """

    sent: int
    answered: int
    logged: int
    distinct: int
    outcomes: int
    joined: int
    other_labels: Mapping[str, int]
    runs: tuple[tuple[str, int | None], ...]
    skews: int
    pushed: tuple[int, ...]
    live: int | None
    served: int | None

    def differences(self) -> Iterator[str]:
        """Yields what is not as it should be, as sentences."""
        yield from self._lost()
        drift = [code for rule, code in self.runs if rule == "drift"]
        if drift != [EXIT_DONE]:
            yield f"drift started {len(drift)} runs, with {drift}; one with 0 expected"
        spans = [code for rule, code in self.runs if rule != "drift"]
        if spans[:1] != [EXIT_DONE]:
            yield f"the first training ended with {spans[:1]}; 0 expected"
        if len(spans[1:]) != 1 or spans[1] not in _REFUSED:
            yield f"the poisoned span led to {spans[1:]}; one run with 3 or 4 expected"
        if not self.skews:
            yield "no skew was noted; the app sent kilometres for two hours"
        # The first model, and that of the evening.
        if len(self.pushed) != _VERSIONS or self.live != max(self.pushed):
            yield f"versions {self.pushed} were pushed and {self.live} is live"
        if self.served != self.live:
            yield f"version {self.live} is live and {self.served} answers"

    def _lost(self) -> Iterator[str]:
        """Yields which requests and labels were lost, or used twice."""
        if len({self.sent, self.answered, self.logged, self.distinct}) > 1:
            yield (
                f"{self.sent:,} requests were sent, {self.answered:,} answered, "
                f"{self.logged:,} logged, under {self.distinct:,} ids"
            )
        if self.joined != self.outcomes or self.other_labels:
            counts = [f"{self.joined:,} were joined"]
            counts += [f"{rows:,} {name}" for name, rows in self.other_labels.items()]
            yield f"{self.outcomes:,} outcomes came, {', '.join(counts)}"

    def lines(self) -> Iterator[str]:
        """Yields the counts for people."""
        names = ("sent", "answered", "logged")
        values = (self.sent, self.answered, self.logged)
        both = zip(names, values, strict=True)
        yield "requests   " + " = ".join(f"{n} {v:,}" for n, v in both)
        yield f"labels     joined {self.joined:,} of {self.outcomes:,} outcomes"
        codes = ", ".join(f"{rule} (ended with {code})" for rule, code in self.runs)
        yield f"runs       {len(self.runs)}: {codes}"
        versions = ", ".join(map(str, self.pushed))
        yield f"versions   {len(self.pushed)} were live: {versions}"


def count(
    config: Config, sent: int, answered: int, outcomes: int, served: int | None
) -> Counts:
    """Counts in the files that the processes left.

    Args:
        config: Names the model and its output directory.
        sent: Requests that the clients sent.
        answered: Requests that got a prediction.
        outcomes: Outcomes that were put into the inbox.
        served: The version that answers.
    """
    ids: Counter[str] = Counter()
    log = requests.directory_of(config)
    for batch in request_log.read(log, columns=[request_log.REQUEST_ID], failed=True):
        ids.update(batch.column(request_log.REQUEST_ID).to_pylist())
    found: Counter[str] = Counter()
    for entry in labels.ledger_of(config).entries():
        found.update(entry.about.counts)
    joined = found.pop(Status.JOINED.value, 0)
    decisions = facts.decisions_of(config).all()
    registry = history.read(config.serving_directory)
    return Counts(
        sent,
        answered,
        ids.total(),
        len(ids),
        outcomes,
        joined,
        {status: rows for status, rows in found.items() if rows},
        tuple(_runs(decisions)),
        sum(d.action is Action.NOTE and d.rule == "skew" for d in decisions),
        registry.numbers,
        registry.live,
        served,
    )


def _runs(decisions: list[Decision]) -> Iterator[tuple[str, int | None]]:
    for decision in decisions:
        for attempt in decision.attempts:
            yield decision.rule, attempt.exit_code
