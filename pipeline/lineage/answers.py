"""What questions about lineage are answered with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class File:
    """A file that was ingested.

    Attributes:
        path: Where it was.
        bytes: Its size.
        sha256: Of its content then; empty if ingestion did not note it.
        unchanged: Whether the file there today is the same; none if it can't be told.
        span: Number of the span that it is of, if the store says.
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
        run: The run that ingested it.
        span: Number of the span, the newest if several were read together.
        fingerprint: Of the files: counts, sizes, and contents or times of change.
        rows: Of each split, where statistics are at hand.
        files: What it was read from.
        spans: All that were read together, oldest first.
        notes: What ingestion said of spans that it passed over or missed.
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
    """The schema that a model was trained under.

    Attributes:
        artifact: Id of the Schema artifact.
        revision: SHA-256 of its canonical text.
        columns: How many there are; 0 if the file is gone.
        source: The file it was imported from; empty for an inferred one.
        uri: Directory of the artifact.
    """

    artifact: int
    revision: str
    columns: int
    source: str
    uri: str


@dataclass(frozen=True)
class Verdict:
    """What a gate said.

    Attributes:
        by: The node.
        run: In which run.
        about: "data", "model", "serving" or "push".
        passed: Whether it let the data or the model pass; none if it can't be told.
        text: Why, or what was found.
    """

    by: str
    run: str
    about: str
    passed: bool | None
    text: str


@dataclass(frozen=True)
class Step:
    """An execution on the way to a model, or after it."""

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
    """Everything that made a model, and what became of it.

    Attributes:
        artifact: Id of the Model artifact.
        uri: Its directory.
        versions: Those it was pushed as, oldest first.
        live: Whether the newest version in the serving directory is this model.
        pipeline: Name of the pipeline.
        run: The run that trained it.
        trained: When training ended, UTC.
        data: What it learned from.
        schema: What the data had to fit.
        verdicts: Of the gates, in their order.
        metrics: Overall metrics by the newest evaluation; of the baseline too.
        code: For each node, its modules and files with their SHA-256.
        parameters: For each node, what it was told.
        packages: Versions of what ran.
        steps: The executions, oldest first.
        artifacts: Types of the artifacts that the steps name, by id.
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

    @property
    def name(self) -> str:
        """The version it is known by, or the artifact."""
        return self.versions[-1] if self.versions else f"model {self.artifact}"


@dataclass(frozen=True)
class ModelUse:
    """A model that learned from some data."""

    artifact: int
    versions: tuple[str, ...]
    run: str
    trained: str
    auc: float | None


@dataclass(frozen=True)
class DataLineage:
    """Which models learned from a file or a span."""

    asked: str
    data: tuple[Data, ...]
    models: tuple[ModelUse, ...]
    steps: tuple[Step, ...]
    artifacts: Mapping[int, str]


@dataclass(frozen=True)
class Change:
    """One thing that differs between two models; empty where one lacks it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class ModelDiff:
    """How one model differs from another, by subject; empty lists are no difference."""

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
        """The differences by subject, in the order to show them."""
        return {n: v for n, v in vars(self).items() if isinstance(v, tuple)}


def as_json(answer: ModelLineage | DataLineage | ModelDiff) -> dict[str, Any]:
    """Turns an answer into what JSON can hold; a metric that is not defined is null."""
    text = json.dumps(asdict(answer), default=str)
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return plain
