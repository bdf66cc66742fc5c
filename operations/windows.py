"""Sums over a window of the request log: traffic, latency, values and scores.

Memory is bounded: latencies and scores are counted in bins, and of each feature a
profile is kept, as the data gate keeps of training data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operations import scores as answers
from operations.requests import (
    LATENCY,
    PREDICTION,
    STATUS,
    VERSION,
    Log,
)
from pipeline.ingestion.columns import Kinds
from pipeline.trust import profile
from pipeline.trust.profile import Profile
from serving import request_log

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SCORE_BINS = 1000
_EDGES: Floats = np.geomspace(0.01, 600_000, 2_000)
"""Ends of the bins of latencies in milliseconds; a percentile is 0.9 % off at most."""
_TRAFFIC = (VERSION, LATENCY, STATUS)
_COLUMNS = (answers.ANSWER, *_TRAFFIC)
# Several batches are merged at once, since merging sorts all that is kept.
_MERGED = 16


@dataclass
class Traffic:
    """What one version of the model answered.

    Attributes:
        rows: Examples that it predicted.
        failed: Requests that failed, by status.
        latencies: Answered examples by bin of latency.
    """

    rows: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    latencies: Ints = field(default_factory=lambda: np.zeros(len(_EDGES) + 1, np.int64))

    @property
    def failures(self) -> int:
        """Number of requests that failed."""
        return sum(self.failed.values())

    @property
    def failed_share(self) -> float:
        """Share of failures in all that was asked, 0 to 1; 0 without traffic."""
        return self.failures / ((self.rows + self.failures) or 1)

    def latency(self, share: float) -> float | None:
        """Returns a percentile of the latencies in milliseconds.

        Args:
            share: Which one, 0 to 1.
        """
        sums = np.cumsum(self.latencies)
        if not sums[-1]:
            return None
        place = int(np.searchsorted(sums, share * sums[-1]))
        return float(_EDGES[min(place, len(_EDGES) - 1)])

    def add(self, other: "Traffic") -> None:
        """Adds another's counts."""
        self.rows += other.rows
        for status, count in other.failed.items():
            self.failed[status] = self.failed.get(status, 0) + count
        self.latencies = self.latencies + other.latencies


@dataclass(frozen=True)
class Scores:
    """Probabilities of yes, or of the most probable class, in bins of equal width.

    Attributes:
        counts: int64 [SCORE_BINS], rows.
        sums: float64 [SCORE_BINS], sum of the scores.
    """

    counts: Ints
    sums: Floats


@dataclass(frozen=True)
class Window:
    """A window of the request log.

    Attributes:
        since: Its first moment.
        until: The moment after its last.
        traffic: Of each version that answered or failed.
        profile: Of the features and, as `PREDICTION`, of what was predicted; `None`
            without rows.
        scores: The scores.
    """

    since: datetime
    until: datetime
    traffic: Mapping[int, Traffic]
    profile: Profile | None
    scores: Scores

    @property
    def rows(self) -> int:
        """Number of examples that were predicted."""
        return sum(each.rows for each in self.traffic.values())

    @property
    def total(self) -> Traffic:
        """The traffic of all versions."""
        total = Traffic()
        for each in self.traffic.values():
            total.add(each)
        return total


def read(log: Log, kinds: Kinds, since: datetime, until: datetime) -> Window:
    """Sums a window of a request log.

    Args:
        log: The log.
        kinds: Types of the features.
        since: First moment.
        until: Moment after the last.
    """
    traffic: dict[int, Traffic] = {}
    profiles: list[Profile] = []
    scores = Scores(np.zeros(SCORE_BINS, np.int64), np.zeros(SCORE_BINS))
    for batch in log.batches(kinds, since, until, _COLUMNS, failed=True):
        _count(batch, traffic)
        answered = batch.filter(pc.equal(batch.column(STATUS), request_log.OK))
        answer = answered.column(answers.ANSWER)
        predicted = answers.predicted(answer)
        scores = _added(scores, answers.confidence(answer))
        profiles.append(_profile_of(answered.select([*kinds]), predicted))
        if len(profiles) == _MERGED:
            profiles = [profile.merged(profiles)]
    whole = profile.merged(profiles) if profiles else None
    return Window(
        since, until, traffic, whole if whole and whole.rows else None, scores
    )


def traffic(log: Log, since: datetime, until: datetime) -> dict[int, Traffic]:
    """Counts the traffic of a window by version; see `Window`."""
    found: dict[int, Traffic] = {}
    for batch in log.batches({}, since, until, _TRAFFIC, failed=True):
        _count(batch, found)
    return found


def _profile_of(features: pa.RecordBatch, predicted: pa.Array) -> Profile:
    nothing = np.zeros(len(predicted), np.int64)
    # The prediction too: its drift is measured like that of a feature.
    batch = pa.RecordBatch.from_arrays(
        [*features.columns, predicted], [*features.schema.names, PREDICTION]
    )
    return profile.of_batch(batch, nothing, nothing)


def _count(batch: pa.RecordBatch, traffic: dict[int, Traffic]) -> None:
    # A request that failed before a version was chosen has none.
    versions = np.asarray(pc.fill_null(batch.column(VERSION), 0))
    answered = np.asarray(pc.equal(batch.column(STATUS), request_log.OK))
    latency = np.asarray(pc.fill_null(batch.column(LATENCY), np.nan), np.float64)
    for version in np.unique(versions).tolist():
        mine = versions == version
        here = traffic.setdefault(int(version), Traffic())
        here.rows += int((mine & answered).sum())
        known = latency[mine & answered & ~np.isnan(latency)]
        place = np.searchsorted(_EDGES, known, side="left")
        here.latencies = here.latencies + np.bincount(place, minlength=len(_EDGES) + 1)
        failed = batch.column(STATUS).filter(pa.array(mine & ~answered))
        for each in pc.value_counts(failed).to_pylist():
            status = str(each["values"])
            here.failed[status] = here.failed.get(status, 0) + each["counts"]


def _added(scores: Scores, column: pa.Array) -> Scores:
    values = np.asarray(column.drop_null(), np.float64)
    # A model of others may answer anything: what is no probability has no bin.
    values = values[(values >= 0) & (values <= 1)]
    place = np.minimum((values * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    return Scores(
        scores.counts + np.bincount(place, minlength=SCORE_BINS),
        scores.sums + np.bincount(place, values, SCORE_BINS),
    )
