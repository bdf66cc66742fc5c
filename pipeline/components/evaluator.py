"""The standard Evaluator, on columns.

It takes the inputs, parameters and outputs of TFX's Evaluator, and writes TFMA's files.
What an EvalConfig asks for that `pipeline.quality` doesn't do, TFX's own executor does,
and the log says so.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.types.channel import BaseChannel
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import json_utils, path_utils, proto_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from models import decision
from models.kept_predictions import EXTRAS
from models.names import MODEL_FILE, RULE_FILE
from pipeline.beam.executors import clear, runner_of
from pipeline.columnar import engine, files, progress
from pipeline.columnar.shards import (
    Shard,
    count_rows,
    read_batches,
    shards_of,
    split_up,
)
from pipeline.components.local_files import (
    scratch,
    stock_files,
    written_by_tensorflow,
)
from pipeline.components.span_order import by_span
from pipeline.ingestion.splitting import TRAIN
from pipeline.quality.evaluation import (
    Evaluation,
    RecordFile,
    by_class,
    unsupported,
)
from pipeline.quality.gated import Gated
from pipeline.quality.gates import BEST, LIVE, Settings
from pipeline.quality.metrics import unknown_metrics
from pipeline.store import properties
from pipeline.store.properties import VERDICT
from pipeline.trust import coverage
from pipeline.trust.past import read_cells

_log = logging.getLogger(__name__)

GATES = "gates"
"""The parameter that TFX's component doesn't have: `gates.Settings` as JSON."""
BEST_MODEL = "best_model"

Artifacts = dict[str, list[Artifact]]

_DEFAULT_SPLITS = ["eval"]  # TFX's.
_USER_CODE = (specs.MODULE_FILE_KEY, specs.MODULE_PATH_KEY)


class Executor(stock.Executor):
    """The stock Evaluator, with batches of columns in place of rows."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: Artifacts,
        output_dict: Artifacts,
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation, and whether the candidate is blessed."""
        config = _eval_config(input_dict, exec_properties)
        because = _why_stock(config, input_dict, exec_properties)
        if because:
            self._stock(because, input_dict, output_dict, exec_properties)
            return
        shards = _shards(input_dict[specs.EXAMPLES_KEY], _splits(exec_properties))
        directory = artifact_utils.get_single_uri(output_dict[specs.EVALUATION_KEY])
        runner = runner_of(self, directory)
        rules = _moved_rules(input_dict)
        if rules and not _count_unseen(rules, shards, runner):
            _log.warning(
                "The baseline may have learned from every test row, so nothing is "
                "compared with it"
            )
            input_dict = {**input_dict, specs.BASELINE_MODEL_KEY: []}
            config, rules = _eval_config(input_dict, exec_properties), ()
        directories = _model_directories(config, input_dict)
        evaluation = Evaluation(
            config.SerializeToString(),
            directories,
            rules,
            _gated(config, directories, input_dict, exec_properties),
        )
        models = evaluation.load().values()
        if not all(model.one_score for model in models) and not by_class(config):
            self._stock(
                "a model that gives several scores per row",
                input_dict,
                output_dict,
                exec_properties,
            )
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        if unknown := unknown_metrics(config):
            _log.warning(
                "TFMA computes %s row by row, which is slow; the other metrics are "
                "computed on columns",
                ", ".join(unknown),
            )
        with progress.running(progress.Task(_count_rows(shards))):
            total = engine.aggregate(
                evaluation.of_shard, evaluation.merge, shards, runner
            )
        clear(directory)
        data = ", ".join(a.uri for a in input_dict[specs.EXAMPLES_KEY])
        with written_by_tensorflow(self, directory) as results:
            reached = evaluation.finish(total, results, data)
        if _has_thresholds(config):
            _bless(input_dict, output_dict, exec_properties, blessed=reached)
        else:
            _log.info("No threshold is configured, so the model is not validated.")

    def _stock(
        self,
        because: str,
        input_dict: Artifacts,
        output_dict: Artifacts,
        exec_properties: dict[str, Any],
    ) -> None:
        """Leaves the evaluation to TFX, which reads rows, as tf.Examples."""
        _log.warning("The EvalConfig has %s: TFX's Evaluator evaluates", because)
        examples = input_dict[specs.EXAMPLES_KEY]
        splits = _splits(exec_properties)
        if not any(map(_is_parquet, examples)):
            with stock_files(self, input_dict, output_dict):
                super().Do(input_dict, output_dict, exec_properties)
            return
        with scratch(self, str(self._get_tmp_dir())) as directory:
            rows = [
                _as_records(artifact, splits, f"{directory}/{number}")
                for number, artifact in enumerate(examples)
            ]
            inputs = {**input_dict, specs.EXAMPLES_KEY: rows}
            with stock_files(self, inputs, output_dict):
                super().Do(inputs, output_dict, exec_properties)


def with_gates(
    evaluator: BaseComponent, gates: Settings, best: BaseChannel | None
) -> None:
    """Gives the standard component rules to judge by, beside the EvalConfig's.

    They are added to the component's own specification, so its type is still TFX's.

    Args:
        evaluator: TFX's Evaluator.
        gates: The rules.
        best: The best of the recent live models, if that is to be compared with.
    """
    spec = evaluator.spec
    spec.PARAMETERS = {**spec.PARAMETERS, GATES: ExecutionParameter(type=str)}
    spec.exec_properties[GATES] = gates.to_json()
    if best is not None:
        channel = ChannelParameter(type=standard_artifacts.Model, optional=True)
        spec.INPUTS = {**spec.INPUTS, BEST_MODEL: channel}
        spec.inputs[BEST_MODEL] = best


def _gated(
    config: Any,
    directories: Sequence[tuple[str, str]],
    input_dict: Artifacts,
    exec_properties: dict[str, Any],
) -> Gated | None:
    """Returns what to judge by; None if the component was given no rules."""
    text = exec_properties.get(GATES)
    if not text:
        return None
    places, rivals = dict(directories), []
    (candidate,) = [s.name for s in config.model_specs if not s.is_baseline]
    models = [places[candidate]]
    for spec in config.model_specs:
        if spec.is_baseline:
            models.append(places[spec.name])
            rivals.append(LIVE)
    best = _best_model(input_dict)
    if best:
        models.append(best)
        rivals.append(BEST)
    return Gated(text, tuple(map(_threshold, models)), tuple(rivals), best)


def _best_model(input_dict: Artifacts) -> str:
    """Returns the directory of the best recent live model; "" if there is no other."""
    found = input_dict.get(BEST_MODEL) or []
    if not found:
        return ""
    # The split may have moved since: then the model has learned from test rows.
    if _moved_rules({**input_dict, specs.BASELINE_MODEL_KEY: found}):
        _log.warning(
            "The split of the rows has moved since the best recent live model was "
            "trained, so nothing is compared with it"
        )
        return ""
    return _serving_directory(found[0])


def _threshold(model: str) -> float:
    place = files.join(model, EXTRAS, MODEL_FILE)
    known = json.loads(files.read_text(place)) if files.exists(place) else {}
    return float(known.get("threshold", decision.DEFAULT))


def _why_stock(
    config: Any, input_dict: Artifacts, exec_properties: dict[str, Any]
) -> str:
    """Names what only TFX's executor does; empty if ours does it all."""
    if any(exec_properties.get(key) for key in _USER_CODE):
        return "code of its own (module_file)"
    if not input_dict.get(specs.MODEL_KEY):
        return "no model"
    if len(input_dict[specs.MODEL_KEY]) > 1:
        return "several candidates"
    if config is None:
        return "a feature_slicing_spec in its place"
    examples = input_dict[specs.EXAMPLES_KEY]
    known = (_PARQUET, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    if any(examples_utils.get_payload_format(each) not in known for each in examples):
        return "examples that are neither columns nor tf.Examples"
    return unsupported(config)


def _eval_config(input_dict: Artifacts, exec_properties: dict[str, Any]) -> Any:
    """Reads the EvalConfig, completed for the models that there are."""
    text = exec_properties.get(specs.EVAL_CONFIG_KEY)
    if not text:
        return None
    config = tfma.EvalConfig()
    proto_utils.json_to_proto(text, config)
    # As TFX does: without a baseline nothing is compared with it.
    config = tfma.utils.update_eval_config_with_defaults(
        config,
        has_baseline=bool(input_dict.get(specs.BASELINE_MODEL_KEY)),
        rubber_stamp=True,
    )
    rare = _rare_slices(input_dict, exec_properties)
    if rare and not config.slicing_specs:
        # No spec means all rows, and some specs only those.
        config.slicing_specs.add()
    config.slicing_specs.extend(rare)
    tfma.utils.verify_eval_config(config)
    return config


def _rare_slices(
    input_dict: Artifacts, exec_properties: dict[str, Any]
) -> list[tfma.SlicingSpec]:
    """Returns slices of the conditions that training has few rows of, by the gate."""
    verdicts = input_dict.get(VERDICT) or []
    counts = [read_cells(verdict.uri) for verdict in verdicts]
    train, evaluated = (
        coverage.merged([c[name] for c in counts for name in names if name in c])
        for names in ([TRAIN], _splits(exec_properties))
    )
    fewest = [v.get_int_custom_property(properties.MIN_ROWS_OF_CELL) for v in verdicts]
    return [
        tfma.SlicingSpec(feature_values=values)
        for values in coverage.rare_slices(train, evaluated, max(fewest, default=0))
    ]


def _moved_rules(input_dict: Artifacts) -> tuple[str, ...]:
    """Returns the split rules of baseline and examples; none if they are the same.

    A baseline without a rule was trained by other code, and nothing is known of it.
    """
    baselines = input_dict.get(specs.BASELINE_MODEL_KEY)
    if not baselines:
        return ()
    path = files.join(_serving_directory(baselines[0]), "assets.extra", RULE_FILE)
    (examples, *_) = input_dict[specs.EXAMPLES_KEY]
    now = examples.get_string_custom_property(properties.SPLIT_RULE)
    if not now or not files.exists(path):
        return ()
    before = files.read_text(path)
    return () if before == now else (before, now)


def _count_unseen(
    rules: tuple[str, ...],
    shards: Sequence[Shard | RecordFile],
    runner: engine.Runner,
) -> int:
    """Counts the test rows that no model can have learned from, and logs it."""
    counting = Evaluation(b"", (), rules)
    found = engine.aggregate(counting.count_unseen, _sum, shards, runner) or 0
    _log.warning(
        "The split of the rows has moved since the baseline was trained: %d rows are "
        "test rows by both splits, and only these are evaluated",
        found,
    )
    return found


def _sum(counts: list[int]) -> int:
    return sum(counts)


def _serving_directory(artifact: Artifact) -> str:
    old = path_utils.is_old_model_artifact(artifact)
    return str(path_utils.serving_model_path(artifact.uri, old))


def _has_thresholds(config: Any) -> bool:
    return bool(
        tfma.metrics.metric_thresholds_from_metrics_specs(
            config.metrics_specs, eval_config=config
        )
    )


def _model_directories(
    config: Any, input_dict: Artifacts
) -> tuple[tuple[str, str], ...]:
    found = []
    for spec in config.model_specs:
        key = specs.BASELINE_MODEL_KEY if spec.is_baseline else specs.MODEL_KEY
        model = artifact_utils.get_single_instance(input_dict[key])
        found.append((spec.name, _serving_directory(model)))
    return tuple(found)


def _splits(exec_properties: dict[str, Any]) -> list[str]:
    text = exec_properties.get(specs.EXAMPLE_SPLITS_KEY) or "null"
    return json_utils.loads(text) or _DEFAULT_SPLITS


_PARQUET = example_gen_pb2.PayloadFormat.FORMAT_PARQUET


def _is_parquet(artifact: Artifact) -> bool:
    return bool(examples_utils.get_payload_format(artifact) == _PARQUET)


def _shards(
    examples: Sequence[Artifact], splits: Sequence[str]
) -> list[Shard | RecordFile]:
    found: list[Shard | RecordFile] = []
    window = by_span(examples)
    for split in splits:
        for artifact in window:
            uri = artifact_utils.get_split_uri([artifact], split)
            if _is_parquet(artifact):
                found += split_up(shards_of(uri))
            else:
                found += map(RecordFile, files.listed(uri))
    return found


def _count_rows(shards: Sequence[Shard | RecordFile]) -> int | None:
    """Returns how many rows shards have; `None` if only reading them would tell."""
    columns = [shard for shard in shards if isinstance(shard, Shard)]
    return count_rows(columns) if len(columns) == len(shards) else None


def _as_records(artifact: Artifact, splits: Sequence[str], directory: str) -> Artifact:
    """Writes splits as tf.Examples."""
    rows = standard_artifacts.Examples()
    rows.uri, rows.split_names = directory, artifact_utils.encode_split_names([*splits])
    examples_utils.set_payload_format(
        rows, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
    )
    encoder = RecordBatchToExamplesEncoder()
    for split in splits:
        made = artifact_utils.get_split_uri([rows], split)
        tf.io.gfile.makedirs(made)
        shards = shards_of(artifact_utils.get_split_uri([artifact], split))
        for number, shard in enumerate(shards):
            name = f"{made}/rows-{number:05d}-of-{len(shards):05d}.gz"
            with tf.io.TFRecordWriter(name, "GZIP") as writer:
                for batch in read_batches(shard):
                    for example in encoder.encode(batch):
                        writer.write(example)
    return rows


@dataclasses.dataclass(frozen=True)
class _Verdict:
    file: str
    value: int


_BLESSED = _Verdict(constants.BLESSED_FILE_NAME, constants.BLESSED_VALUE)
_NOT_BLESSED = _Verdict(constants.NOT_BLESSED_FILE_NAME, constants.NOT_BLESSED_VALUE)


def _bless(
    input_dict: Artifacts,
    output_dict: Artifacts,
    exec_properties: dict[str, Any],
    *,
    blessed: bool,
) -> None:
    """Writes the verdict as TFX's Evaluator does."""
    artifact = artifact_utils.get_single_instance(output_dict[specs.BLESSING_KEY])
    (model,) = input_dict[specs.MODEL_KEY]
    artifact.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    artifact.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id
    )
    for baseline in input_dict.get(specs.BASELINE_MODEL_KEY, [])[:1]:
        artifact.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        artifact.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
        )
    if "current_component_id" in exec_properties:
        artifact.set_string_custom_property(
            "component_id", exec_properties["current_component_id"]
        )
    found = _BLESSED if blessed else _NOT_BLESSED
    files.write_text(files.join(artifact.uri, found.file), "")
    artifact.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY, found.value
    )
