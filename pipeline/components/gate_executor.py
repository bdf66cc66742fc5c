"""The executor of DataGate: profiles the rows, has them judged, stops or goes on."""

import functools
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact
from tfx.types.artifact_utils import (
    decode_split_names,
    get_single_instance,
    get_split_uri,
)
from tfx.utils import path_utils

from models import declared, kept_scores
from pipeline.beam.executors import clear, runner_of
from pipeline.columnar import files, shards
from pipeline.components.span_order import span_of
from pipeline.errors import DataRefusedError, UsageError
from pipeline.prediction.raw_model import RawModel
from pipeline.store import properties
from pipeline.store.artifact_files import (
    ANOMALIES_FILE,
    CELLS_FILE,
    PROFILE_FILE,
    ROWS_FILE,
    SCHEMA_FILE,
    VERDICT_FILE,
    VERDICT_TEXT,
)
from pipeline.store.properties import VERDICT
from pipeline.trust import coverage, gate, labels, predictions, profile
from pipeline.trust.examples import with_rows
from pipeline.trust.gate import Baseline, Evidence
from pipeline.trust.past import read_baseline
from pipeline.trust.policy import Policy, Verdict, refusal
from pipeline.trust.predictions import Scores

EXAMPLES = "examples"
ANOMALIES = "anomalies"
SCHEMA = "schema"
QUARANTINE = "quarantine"
PREVIOUS = "previous"
LIVE = "live"
LIVE_MODEL = "live_model"
POLICY = "policy"
LABEL_POLICY = "label_policy"

_LOG = logging.getLogger(__name__)
_NO_PREVIOUS = "no baseline yet: no earlier data was accepted"
_NO_MODEL = "no live model is known, or it has learned from this data"
_NO_LIVE = "no live model is known, or it has learned from this or the previous data"

_CANT_ASK = (
    UsageError,
    DataRefusedError,
    OSError,
    pa.ArrowException,
    tf.errors.OpError,
)

Artifacts = Mapping[str, Sequence[Artifact]]


class Executor(BaseBeamExecutor):
    """Profiles the rows, has them judged, and stops the run if the verdict blocks."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the verdict and the profiles of the splits.

        Args:
            input_dict: See `DataGateSpec`.
            output_dict: `verdict`.
            exec_properties: `policy` and `label_policy`.

        Raises:
            DataRefusedError: The verdict blocks; the message lists the findings. The
                verdict is then in the execution's working directory, since TFX
                removes the outputs of executions that fail.
        """
        (examples,), (output,) = input_dict[EXAMPLES], output_dict[VERDICT]
        label_of = functools.partial(labels.label_of, exec_properties[LABEL_POLICY])
        runner = runner_of(self, output.uri)
        policy = Policy.from_json(exec_properties[POLICY])
        found = {
            name: shards.shards_of(get_split_uri([examples], name))
            for name in decode_split_names(examples.split_names)
        }
        splits = {
            name: profile.describe(split, label_of, runner, policy.key_columns)
            for name, split in found.items()
        }
        crosses = coverage.parse(policy.crosses)
        cells = {
            name: coverage.count(split, crosses, runner)
            for name, split in found.items()
        }
        clear(output.uri)
        everything = list(itertools.chain.from_iterable(found.values()))
        evidence = replace(_evidence(input_dict, splits), cells=cells)
        evidence = _with_scores(evidence, input_dict, everything, label_of)
        verdict = gate.judge(evidence, policy, datetime.now(UTC).date())
        exhibits = (with_rows(each, everything) for each in verdict.exhibits)
        verdict = replace(verdict, exhibits=tuple(exhibits))
        for finding in verdict.findings:
            _LOG.warning("%s %s: %s", finding.anomaly, finding.column, finding.text)
        if verdict.blocking:
            if self._context and self._context.stateful_working_dir:
                _write(self._context.stateful_working_dir, verdict)
            # A failed node is the only thing that every orchestrator stops at.
            raise DataRefusedError(refusal(verdict))
        _write(output.uri, verdict)
        columns, rows = profile.to_bytes(splits)
        files.write_bytes(files.join(output.uri, PROFILE_FILE), columns)
        files.write_bytes(files.join(output.uri, ROWS_FILE), rows)
        written = coverage.to_bytes(cells)
        files.write_bytes(files.join(output.uri, CELLS_FILE), written)
        output.set_int_custom_property(properties.EXAMPLES_ID, examples.id)
        fewest = policy.min_rows_of_cell
        output.set_int_custom_property(properties.MIN_ROWS_OF_CELL, fewest)
        output.set_int_custom_property(properties.SPAN, span_of(examples))


def _evidence(input_dict: Artifacts, splits: Mapping[str, profile.Profile]) -> Evidence:
    examples = get_single_instance(list(input_dict[EXAMPLES]))
    (quarantine,) = input_dict[QUARANTINE]
    spans = examples.get_string_custom_property(properties.SPANS)
    baselines, without = _baselines(input_dict)
    return Evidence(
        splits=splits,
        anomalies=_anomalies(get_single_instance(list(input_dict[ANOMALIES]))),
        schema=_schema(get_single_instance(list(input_dict[SCHEMA]))),
        features=declared.RAW_COLUMNS,
        label_columns=declared.LABEL_COLUMNS,
        spans=tuple(int(each["span"]) for each in json.loads(spans or "[]")),
        quarantined=quarantine.get_int_custom_property(properties.ROWS_QUARANTINED),
        baselines=baselines,
        without_baseline=without,
    )


def _with_scores(
    evidence: Evidence,
    input_dict: Artifacts,
    found: Sequence[shards.Shard],
    label_of: profile.LabelOf,
) -> Evidence:
    """Adds what the live model answers for a sample of the rows, or why it isn't known.

    The gate goes on without it: a model that can't be asked is no defect of the data.
    """
    models = input_dict.get(LIVE_MODEL) or []
    why = _NO_MODEL
    for model in models:
        try:
            return replace(evidence, scores=_scores(model, found, label_of))
        except _CANT_ASK as error:
            why = f"the live model in {model.uri} can't be asked: {error}"
    without = {**evidence.without_baseline, predictions.AGAINST: why}
    return replace(evidence, without_baseline=without)


def _scores(
    model: Artifact, found: Sequence[shards.Shard], label_of: profile.LabelOf
) -> Scores:
    """Asks a model about rows with a label, as the stored answers are about such.

    Raises:
        UsageError: It has no distribution of its answers or no signature, or there are
            no such rows.
        DataRefusedError: A column holds lists where it reads one value.
        OSError: It can't be read.
        ArrowException: A column isn't of the type that it reads.
        OpError: TensorFlow can't compute the answers.
    """
    with files.local_copy(path_utils.serving_model_path(model.uri)) as directory:
        kept = kept_scores.read(Path(directory))
        if not kept:
            raise UsageError(
                "it was trained before the distribution of its answers was stored with "
                "it; the next model has one"
            )
        if (known := predictions.count(kept)) < predictions.FEWEST:
            raise UsageError(
                f"it answered {known:,} rows of its eval split, and a comparison needs "
                f"{predictions.FEWEST}"
            )
        rows = shards.sample(found, predictions.ROWS)
        rows = rows.filter(pa.array(label_of(rows)[0] > 0))
        if not rows.num_rows:
            raise UsageError("no row has a label")
        # Loading it takes most of a second, so that comes last.
        return Scores.of(kept, RawModel(Path(directory)).of_lists(rows))


def _baselines(input_dict: Artifacts) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Returns the baselines, and why there is none, by name."""
    found: dict[str, Baseline] = {}
    without: dict[str, str] = {}
    previous, live = input_dict.get(PREVIOUS) or [], input_dict.get(LIVE) or []
    if previous:
        found[gate.PREVIOUS] = read_baseline(previous[0].uri)
    else:
        without[gate.PREVIOUS] = _NO_PREVIOUS
    if live:
        found[gate.LIVE] = read_baseline(live[0].uri)
    else:
        without[gate.LIVE] = _NO_LIVE
    return found, without


def _anomalies(artifact: Artifact) -> dict[str, anomalies_pb2.Anomalies]:
    return {
        split: anomalies_pb2.Anomalies.FromString(
            files.read_bytes(
                files.join(get_split_uri([artifact], split), ANOMALIES_FILE)
            )
        )
        for split in decode_split_names(artifact.split_names)
    }


def _schema(artifact: Artifact) -> schema_pb2.Schema:
    text = files.read_text(files.join(artifact.uri, SCHEMA_FILE))
    return text_format.Parse(text, schema_pb2.Schema())


def _write(directory: str, verdict: Verdict) -> None:
    files.write_text(files.join(directory, VERDICT_FILE), verdict.to_json())
    files.write_text(files.join(directory, VERDICT_TEXT), verdict.to_text())
