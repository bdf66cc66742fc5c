"""Evaluates the same rows with TFMA's pipeline and with ours, without a model."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import extractors
from tensorflow_model_analysis.constants import (
    METRICS_KEY,
    PLOTS_KEY,
    VALIDATIONS_KEY,
)
from tensorflow_model_analysis.evaluators.metrics_plots_and_validations_evaluator import (  # noqa: E501 - TFMA's name
    MetricsPlotsAndValidationsEvaluator,
)
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    MetricsPlotsAndValidationsWriter,
)

from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.quality.aggregates import Scored
from pipeline.quality.evaluation import Evaluation, summed_batch
from pipeline.quality.scoring import Answers

CANDIDATE, BASELINE = "candidate", "baseline"


@dataclass(frozen=True)
class Rows:
    """Rows with what one or two models said of them.

    Attributes:
        columns: Lists of values per row, by name.
        labels: One per row.
        weights: One per row.
        candidate: The candidate's scores.
        baseline: The baseline's, if there is one.
    """

    columns: Mapping[str, Sequence[Sequence[Any]]]
    labels: Sequence[float]
    weights: Sequence[float]
    candidate: Sequence[float]
    baseline: Sequence[float] | None = None

    @property
    def models(self) -> dict[str, Sequence[float]]:
        """Returns each model's scores by its name."""
        both = {CANDIDATE: self.candidate, BASELINE: self.baseline}
        return {name: scores for name, scores in both.items() if scores is not None}

    def complete(self, config: Any) -> Any:
        """Completes an EvalConfig for the models, as TFX's Evaluator does."""
        return tfma.utils.update_eval_config_with_defaults(
            config, has_baseline=self.baseline is not None, rubber_stamp=True
        )

    def batch(self) -> pa.RecordBatch:
        """Returns the columns to slice by."""
        arrays = [pa.array(column) for column in self.columns.values()]
        return pa.RecordBatch.from_arrays(arrays, list(self.columns))

    def cut(self, start: int, end: int) -> "Rows":
        """Returns some of the rows."""
        return Rows(
            {name: column[start:end] for name, column in self.columns.items()},
            self.labels[start:end],
            self.weights[start:end],
            self.candidate[start:end],
            None if self.baseline is None else self.baseline[start:end],
        )


def by_tfma(rows: Rows, config: Any, path: Path) -> Path:
    """Evaluates with TFMA's pipeline, on Beam, in one batch.

    Args:
        rows: The rows.
        config: For a candidate; completed here.
        path: Where to write.
    """
    completed = rows.complete(config)
    for spec in completed.model_specs:
        # The scores are columns here, and come from no model.
        del spec.preprocessing_function_names[:]
        spec.signature_name = ""
        spec.label_key, spec.example_weight_key = "label", "weight"
        spec.prediction_key = spec.name or CANDIDATE
    numbers = {"label": rows.labels, "weight": rows.weights, **rows.models}
    batch = rows.batch()
    for name, values in numbers.items():
        batch = batch.append_column(name, pa.array([[float(v)] for v in values]))
    paths = {k: str(path / k) for k in (METRICS_KEY, PLOTS_KEY, VALIDATIONS_KEY)}
    with beam.Pipeline(argv=[IN_PROCESS_BEAM_RUNNER]) as pipeline:
        _ = (
            pipeline
            | beam.Create([batch], reshuffle=False)
            | tfma.BatchedInputsToExtracts()
            | tfma.ExtractAndEvaluate(
                # The default ones drop a baseline that has no model.
                extractors=[
                    extractors.FeaturesExtractor(eval_config=completed),
                    extractors.LabelsExtractor(eval_config=completed),
                    extractors.ExampleWeightsExtractor(eval_config=completed),
                    extractors.PredictionsExtractor(eval_config=completed),
                    extractors.UnbatchExtractor(),
                    extractors.SliceKeyExtractor(eval_config=completed),
                ],
                evaluators=[MetricsPlotsAndValidationsEvaluator(eval_config=completed)],
            )
            | tfma.WriteResults(
                writers=[
                    MetricsPlotsAndValidationsWriter(
                        output_paths=paths, eval_config=completed, rubber_stamp=False
                    )
                ]
            )
        )
    return path


def by_columns(
    rows: Rows, config: config_pb2.EvalConfig, path: Path, *, batches: int = 1
) -> Path:
    """Evaluates with our code, in batches of about equal size."""
    completed = rows.complete(config)
    several = rows.baseline is not None
    places = tuple((spec.name, "no model") for spec in completed.model_specs)
    evaluation = Evaluation(completed.SerializeToString(), places)
    ends = np.linspace(0, len(rows.labels), batches + 1).astype(int)
    partials = [
        summed_batch(
            evaluation.plan,
            part.batch(),
            {
                name if several else "": Answers(
                    Scored(
                        np.asarray(part.labels, np.float64),
                        np.asarray(scores, np.float64),
                        np.asarray(part.weights, np.float64),
                    ),
                    {},
                )
                for name, scores in part.models.items()
            },
        )
        for part in (rows.cut(start, end) for start, end in itertools.pairwise(ends))
        if part.labels
    ]
    total = evaluation.merge(partials) if partials else None
    path.mkdir(parents=True, exist_ok=True)
    evaluation.finish(total, str(path), "rows of a test")
    return path
