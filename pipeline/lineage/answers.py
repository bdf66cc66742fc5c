"""The dataclasses that lineage queries return."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class File:
    """A file that was ingested.

    Attributes:
        path: Its path.
        bytes: Its size in bytes.
        sha256: Digest of its content when it was ingested; empty if not recorded.
        unchanged: Whether the file at this path still has that content; `None` if
            unknown.
        span: Number of its span, if recorded.
    """

    path: str
    bytes: int
    sha256: str
    unchanged: bool | None
    span: int | None = None


@dataclass(frozen=True)
class Data:
    """Ingested data.

    Attributes:
        artifact: Id of the Examples artifact.
        run: Name of the run that ingested it.
        span: Number of the newest span that was read.
        fingerprint: Fingerprint of the files: counts, sizes, and digests (ours) or
            times of modification (TFX's).
        rows: Number of rows by split; empty without statistics.
        files: The files that it was read from.
        spans: Numbers of all spans that were read, oldest first.
        notes: Spans that were skipped or missing, in words.
    """

    artifact: int
    run: str
    span: int | None
    fingerprint: str
    rows: Mapping[str, int]
    files: tuple[File, ...]
    spans: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """The schema that a model was trained with.

    Attributes:
        artifact: Id of the Schema artifact.
        revision: SHA-256 of its canonical text; empty if the file is gone.
        columns: Number of columns; 0 if the file is gone.
        source: The file that it was imported from; empty for an inferred one.
        uri: Directory of the artifact.
    """

    artifact: int
    revision: str
    columns: int
    source: str
    uri: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of a node on data or a model.

    Attributes:
        by: Id of the node.
        run: Name of the run.
        about: "data", "model", "serving" or "push".
        passed: Whether the data or the model passed; `None` if unknown.
        text: The reason, or the findings.
    """

    by: str
    run: str
    about: str
    passed: bool | None
    text: str


@dataclass(frozen=True)
class Step:
    """An execution upstream or downstream of a model or of data.

    Attributes:
        execution: Id of the execution.
        node: Id of the node.
        run: Name of the run.
        state: MLMD's name of the state.
        started: ISO 8601, UTC.
        seconds: Duration.
        inputs: Ids of artifacts by input name.
        outputs: Ids of artifacts by output name.
    """

    execution: int
    node: str
    run: str
    state: str
    started: str
    seconds: float
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelLineage:
    """The lineage of a model: its inputs, the executions, the verdicts on it.

    Attributes:
        artifact: Id of the Model artifact.
        uri: Its directory.
        versions: The versions that it was pushed as, oldest first.
        live: Whether it is the newest version in the serving directory.
        pipeline: Name of the pipeline.
        run: Name of the run that trained it.
        trained: When training ended, ISO 8601, UTC.
        data: The data that it was trained on; a base model has its own.
        schema: The reviewed schema, if there was one.
        verdicts: Verdicts on the data and the model, in order.
        metrics: Overall metrics of the newest evaluation, by "candidate" and
            "baseline", then by metric.
        code: SHA-256 of the modules and files of each node.
        parameters: Parameters of each node.
        packages: Versions of the packages that ran.
        steps: The executions, oldest first.
        artifacts: Types of the steps' artifacts, by id.
        base: The model whose weights its training began with, such as "version 3";
            empty without a warm start.
    """

    artifact: int
    uri: str
    versions: tuple[str, ...]
    live: bool
    pipeline: str
    run: str
    trained: str
    data: tuple[Data, ...]
    schema: Schema | None
    verdicts: tuple[Verdict, ...]
    metrics: Mapping[str, Mapping[str, float]]
    code: Mapping[str, Mapping[str, str]]
    parameters: Mapping[str, Mapping[str, Any]]
    packages: Mapping[str, str]
    steps: tuple[Step, ...]
    artifacts: Mapping[int, str]
    base: str = ""

    @property
    def name(self) -> str:
        """Its newest version, or "model" and the artifact's id if never pushed."""
        return self.versions[-1] if self.versions else f"model {self.artifact}"


@dataclass(frozen=True)
class ModelUse:
    """A model that was trained on some data.

    Attributes:
        metric: Title and value of its main metric; no value if it wasn't evaluated.
    """

    artifact: int
    versions: tuple[str, ...]
    run: str
    trained: str
    metric: tuple[str, float | None]


@dataclass(frozen=True)
class DataLineage:
    """The models that were trained on a file or a span; `asked` is the query."""

    asked: str
    data: tuple[Data, ...]
    models: tuple[ModelUse, ...]
    steps: tuple[Step, ...]
    artifacts: Mapping[int, str]


@dataclass(frozen=True)
class Change:
    """One difference between two models; `before` or `after` is empty if absent."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class ModelDiff:
    """The differences between two models by subject; empty where they are equal."""

    before: str
    after: str
    data: tuple[Change, ...] = ()
    schema: tuple[Change, ...] = ()
    code: tuple[Change, ...] = ()
    parameters: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    verdicts: tuple[Change, ...] = ()
    metrics: tuple[Change, ...] = ()

    def subjects(self) -> dict[str, tuple[Change, ...]]:
        """Returns the differences by subject, in display order."""
        # `before` and `after` are the names of the models, and the only texts.
        return {n: v for n, v in vars(self).items() if isinstance(v, tuple)}


def as_json(answer: ModelLineage | DataLineage | ModelDiff) -> dict[str, Any]:
    """Converts an answer to plain JSON values; NaN becomes null."""
    # json writes NaN as `NaN`, which isn't JSON and which JavaScript and jq reject;
    # reading the text again is the hook that replaces it at any depth.
    text = json.dumps(asdict(answer), default=str)
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return plain
