"""Writes evaluations in TFMA's own files, for TFMA, notebooks and `quality.results`.

An undefined metric is absent. A metric with an interval has its value, and the bounds
in `confidence_interval`, as TFMA writes its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis import constants, version
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    convert_slice_metrics_to_proto,
    convert_slice_plots_to_proto,
)

from pipeline.quality.intervals import Interval
from pipeline.quality.metrics import Metrics
from pipeline.quality.slices import SliceKey

# TFMA's readers look for this pattern; one shard is enough for a few slices.
_SHARD = "-00000-of-00001.tfrecord"
_METHOD = metrics_for_slice_pb2.BoundedValue.POISSON_BOOTSTRAP


@dataclass(frozen=True)
class Origin:
    """Locations of the evaluated data and models; TFMA displays them only.

    Attributes:
        data: Location of the examples.
        models: Location of each model, by name.
    """

    data: str
    models: Mapping[str, str]


@dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation.

    Attributes:
        config: The EvalConfig.
        results: Each slice's metrics and plots.
        intervals: Intervals by slice and metric.
        validation: TFMA's ValidationResult.
    """

    config: Any
    results: Sequence[tuple[SliceKey, Metrics]]
    intervals: Mapping[SliceKey, Mapping[Any, Interval]]
    validation: Any


def write(directory: str, evaluated: Evaluated, origin: Origin) -> None:
    """Writes an evaluation.

    Args:
        directory: Directory of the ModelEvaluation artifact.
        evaluated: The results.
        origin: Locations of the data and the models.
    """
    tf.io.gfile.makedirs(directory)
    run = config_pb2.EvalRun(
        eval_config=evaluated.config,
        version=version.VERSION,
        data_location=origin.data,
        model_locations=dict(origin.models),
    )
    with tf.io.gfile.GFile(f"{directory}/eval_config.json", "w") as file:
        file.write(json_format.MessageToJson(run))
    metrics = f"{directory}/{constants.METRICS_KEY}{_SHARD}"
    plots = f"{directory}/{constants.PLOTS_KEY}{_SHARD}"
    with (
        tf.io.TFRecordWriter(metrics) as metrics_file,
        tf.io.TFRecordWriter(plots) as plots_file,
    ):
        for key, found in evaluated.results:
            inside = evaluated.intervals.get(key, {})
            # Plots have a file of their own, and an absent metric is how readers see an
            # undefined one: NaN would be compared and plotted.
            numbers = _with_intervals(_defined(found), inside)
            record = convert_slice_metrics_to_proto((key, numbers), None)
            metrics_file.write(record.SerializeToString())
            if drawn := _plots(found):
                record = convert_slice_plots_to_proto((key, drawn), None)
                plots_file.write(record.SerializeToString())
    validations = f"{directory}/{constants.VALIDATIONS_KEY}.tfrecord"
    with tf.io.TFRecordWriter(validations) as file:
        file.write(evaluated.validation.SerializeToString())


def _plots(found: Metrics) -> Metrics:
    return {k: v for k, v in found.items() if isinstance(k, metric_types.PlotKey)}


def _defined(found: Metrics) -> Metrics:
    return {
        key: value
        for key, value in found.items()
        if not isinstance(key, metric_types.PlotKey) and not _is_nan(value)
    }


def _is_nan(value: Any) -> bool:
    try:
        return math.isnan(value)
    except TypeError:  # An array or a message.
        return False


def _with_intervals(found: Metrics, intervals: Mapping[Any, Interval]) -> Metrics:
    bounded = {
        key: metrics_for_slice_pb2.BoundedValue(
            # With a bounded value TFMA writes the plain one as well, for readers
            # without intervals.
            value={"value": float(found[key])},
            lower_bound={"value": interval.low},
            upper_bound={"value": interval.high},
            methodology=_METHOD,
        )
        for key, interval in intervals.items()
        if key in found
    }
    return found | bounded
