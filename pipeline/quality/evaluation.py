"""Evaluation of models on shards of columns: partial sums first, then results.

Workers, local ones and Beam's alike, call only `Evaluation.of_shard` and
`Evaluation.merge` (`pipeline.columnar.engine`); `finish` writes the results.
"""

import dataclasses
import functools
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from pipeline.columnar import progress
from pipeline.columnar.shards import Shard, read_batches
from pipeline.ingestion.splitting import AppliedRule, unseen
from pipeline.ingestion.tfrecord import read_records
from pipeline.quality import metrics, scoring, tfma_files
from pipeline.quality.aggregates import (
    AboveThresholds,
    Histogram,
    LogLoss,
    Partial,
    Scored,
    merged,
    summed,
)
from pipeline.quality.gated import Gated
from pipeline.quality.intervals import intervals
from pipeline.quality.metrics import Plan
from pipeline.quality.results import CANDIDATE
from pipeline.quality.rules import GATES_FILE
from pipeline.quality.scoring import Answers, EvaluationError, Examples
from pipeline.quality.slices import Members, SliceKey, Spec, Values, members
from pipeline.quality.task_metrics import OF_CLASSES
from pipeline.quality.verdicts import verdict

ROWS = 20_000
"""Rows scored at a time: larger batches are no faster, and take more memory."""

# Metrics that no score is needed for.
_OF_ROWS = ("ExampleCount", "WeightedExampleCount")
_MODEL_TYPES = ("", constants.TF_GENERIC, constants.TF_KERAS)

# Local workers are threads: without the lock each would load the models first.
_loading = threading.Lock()
# TFMA's combiners of Keras metrics keep what they compute in one object for all.
_combining = threading.Lock()


@dataclass(frozen=True)
class RecordFile:
    """A shard of tf.Examples in a TFRecord file, as other ExampleGens write it."""

    file: str


@dataclass(frozen=True)
class Evaluation:
    """The settings of an evaluation; small and picklable.

    Attributes:
        config: The EvalConfig, serialized, complete for the models.
        models: Each model's name and SavedModel directory.
        rules: The split rules of the models' training data, as JSON, if they differ.
            Only rows that are in the test split by all of them are evaluated, since a
            model may have been trained on the others.
        gates: The rules to judge by; None for the EvalConfig's thresholds alone.
    """

    config: bytes
    models: tuple[tuple[str, str], ...]
    rules: tuple[str, ...] = ()
    gates: Gated | None = None

    @property
    def plan(self) -> Plan:
        """The sums and derivations."""
        return _plan(self.config)

    def load(self) -> dict[str, scoring.Model]:
        """Returns the models, loaded once in a process, by TFMA's names for them."""
        with _loading:
            return scoring.load(self.models, self.config)

    def of_shard(self, shard: Shard | RecordFile) -> Partial:
        """Sums a shard; holds one batch of it in memory."""
        total: Partial | None = None
        for batch in _batches(shard):
            found = self.of_batch(batch)
            total = found if total is None else self.merge([total, found])
            progress.advance(batch.num_rows)
        # A shard without rows still has to return sums, with the right number of
        # tables.
        return total or self.of_batch(pa.RecordBatch.from_pylist([]))

    def of_batch(self, batch: pa.RecordBatch) -> Partial:
        """Scores a batch with each model, and sums."""
        batch = self._unseen(batch)
        # After the filter, since a batch may consist of rows that a model was trained
        # on.
        if not batch.num_rows:
            return empty(self.plan)
        examples = Examples(batch)
        answers = {name: model(batch, examples) for name, model in self.load().items()}
        found = summed_batch(self.plan, batch, answers)
        if self.gates is None:
            return found
        scored = self._gated_scores(batch, examples, answers)
        return dataclasses.replace(found, gated=self.gates.summed(batch, scored))

    def _gated_scores(
        self, batch: pa.RecordBatch, examples: Examples, answers: Mapping[str, Answers]
    ) -> list[Scored]:
        """Returns the candidate's scores, and those of each rival."""
        baseline = self.plan.baseline
        names = [name for name in answers if name != baseline]
        found = [answers[name].scored for name in names[:1]]
        if baseline:
            found.append(answers[baseline].scored)
        if self.gates and self.gates.best:
            found.append(self.load_best()(batch, examples).scored)
        return found

    def load_best(self) -> scoring.Model:
        """Returns the best recent live model, loaded once in a process."""
        place = self.gates.best if self.gates else ""
        with _loading:
            (model,) = scoring.load(((CANDIDATE, place),), _alone(self.config)).values()
        return model

    def _unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.rules or not batch.num_rows:
            return batch
        rules = [AppliedRule.from_mapping(json.loads(rule)) for rule in self.rules]
        return batch.filter(pa.array(unseen(rules, batch)))

    def count_unseen(self, shard: Shard | RecordFile) -> int:
        """Counts the rows of a shard that no model can have been trained on."""
        return sum(self._unseen(batch).num_rows for batch in _batches(shard))

    def merge(self, partials: Sequence[Partial]) -> Partial:
        """Adds partial sums up."""
        planned = self.plan
        total = merged(planned.kinds, partials, functools.partial(_merge, planned))
        gated = [each.gated for each in partials if each.gated is not None]
        if self.gates is None or not gated:
            return total
        return dataclasses.replace(total, gated=merged(self.gates.kinds, gated))

    def finish(self, partial: Partial | None, directory: str, data: str) -> bool:
        """Writes TFMA's files.

        Args:
            partial: The sums of all shards; None if there were none.
            directory: Directory of the ModelEvaluation artifact.
            data: Location of the examples, for display.

        Returns:
            Whether the candidate reached every threshold.
        """
        planned = self.plan
        total = partial or empty(planned)
        found = list(metrics.results(planned, total))
        validation = verdict(planned.config, found)
        evaluated = tfma_files.Evaluated(
            planned.config, found, intervals(planned, total, dict(found)), validation
        )
        tfma_files.write(
            directory, evaluated, tfma_files.Origin(data, dict(self.models))
        )
        # A candidate that misses a threshold is judged too: the report says what else.
        passed = self._gates_passed(total, directory)
        return passed and bool(validation.validation_ok)

    def _gates_passed(self, total: Partial, directory: str) -> bool:
        """Writes the gates' verdict; an evaluation without rows has failed already."""
        if self.gates is None or total.gated is None:
            return True
        judged = self.gates.judge(total.gated)
        with tf.io.gfile.GFile(f"{directory}/{GATES_FILE}", "w") as file:
            file.write(judged.to_json(threshold=self.gates.thresholds[0]))
        return judged.passed


def summed_batch(
    planned: Plan, batch: pa.RecordBatch, answers: Mapping[str, Answers]
) -> Partial:
    """Sums a scored batch.

    Args:
        planned: The sums to compute.
        batch: List columns, for slices.
        answers: Scores and features, by TFMA's names of the models.
    """
    for name, answer in answers.items():
        # Before anything is summed: a histogram of wrong labels looks like any other.
        _expect_labels(planned, name, answer.scored)
    inside = _members(planned.config, batch, answers)
    scored = {name: answer.scored for name, answer in answers.items()}
    tables = summed(planned.kinds, scored, inside)
    others: dict[SliceKey, list[Any]] = {}
    if planned.others:
        with _combining:
            others = _others(planned, batch, answers, inside)
    return Partial(inside.keys, tables, others, batch.num_rows)


def empty(planned: Plan) -> Partial:
    """Returns the sums of no rows."""
    # Through the same code as rows, so that the shapes of all tables are right.
    none = np.zeros(0)
    scored = {kind.model: Scored(none, none, none) for kind in planned.kinds}
    nobody = Members((), none.astype(np.int64), none.astype(np.int64))
    return Partial((), summed(planned.kinds, scored, nobody))


def slicing_specs(config: Any) -> list[Spec]:
    """Reads an EvalConfig's slices; all rows if it names none."""
    found = [
        Spec.of(spec.feature_keys, dict(spec.feature_values))
        for spec in config.slicing_specs
    ]
    return found or [Spec()]


def by_class(config: Any) -> bool:
    """Whether an EvalConfig asks for metrics of classes that ours computes."""
    names = {m.class_name for spec in config.metrics_specs for m in spec.metrics}
    return bool(names & {*OF_CLASSES}) and names <= {*OF_CLASSES, *_OF_ROWS}


def unsupported(config: Any) -> str:
    """Returns the first setting that only TFMA's own pipeline supports; "" if none."""
    options = config.options
    checks: Iterator[tuple[Any, str]] = itertools.chain(
        (
            (getattr(spec, name).ByteSize(), f"metrics_specs.{name}")
            for spec in config.metrics_specs
            for name in ("binarize", "aggregate")
        ),
        (
            (getattr(spec, name), f"metrics_specs.{name}")
            for spec in config.metrics_specs
            for name in ("output_names", "query_key", "cross_slice_thresholds")
        ),
        (
            (getattr(spec, name), f"model_specs.{name}")
            for spec in config.model_specs
            for name in ("label_keys", "prediction_keys", "example_weight_keys")
        ),
        (
            problem
            for spec in config.model_specs
            for problem in (
                (spec.model_type not in _MODEL_TYPES, "model_specs.model_type"),
                (spec.signature_name == "eval", "an EvalSavedModel"),
                (
                    any("@" in name for name in spec.preprocessing_function_names),
                    "a preprocessing function of TFMA's",
                ),
                (not spec.label_key, "a model without label_key"),
                (spec.HasField("padding_options"), "model_specs.padding_options"),
            )
        ),
        (
            (spec.slice_keys_sql, "slicing_specs.slice_keys_sql")
            for spec in config.slicing_specs
        ),
        (
            (config.cross_slicing_specs, "cross_slicing_specs"),
            (
                options.compute_confidence_intervals.value,
                "options.compute_confidence_intervals",
            ),
            (options.disabled_outputs.values, "options.disabled_outputs"),
            (options.min_slice_size.value > 1, "options.min_slice_size"),
        ),
    )
    return next((name for asked, name in checks if asked), "")


@functools.lru_cache(maxsize=4)
def _alone(config: bytes) -> bytes:
    """Returns an EvalConfig of the candidate alone, to load another model as it is."""
    alone = config_pb2.EvalConfig.FromString(config)
    (candidate,) = [spec for spec in alone.model_specs if not spec.is_baseline]
    del alone.model_specs[:]
    alone.model_specs.add().CopyFrom(candidate)
    alone.model_specs[0].name = CANDIDATE
    return alone.SerializeToString()


@functools.lru_cache(maxsize=4)
def _plan(config: bytes) -> Plan:
    planned = metrics.plan(config_pb2.EvalConfig.FromString(config))
    for each in planned.others:
        # Beam would call it on each worker; here nobody else does.
        each.combiner.setup()
    return planned


def _batches(shard: Shard | RecordFile) -> Iterator[pa.RecordBatch]:
    if isinstance(shard, Shard):
        yield from read_batches(shard, rows=ROWS)
        return
    decoder = ExamplesToRecordBatchDecoder()
    held: list[bytes] = []
    for record in read_records(shard.file):
        held.append(record)
        if len(held) == ROWS:
            yield decoder.DecodeBatch(held)
            held = []
    if held:
        yield decoder.DecodeBatch(held)


def _members(
    config: Any, batch: pa.RecordBatch, answers: Mapping[str, Answers]
) -> Members:
    specs = slicing_specs(config)
    columns: dict[str, Values] = {}
    for name in {name for spec in specs for name in spec.names}:
        made = [a.features[name] for a in answers.values() if name in a.features]
        if made:
            # As TFMA does: of two models that made different values, a row has both.
            together = np.concatenate([m.reshape(len(m), -1) for m in made], axis=1)
            columns[name] = Values.of(together)
        elif name in batch.schema.names:
            columns[name] = Values.of(batch.column(name))
    return members(specs, columns, batch.num_rows)


def _expect_labels(planned: Plan, model: str, scored: Scored) -> None:
    """Rejects labels outside 0 to 1 if a metric of two classes needs them.

    Raises:
        EvaluationError: A label is outside; the message gives the first.
    """
    by_class = any(
        isinstance(kind, Histogram | AboveThresholds | LogLoss) and kind.model == model
        for kind in planned.kinds
    )
    labels = scored.labels
    wrong = labels[~((labels >= 0) & (labels <= 1))] if by_class else labels[:0]
    if wrong.size:
        raise EvaluationError(
            f"{wrong.size} labels are not from 0 to 1, the first is {wrong[0]:g}; the "
            "EvalConfig asks for metrics of two classes: fix label_key, or ask for "
            "metrics of numbers"
        )


def _others(
    planned: Plan,
    batch: pa.RecordBatch,
    answers: Mapping[str, Answers],
    inside: Members,
) -> dict[SliceKey, list[Any]]:
    """Feeds rows one by one to the combiners of TFMA that have no sums here."""
    combiners = [each.combiner for each in planned.others]
    accumulators = {
        key: [combiner.create_accumulator() for combiner in combiners]
        for key in inside.keys
    }
    # By row and not by slice: preparing a row's inputs is what takes the time, and it
    # is the same for all slices.
    by_row: list[list[SliceKey]] = [[] for _ in range(batch.num_rows)]
    for which, row in zip(inside.slices.tolist(), inside.rows.tolist(), strict=True):
        by_row[row].append(inside.keys[which])
    for row, keys in enumerate(by_row):
        extracts = _extracts(batch, answers, row)
        for at, each in enumerate(planned.others):
            inputs = _combiner_inputs(each, extracts)
            for key in keys:
                held = accumulators[key]
                held[at] = each.combiner.add_inputs(held[at], inputs)
    return {
        # Combiners buffer rows; what is sent to another worker should be sums.
        key: [c.compact(a) for c, a in zip(combiners, held, strict=True)]
        for key, held in accumulators.items()
    }


def _merge(planned: Plan, one: list[Any], other: list[Any]) -> list[Any]:
    with _combining:
        return [
            # Not a list: TFMA 0.52's regression errors take the first from
            # `iter(...)`, go over all of them again, and would count it twice.
            each.combiner.merge_accumulators(iter([first, second]))
            for each, first, second in zip(planned.others, one, other, strict=True)
        ]


def _extracts(
    batch: pa.RecordBatch, answers: Mapping[str, Answers], row: int
) -> dict[str, Any]:
    """Returns a row as TFMA's extractors hand it to combiners."""

    def each(values: Mapping[str, Any]) -> Any:
        # With a single model TFMA has no level of models' names.
        return values[""] if set(values) == {""} else dict(values)

    def of_model(field: str) -> Any:
        return each(
            {
                name: np.array([getattr(answer.scored, field)[row]])
                for name, answer in answers.items()
            }
        )

    features = {
        name: np.asarray(batch.column(at)[row].as_py() or [])
        for at, name in enumerate(batch.schema.names)
    }
    transformed = {
        name: {n: np.atleast_1d(value[row]) for n, value in answer.features.items()}
        for name, answer in answers.items()
    }
    return {
        constants.LABELS_KEY: of_model("labels"),
        constants.PREDICTIONS_KEY: of_model("predictions"),
        constants.EXAMPLE_WEIGHTS_KEY: of_model("weights"),
        constants.FEATURES_KEY: features,
        constants.TRANSFORMED_FEATURES_KEY: each(transformed),
    }


def _combiner_inputs(computation: Any, extracts: dict[str, Any]) -> list[Any]:
    """Preprocesses a row by the preprocessors of a TFMA computation."""
    standard = metric_types.StandardMetricInputsPreprocessor
    preprocessors = computation.preprocessors or [standard()]
    found = [extracts]
    for preprocessor in preprocessors:
        found = [made for each in found for made in preprocessor.process(each)]
    # TFMA does the same: standard inputs are an object, others the extracts themselves.
    if len(preprocessors) == 1 and isinstance(preprocessors[0], standard):
        return [
            metric_util.to_standard_metric_inputs(
                each,
                include_labels=constants.LABELS_KEY in each,
                include_predictions=constants.PREDICTIONS_KEY in each,
            )
            for each in found
        ]
    return found
