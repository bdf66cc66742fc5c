"""Lineage queries: how a model was made, models of a file, differences of two models.

The answers come from the metadata store and from the artifacts that it refers to, for
any store that TFX 1.x wrote. What the store doesn't have, and files that are gone, are
omitted. Importing this module imports neither TensorFlow nor TFX.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.caching.fingerprint import digest
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion import digests
from pipeline.lineage import facts
from pipeline.lineage.answers import (
    Data,
    DataLineage,
    File,
    ModelDiff,
    ModelLineage,
    ModelUse,
    Schema,
    Step,
    Verdict,
)
from pipeline.lineage.facts import span_of
from pipeline.quality import results, titles
from pipeline.registry import versions
from pipeline.store import artifact_files, properties, windows
from pipeline.store.connection import existing_store
from pipeline.store.graph import BASE_MODEL, Artifact, Execution, Graph
from pipeline.store.url import redact

# The recorded cache key holds digests of code and versions of packages in one mapping;
# only their form distinguishes them.
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Lineage:
    """Lineage queries on one metadata store.

    Attributes:
        config: Names the pipeline and the directories; the store's URL is used only
            by `open_lineage`.
        graph: The store's executions and artifacts.
    """

    config: Config
    graph: Graph
    _pushes: list[tuple[Artifact, Execution]] | None = field(default=None, repr=False)

    def model(self, version: str | None = None) -> ModelLineage:
        """Returns the lineage of a model.

        Args:
            version: A pushed version, the id of a Model artifact, or the name of a run.
                If not given: the live model, else the one pushed last, else the newest.

        Raises:
            UsageError: There is no such model; the message lists the newest ones.
        """
        return self._lineage_of(self._find_model(version))

    def of_artifact(self, model: int) -> ModelLineage:
        """Returns the lineage of a Model artifact, by its id.

        Raises:
            UsageError: The store has no such Model artifact.
        """
        for artifact in self.graph.by_id([model]):
            if artifact.type == "Model":
                return self._lineage_of(artifact)
        raise UsageError(f"There is no model {model}; {self._known_models()}")

    def data(self, asked: str) -> DataLineage:
        """Returns the models that were trained on a file or a span.

        Args:
            asked: Path or name of a file, the SHA-256 of its content, or the number of
                a span.

        Raises:
            UsageError: No run has ingested it; the message lists files and spans.
        """
        sources = [s for s in self._sources() if self._is_asked(s, asked)]
        if not sources:
            raise UsageError(
                f"No run has ingested {asked!r}; {self._known_data()}. A file is given "
                "by its path or name, a span by its number"
            )
        steps = self.graph.descendants([s.id for s in sources])
        ids = {i for step in steps for i in step.wrote()}
        models = [a for a in self.graph.by_id(ids) if a.type == "Model"]
        makers = self.graph.makers([s.id for s in sources])
        # Cached executions repeat an earlier one that is in the list already; a year of
        # daily runs would be mostly these.
        shown = [*makers, *(s for s in steps if s.state != "CACHED")]
        return DataLineage(
            asked=asked,
            data=tuple(self._data_of(source) for source in sources),
            models=tuple(self._use_of(model) for model in models),
            steps=tuple(_step(s) for s in shown),
            artifacts=self._types_of(shown),
        )

    def diff(self, before: str, after: str) -> ModelDiff:
        """Compares two models.

        Args:
            before: A model, as for `model`.
            after: Another model.

        Raises:
            UsageError: There is no such model.
        """
        return facts.compare(self.model(before), self.model(after))

    def models(self) -> list[ModelUse]:
        """Returns all models of the store, oldest first."""
        return [self._use_of(model) for model in self.graph.of_type("Model")]

    def live_origin(self) -> dict[str, Any]:
        """Returns the live version's origin and number; empty if none is live."""
        live = versions.live(self.config.serving_directory)
        return {**live.origin(), "version": str(live.number)} if live else {}

    def _lineage_of(self, model: Artifact) -> ModelLineage:
        makers = self.graph.makers([model.id])
        # Each base model has a lineage of its own: after a year of warm starts all of
        # them would be in every one.
        before = self.graph.ancestors([model.id], of_bases=False)
        after = self._judges_of(model)
        # In TFX a gate is an upstream node by order only: no artifact leads from its
        # verdict to the model, so the walk upstream doesn't find it.
        gates = self._gates_of(before, makers)
        involved = [*before, *gates, *after]
        trainer = makers[0] if makers else None
        read = {i for step in before for i in step.computed_from()}
        inputs = self.graph.by_id(read)
        evaluations = self._written(after, "ModelEvaluation")
        return ModelLineage(
            artifact=model.id,
            uri=model.uri,
            versions=self._versions_of(model),
            live=self._is_live(model),
            pipeline=trainer.pipeline if trainer else "",
            run=trainer.run if trainer else "",
            base=self._base_of(trainer),
            trained=_time(trainer.ended if trainer else model.created),
            data=self._data_behind(inputs, trainer),
            schema=self._schema_of(inputs),
            verdicts=tuple(self._verdicts(_unique(involved))),
            metrics=facts.overall_metrics(evaluations) if evaluations else {},
            code=_by_node(self._code_of, involved),
            parameters={s.node: p for s in involved if (p := facts.parameters_of(s))},
            packages=self._packages(involved, model),
            steps=tuple(_step(s) for s in _unique(involved)),
            artifacts=self._types_of(involved),
        )

    def _base_of(self, trainer: Execution | None) -> str:
        """Names the model that a training began with; empty if there is none."""
        found = trainer.inputs.get(BASE_MODEL, ()) if trainer else ()
        names = [(self._versions_of(a), a.id) for a in self.graph.by_id(found)]
        return "".join(
            f"version {versions[-1]}" if versions else f"model {number}"
            for versions, number in names
        )

    def _data_behind(
        self, inputs: Iterable[Artifact], trainer: Execution | None
    ) -> tuple[Data, ...]:
        """Returns the ingested data among a model's ancestors, oldest span first."""
        sources = [a for a in inputs if self._is_source(a)]
        sources.sort(key=lambda source: (span_of(source) or 0, source.id))
        found = [self._data_of(source) for source in sources]
        if found and trainer:
            # The newest span is the one that the run itself has ingested.
            window = windows.of_run(self.graph.run(trainer.run))
            found[-1] = replace(
                found[-1], notes=(*found[-1].notes, *facts.notes_of(window))
            )
        return tuple(found)

    def _find_model(self, version: str | None) -> Artifact:
        if version is None:
            return self._default_model()
        # A version is a time in seconds and an artifact's id a small number, so one
        # argument can be either. Newest first: a deleted serving directory may reuse
        # one.
        for pushed, pusher in reversed(self._pushed()):
            if str(pushed.properties.get(properties.PUSHED_VERSION)) == version:
                return self._model_of(pusher)
        if version.isdecimal():
            for model in self.graph.by_id([int(version)]):
                if model.type == "Model":
                    return model
        trained = self._written(self.graph.run(version), "Model")
        if trained:
            return trained[-1]
        raise UsageError(f"There is no model {version!r}; {self._known_models()}")

    def _default_model(self) -> Artifact:
        origin = self.live_origin()
        for model in self.graph.by_id([origin.get(versions.MODEL_ID, -1)]):
            # The id alone may be that of another model, if the store was replaced.
            if versions.is_same_model(origin, _identity_of(model)):
                return model
        # A version that was pushed by stock TFX has no origin file.
        for pushed, pusher in reversed(self._pushed()):
            if str(pushed.properties.get(properties.PUSHED_VERSION)) == origin.get(
                "version"
            ):
                return self._model_of(pusher)
        if self._pushed():
            return self._model_of(self._pushed()[-1][1])
        models = self.graph.of_type("Model")
        if not models:
            url = redact(self.config.metadata_url)
            raise UsageError(
                f"The metadata store {url} has no model yet; `python run_local.py` "
                "trains one, and --output or --metadata name another store"
            )
        return models[-1]

    def _pushed(self) -> list[tuple[Artifact, Execution]]:
        """Returns the pushed models with their Pushers, of our pipeline if any."""
        if self._pushes is None:
            pushes = [
                (artifact, pusher)
                for artifact in self.graph.of_type("PushedModel")
                if artifact.properties.get("pushed")
                for pusher in self.graph.makers([artifact.id])
                if "model" in pusher.inputs
            ]
            # A store of stock TFX may name its pipeline differently; its models are
            # better than none, unless there are some of this pipeline.
            ours = [p for p in pushes if p[1].pipeline == self.config.name]
            self._pushes = ours or pushes
        return self._pushes

    def _model_of(self, pusher: Execution) -> Artifact:
        (model,) = self.graph.by_id(pusher.inputs["model"][-1:])
        return model

    def _versions_of(self, model: Artifact) -> tuple[str, ...]:
        found = [
            str(pushed.properties.get(properties.PUSHED_VERSION, ""))
            for pushed, pusher in self._pushed()
            if model.id in pusher.inputs["model"]
        ]
        return tuple(dict.fromkeys(filter(None, found)))

    def _is_live(self, model: Artifact) -> bool:
        origin = self.live_origin()
        if versions.MODEL_ID in origin:
            return versions.is_same_model(origin, _identity_of(model))
        return origin.get("version") in self._versions_of(model)

    def _judges_of(self, model: Artifact) -> list[Execution]:
        """Returns the executions that evaluated or pushed a model.

        Evaluations in which it was the baseline don't count.
        """
        steps = self.graph.users([model.id])
        # A resolver that returns the model as a baseline writes a Model: it judges
        # nothing.
        steps = [s for s in steps if "Model" not in self._types_written(s)]
        return [
            step
            for step in steps
            # Not CACHED: its verdict is that of the execution it repeats.
            if step.state in {"COMPLETE", "FAILED"}
            and model.id in step.inputs.get("model", ())
        ]

    def _gates_of(
        self, before: Iterable[Execution], makers: Iterable[Execution]
    ) -> list[Execution]:
        """Returns executions that checked the data but are not ancestors of the model.

        That is so in stores of stock TFX, whose Transform reads no verdict. They are
        found in the run that trained the model.
        """
        known = {step.id for step in before}
        runs = {step.run for step in makers}
        sources = {i for s in before for i in s.wrote()}
        kinds = {"ExampleStatistics", "ExampleAnomalies", "DataVerdict"}
        found: dict[int, Execution] = {}
        for step in [s for run in sorted(runs) for s in self.graph.run(run)]:
            if kinds & self._types_written(step) and step.id not in known:
                # A cached check counts as the execution that did the work.
                for maker in self.graph.makers(step.wrote()):
                    found[maker.id] = maker
        return [
            step
            for _, step in sorted(found.items())
            if step.id not in known and step.read() & (sources | _all_wrote(found))
        ]

    def _types_written(self, step: Execution) -> set[str]:
        return {artifact.type for artifact in self.graph.by_id(step.wrote())}

    def _written(self, steps: Iterable[Execution], kind: str) -> list[Artifact]:
        ids = {i for step in steps for i in step.wrote()}
        return [a for a in self.graph.by_id(ids) if a.type == kind]

    def _types_of(self, steps: Iterable[Execution]) -> dict[int, str]:
        ids = {i for step in steps for i in (*step.wrote(), *step.read())}
        return {a.id: a.type for a in self.graph.by_id(ids)}

    def _is_source(self, artifact: Artifact) -> bool:
        """Whether an artifact is ingested examples, not made from other examples."""
        # Transform writes Examples too, made from other Examples.
        if artifact.type != "Examples":
            return False
        read = {i for maker in self.graph.makers([artifact.id]) for i in maker.read()}
        return all(a.type != "Examples" for a in self.graph.by_id(read))

    def _sources(self) -> list[Artifact]:
        return [a for a in self.graph.of_type("Examples") if self._is_source(a)]

    def _is_asked(self, source: Artifact, asked: str) -> bool:
        # A file that is named 5 wins over span 5: the user sees the file.
        if asked.isdecimal() and not Path(asked).exists():
            return int(asked) in facts.spans_of(source)
        files = self._data_of(source).files
        if any(asked in {f.path, f.sha256, Path(f.path).name} for f in files):
            return True
        path = Path(asked)
        if not path.is_file():
            return False
        # By content too, so that a file is found after it was renamed or moved.
        content = digests.sha256_of([path], self.config.output / digests.MEMORY_FILE)
        wanted = str(path.absolute())
        return any(f.sha256 == content[path] or f.path == wanted for f in files)

    def _data_of(self, source: Artifact) -> Data:
        makers = self.graph.makers([source.id])
        statistics = [
            artifact
            for user in self.graph.users([source.id])
            if user.state == "COMPLETE"
            for artifact in self.graph.by_id(user.wrote())
            if artifact.type == "ExampleStatistics"
        ]
        # Rows are counted from the statistics: stock TFX's examples are TFRecords, and
        # counting those means reading them all.
        path = artifact_files.location(statistics[0].uri) if statistics else None
        files = tuple(facts.files_of(source, makers[0] if makers else None))
        return Data(
            artifact=source.id,
            run=makers[0].run if makers else "",
            span=span_of(source),
            fingerprint=str(source.properties.get("input_fingerprint", "")),
            rows=artifact_files.row_counts(path) if path else {},
            files=files,
            spans=facts.spans_of(source),
            notes=tuple(self._labels_of(source, files)),
        )

    def _labels_of(self, source: Artifact, files: Sequence[File]) -> Iterator[str]:
        """Describes which spans are labels that were joined to requests."""
        spans = facts.spans_of(source)
        for labels in self.graph.of_type(properties.LABELS_TYPE):
            span = labels.properties.get(properties.SPAN)
            file = str(labels.properties.get(properties.LABELS_FILE))
            if span in spans and any(f.path.endswith(file) for f in files):
                yield f"span {span}: labels of requests, each one's id in {labels.uri}"

    def _schema_of(self, inputs: Iterable[Artifact]) -> Schema | None:
        schemas = [a for a in inputs if a.type == "Schema"]
        if not schemas:
            return None
        # The proposal of SchemaGen isn't upstream of a model, so these are reviewed
        # ones.
        newest = schemas[-1]
        path = artifact_files.location(newest.uri)
        schema = artifact_files.read_schema(path) if path else None
        makers = self.graph.makers([newest.id])
        return Schema(
            artifact=newest.id,
            revision=digest(str(schema)) if schema else "",
            columns=len(schema.feature) if schema else 0,
            source=str(makers[0].parameters.get("schema_file", "")) if makers else "",
            uri=newest.uri,
        )

    def _verdicts(self, steps: Iterable[Execution]) -> Iterator[Verdict]:
        for step in steps:
            for artifact in self.graph.by_id(step.wrote()):
                judged = facts.verdict_of(artifact)
                if judged:
                    about, passed, text = judged
                    yield Verdict(step.node, step.run, about, passed, text)

    def _code_of(self, step: Execution) -> dict[str, str]:
        """Returns the digests of a node's code, or for stock TFX its module's name."""
        recorded = step.parameters.get(properties.KEY)
        if isinstance(recorded, dict):
            return {
                name: str(value)
                for name, value in recorded.items()
                if _SHA256.fullmatch(str(value))
            }
        # Stock TFX records no contents, only where a user's function is.
        return {
            name: str(step.parameters[name])
            for name in ("module_path", "module_file")
            if step.parameters.get(name)
        }

    def _packages(self, steps: Iterable[Execution], model: Artifact) -> dict[str, str]:
        found: dict[str, str] = {}
        if model.properties.get("tfx_version"):
            found["tfx"] = str(model.properties["tfx_version"])
        for step in steps:
            recorded = step.parameters.get(properties.KEY)
            if isinstance(recorded, dict):
                found |= {
                    name: str(value)
                    for name, value in recorded.items()
                    if not _SHA256.fullmatch(str(value))
                }
        return dict(sorted(found.items()))

    def _use_of(self, model: Artifact) -> ModelUse:
        makers = self.graph.makers([model.id])
        evaluations = self._written(self._judges_of(model), "ModelEvaluation")
        metrics = facts.overall_metrics(evaluations)
        return ModelUse(
            artifact=model.id,
            versions=self._versions_of(model),
            run=makers[0].run if makers else "",
            trained=_time(makers[0].ended if makers else model.created),
            metric=titles.main(metrics.get(results.CANDIDATE, {})),
        )

    def _known_models(self) -> str:
        versions = [
            str(p.properties.get(properties.PUSHED_VERSION)) for p, _ in self._pushed()
        ]
        if versions:
            return f"versions are {', '.join(dict.fromkeys(versions[-5:]))}"
        ids = [str(model.id) for model in self.graph.of_type("Model")]
        return f"models are {', '.join(ids[-5:])}" if ids else "no run has trained one"

    def _known_data(self) -> str:
        sources = self._sources()
        if not sources:
            return "no run has ingested anything"
        spans = sorted({s for a in sources for s in facts.spans_of(a)})
        files = {
            Path(f.path).name for s in sources[-5:] for f in self._data_of(s).files
        }
        return (
            f"files are {', '.join(sorted(files)[:5]) or 'not known'}; "
            f"spans are {', '.join(map(str, spans)) or 'not known'}"
        )


def open_lineage(config: Config) -> Lineage:
    """Opens the metadata store of a configuration for lineage queries.

    Raises:
        UsageError: The SQLite file doesn't exist, or the URL is invalid.
        ThroughlineError: The store can't be reached, or rejects the connection.
    """
    opened = existing_store(config.metadata_url)
    return Lineage(config, Graph(MetadataStore(opened)))


def _identity_of(model: Artifact) -> dict[str, Any]:
    """Returns the origin that a pushed version of a model would have."""
    # MLMD stores milliseconds; as a float of seconds they are off by a rounding error.
    return versions.identity(model.id, model.uri, round(model.created * 1000))


def _all_wrote(steps: Mapping[int, Execution]) -> set[int]:
    return {i for step in steps.values() for i in step.wrote()}


def _by_node(
    fact: Callable[[Execution], dict[str, Any]], steps: Iterable[Execution]
) -> dict[str, dict[str, Any]]:
    return {step.node: found for step in steps if (found := fact(step))}


def _unique(steps: Iterable[Execution]) -> list[Execution]:
    by_id = {step.id: step for step in steps}
    return [by_id[i] for i in sorted(by_id)]


def _step(execution: Execution) -> Step:
    return Step(
        execution=execution.id,
        node=execution.node,
        run=execution.run,
        state=execution.state,
        started=_time(execution.started),
        seconds=round(execution.seconds, 3),
        inputs=execution.inputs,
        outputs=execution.outputs,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
