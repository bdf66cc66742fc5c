"""Wires the components, from data files to a model in serving; computes nothing."""

import codecs
import dataclasses
from datetime import UTC, datetime
from typing import Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.pusher.component import Pusher
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec, ExecutorClassSpec
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import (
    example_gen_pb2,
    pusher_pb2,
    range_config_pb2,
    trainer_pb2,
    transform_pb2,
)
from tfx.types import Channel
from tfx.types.channel import BaseChannel
from tfx.types.standard_artifacts import Model, ModelBlessing, TransformCache
from tfx.types.standard_component_specs import ANALYZER_CACHE_KEY

from models import declared, search_space, tuning
from models.groups import GROUPS
from pipeline.components import example_validator as validator_executor
from pipeline.components import schema_gen as schema_gen_executor
from pipeline.components import serving_check, versioned_pusher
from pipeline.components import statistics_gen as statistics_executor
from pipeline.components import trainer as trainer_executor
from pipeline.components import transform as transform_executor
from pipeline.components.accepted_data import AcceptedDataStrategy
from pipeline.components.data_gate import DataGate, DataVerdict, require_verdict
from pipeline.components.evaluator import Executor as EvaluatorExecutor
from pipeline.components.evaluator import with_gates
from pipeline.components.example_gen import Ingestion
from pipeline.components.gate_executor import LIVE, LIVE_MODEL, PREVIOUS
from pipeline.components.ingestion import Settings as IngestionSettings
from pipeline.components.live_model import (
    BLESSING,
    MODEL,
    BestModelStrategy,
    LiveModelStrategy,
)
from pipeline.components.span_window import TEST as TESTED
from pipeline.components.span_window import SpanWindowStrategy
from pipeline.config import (
    IN_PROCESS_ARGUMENTS,
    SERVING_NODE,
    VERTEX_MOUNT,
    Config,
    environment,
)
from pipeline.ingestion.spans import Between, Newest
from pipeline.ingestion.splitting import EVAL, TEST, TRAIN, SplitRule
from pipeline.quality import titles
from pipeline.quality.eval_config import eval_config
from pipeline.quality.gates import Settings
from pipeline.quality.serving_check import Limits
from pipeline.trust import exceptions
from pipeline.trust.policy import Policy

_COMPARED = (PREVIOUS, LIVE, LIVE_MODEL)


def create_pipeline(config: Config) -> Pipeline:
    """Wires the components in the order in which data flows through them.

    Args:
        config: Every setting; two equal ones compile to the same bytes.

    Returns:
        The pipeline, which any runner can run.
    """
    # data/* -> Examples, Quarantine: the rows that don't fit
    example_gen = Ingestion(
        _ingestion(config),
        input_base=str(config.data_directory),
        input_config=_input(config),
        range_config=_range(config),
    ).with_id("ExampleGen")
    if config.beam.engine == "dataflow":
        # Its workers don't see the data, which is in files of this machine.
        example_gen.with_beam_pipeline_args(list(IN_PROCESS_ARGUMENTS))

    # Examples -> ExampleStatistics
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    statistics_gen.executor_spec = BeamExecutorSpec(statistics_executor.Executor)

    # ExampleStatistics -> Schema: what the data looks like, a proposal
    schema_gen = SchemaGen(statistics=statistics_gen.outputs["statistics"])
    schema_gen.executor_spec = ExecutorClassSpec(schema_gen_executor.Executor)

    # schema/schema.pbtxt -> Schema: what we agreed to accept
    reviewed_schema = ImportSchemaGen(schema_file=str(config.schema.absolute()))

    # ExampleStatistics, Schema -> ExampleAnomalies
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=reviewed_schema.outputs["schema"],
    )
    example_validator.executor_spec = ExecutorClassSpec(validator_executor.Executor)

    # earlier DataVerdicts -> those about the data before and the live model's data;
    #   output/serving/<model>/ -> the live Model
    baselines = _data_baselines(config, example_gen)

    # Examples, ExampleAnomalies, DataVerdicts, Model
    #   -> DataVerdict, or the run stops here
    data_gate = DataGate(
        _policy(config),
        config.label_policy,
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        schema=reviewed_schema.outputs["schema"],
        quarantine=example_gen.outputs["quarantine"],
        **{name: baselines.outputs[name] for name in _COMPARED if baselines},
    )

    # Examples, DataVerdict -> those of all the spans to learn from, and to test on
    window = _window(config, example_gen, data_gate)
    spans = window.outputs if window else example_gen.outputs
    verdicts = (window or data_gate).outputs["verdict"]

    # Examples, Schema, DataVerdict, the TransformCache of an earlier run
    #   -> TransformGraph, transformed Examples, TransformCache
    transform = Transform(
        examples=spans["examples"],
        schema=reviewed_schema.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(
            analyze=["train"], transform=["train", "eval"]
        ),
        # They cost three times what the transformation itself does.
        disable_statistics=True,
        # Nor is the analysis cached where no later run could read a span's again.
        disable_analyzer_cache=ANALYZER_CACHE_KEY not in spans,
        analyzer_cache=spans.get(ANALYZER_CACHE_KEY),
        custom_config={"label_policy": config.label_policy},
    )
    transform.executor_spec = BeamExecutorSpec(transform_executor.Executor)
    require_verdict(transform, verdicts)

    # output/serving/<model>/ -> the live Model to beat, and to begin with if asked to
    baseline = _baseline(config).with_id("Baseline")

    # transformed Examples, TransformGraph, DataVerdict -> HyperParameters, with --tune
    tuner = _tuner(config, transform, reviewed_schema, verdicts)

    # the same, HyperParameters if there are any -> Model
    trainer = Trainer(
        run_fn="models.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=reviewed_schema.outputs["schema"],
        hyperparameters=tuner and tuner.outputs["best_hyperparameters"],
        base_model=baseline.outputs["model"] if config.warm_start else None,
        train_args=trainer_pb2.TrainArgs(
            splits=["train"], num_steps=config.train_steps
        ),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"], num_steps=config.eval_steps),
        custom_config={
            **_training(config),
            "costs": {
                "false_positive": config.quality.false_positive_cost,
                "false_negative": config.quality.false_negative_cost,
            },
            "warm_start": config.warm_start,
        },
    )
    trainer.executor_spec = ExecutorClassSpec(trainer_executor.Executor)

    require_verdict(trainer, verdicts)

    # output/serving/<model>/ -> the best of the last live Models, unless it is live
    best = _best_model(config)

    # test Examples, all Models, DataVerdict -> ModelEvaluation, ModelBlessing
    evaluator = Evaluator(
        examples=spans[TESTED if config.splits.test_spans else "examples"],
        # A span that is tested on has no split of that name: it is trained on later.
        example_splits=[TRAIN, EVAL] if config.splits.test_spans else [TEST],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=eval_config(config.quality),
    )
    evaluator.executor_spec = BeamExecutorSpec(EvaluatorExecutor)
    with_gates(evaluator, _gates(config), best and best.outputs["model"])
    # It says which conditions are rare; they become slices.
    require_verdict(evaluator, verdicts)

    # Model, eval Examples -> InfraBlessing: it loads, answers, agrees, in time
    check = _serving_check(config, trainer.outputs["model"], spans["examples"])

    # Model, both blessings -> output/serving/<model>/<version>/
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(
                base_directory=str(config.serving_directory)
            )
        ),
        custom_executor_spec=ExecutorClassSpec(versioned_pusher.Executor),
    )

    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.artifact_root,
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            reviewed_schema,
            example_validator,
            *filter(None, [baselines]),
            data_gate,
            *filter(None, [window]),
            transform,
            *filter(None, [tuner]),
            trainer,
            baseline,
            *filter(None, [best]),
            evaluator,
            check,
            pusher,
        ],
        enable_cache=True,
        beam_pipeline_args=config.beam_pipeline_args,
    )


def _training(config: Config) -> dict[str, Any]:
    """Returns the settings of the training, which trials of the Tuner have as well."""
    return {
        "hyperparameters": dataclasses.asdict(config.model),
        "batch_size": config.batch_size,
        "seed": config.seed,
    }


def _tuner(
    config: Config,
    transform: Transform,
    schema: ImportSchemaGen,
    verdicts: BaseChannel,
) -> BaseComponent | None:
    """Returns the node that searches hyperparameters, if the settings ask for it."""
    if not config.tune.enabled:
        return None
    # Here, not with the other settings: nodes depend on these, and would all be new if
    # another space is searched.
    search_space.check(tuning.SPACE)
    # keras-tuner, which only this node needs.
    from tfx.components.tuner.component import Tuner

    from pipeline.components import tuner as tuner_executor

    tuner = Tuner(
        tuner_fn="models.tuner.tuner_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(
            splits=["train"], num_steps=config.tune.train_steps or config.train_steps
        ),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"], num_steps=config.eval_steps),
        custom_config={
            **_training(config),
            "trials": config.tune.trials,
            "max_trial_seconds": config.tune.max_trial_seconds,
        },
    )
    tuner.executor_spec = ExecutorClassSpec(tuner_executor.Executor)
    require_verdict(tuner, verdicts)
    return tuner


def _baseline(config: Config) -> Resolver:
    channels = {MODEL: Channel(type=Model), BLESSING: Channel(type=ModelBlessing)}
    if config.output.is_relative_to(VERTEX_MOUNT):
        # Vertex AI resolves in its own service, which knows TFX's strategies only.
        return Resolver(strategy_class=LatestBlessedModelStrategy, **channels)
    return Resolver(
        strategy_class=LiveModelStrategy,
        config={"serving_directory": str(config.serving_directory)},
        **channels,
    )


def _best_model(config: Config) -> Resolver | None:
    """Returns the node that finds the best recent model; none on Vertex AI."""
    if not config.quality.best_of:
        return None
    if config.output.is_relative_to(VERTEX_MOUNT):
        return None
    return Resolver(
        strategy_class=BestModelStrategy,
        config={
            "serving_directory": str(config.serving_directory),
            "best_of": config.quality.best_of,
            "metric": titles.MAIN[declared.TASK],
        },
        **{MODEL: Channel(type=Model)},
    ).with_id("BestModel")


def _gates(config: Config) -> Settings:
    quality = config.quality
    return Settings(
        quality.all_rules,
        quality.confidence,
        quality.min_slice_rows,
        tuple(group.name for group in GROUPS),
        declared.TASK,
        declared.CLASSES,
    )


def _serving_check(
    config: Config, model: BaseChannel, examples: BaseChannel
) -> BaseComponent:
    asked = config.serving_check
    limits = Limits(asked.max_load_seconds, asked.max_latency_ms, asked.max_memory_mb)
    if asked.image:
        docker = environment().get("DOCKER_HOST", "")
        validator = serving_check.in_docker(model, asked.image, limits, docker)
        return validator.with_id(SERVING_NODE)
    return serving_check.ServingCheck(model, examples, asked.rows, limits)


def _data_baselines(config: Config, example_gen: Ingestion) -> Resolver | None:
    """Returns the node that finds what data is compared with; none on Vertex AI."""
    if config.output.is_relative_to(VERTEX_MOUNT):
        # Vertex AI resolves in its own service, which knows TFX's strategies only.
        return None
    return Resolver(
        strategy_class=AcceptedDataStrategy,
        config={"serving_directory": str(config.serving_directory)},
        examples=example_gen.outputs["examples"],
        previous=Channel(type=DataVerdict),
        live=Channel(type=DataVerdict),
        **{LIVE_MODEL: Channel(type=Model)},
    ).with_id("DataBaselines")


def _window(
    config: Config, example_gen: Ingestion, data_gate: DataGate
) -> Resolver | None:
    """Returns the node that finds the spans of the window; none on Vertex AI."""
    if config.output.is_relative_to(VERTEX_MOUNT):
        # Vertex AI resolves in its own service, which knows TFX's strategies only.
        return None
    examples = example_gen.outputs["examples"]
    caches = {ANALYZER_CACHE_KEY: Channel(type=TransformCache)}
    return Resolver(
        strategy_class=SpanWindowStrategy,
        config={"test_spans": config.splits.test_spans},
        examples=examples,
        verdict=data_gate.outputs["verdict"],
        **({TESTED: examples} if config.splits.test_spans else {}),
        **(caches if _slides(config) else {}),
    ).with_id("Window")


def _slides(config: Config) -> bool:
    """Whether a run may learn from spans that an earlier run has learned from."""
    wanted = config.wanted_spans
    if isinstance(wanted, Between):
        return wanted.first < wanted.last
    return wanted is not None and wanted.count > 1


def _policy(config: Config) -> Policy:
    gate, today = config.gate, datetime.now(UTC).date()
    reviewed = exceptions.read(exceptions.file_of(config.schema))
    return Policy(
        severities=gate.severities,
        exceptions=tuple(each for each in reviewed if not each.expired(today)),
        ended=tuple(each for each in reviewed if each.expired(today)),
        min_rows=gate.min_rows,
        min_share_of_rows=gate.min_share_of_rows,
        max_missing_labels=gate.max_missing_labels,
        max_duplicates=gate.max_duplicates,
        key_columns=gate.key_columns,
        min_rows_of_span=gate.min_rows_of_span,
        crosses=gate.crosses,
        min_rows_of_cell=gate.min_rows_of_cell,
        max_uncovered=gate.max_uncovered,
        max_leakage=gate.max_leakage,
        false_alarms=gate.false_alarms,
    )


def _input(config: Config) -> example_gen_pb2.Input:
    split = example_gen_pb2.Input.Split(name="all", pattern=config.pattern)
    return example_gen_pb2.Input(splits=[split])


def _range(config: Config) -> range_config_pb2.RangeConfig | None:
    wanted = config.wanted_spans
    if wanted is None:
        return None
    if isinstance(wanted, Newest):
        rolling = range_config_pb2.RollingRange(num_spans=wanted.count)
        return range_config_pb2.RangeConfig(rolling_range=rolling)
    fixed = range_config_pb2.StaticRange(
        start_span_number=wanted.first, end_span_number=wanted.last
    )
    return range_config_pb2.RangeConfig(static_range=fixed)


def _ingestion(config: Config) -> IngestionSettings:
    splits = config.splits
    rule = SplitRule(
        {
            TRAIN: splits.train_parts,
            EVAL: splits.eval_parts,
            TEST: splits.test_parts,
        },
        hash_columns=splits.hash_columns,
        time_column=splits.time_column,
        eval_from=splits.eval_from,
        test_from=splits.test_from,
        test_spans=splits.test_spans,
    )
    return IngestionSettings(
        rule,
        schema_file=str(config.schema.absolute()) if config.schema.exists() else "",
        # The canonical name: "UTF8" and "utf-8-sig" would be other cache keys, though a
        # byte order mark is skipped anyway.
        encoding=codecs.lookup(config.encoding).name.removesuffix("-sig"),
        max_quarantined=config.gate.max_quarantined,
    )
