"""The live version compared with the one before it, on the same requests.

While a version is watched, servers have the one before answer a share of the requests
too (`serving.shadow`), and log both answers under the request's id. What is compared is
how many requests each failed, how fast each was, how often they agree, and, with the
labels that have come, which one is right more often.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models import declared
from models.declarations import Task
from operations import ledger, scores
from operations.joining import Status
from operations.ledger import Ledger
from operations.requests import (
    LATENCY,
    PREDICTION,
    REQUEST_ID,
    ROW,
    SCORES,
    STATUS,
    THRESHOLD,
    TIME,
    VERSION,
    Log,
)
from operations.windows import Floats
from pipeline.ingestion.columns import Kinds
from serving import request_log

LABEL = "label"
# The time too: a client may send one id over and over.
_KEYS = [REQUEST_ID, ROW, TIME]
_ANSWER = [PREDICTION, SCORES, THRESHOLD, LATENCY, STATUS]
# Enough for a difference of a thousandth; more would only take memory.
_MOST_ROWS = 50_000
_P95 = 95
_REPLICATES = 200
_PERCENTILES = (2.5, 97.5)
_SEED = 20_261_129
_HALF = 0.5


@dataclass(frozen=True)
class Asked:
    """What is compared.

    Attributes:
        version: Number of the live version.
        before: Number of the version before it.
        since: First moment of the requests.
        until: The moment after the last.
    """

    version: int
    before: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Pairs:
    """Answers of both versions to the same requests, the newest ones.

    Attributes:
        requests: Requests that both answered or rejected.
        failed: Those that only the live version failed.
        before_failed: Those that only the version before failed.
        latency_ms: 95th percentile of the live version's latency, of requests that both
            answered; `None` without one.
        before_latency_ms: The same of the version before, which runs on idle cores
            only: it is at least as fast as this.
        agreement: Share of the examples, 0 to 1, with the same decision or class;
            `None` for numbers.
        difference: Mean absolute difference of the predictions; `None` for classes.
        apart: How far the answers are apart as errors are counted; `None` if no example
            has an answer of both.
    """

    requests: int
    failed: int = 0
    before_failed: int = 0
    latency_ms: float | None = None
    before_latency_ms: float | None = None
    agreement: float | None = None
    difference: float | None = None
    apart: "Apart | None" = None

    def line(self) -> str:
        """Sums it up in a sentence."""
        parts = [
            f"on {self.requests:,} requests",
            f"{self.failed:,} failed only here, {self.before_failed:,} only before",
        ]
        if self.latency_ms is not None and self.before_latency_ms is not None:
            parts.append(
                f"95 % within {self.latency_ms:.4g} and {self.before_latency_ms:.4g} ms"
            )
        if self.agreement is not None:
            parts.append(f"{self.agreement:.1%} of the answers agree")
        if self.difference is not None:
            parts.append(f"predictions differ by {self.difference:.3g} on average")
        return ", ".join(parts)


def answers(log: Log, asked: Asked) -> Pairs | None:
    """Compares the answers of both versions to the newest requests.

    Args:
        log: The request log.
        asked: What is compared.

    Returns:
        The comparison; `None` if there are no shadow answers.
    """
    shadow = _newest(log, asked)
    if not shadow.num_rows:
        return None
    limits = pc.min_max(shadow[TIME]).as_py()
    until = limits["max"] + timedelta(microseconds=1)
    live = _answers(log, asked.version, limits["min"], until, shadow[REQUEST_ID])
    live, shadow = _paired(live, shadow)
    # Of a request with several examples the first one, for it is rejected as a whole.
    once = pc.equal(live[ROW], 0)
    ok, before_ok = (
        np.asarray(pc.equal(each.filter(once)[STATUS], request_log.OK))
        for each in (live, shadow)
    )
    latency, before_latency = (
        _p95(each.filter(once).filter(pa.array(ok & before_ok))[LATENCY])
        for each in (live, shadow)
    )
    return Pairs(
        len(ok),
        int((~ok & before_ok).sum()),
        int((ok & ~before_ok).sum()),
        latency,
        before_latency,
        *_agreement(live, shadow),
    )


def _paired(one: pa.Table, other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Returns the rows of both tables that have the same keys, in the same order."""
    # Places are joined, since Arrow joins no lists.
    left, right = (
        table.select(_KEYS).append_column(name, pa.array(np.arange(table.num_rows)))
        for name, table in (("one", one), ("other", other))
    )
    places = left.join(right, keys=_KEYS, join_type="inner").sort_by("one")
    return one.take(places["one"]), other.take(places["other"])


def _newest(log: Log, asked: Asked) -> pa.Table:
    """Reads the newest shadow answers, `_MOST_ROWS` at least if there are as many."""
    kept: deque[pa.RecordBatch] = deque()
    rows = 0
    for batch in _of_version(log.shadow, asked.before, asked.since, asked.until):
        kept.append(batch)
        rows += batch.num_rows
        while rows - kept[0].num_rows >= _MOST_ROWS:
            rows -= kept.popleft().num_rows
    return _table(kept)


def _answers(
    log: Log, version: int, since: datetime, until: datetime, ids: pa.Array
) -> pa.Table:
    """Reads the answers of a version to some requests."""
    found = _of_version(log, version, since, until)
    return _table(b.filter(pc.is_in(b.column(REQUEST_ID), ids)) for b in found)


def _of_version(
    log: Log, version: int, since: datetime, until: datetime
) -> Iterator[pa.RecordBatch]:
    names = [*_KEYS, VERSION, *_ANSWER]
    for batch in log.batches({}, since, until, names, failed=True):
        mine = batch.filter(pc.equal(batch.column(VERSION), version))
        # A rejected request has no row; it is compared with the first one.
        row = pc.fill_null(mine.column(ROW), 0)
        yield mine.set_column(1, ROW, row).drop_columns([VERSION])


def _table(batches: "Iterator[pa.RecordBatch] | deque[pa.RecordBatch]") -> pa.Table:
    names = [*_KEYS, *_ANSWER]
    schema = pa.schema([request_log.schema({}).field(name) for name in names])
    table = pa.Table.from_batches((b.cast(schema) for b in batches), schema)
    return table.combine_chunks()


def _p95(latencies: pa.ChunkedArray) -> float | None:
    known = latencies.drop_null()
    return float(np.percentile(known, _P95)) if len(known) else None


@dataclass(frozen=True)
class Apart:
    """How far the answers of two versions are apart, as their errors are counted.

    Attributes:
        mean: Share of the examples, 0 to 1, whose class differs; of yes or no, those
            with a probability above 1/2 by one version only; of numbers, the mean
            absolute difference.
        error: Its standard error.
    """

    mean: float
    error: float


def _apart(values: npt.NDArray[Any]) -> Apart:
    return Apart(float(values.mean()), float(values.std() / np.sqrt(len(values))))


def _agreement(
    live: pa.Table, shadow: pa.Table
) -> tuple[float | None, float | None, Apart | None]:
    """Returns agreement, difference and `Apart` of the predictions, see `Pairs`."""
    both = (live, shadow)
    several = pc.and_(*(pc.is_valid(each[SCORES]) for each in both))
    if pc.any(several).as_py():
        lists = (each.filter(several)[SCORES].to_pylist() for each in both)
        pairs = zip(*lists, strict=True)
        same = np.array([np.argmax(one) == np.argmax(other) for one, other in pairs])
        return float(same.mean()), None, _apart(~same)
    single = pc.and_(*(pc.is_valid(each[PREDICTION]) for each in both))
    known = [each.filter(single) for each in both]
    if not known[0].num_rows:
        return None, None, None
    values = [np.asarray(each[PREDICTION], np.float64) for each in known]
    gaps = np.abs(values[0] - values[1])
    difference = float(gaps.mean())
    if declared.TASK != "binary":
        return None, difference, _apart(gaps)
    limits = [np.asarray(pc.fill_null(each[THRESHOLD], _HALF)) for each in known]
    chosen = [found > at for found, at in zip(values, limits, strict=True)]
    agreement = float((chosen[0] == chosen[1]).mean())
    # Not by their thresholds: the promised accuracy is that of deciding at 1/2.
    likelier = [each > _HALF for each in values]
    return agreement, difference, _apart(likelier[0] != likelier[1])


@dataclass(frozen=True)
class Quality:
    """The task's metric of both versions on the same labelled requests.

    Attributes:
        rows: Number of examples.
        live: AUC, accuracy or R2 of the live version.
        before: The same of the version before.
        low: Lower end of the 95 % interval of live minus before.
        high: Upper end.
    """

    rows: int
    live: float
    before: float
    low: float
    high: float


def quality(
    log: Log, book: Ledger, kinds: Kinds, asked: Asked, policy: str
) -> Quality | None:
    """Compares the task's metric of both versions on labelled requests.

    The difference has a paired bootstrap: each replicate has the same requests for
    both, so what both find hard cancels out.

    Args:
        log: The request log.
        book: The labels.
        kinds: Types of the training data's columns.
        asked: What is compared.
        policy: Which labels count, the name of one of the label's policies.

    Returns:
        The comparison; `None` if the metric can't be computed: without labels or shadow
        answers, of one class only (yes or no), or of equal numbers.
    """
    labelled = _labelled(book, kinds, asked, policy)
    if not labelled.num_rows:
        return None
    limits = pc.min_max(labelled[TIME]).as_py()
    until = limits["max"] + timedelta(microseconds=1)
    shadow = _answers(
        log.shadow, asked.before, limits["min"], until, labelled[REQUEST_ID]
    )
    labelled, shadow = _paired(labelled, shadow)
    answered = scores.is_known(_whole(shadow[scores.ANSWER]))
    labelled, shadow = labelled.filter(answered), shadow.filter(answered)
    truth = np.asarray(labelled[LABEL], np.float64)
    live, before = (
        scores.values_of(_whole(each[scores.ANSWER])) for each in (labelled, shadow)
    )
    ones = np.ones(len(truth))
    now, then = (metric(declared.TASK, truth, each, ones) for each in (live, before))
    if math.isnan(now) or math.isnan(then):
        return None
    low, high = np.nanpercentile(list(_differences(truth, live, before)), _PERCENTILES)
    return Quality(len(truth), now, then, float(low), float(high))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _differences(truth: Floats, live: Floats, before: Floats) -> Iterator[float]:
    numbers = np.random.default_rng(_SEED)
    for _ in range(_REPLICATES):
        weights = numbers.poisson(1, len(truth)).astype(np.float64)
        one, other = (metric(declared.TASK, truth, s, weights) for s in (live, before))
        yield one - other


def _labelled(book: Ledger, kinds: Kinds, asked: Asked, policy: str) -> pa.Table:
    """Reads the live version's predictions whose label has come and counts."""
    # Imports TensorFlow, which takes seconds, and there may be no label.
    from pipeline.trust import labels

    names = [name for name in declared.LABEL.read if name in kinds]
    fixed = [REQUEST_ID, ROW, ledger.REQUEST_TIME, scores.ANSWER, VERSION]
    parts: list[pa.RecordBatch] = []
    rows = 0
    for batch in book.rows([Status.JOINED], [*fixed, *_data(names)]):
        kept = batch.filter(_is_asked(batch, asked)).slice(0, _MOST_ROWS - rows)
        rows += kept.num_rows
        columns = [kept.column(name) for name in _data(names)]
        is_known, values = labels.values_of(
            policy, pa.RecordBatch.from_arrays(columns, names)
        )
        mine = [kept.column(name) for name in fixed[:-1]]
        labelled = pa.RecordBatch.from_arrays(
            [*mine, pa.array(values, pa.float64())], [*_KEYS, scores.ANSWER, LABEL]
        )
        parts.append(labelled.filter(pa.array(is_known)))
    if not parts:
        return pa.table({name: [] for name in _KEYS})
    return pa.Table.from_batches(parts).combine_chunks()


def _data(names: Sequence[str]) -> list[str]:
    return [f"{ledger.DATA}{name}" for name in names]


def _is_asked(batch: pa.RecordBatch, asked: Asked) -> pa.Array:
    kind = ledger.FIXED[ledger.REQUEST_TIME]
    times = batch.column(ledger.REQUEST_TIME)
    conditions = (
        pc.equal(batch.column(VERSION), asked.version),
        pc.greater_equal(times, pa.scalar(asked.since, kind)),
        pc.less(times, pa.scalar(asked.until, kind)),
        scores.is_known(batch.column(scores.ANSWER)),
    )
    return list(itertools.accumulate(conditions, pc.and_))[-1]


def metric(task: Task, labels: Floats, answers: Floats, weights: Floats) -> float:
    """Computes the metric that stands for a task; more of it is better.

    Args:
        task: The kind of task: AUC of yes or no, accuracy of classes, R2 of numbers.
        labels: float64 [N]: 0 or 1, the number of the class, or the number.
        answers: float64 [N], or [N, classes].
        weights: float64 [N].

    Returns:
        The metric; NaN if it is undefined.
    """
    if not weights.sum():
        return math.nan
    if task == "binary":
        return auc(labels, answers, weights)
    if task == "classes":
        return float(np.average(answers.argmax(axis=1) == labels, weights=weights))
    middle = np.average(labels, weights=weights)
    variance = np.average((labels - middle) ** 2, weights=weights)
    if not variance:
        return math.nan
    return float(1 - np.average((answers - labels) ** 2, weights=weights) / variance)


def auc(labels: Floats, scores: Floats, weights: Floats) -> float:
    """Returns the area under the ROC curve of weighted rows; NaN for one class.

    Args:
        labels: float64 [N], 0 or 1.
        scores: float64 [N]; rows of equal score count half.
        weights: float64 [N].
    """
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * labels)
    negative = np.bincount(place, weights * (1 - labels))
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs)
