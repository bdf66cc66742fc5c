"""Reads the artifacts of runs: the Python API for notebooks and scripts.

    from pipeline import artifacts

    run = artifacts.newest()            # or of_run("20261123-154233-1c192112")
    run = artifacts.of_model()          # the run that trained the live model
    run.metrics()                       # a pandas frame
    run.examples("test")                # rows as a pandas frame
    run.schema(), run.statistics()      # protos
    run.path("Trainer", "model")        # a directory
    artifacts.live_model().predict([{"fare": 9.5}])

Functions that open a run take `output=`, an output directory other than the project's,
and `metadata=`, the URL of a store on a server. Nothing here needs a network; only
`serving_model` and `live_model` import TensorFlow.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from models import declarations, declared
from models import features as declaring
from models.kept_predictions import EXTRAS
from models.names import CLASS, MODEL_FILE, PREDICTION, PROBABILITY
from pipeline import config as settings
from pipeline.caching.fingerprint import digest
from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.columnar.lists import is_list, lengths_of, unwrap
from pipeline.columnar.shards import (
    SUFFIX,
    count_rows,
    read_batches,
    schema_of,
    shards_of,
)
from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED, UsageError
from pipeline.ingestion.columns import is_text
from pipeline.ingestion.export import export_split
from pipeline.ingestion.tfrecord import read_records
from pipeline.lineage.query import Lineage, open_lineage
from pipeline.project.settings_file import PROJECT
from pipeline.quality import results
from pipeline.registry import versions
from pipeline.store import artifact_files, properties
from pipeline.store.graph import Artifact, Execution
from pipeline.store.run_files import DAG_FILE, RECORD_FILE
from pipeline.trust import distributions

DEFAULT_OUTPUT = PROJECT / "output"

_FEATURES = declaring.__name__
# The one that is shown first of what a model answers.
_ANSWERS = (CLASS, PROBABILITY, PREDICTION)
_STATES = {
    "COMPLETE": "done",
    "CACHED": "cached",
    "RUNNING": "running",
    "FAILED": "failed",
    "CANCELED": "canceled",
}
# Prefixes of the names of TFMA's metrics, by the kind of task they are for.
_TASKS = {
    "multi-class classification": ("MultiClass", "Categorical", "SparseCategorical"),
    "binary classification": ("Binary", "AUC"),
    "regression": ("MeanSquared", "MeanAbsolute", "RSquared"),
}
# The last line of a traceback, and the further lines of its message up to the next log
# record.
_ERROR = re.compile(
    r"^[\w.]+(?:Error|Exception|Exit): (?P<text>.+(?:\n(?!\d{4}-\d\d-\d\d |\s*$).*)*)",
    re.MULTILINE,
)


def newest(*, output: Path | str | None = None, metadata: str | None = None) -> "Run":
    """Opens the newest run that has evaluated a model, else the newest run.

    Args:
        output: Output directory; the project's own if not given.
        metadata: URL of a metadata store on a server.

    Raises:
        UsageError: There is no metadata store, or no run in it.
    """
    lineage = _open(output, metadata)
    names = lineage.graph.runs()
    if not names:
        raise UsageError(
            "The metadata store has no run; `python run_local.py` starts one"
        )
    runs = (Run(name, lineage) for name in reversed(names))
    # A notebook is about a model: a run that stopped at the gate has nothing to show.
    return next((r for r in runs if r.has("ModelEvaluation")), Run(names[-1], lineage))


def of_run(
    run_id: str, *, output: Path | str | None = None, metadata: str | None = None
) -> "Run":
    """Opens a run by its name.

    Args:
        run_id: Name of the run.
        output: Output directory; the project's own if not given.
        metadata: URL of a metadata store on a server.

    Raises:
        UsageError: There is no such run; the message lists the newest ones.
    """
    lineage = _open(output, metadata)
    names = lineage.graph.runs()
    if run_id not in names:
        known = ", ".join(names[-5:]) or "none"
        raise UsageError(f"There is no run {run_id!r}; the newest are {known}")
    return Run(run_id, lineage)


def of_model(
    version: str | None = None,
    *,
    output: Path | str | None = None,
    metadata: str | None = None,
) -> "Run":
    """Opens the run that trained a model.

    Args:
        version: The version in serving; the live one if not given.
        output: Output directory; the project's own if not given.
        metadata: URL of a metadata store on a server.

    Raises:
        UsageError: There is no such model; the message lists the models.
    """
    lineage = _open(output, metadata)
    return Run(lineage.model(version).run, lineage)


def all_runs(
    *, output: Path | str | None = None, metadata: str | None = None
) -> pd.DataFrame:
    """Lists all runs with the outcome of their models, oldest first.

    Returns:
        One row per run, indexed by its name: the "version" pushed and whether it was
        "blessed" (each `None` if the run didn't get there), and the candidate's overall
        metrics.
    """
    lineage = _open(output, metadata)
    rows = {name: Run(name, lineage).outcome() for name in lineage.graph.runs()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def _open(output: Path | str | None, metadata: str | None) -> Lineage:
    config = replace(
        settings.local(), output=Path(output or DEFAULT_OUTPUT), metadata=metadata
    )
    return open_lineage(settings.with_environment(config, settings.environment()))


@dataclass(frozen=True)
class Run:
    """The artifacts that a run wrote or took from the cache, and its record.

    Attributes:
        run_id: Its name.
        lineage: Lineage queries on the metadata store of the run.
    """

    run_id: str
    lineage: Lineage

    def __repr__(self) -> str:
        """Returns the run's name, which is what a notebook shows."""
        return f"Run({self.run_id!r})"

    @property
    def config(self) -> Config:
        """Configuration with the output directory; the run's own is `settings`."""
        return self.lineage.config

    @property
    def directory(self) -> Path:
        """The run's own directory, with its logs and its report."""
        return self.config.runs_directory / self.run_id

    @cached_property
    def executions(self) -> tuple[Execution, ...]:
        """Its executions, oldest first."""
        return tuple(self.lineage.graph.run(self.run_id))

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The local runner's record (run.json); empty for the runs of other runners.

        A damaged one is treated as missing: the metadata store has the run too.
        """
        path = self.directory / RECORD_FILE
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except ValueError:
            return {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration it ran with; empty for the runs of other runners."""
        found: Mapping[str, Any] = self.record.get("config", {})
        return found

    @cached_property
    def pipeline(self) -> str:
        """Name of the pipeline; empty if the store has no execution of the run."""
        return next((step.pipeline for step in self.executions), "")

    def task(self) -> str:
        """Describes what the model predicts, by the settings of the evaluation.

        Returns:
            The label and the kind of task, such as "big_tipper, binary classification";
            without what the run doesn't have, so possibly empty.
        """
        settings = [
            step.parameters["eval_config"]
            for step in self.executions
            if isinstance(step.parameters.get("eval_config"), dict)
        ]
        if not settings:
            return ""
        labels = [spec.get("label_key") for spec in settings[-1].get("model_specs", ())]
        return ", ".join(filter(None, [*labels[:1], _task_of(settings[-1])]))

    def column_roles(self) -> Callable[[str], str] | None:
        """Returns how the model uses raw columns, by `models/features.py`.

        Returns:
            A function from a column's name to "feature", "label", "feature and label"
            or "unused"; `None` if the run is of a stock TFX pipeline or of another
            version of `models/features.py`.
        """
        # Roles are those of today's module, so they hold only for runs of the same one;
        # its digest is part of the cache key of each node that uses it.
        keys = [step.parameters.get(properties.KEY) for step in self.executions]
        ours = [key for key in keys if isinstance(key, dict)]
        declared = {key[_FEATURES] for key in ours if _FEATURES in key}
        today = digest(Path(declaring.__file__).read_bytes())
        # Nodes before Transform don't depend on it, so a run that ended there doesn't
        # declare it.
        if not ours or declared - {today}:
            return None
        return _role

    def outputs(self) -> list[Artifact]:
        """Lists all artifacts that it wrote or reused, oldest first."""
        done = [step for step in self.executions if step.succeeded]
        return self.lineage.graph.by_id({i for step in done for i in step.wrote()})

    def has(self, kind: str) -> bool:
        """Whether it wrote or reused an artifact of a type, such as "Model"."""
        return any(artifact.type == kind for artifact in self.outputs())

    def artifact(self, kind: str, node: str | None = None) -> Artifact:
        """Returns the run's artifact of a type, the newest if there are several.

        Args:
            kind: TFX's name of the type, such as "ExampleStatistics".
            node: Id of the node that wrote it, if several write the type.

        Raises:
            UsageError: The run has no such artifact; the message lists the types.
        """
        found = [
            artifact
            for step in self.executions
            if step.succeeded and node in {None, step.node}
            for artifact in self.lineage.graph.by_id(step.wrote())
            if artifact.type == kind
        ]
        if not found:
            kinds = ", ".join(sorted({a.type for a in self.outputs()})) or "nothing"
            whose = f" of {node}" if node else ""
            raise UsageError(f"Run {self.run_id} has no {kind}{whose}; it has {kinds}")
        # Several executions of one node in a run: a retry that succeeded comes last.
        return max(found, key=lambda artifact: artifact.id)

    def path(self, node: str, output: str) -> Path:
        """Returns the directory of a node's output.

        Args:
            node: Id of the node, such as "Trainer".
            output: Name of its output, such as "model".

        Raises:
            UsageError: The run has no such output, or it is not on this machine.
        """
        for step in self.executions:
            if step.node == node and step.succeeded and output in step.outputs:
                (artifact,) = self.lineage.graph.by_id(step.outputs[output][-1:])
                place = _location(artifact)
                if files.is_remote(place):
                    raise UsageError(f"{node}.{output} is not on this machine: {place}")
                return Path(place)
        known = sorted(
            f"{step.node}.{name}"
            for step in self.executions
            if step.succeeded
            for name in step.outputs
        )
        raise UsageError(
            f"Run {self.run_id} has no output {node}.{output}; it has "
            f"{', '.join(known) or 'none'}"
        )

    def schema(self) -> schema_pb2.Schema:
        """Reads the reviewed schema that the data was validated against.

        Raises:
            UsageError: The run imported none, or its file is gone.
        """
        found = artifact_files.read_schema(
            _location(self.artifact("Schema", "ImportSchemaGen"))
        )
        if found is None:
            raise UsageError(f"The schema of run {self.run_id} is gone")
        return found

    def statistics(self) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
        """Reads the statistics by split, as protos that `tfdv` accepts."""
        return artifact_files.read_statistics(
            _location(self.artifact("ExampleStatistics"))
        )

    def features(self) -> dict[str, dict[str, distributions.Feature]]:
        """Reads the statistics as `Feature` objects, by split, then by name."""
        return {
            split: {f.name: f for f in distributions.features_of(found)}
            for split, found in self.statistics().items()
        }

    def feature_table(self) -> pd.DataFrame:
        """Returns the statistics as a table with one row per feature and split."""
        rows = [
            {
                "feature": f.name,
                "split": split,
                "kind": f.kind,
                "rows": f.rows,
                "missing": f.share_missing,
                "unique": f.unique,
                "mean": f.mean,
                "deviation": f.deviation,
                "lowest": f.lowest,
                "median": f.median,
                "highest": f.highest,
                "most frequent": f.texts[0].value if f.texts else None,
            }
            for split, features in self.features().items()
            for f in features.values()
        ]
        return pd.DataFrame(rows).set_index(["feature", "split"]).sort_index(level=0)

    def drift(self, before: "Run | None" = None) -> pd.DataFrame:
        """Computes the distances between distributions of features.

        Args:
            before: An earlier run, to compare the two training splits; if not given,
                this run's other splits are compared with its training split.

        Returns:
            One row per feature and one column per comparison, largest distance first:
            0 for equal, 1 for disjoint; see `distributions.distance`.
        """
        now = self.features()
        pairs = (
            {"since then": (before.features()["train"], now["train"])}
            if before
            else {n: (now["train"], now[n]) for n in now if n != "train"}
        )
        columns = {
            title: {
                name: distributions.distance(old[name], new[name])
                for name in new
                if name in old
            }
            for title, (old, new) in pairs.items()
        }
        # float: a column of `None` only would be of objects, and not sortable.
        frame = pd.DataFrame(columns, dtype=float).rename_axis("feature")
        return frame.sort_values(list(frame.columns)[:1], ascending=False)

    def anomalies(self) -> dict[str, anomalies_pb2.Anomalies]:
        """Reads ExampleValidator's anomalies by split, as protos."""
        return artifact_files.read_anomalies(
            _location(self.artifact("ExampleAnomalies"))
        )

    def anomaly_table(self) -> pd.DataFrame:
        """Returns the anomalies with one row per split, column and reason."""
        rows = [
            {
                "split": split,
                "column": name,
                "anomaly": anomalies_pb2.AnomalyInfo.Type.Name(reason.type),
                "text": reason.description,
            }
            for split, found in self.anomalies().items()
            for name, info in sorted(found.anomaly_info.items())
            for reason in info.reason
        ]
        return pd.DataFrame(rows, columns=["split", "column", "anomaly", "text"])

    def examples_table(self, split: str = "train", rows: int | None = None) -> pa.Table:
        """Reads ingested rows as an Arrow table; a missing value is null.

        A column in which a row has several values stays a column of lists.

        Args:
            split: Name of the split.
            rows: Maximum number of rows, from the first; all if not given.

        Raises:
            UsageError: There is no such split; the message lists the splits.
        """
        directory = _location(self.artifact("Examples", self._ingesting_node()))
        found = files.join(directory, f"Split-{split}")
        if not files.listed(found):
            paths = files.subdirectories(directory)
            names = [files.name_of(path).removeprefix("Split-") for path in paths]
            raise UsageError(f"There is no split {split!r}; there are {names}")
        table = _first_rows(found, rows)
        # Cells are lists of one value, as TFX's Parquet reader wants them.
        columns = [_values(column.combine_chunks()) for column in table.columns]
        return pa.Table.from_arrays(columns, table.column_names)

    def examples(self, split: str = "train", rows: int | None = None) -> pd.DataFrame:
        """Reads ingested rows as a pandas frame; see `examples_table`."""
        return self.examples_table(split, rows).to_pandas()

    def export_examples(self, out: Path) -> dict[str, int]:
        """Writes ingested rows as gzipped TFRecords of tf.Examples, a file per shard.

        Args:
            out: Directory that gets a directory per split.

        Returns:
            The rows written, by split.

        Raises:
            UsageError: The examples are TFRecords already; names their directory.
        """
        directory = _location(self.artifact("Examples", self._ingesting_node()))
        splits = {files.name_of(path): path for path in files.subdirectories(directory)}
        every = [file for split in splits.values() for file in files.listed(split)]
        if not any(file.endswith(SUFFIX) for file in every):
            raise UsageError(f"The examples in {directory} are no Parquet files")
        return {
            name.removeprefix("Split-"): export_split(split, out / name)
            for name, split in splits.items()
        }

    def learning_curves(self) -> pd.DataFrame:
        """Reads the learning curves: one row per evaluation, indexed by step.

        Raises:
            UsageError: The Trainer wrote no curves.
        """
        curves = artifact_files.read_learning_curves(
            _location(self.artifact("ModelRun"))
        )
        if not curves:
            raise UsageError(f"The Trainer of run {self.run_id} wrote no curves")
        return pd.DataFrame(curves).astype({"step": int}).set_index("step")

    def metrics(self) -> pd.DataFrame:
        """Reads the overall metrics: one row per metric, one column per model."""
        models = results.read_metrics(_location(self.artifact("ModelEvaluation")))
        overall = {name: found[results.OVERALL] for name, found in models.items()}
        return pd.DataFrame(overall).rename_axis("metric")

    def intervals(self) -> pd.DataFrame:
        """Reads the 95 % confidence intervals of the metrics that thresholds are on.

        Returns:
            "ci_low" and "ci_high" by "model", "slice" and "metric".
        """
        found = results.read_intervals(_location(self.artifact("ModelEvaluation")))
        rows = {
            (model, results.slice_name(where), metric): bounds
            for model, slices in found.items()
            for where, metrics in slices.items()
            for metric, bounds in metrics.items()
        }
        named = ["model", "slice", "metric"]
        frame = pd.DataFrame(
            [(*where, *bounds) for where, bounds in rows.items()],
            columns=[*named, "ci_low", "ci_high"],
        )
        return frame.set_index(named)

    def slices(self, column: str | None = None) -> pd.DataFrame:
        """Reads the candidate's metrics of each slice.

        Args:
            column: Only slices by this raw column.

        Returns:
            One row per slice and one column per metric, largest slice first; includes
            "overall" if no column is given.
        """
        models = results.read_metrics(_location(self.artifact("ModelEvaluation")))
        found = {
            results.slice_name(where): values
            for where, values in models[results.CANDIDATE].items()
            if column is None or column in {name for name, _ in where}
        }
        frame = pd.DataFrame.from_dict(found, orient="index").rename_axis("slice")
        if "example_count" not in frame:
            return frame
        return frame.sort_values("example_count", ascending=False)

    def calibration(self, model: str = results.CANDIDATE) -> pd.DataFrame:
        """Reads the calibration histogram of the test split.

        Args:
            model: "candidate" or "baseline".

        Returns:
            One row per bucket of predictions, lowest first: "lower", "upper", and the
            sums "weight", "label" and "prediction" over its rows.
        """
        found = results.read_calibration(_location(self.artifact("ModelEvaluation")))
        return pd.DataFrame(found.get(model, []))

    def thresholds(self, model: str = results.CANDIDATE) -> pd.DataFrame:
        """Computes precision and recall at each decision threshold, on the test split.

        Args:
            model: "candidate" or "baseline".

        Returns:
            Indexed by "threshold": rows "flagged", "true positives", "precision" (NaN
            where no row is flagged) and "recall".

        Raises:
            UsageError: The evaluation has no calibration histogram.
        """
        buckets = self.calibration(model)
        if buckets.empty:
            raise UsageError("The Evaluator was not asked for a CalibrationPlot")
        # From the highest score down: the running sums are then the rows at or above
        # each bucket's lower bound, which is the threshold.
        falling = buckets.iloc[::-1]
        flagged, hits = falling["weight"].cumsum(), falling["label"].cumsum()
        frame = pd.DataFrame(
            {
                "threshold": falling["lower"].clip(lower=0.0),
                "flagged": flagged,
                "true positives": hits,
                "precision": (hits / flagged).where(flagged > 0),
                "recall": hits / buckets["label"].sum(),
            }
        )
        # The bucket below the range has lower bound -inf, clipped to 0: two rows of one
        # threshold, of which the last has all rows.
        return frame.groupby("threshold").last()

    def outcome(self) -> dict[str, Any]:
        """Summarizes the outcome of the run's model.

        Returns:
            "version", "blessed" by Evaluator and ServingCheck (each `None` if the run
            didn't get there), and the candidate's overall metrics.
        """
        found: dict[str, Any] = {"version": None, "blessed": None}
        if self.has("PushedModel"):
            pushed = self.artifact("PushedModel").properties
            found["version"] = pushed.get(properties.PUSHED_VERSION)
        if self.has("ModelBlessing"):
            blessing = self.artifact("ModelBlessing").properties
            found["blessed"] = bool(blessing.get("blessed"))
        if found["blessed"] and self.has("InfraBlessing"):
            infra = self.artifact("InfraBlessing").properties
            found["blessed"] = bool(infra.get(properties.BLESSED))
        if self.has("ModelEvaluation"):
            # Not `_location`: a table of all runs must not end at one whose files are
            # gone.
            path = artifact_files.location(self.artifact("ModelEvaluation").uri)
            models = results.read_metrics(path) if path else {}
            overall = models.get(results.CANDIDATE, {}).get(results.OVERALL, {})
            found |= overall
        return found

    def gates(self) -> dict[str, Any]:
        """Returns the verdict by rules; see `results.read_gates`.

        Returns:
            Empty if the run was judged by none, or the files are gone.
        """
        if not self.has("ModelEvaluation"):
            return {}
        path = artifact_files.location(self.artifact("ModelEvaluation").uri)
        return results.read_gates(path) if path else {}

    def serving_check(self) -> dict[str, Any]:
        """Returns what ServingCheck found.

        Returns:
            "failures" as sentences and "figures" by name; both empty if the run has no
            such check, or its files are gone.
        """
        if self.has("InfraBlessing"):
            path = artifact_files.location(self.artifact("InfraBlessing").uri)
            if path:
                return artifact_files.read_serving_check(path)
        return {"failures": [], "figures": {}}

    def ending(self) -> str:
        """Returns how the run ended, by its record, else by the metadata store.

        Returns:
            "done", "not blessed", "not pushed", "failed", "data refused",
            "interrupted", "schema proposed" or "running".
        """
        # The record knows the outcome "failed" only; the exit code says by what.
        if self.record.get("exit_code") == EXIT_DATA_REFUSED:
            return "data refused"
        if self.record:
            return str(self.record["outcome"])
        states = {step.state for step in self.executions}
        if "RUNNING" in states:
            return "running"
        if "FAILED" in states:
            return "failed"
        return "not blessed" if self.outcome()["blessed"] is False else "done"

    def node_states(self) -> dict[str, tuple[str, float | None]]:
        """Returns each node's state and seconds, in the pipeline's order.

        The state of a node that never started is "not run", its seconds `None`.
        """
        # The record first: it also knows a node that was killed before it reached the
        # store. Runs of other runners have no record.
        noted: Mapping[str, Any] = self.record.get("nodes", {})
        states: dict[str, tuple[str, float | None]] = {}
        for node in self.upstream():
            steps = [step for step in self.executions if step.node == node]
            state = _STATES.get(steps[-1].state, "failed") if steps else "not run"
            seconds = steps[-1].seconds if steps else None
            known = noted.get(node, {})
            states[node] = (
                str(known.get("state", state)).lower(),
                known.get("seconds", seconds),
            )
        return states

    def upstream(self) -> dict[str, list[str]]:
        """Returns for each node those that it waits for, in running order."""
        # The compiled graph also has edges that only order, and nodes that never ran.
        # Runs of stock TFX have no such file; there the artifacts give the edges.
        dag = self.directory / DAG_FILE
        if dag.is_file():
            return {n["id"]: n["upstream"] for n in json.loads(dag.read_text())}
        makers = {i: step.node for step in self.executions for i in step.wrote()}
        return {
            step.node: sorted({makers[i] for i in step.read() if i in makers})
            for step in self.executions
        }

    def failures(self) -> dict[str, str]:
        """Returns each failed node's cause, by the record, else by its log."""
        found = {}
        for node, (state, _) in self.node_states().items():
            if state == "failed":
                cause = self.record.get("nodes", {}).get(node, {}).get("cause")
                found[node] = cause or _error_in(self.directory / f"logs/{node}.log")
        return found

    def serving_model(self) -> "ServingModel":
        """Loads the model that the run trained; importing TensorFlow takes seconds.

        Raises:
            UsageError: The run trained no model, or the model's files are gone.
        """
        directory = _location(self.artifact("Model"))
        return ServingModel.load(files.join(directory, "Format-Serving"))

    def _ingesting_node(self) -> str:
        for step in self.executions:
            types = {a.type for a in self.lineage.graph.by_id(step.wrote())}
            # Transform writes Examples as well, but reads some; ingestion reads files
            # only.
            if "Examples" in types and not step.inputs and step.succeeded:
                return step.node
        raise UsageError(f"Run {self.run_id} has ingested no data")


@dataclass(frozen=True)
class ServingModel:
    """A SavedModel behind its signature for raw values.

    Attributes:
        directory: Directory of the SavedModel.
        answer: Its `serving_raw` signature.
        model: The loaded model; it owns the signature's variables, so keep it.
    """

    directory: Location
    answer: Any
    model: Any

    @classmethod
    def load(cls, directory: Location) -> "ServingModel":
        """Loads a SavedModel that has a `serving_raw` signature."""
        import tensorflow as tf

        with files.local_copy(directory) as copy:
            model = tf.saved_model.load(copy)
        return cls(directory, model.signatures["serving_raw"], model)

    def predict(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.Series:
        """Predicts what the model is for.

        Args:
            rows: Raw values by column name. Missing values may be null or absent;
                columns that are not features are ignored.

        Returns:
            With the index of the rows, by the kind of task: "probability" of the
            label; the most probable "class"; or "prediction", a number.
        """
        import tensorflow as tf

        frame = pd.DataFrame(rows)
        columns = self.described.get("inputs", {})
        tensors = {}
        for name, spec in self.answer.structured_input_signature[1].items():
            column = columns.get(name, name)
            # A serving signature needs every input; an absent column is one missing
            # value per row.
            values = frame.get(column, pd.Series([None] * len(frame)))
            shape = [len(frame)]
            if spec.shape.rank > 1:
                values, width = _padded(values)
                shape = [len(frame), width]
            filled = _filled(values, spec.dtype)
            tensors[name] = tf.constant(filled, spec.dtype, shape)
        answers = self.answer(**tensors)
        title = next(each for each in _ANSWERS if each in answers)
        found = answers[title].numpy()
        texts = [v.decode() for v in found] if found.dtype == object else found
        return pd.Series(texts, index=frame.index, name=title)

    @cached_property
    def described(self) -> Mapping[str, Any]:
        """What the model predicts and reads, as the Trainer noted it beside it.

        Returns:
            See `models.signatures.described`; empty for other models.
        """
        file = files.join(self.directory, EXTRAS, MODEL_FILE)
        return json.loads(files.read_text(file)) if files.exists(file) else {}


def live_model(*, output: Path | str | None = None) -> ServingModel:
    """Loads the live model; `throughline models` tells which that is.

    Args:
        output: Output directory; the project's own if not given.

    Raises:
        UsageError: The serving directory has no version.
    """
    config = replace(settings.local(), output=Path(output or DEFAULT_OUTPUT))
    live = versions.live(config.serving_directory)
    if live is None:
        raise UsageError(
            f"No model is live in {config.serving_directory}; a run that ends with 0 "
            "pushes one"
        )
    return ServingModel.load(live.path)


def _padded(values: pd.Series) -> tuple[pd.Series, int]:
    """Fills lists up with nulls, and returns them as one; and the longest's length."""
    held = [
        list(each) if isinstance(each, list | tuple | np.ndarray) else [each]
        for each in values
    ]
    width = max(map(len, held), default=0)
    flat = [v for each in held for v in [*each, *[None] * (width - len(each))]]
    return pd.Series(flat, dtype=object), width


def _role(column: str) -> str:
    roles = {"feature": declared.RAW_COLUMNS, "label": declared.LABEL_COLUMNS}
    found = [role for role, columns in roles.items() if column in columns]
    return " and ".join(found) or "unused"


def _task_of(eval_config: Mapping[str, Any]) -> str:
    """Returns the kind of task that the metrics of an EvalConfig are for."""
    names = {
        str(metric.get("class_name", ""))
        for spec in eval_config.get("metrics_specs", ())
        for metric in spec.get("metrics", ())
    }
    # Multi-class first: "CategoricalAccuracy" is one of its names, and AUC occurs there
    # too.
    for kind, typical in _TASKS.items():
        if any(name.startswith(typical) for name in names):
            return kind
    return ""


def _error_in(log: Path) -> str:
    """Returns the message of the last traceback in a log."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    found = list(_ERROR.finditer(text))
    return found[-1]["text"].strip() if found else "its log says no more"


def _location(artifact: Artifact) -> str:
    place = artifact_files.location(artifact.uri)
    if place is None:
        raise UsageError(
            f"{artifact.type} {artifact.id} is not there any more: {artifact.uri}"
        )
    return place


def _first_rows(split: str, rows: int | None) -> pa.Table:
    """Reads the first rows of examples: shards of ours, or a stock ExampleGen's."""
    there = files.listed(split)
    if there[0].endswith(SUFFIX):
        found = shards_of(split)
        # Batch by batch, so that the first ten rows of a large split are not a full
        # read.
        batches, left = [], count_rows(found) if rows is None else rows
        for batch in itertools.chain.from_iterable(map(read_batches, found)):
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
            if not left:
                break
        return pa.Table.from_batches(batches, schema_of(found))
    # Imports TensorFlow, which only the artifacts of a stock ExampleGen need.
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    records = itertools.chain.from_iterable(map(read_records, there))
    some = list(itertools.islice(records, rows))
    return pa.Table.from_batches([ExamplesToRecordBatchDecoder().DecodeBatch(some)])


def _values(column: pa.Array) -> pa.Array:
    """Unwraps lists of at most one value; decodes bytes to strings."""
    if is_list(column.type):
        if lengths_of(column).max(initial=0) > 1:
            return column
        column = unwrap(column)
    if not is_text(column.type):
        return column
    texts = column.to_pylist()
    return pa.array(
        [v if v is None else v.decode(errors="replace") for v in texts], pa.string()
    )


def _filled(values: pd.Series, dtype: Any) -> list[Any]:
    """Replaces nulls by the values that mean "missing" to `serving_raw`."""
    missing: Any = declarations.MISSING_INTEGER
    kind: Callable[[Any], Any] = int
    if dtype.name == "string":
        missing, kind = declarations.MISSING_TEXT, str
    elif dtype.is_floating:
        missing, kind = declarations.MISSING_FLOAT, float
    return [missing if pd.isna(value) else kind(value) for value in values]
