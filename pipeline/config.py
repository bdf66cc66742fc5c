"""Every setting of the pipeline, with its unit, in one tree of frozen dataclasses.

The command line is generated from these classes, so a setting is written once; the
project's own values are in throughline.toml. A variant replaces fields:
`dataclasses.replace(local(), train_steps=20)`. Importing this module imports neither
TFX nor TensorFlow.
"""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models import declared
from models.declarations import Task
from models.groups import GROUPS
from models.hyperparameters import Hyperparameters
from pipeline.beam.engines import IN_PROCESS, Beam, refuse_unreachable
from pipeline.columnar import files
from pipeline.errors import UsageError, is_one_line, nearest, require
from pipeline.ingestion.spans import EVERY_FILE, NEWEST, Pattern, Wanted, parse_wanted
from pipeline.ingestion.times import seconds_in
from pipeline.project import settings_file
from pipeline.project.settings_file import PROJECT
from pipeline.quality import rules
from pipeline.store.names import local_path
from pipeline.store.url import METADATA_FILE, of_file
from pipeline.trust import checks
from schema import SCHEMA_PATH

# TFX stores step counts as 32-bit integers; no other count needs more.
LARGEST = 2**31 - 1
METADATA_VARIABLE = "THROUGHLINE_METADATA"
SAMPLE_DATA_DIRECTORY = "sample"
# Spelled here, because modules that know these nodes must not import TFX.
DATA_NODE = "ExampleGen"
STATISTICS_NODE = "StatisticsGen"
PROPOSAL_NODE = "SchemaGen"
GATE_NODE = "DataGate"
TUNER_NODE = "Tuner"
TRAINER_NODE = "Trainer"
SERVING_NODE = "ServingCheck"
# An image's name with its registry's, if any, and a tag.
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII
)
_BUCKET = re.compile(r"(?:s3|gs)://[a-z0-9][a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)

VERTEX_MOUNT = Path("/gcs")
"""Where Vertex AI mounts Cloud Storage."""
IN_PROCESS_BEAM_RUNNER = IN_PROCESS
# Without an image, TFX packs its own source for remote workers, of which there are none
# in-process: 1.2 s in every Beam node.
IN_PROCESS_ARGUMENTS = (IN_PROCESS_BEAM_RUNNER, "--sdk_container_image=none")

_DEFAULT_POLICY = next(iter(declared.POLICIES), "")

# Flags offer the names that the label declares; a type checker can't know them.
if TYPE_CHECKING:
    LabelPolicy = str
else:
    LabelPolicy = Literal[declared.POLICIES] if declared.POLICIES else str


@dataclass(frozen=True)
class Splits:
    """How rows are split: by a hash, by time or by span.

    A hash assigns each split its parts of the sum of all parts.
    """

    train_parts: int = 7
    """Parts of the rows that the model is trained on."""
    eval_parts: int = 1
    """Parts of the rows that early stopping uses."""
    test_parts: int = 2
    """Parts of the rows that only the Evaluator reads."""
    hash_columns: tuple[str, ...] = ()
    """Columns to hash: rows with equal values in them, such as those of one customer,
    are in the same split. The columns of the reviewed schema if not given."""
    time_column: str = ""
    """Column with the time of a row, to split by time: seconds since 1970, or dates
    such as 2026-01-31."""
    eval_from: str = ""
    """Rows from this time on, and before test-from, are the eval split; if not given,
    eval-parts of the rows before test-from are, by a hash."""
    test_from: str = ""
    """Rows from this time on are the test split."""
    test_spans: int = 0
    """This many of the newest spans of the window are only tested on, with all their
    rows; each span is split by a hash into train and eval."""

    def __post_init__(self) -> None:
        """Rejects a split without rows, and rules that contradict each other."""
        for name in ("train_parts", "eval_parts", "test_parts"):
            require(self, name, at_least=1, at_most=LARGEST, group="splits")
        require(self, "test_spans", at_least=0, at_most=LARGEST, group="splits")
        if bool(self.time_column) != bool(self.test_from):
            raise UsageError(
                f"splits.time-column is {self.time_column!r} and splits.test-from is "
                f"{self.test_from!r}; to split rows by time, give both"
            )
        for setting in filter(None, (self.eval_from, self.test_from)):
            seconds_in(setting)
        if self.eval_from and not self.time_column:
            raise UsageError(
                f"splits.eval-from is {self.eval_from!r} without a splits.time-column; "
                "give splits.time-column and splits.test-from too"
            )
        self._require_order()
        if self.test_spans and self.time_column:
            raise UsageError(
                f"splits.test-spans is {self.test_spans} and splits.time-column is "
                f"{self.time_column!r}; give one of them"
            )

    def _require_order(self) -> None:
        """Rejects an eval split that would begin after it ends."""
        if not (self.eval_from and self.test_from):
            return
        if seconds_in(self.eval_from) >= seconds_in(self.test_from):
            raise UsageError(
                f"splits.eval-from is {self.eval_from!r} and splits.test-from is "
                f"{self.test_from!r}; rows between them are the eval split, so "
                "splits.eval-from must be the earlier one"
            )


@dataclass(frozen=True)
class Gate:
    """What data the gate lets pass; anything worse stops the run.

    A finding is named by TFDV's anomaly type or our check (docs/data-trust.md), for one
    column as NAME:COLUMN.
    """

    block: tuple[str, ...] = ()
    """Findings that stop the run, which is the default of almost all."""
    warn: tuple[str, ...] = ()
    """Findings that are reported and don't stop the run."""
    ignore: tuple[str, ...] = ()
    """Findings that are not even reported."""
    max_quarantined: float = 0.01
    """Share of the rows, 0 to 1, that may go to quarantine before the run stops."""
    min_rows: int = 1
    """Fewest rows of each split."""
    min_rows_of_span: int = 1
    """Fewest rows of each span, all splits together; of all the data without spans."""
    min_share_of_rows: float = 0.1
    """Fewest rows, as a share of those of the data before."""
    max_missing_labels: float = 0.01
    """Largest share of rows, 0 to 1, without a value that the label needs."""
    max_duplicates: float = 0.01
    """Largest share of rows, 0 to 1, that repeat another row or its key, or are in two
    splits."""
    key_columns: tuple[str, ...] = ()
    """Columns that together identify a row, such as an order's number."""
    crosses: tuple[str, ...] = tuple(map("*".join, declared.CROSSES))
    """Combinations of columns that training should cover, such as hour*area."""
    min_rows_of_cell: int = 10
    """Fewest training rows of a combination that counts as covered; rarer ones become
    slices of the evaluation."""
    max_uncovered: float = 0.05
    """Largest share of rows, 0 to 1, in combinations that training never has, if
    UNCOVERED_CELLS is to warn or block."""
    max_leakage: float = 0.9
    """Largest share of the label's entropy, 0 to 1, that one feature may explain."""
    false_alarms: float = 0.001
    """Probability, 0 to 1, that data without a change counts as drifted."""

    def __post_init__(self) -> None:
        """Rejects values out of bounds, and findings that nobody can make."""
        shares = ("max_quarantined", "min_share_of_rows", "max_missing_labels")
        for name in (
            *shares,
            "max_duplicates",
            "max_uncovered",
            "max_leakage",
            "false_alarms",
        ):
            require(self, name, at_least=0, at_most=1, group="gate")
        for name in ("min_rows", "min_rows_of_span", "min_rows_of_cell"):
            require(self, name, at_least=1, at_most=LARGEST, group="gate")
        if not self.false_alarms:
            raise UsageError(
                "gate.false-alarms is 0.0; it must be above 0, or no drift is found"
            )
        # Imported for the names alone: it takes a twentieth of a second.
        from tensorflow_metadata.proto.v0 import anomalies_pb2

        known = [*anomalies_pb2.AnomalyInfo.Type.keys(), *checks.Check]
        named: dict[str, str] = {}
        for severity in checks.Severity:
            for name in getattr(self, severity):
                anomaly, _, _ = name.partition(":")
                if anomaly not in known:
                    raise UsageError(
                        f"gate.{severity} names {name!r}, which is neither one of "
                        "TFDV's anomaly types nor a check of the gate; "
                        f"{nearest(anomaly, known)}"
                    )
                if name in named:
                    raise UsageError(
                        f"gate.{severity} names {name!r}, and so does "
                        f"gate.{named[name]}; leave one of them out"
                    )
                named[name] = severity

    @property
    def severities(self) -> dict[str, checks.Severity]:
        """The severities that were set, by name of the finding."""
        return {n: s for s in checks.Severity for n in getattr(self, s)}


@dataclass(frozen=True)
class Quality:
    """The thresholds of a blessing on the test split, and the slices to evaluate.

    Those of the task count. Their defaults are just above what is reached without
    looking at any feature.
    """

    min_auc: float = 0.51
    """For yes or no: lowest area under the ROC curve, 0.5 to 1; guessing has 0.5."""
    max_auc_loss: float = 0.005
    """For yes or no: most that the AUC may be below the live model's, 0 to 1, and below
    that of the best of the last best-of live models."""
    min_accuracy_gain: float = 0.001
    """For classes: lowest accuracy above the share of the most frequent class, in the
    test split, 0 to 1."""
    max_accuracy_loss: float = 0.01
    """For classes: most that the accuracy may be below the live model's, 0 to 1."""
    min_r2: float = 0.001
    """For numbers: lowest share of the variance that is explained, 0 to 1; predicting
    the mean explains 0."""
    max_r2_loss: float = 0.01
    """For numbers: most that this share may be below the live model's, 0 to 1."""
    slice_columns: tuple[str, ...] = declared.SLICE_COLUMNS
    """Raw columns to slice by: metrics are also computed for each of their values."""
    slice_crosses: tuple[str, ...] = ()
    """Crosses of raw columns to slice by as well, each such as payment_type,company."""
    max_slice_auc_loss: float = 0.02
    """For yes or no: most that the AUC of a slice may be below the live model's there,
    0 to 1."""
    max_slice_accuracy_loss: float = 0.05
    """For classes: most that the accuracy of a slice may be below the live model's
    there, 0 to 1."""
    max_slice_rmse_loss: float = 0.2
    """For numbers: most that the RMSE of a slice may be above the live model's there,
    as a share of that, 0 to 1."""
    max_error_rate_gap: float = 0.3
    """Most that the false positive rates, or the false negative rates, of two groups of
    models/groups.py may differ by, 0 to 1; for classes, their accuracies."""
    max_mae_gap: float = 1.0
    """For numbers: most that the mean absolute errors of two groups of models/groups.py
    may differ by, as a share of that of all rows."""
    rules: tuple[str, ...] = ()
    """More rules about metrics of the task, such as 'recall >= 0.6', 'accuracy by
    COLUMN loss <= 0.03', 'recall of CLASS >= 0.5' or 'mae by GROUPING gap <= 50%'."""
    confidence: float = 0.95
    """How sure it must be that a slice breaks a rule, 0.5 to below 1, for all slices
    together."""
    min_slice_rows: int = 50
    """Fewest rows of a slice that rules judge; smaller ones are reported as such."""
    best_of: int = 5
    """Number of the last live models of which the best one is compared with, too; 0
    for none."""
    false_positive_cost: float = 1.0
    """Cost of a row that is decided as positive and isn't, in any unit: with the other
    cost it chooses the threshold above which a row is decided as positive."""
    false_negative_cost: float = 1.0
    """Cost of a positive row that is not decided as one, in the same unit."""

    def __post_init__(self) -> None:
        """Rejects thresholds outside 0 to 1, and texts that are no rules."""
        limits = ("min_auc", "max_auc_loss", "max_slice_auc_loss", "max_error_rate_gap")
        others = ("min_accuracy_gain", "max_accuracy_loss", "min_r2", "max_r2_loss")
        sliced = ("max_slice_accuracy_loss", "max_slice_rmse_loss")
        for name in (*limits, *others, *sliced):
            require(self, name, at_least=0, at_most=1, group="quality")
        require(self, "max_mae_gap", at_least=0, at_most=LARGEST, group="quality")
        require(self, "confidence", at_least=0.5, at_most=0.9999, group="quality")
        require(self, "min_slice_rows", at_least=1, at_most=LARGEST, group="quality")
        require(self, "best_of", at_least=0, at_most=LARGEST, group="quality")
        for name in ("false_positive_cost", "false_negative_cost"):
            require(self, name, at_least=0, at_most=LARGEST, group="quality")
        if not self.false_positive_cost + self.false_negative_cost:
            raise UsageError(
                "quality.false-positive-cost and quality.false-negative-cost are both "
                "0; one of the two errors must cost something"
            )
        for text in self.rules:
            rules.parse_for(text, declared.TASK, declared.CLASSES)

    @property
    def crosses(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each cross."""
        return tuple(
            tuple(name.strip() for name in cross.split(","))
            for cross in self.slice_crosses
        )

    @property
    def all_rules(self) -> tuple[str, ...]:
        """All rules as texts: those of the thresholds above, then the others."""
        return self.rules_of(declared.TASK)

    def rules_of(self, task: Task) -> tuple[str, ...]:
        """All rules as texts, of a project of some kind of task."""
        sliced = "auc"
        rates: tuple[str, ...] = ("false_positive_rate", "false_negative_rate")
        most, gap = f"{self.max_slice_auc_loss:g}", f"{self.max_error_rate_gap:g}"
        match task:
            case "binary":
                overall = (
                    f"auc >= {self.min_auc:g}",
                    f"auc loss <= {self.max_auc_loss:g}",
                )
            case "classes":
                overall = (
                    f"accuracy_gain >= {self.min_accuracy_gain:g}",
                    f"accuracy loss <= {self.max_accuracy_loss:g}",
                )
                sliced, most = "accuracy", f"{self.max_slice_accuracy_loss:g}"
                rates = ("accuracy",)
            case "regression":
                overall = (
                    f"r2 >= {self.min_r2:g}",
                    f"r2 loss <= {self.max_r2_loss:g}",
                )
                sliced, most = "rmse", f"{100 * self.max_slice_rmse_loss:g}%"
                rates, gap = ("mae",), f"{100 * self.max_mae_gap:g}%"
        by = [*((name,) for name in self.slice_columns), *self.crosses]
        return (
            *overall,
            *(f"{sliced} by {','.join(names)} loss <= {most}" for names in by),
            *(
                f"{rate} by {group.name} gap <= {gap}"
                for group in GROUPS
                for rate in rates
            ),
            *self.rules,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that rows are sliced by, each once."""
        of_groups = {group.name: group.column for group in GROUPS}
        named = [
            *self.slice_columns,
            *(name for cross in self.crosses for name in cross),
            *(name for text in self.rules for name in rules.parse(text).by),
        ]
        return tuple(dict.fromkeys(of_groups.get(name, name) for name in named))


@dataclass(frozen=True)
class ServingCheck:
    """What a model must do in a process of its own before it is pushed."""

    rows: int = 64
    """Rows of the eval split to send to each signature."""
    max_load_seconds: float = 60.0
    """Most seconds until the model is loaded."""
    max_latency_ms: float = 500.0
    """Most milliseconds for 95 % of the requests of one row."""
    max_memory_mb: float = 4096.0
    """Most memory of the process in MB, TensorFlow's 450 included."""
    image: str = ""
    """Image of a model server, such as tensorflow/serving:2.19.1: TFX's InfraValidator
    then loads the model in it in Docker, and none of the other checks is made."""

    def __post_init__(self) -> None:
        """Rejects bounds that no model keeps."""
        require(self, "rows", at_least=1, at_most=10_000, group="serving_check")
        for name in ("max_load_seconds", "max_latency_ms", "max_memory_mb"):
            require(self, name, at_least=0, at_most=LARGEST, group="serving_check")
        if self.image and not _IMAGE.fullmatch(self.image):
            raise UsageError(
                f"serving-check.image is {self.image!r}; it must be an image with its "
                "tag, such as tensorflow/serving:2.19.1"
            )


@dataclass(frozen=True)
class Tune:
    """The search for better hyperparameters, of which models/tuning.py says where."""

    enabled: bool = False
    """Search before training, and train with the best that was found; `throughline
    tuning` shows it and makes it the project's."""
    trials: int = 20
    """Most combinations to train with, the one in use first."""
    train_steps: int = 0
    """Maximum number of steps of each trial; 0 means as many as train-steps."""
    max_trial_seconds: int = 0
    """Most seconds for a trial, after which it counts as failed; 0 for no limit."""

    def __post_init__(self) -> None:
        """Rejects values out of bounds."""
        require(self, "trials", at_least=1, at_most=LARGEST, group="tune")
        for name in ("train_steps", "max_trial_seconds"):
            require(self, name, at_least=0, at_most=LARGEST, group="tune")


@dataclass(frozen=True)
class Config:
    """All settings of the pipeline."""

    name: str = "pipeline"
    """Name of the pipeline in the metadata store, and of the model in serving."""
    data: Path | None = None
    """Directory of .csv, .csv.gz or .parquet files with the same columns; the
    project's sample if not given."""
    pattern: str = EVERY_FILE
    """Pattern of the files to read, such as 'span-{SPAN}/*.csv' or
    '{YYYY}-{MM}-{DD}/*.csv'."""
    span: str = NEWEST
    """The span to read: newest, a number, a date, or a range such as 5..8."""
    window: int | Literal["all"] = 1
    """Number of the newest spans to train on together; each is ingested once."""
    encoding: str = "utf-8"
    """Encoding of text files, by Python's name: utf-8, cp1252, utf-16 and so on."""
    output: Path = Path("output")
    """Directory for artifacts, metadata, logs and the serving model."""
    artifacts: str | None = None
    """Where nodes write their artifacts instead: s3://bucket/prefix or
    gs://bucket/prefix. Runs' records and logs, metadata.db and the serving model stay
    in the output directory."""
    schema: Path = SCHEMA_PATH
    """The reviewed schema, a text proto."""
    metadata: str | None = None
    """URL of the metadata store (sqlite://, mysql://, postgresql://);
    metadata.db in the output directory if not given. The variable
    THROUGHLINE_METADATA does the same and keeps a password out of the process list."""
    label_policy: LabelPolicy = _DEFAULT_POLICY
    """Which labels are used: one of the policies that the label's declaration has."""
    train_steps: int = 1000
    """Maximum number of training steps (batches)."""
    eval_steps: int = 0
    """Batches of the eval split that early stopping uses; 0 means all."""
    batch_size: int = 200
    """Rows per training step."""
    seed: int = 1
    """Seed of all random numbers."""
    warm_start: bool = False
    """Begin training with the live model's weights, where they fit, not random ones."""
    splits: Splits = field(default_factory=Splits)
    gate: Gate = field(default_factory=Gate)
    model: Hyperparameters = field(default_factory=Hyperparameters)
    tune: Tune = field(default_factory=Tune)
    quality: Quality = field(default_factory=Quality)
    serving_check: ServingCheck = field(default_factory=ServingCheck)
    beam: Beam = field(default_factory=Beam)

    def __post_init__(self) -> None:
        """Rejects values that would only fail minutes later."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", self.name):
            msg = (
                f"name is {self.name!r}; it must begin with a letter and hold only "
                "letters, digits, '-' and '_', since it names directories and models"
            )
            raise UsageError(msg)
        for setting in ("data", "output", "schema"):
            _check_path(setting, getattr(self, setting))
        _check_output(self.output)
        if self.artifacts is not None:
            _check_artifacts(self.artifacts)
        _check_encoding(self.encoding)
        _check_policy(self.label_policy)
        if self.wanted_spans is None and self.splits.test_spans:
            raise UsageError(
                f"splits.test-spans is {self.splits.test_spans}, but the pattern "
                f"{self.pattern!r} has no span placeholder; give one such as "
                "--pattern 'span-{SPAN}/*.csv'"
            )
        require(self, "train_steps", at_least=1, at_most=LARGEST)
        require(self, "eval_steps", at_least=0, at_most=LARGEST)
        require(self, "batch_size", at_least=1, at_most=LARGEST)
        require(self, "seed", at_least=0, at_most=LARGEST)
        if self.window != "all":
            require(self, "window", at_most=LARGEST)
        for name in ("data", "output", "schema"):
            if path := getattr(self, name):
                # Before TFX sees it: `Path("gs://b")` is the relative directory gs:/b.
                local_path(path, name)
        refuse_unreachable(self.beam, self.artifacts)

    @property
    def data_directory(self) -> Path:
        """Directory of the data files, absolute."""
        data = self.data or self.output / SAMPLE_DATA_DIRECTORY
        return data.absolute()

    @property
    def wanted_spans(self) -> Wanted | None:
        """The spans to read; `None` if the pattern has no span placeholder."""
        return parse_wanted(self.span, self.window, Pattern(self.pattern))

    @property
    def artifact_root(self) -> str:
        """URI or absolute path that the nodes write their artifacts to."""
        return self.artifacts or str((self.output / "artifacts").absolute())

    @property
    def serving_directory(self) -> Path:
        """Directory that a model server reads versions of the model from, absolute."""
        return (self.output / "serving" / self.name).absolute()

    @property
    def monitoring_page(self) -> Path:
        """The page that `throughline operate` and `monitor` write, absolute."""
        return (self.output / "monitoring" / self.name / "index.html").absolute()

    @property
    def runs_directory(self) -> Path:
        """Directory of the runs' records, logs and reports, absolute."""
        return (self.output / "runs").absolute()

    @property
    def metadata_url(self) -> str:
        """URL of the metadata store; may hold a password, so never print it."""
        file = (self.output / METADATA_FILE).absolute()
        return self.metadata or of_file(file)

    @property
    def beam_pipeline_args(self) -> list[str]:
        """Beam's arguments; they always name the engine.

        Beam's default is to download and start another engine, Prism.
        """
        if arguments := self.beam.arguments():
            return arguments
        # A list of the caller's own: TFX's compiler for Vertex AI appends to it.
        return list(IN_PROCESS_ARGUMENTS)


def local() -> Config:
    """Returns the settings of the main job on this machine: those of the project."""
    config: Config = settings_file.replaced(Config(), project_settings())
    return config


def project_settings() -> dict[str, Any]:
    """Returns what the project's throughline.toml sets, by path.

    Raises:
        UsageError: It has a key that is no setting, or a wrong value.
    """
    return settings_file.read(PROJECT / settings_file.FILE_NAME, Config())


def smoke() -> Config:
    """The whole pipeline with little training: does it run at all?"""
    # 20 steps say nothing of a model; after 50 one that learned nothing stays below
    # 0.6.
    config = local()
    quality = replace(
        config.quality,
        min_auc=0.6,
        # What has hardly learned differs from slice to slice.
        max_slice_auc_loss=1.0,
        max_error_rate_gap=1.0,
    )
    return replace(config, train_steps=50, quality=quality)


def kubeflow() -> Config:
    """Returns settings for containers: the output directory is their shared volume."""
    return replace(local(), output=Path("/mnt/throughline"))


PRESETS: Mapping[str, Callable[[], Config]] = {
    "local": local,
    "smoke": smoke,
    "kubeflow": kubeflow,
}


def with_environment(config: Config, environment: Mapping[str, str]) -> Config:
    """Fills in settings from environment variables if they were not given as flags.

    What throughline.toml sets gives way to the environment.

    Args:
        config: The settings of the command line, which take precedence.
        environment: `os.environ`, or a mapping in its place for tests.

    Returns:
        The configuration with the metadata store's URL filled in.
    """
    url = environment.get(METADATA_VARIABLE)
    given = config.metadata and config.metadata != project_settings().get("metadata")
    return replace(config, metadata=url) if url and not given else config


def given_metadata(config: Config) -> str | None:
    """Returns the metadata store's URL; `None` if the environment variable gave it."""
    url = config.metadata
    return None if url == environment().get(METADATA_VARIABLE) else url


def environment() -> Mapping[str, str]:
    """Returns the process's environment; where settings are read from it.

    `pipeline.store.clock`, which is below this module, reads its own variable.
    """
    return os.environ


def check_places(config: Config) -> None:
    """Checks that the output directory exists or can be created, and is writable.

    Raises:
        UsageError: It, or its nearest existing parent, can't be used, or nothing can be
            written where the artifacts go.
    """
    if config.artifacts:
        _check_writable(config.artifacts)
    place = config.output.absolute()
    try:
        # A dangling link doesn't exist, and can't be created as a directory either.
        while not place.exists() and not place.is_symlink():
            place = place.parent
        is_directory = place.is_dir()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"output is {config.output}, which can't be used: {reason}; give another "
            "directory"
        ) from error
    if not is_directory:
        what = "it" if place == config.output.absolute() else str(place)
        raise UsageError(
            f"output is {config.output}, but {what} is not a directory; give another "
            "--output"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(
            f"output is {config.output}, but nothing can be written to {place}; give "
            "another --output, or change the permissions"
        )


def _check_path(setting: str, path: Path | None) -> None:
    """Rejects control characters: a path is shown in messages, logs and reports."""
    if path is not None and not is_one_line(str(path)):
        raise UsageError(
            f"{setting} is {str(path)!r}; control characters and line ends are not "
            "allowed in it"
        )


def _check_output(output: Path) -> None:
    """Rejects characters that TFX, Beam and TensorFlow would expand as a glob."""
    if found := sorted(set("*?[") & set(str(output.absolute()))):
        raise UsageError(
            f"output is {str(output.absolute())!r}; TFX takes {' and '.join(found)} in "
            "it for a pattern, so give a directory without * ? ["
        )


def _check_artifacts(uri: str) -> None:
    """Rejects what isn't a place in a bucket; ? and the like would be a glob to TFX."""
    if not _BUCKET.fullmatch(uri):
        raise UsageError(
            f"artifacts is {uri!r}; it must be a place in a bucket, such as "
            "s3://bucket/prefix or gs://bucket/prefix, of letters, digits and "
            "'-', '_', '.', '/'; for a directory give --output"
        )


def _check_writable(uri: str) -> None:
    probe = files.join(uri, f".probe-{uuid.uuid4().hex}")
    try:
        files.write_bytes(probe, b"")
        files.remove(probe)
    except OSError as error:
        raise UsageError(
            f"artifacts is {uri}, where nothing can be written: "
            f"{str(error).splitlines()[0]}; check the bucket, its permissions, and the "
            "credentials in the environment"
        ) from error


def _check_encoding(name: str) -> None:
    try:
        "".encode(name)
    except LookupError as error:
        raise UsageError(
            f"encoding is {name!r}, which is not a text encoding of Python's; give one "
            "such as utf-8, cp1252, latin-1 or utf-16"
        ) from error


def _check_policy(name: str) -> None:
    try:
        declared.LABEL.condition(name)
    except ValueError as error:
        raise UsageError(str(error).replace("label_policy", "label-policy")) from error
