"""The evaluation's own metrics, of live predictions whose labels have come.

Importing this imports TFMA, and so TensorFlow.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from models import decision, declared
from operations import ledger, scores
from operations.joining import Status
from operations.ledger import Ledger
from operations.live import Promise
from operations.requests import VERSION
from pipeline.columnar import lists
from pipeline.ingestion.columns import Kinds
from pipeline.quality import metrics, results
from pipeline.quality.aggregates import Scored
from pipeline.quality.evaluation import Evaluation, summed_batch
from pipeline.quality.gated import Gated
from pipeline.quality.gates import Settings
from pipeline.quality.intervals import intervals
from pipeline.quality.scoring import Answers
from pipeline.trust import labels

# No rule, and no slice: the intervals of all rows.
_OVERALL = (
    None
    if declared.TASK == "binary"
    else Gated(
        Settings((), 0.95, 1, (), declared.TASK, declared.CLASSES).to_json(),
        (decision.DEFAULT,),
    )
)
# Sums of several batches are merged at once: each may be a megabyte.
_MERGED = 16


@dataclass(frozen=True)
class Labelled:
    """A window's predictions with labels.

    Attributes:
        rows: Predictions with a label in the ledger.
        known: Those of them whose label counts, by the label policy.
        metrics: The metrics of these, with the intervals of those that thresholds are
            on.
        bounds: The lowest values that the evaluation's thresholds allow, by metric.
    """

    rows: int
    known: int
    metrics: Mapping[str, Promise]
    bounds: Mapping[str, float]


@dataclass(frozen=True)
class Asked:
    """Which predictions are measured, and how.

    Attributes:
        since: First moment of the predictions.
        until: The moment after the last.
        settings: The live model's EvalConfig, as JSON values.
        policy: Which labels count, the name of one of its policies.
        version: Only predictions of this version, if given.
    """

    since: datetime
    until: datetime
    settings: Mapping[str, Any]
    policy: str
    version: int | None = None


def measure(book: Ledger, kinds: Kinds, asked: Asked) -> Labelled:
    """Computes the metrics of predictions whose labels have come.

    Args:
        book: The labels.
        kinds: Types of the training data's columns.
        asked: Which predictions, and how.
    """
    config = _overall(asked.settings)
    evaluation = Evaluation(config.SerializeToString(), (), gates=_OVERALL)
    planned = evaluation.plan
    rows = known = 0
    partials = []
    for batch in _joined(book, kinds, asked):
        is_known, truth = labels.values_of(asked.policy, batch)
        rows += batch.num_rows
        known += int(is_known.sum())
        scored = Scored(
            truth.astype(np.float64),
            scores.values_of(batch.column(scores.ANSWER)),
            is_known.astype(np.float64),
        )
        listed = lists.wrap_batch(batch)
        sums = summed_batch(planned, listed, {"": Answers(scored, {})})
        if _OVERALL:
            gated = _OVERALL.summed(listed, [scored])
            sums = dataclasses.replace(sums, gated=gated)
        partials.append(sums)
        if len(partials) == _MERGED:
            partials = [evaluation.merge(partials)]
    if not partials:
        return Labelled(0, 0, {}, _bounds(config))
    total = evaluation.merge(partials)
    ((where, values),) = list(metrics.results(planned, total))
    found = intervals(planned, total, {where: values}).get(where, {})
    bounds = {key.name: (each.low, each.high) for key, each in found.items()}
    if _OVERALL and total.gated:
        judged = _OVERALL.judge(total.gated)
        (overall,) = (each for each in judged.metrics if not each["where"])
        bounds = results.intervals_of_rules(overall["metrics"]) | bounds
    return Labelled(rows, known, dict(_numbers(values, bounds)), _bounds(config))


def _overall(settings: Mapping[str, Any]) -> Any:
    """Completes an EvalConfig for one model and all rows."""
    config = json_format.ParseDict(settings, config_pb2.EvalConfig())
    # Of slices the window has too few labels, and a baseline has no predictions here.
    del config.slicing_specs[:]
    config.slicing_specs.append(config_pb2.SlicingSpec())
    del config.model_specs[1:]
    return tfma.utils.update_eval_config_with_defaults(
        config, has_baseline=False, rubber_stamp=True
    )


def _joined(book: Ledger, kinds: Kinds, asked: Asked) -> Iterator[pa.RecordBatch]:
    """Yields the score and the label's columns of predictions, in bounded batches."""
    kind = ledger.FIXED[ledger.REQUEST_TIME]
    since, until = (pa.scalar(each, kind) for each in (asked.since, asked.until))
    names = [name for name in declared.LABEL.read if name in kinds]
    wanted = [scores.ANSWER, VERSION, ledger.REQUEST_TIME]
    data = [f"{ledger.DATA}{name}" for name in names]
    for batch in book.rows([Status.JOINED], [*wanted, *data]):
        times = batch.column(ledger.REQUEST_TIME)
        kept = pc.and_(pc.greater_equal(times, since), pc.less(times, until))
        kept = pc.and_(kept, scores.is_known(batch.column(scores.ANSWER)))
        if asked.version is not None:
            kept = pc.and_(kept, pc.equal(batch.column(VERSION), asked.version))
        found = batch.filter(kept)
        if found.num_rows:
            yield pa.RecordBatch.from_arrays(
                found.columns, [*wanted, *names]
            ).drop_columns([VERSION, ledger.REQUEST_TIME])


def _numbers(
    values: Mapping[Any, Any], bounds: Mapping[str, tuple[float, float]]
) -> Iterator[tuple[str, Promise]]:
    for key, value in values.items():
        # Plots and confusion matrices are no numbers.
        number = np.asarray(value) if isinstance(value, float | np.generic) else None
        if number is not None and number.size == 1 and np.isfinite(number):
            low, high = bounds.get(key.name, (None, None))
            yield key.name, Promise(float(number), low, high)


def _bounds(config: Any) -> dict[str, float]:
    """Returns the lower bounds of the thresholds on all rows, by metric."""
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    return {
        key.name: each.lower_bound.value
        for key, several in thresholds.items()
        for _, each in _as_pairs(several)
        if isinstance(each, config_pb2.GenericValueThreshold)
        and each.HasField("lower_bound")
    }


def _as_pairs(several: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    return ((pair[0], pair[1]) for pair in several)
