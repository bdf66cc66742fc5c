"""StatisticsGen on columns: TFDV's generators on shards, by our engine.

What only TFDV's Beam pipeline computes goes to the stock executor, and the log says so.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import io_utils, json_utils, stats_utils

from pipeline.beam.executors import clear, runner_of
from pipeline.columnar import files, progress, shards, statistics
from pipeline.columnar.statistics import Request
from pipeline.components.local_files import stock_files
from pipeline.errors import UsageError
from pipeline.store.artifact_files import STATISTICS_FILE

_LOG = logging.getLogger(__name__)

Artifacts = Mapping[str, Sequence[Artifact]]


class Executor(stock.Executor):
    """The executor of the standard StatisticsGen, on columns."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes FeatureStats.pb for each split of the examples.

        Args:
            input_dict: `examples`, and optionally `schema`.
            output_dict: `statistics`.
            exec_properties: What the stock executor takes: `stats_options_json`,
                `exclude_splits`, `sample_rate_by_split`, `sharded_stats_output`.

        Raises:
            UsageError: There is a schema in the options and one as an input.
            ThroughlineError: A shard is damaged; names it.
        """
        options = _options(input_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[specs.EXAMPLES_KEY])
        reason = _beyond(examples, options, exec_properties)
        if reason:
            _LOG.warning("The stock executor takes over, on Beam, for %s", reason)
            with stock_files(self, input_dict, output_dict):
                super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict[specs.STATISTICS_KEY])
        rates = _sample_rates(examples, options, exec_properties)
        _describe_artifact(artifact, examples, rates)
        runner = runner_of(self, artifact.uri)
        found = {
            split: shards.shards_of(artifact_utils.get_split_uri([examples], split))
            for split in rates
        }
        total = sum(map(shards.count_rows, found.values()))
        with progress.running(progress.Task(total)):
            for split, rate in rates.items():
                request = Request(options.to_json(), _columns(options), rate)
                computed = statistics.describe(found[split], request, runner)
                directory = artifact_utils.get_split_uri([artifact], split)
                target = files.join(directory, STATISTICS_FILE)
                files.write_bytes(target, computed.SerializeToString())
                count = computed.datasets[0].num_examples
                _LOG.info("%s: %s rows", split, f"{count:,}")
        clear(artifact.uri)


def _options(input_dict: Artifacts, exec_properties: Mapping[str, Any]) -> StatsOptions:
    text = exec_properties.get(specs.STATS_OPTIONS_JSON_KEY)
    options = StatsOptions.from_json(text) if text else StatsOptions()
    if input_dict.get(specs.SCHEMA_KEY):
        if options.schema:
            raise UsageError(
                "StatisticsGen has a schema as an input and another one in "
                "stats_options; leave one of them out"
            )
        directory = artifact_utils.get_single_uri(list(input_dict[specs.SCHEMA_KEY]))
        file = io_utils.get_only_uri_in_dir(directory)
        options.schema = io_utils.SchemaReader().read(file)
    return options


def _beyond(
    examples: Artifact, options: StatsOptions, exec_properties: Mapping[str, Any]
) -> str | None:
    """Names what we leave to the stock executor; None if nothing is asked for."""
    kind = examples_utils.get_payload_format(examples)
    if kind != example_gen_pb2.FORMAT_PARQUET:
        return f"examples in {example_gen_pb2.PayloadFormat.Name(kind)}"
    if examples.has_custom_property(examples_utils.CUSTOM_SPLIT_PATTERN_PROPERTY_NAME):
        return "splits by file patterns"
    if exec_properties.get(specs.SHARDED_STATS_OUTPUT_KEY):
        return "sharded output"
    return statistics.beyond(options)


def _sample_rates(
    examples: Artifact, options: StatsOptions, exec_properties: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the share of the rows to describe, by split that isn't excluded."""
    excluded = _json(exec_properties, specs.EXCLUDE_SPLITS_KEY) or []
    rates = _json(exec_properties, specs.SAMPLE_RATE_BY_SPLIT_KEY) or {}
    names = artifact_utils.decode_split_names(examples.split_names)
    for setting, given in (("exclude_splits", excluded), ("sample rates", rates)):
        if unknown := sorted(set(given) - set(names)):
            _LOG.warning("%s of %s, which the examples don't have", setting, unknown)
    kept = [name for name in names if name not in excluded]
    if not kept:
        raise UsageError(f"exclude_splits names all splits there are: {names}")
    everywhere = options.sample_rate or 1.0
    return {name: rates.get(name, everywhere) for name in kept}


def _json(exec_properties: Mapping[str, Any], key: str) -> Any:
    return json_utils.loads(exec_properties.get(key) or "null")


def _columns(options: StatsOptions) -> tuple[str, ...] | None:
    """Returns the only columns that are described; None means all."""
    if options.feature_allowlist:
        return tuple(map(str, options.feature_allowlist))
    if options.experimental_filter_read_paths and options.schema:
        return tuple(feature.name for feature in options.schema.feature)
    return None


def _describe_artifact(
    artifact: Artifact, examples: Artifact, rates: Mapping[str, float]
) -> None:
    """Sets the properties that the stock executor sets."""
    artifact.split_names = artifact_utils.encode_split_names(list(rates))
    artifact.span = examples.span
    artifact.set_string_custom_property(
        stock.STATS_DASHBOARD_LINK, stats_utils.generate_stats_dashboard_link(artifact)
    )
    artifact.set_json_value_custom_property(
        stock.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, json_utils.dumps(dict(rates))
    )
