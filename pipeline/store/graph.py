"""Queries on the graph of executions and artifacts in a metadata store.

Works on any store that TFX 1.x wrote. `Graph` loads the graph in batches, one level at
a time, so that a store on a server with thousands of runs is fast too.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store.names import is_span_run
from pipeline.store.properties import joined

_INPUT = frozenset({mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT})
_OUTPUT = frozenset({mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT})
_STATE = mlmd.Execution.State
# DataGate compares new data with earlier data: a model has learned nothing from it. Of
# an earlier analysis, Transform reads what is known of the spans that it reads as well.
_COMPARED = frozenset({"previous", "live", "live_model", "analyzer_cache"})
BASE_MODEL = "base_model"
"""The Trainer's input that has the model of a warm start."""
# Two sets of names: those of TFX's IR-based runners, and those of the older ones.
_RUN_CONTEXTS = ("pipeline_run", "run")
_NODE_CONTEXTS = ("node", "component_run")

UNFINISHED = frozenset({"NEW", "RUNNING"})
"""States of an execution that has not ended."""

RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
PUSHER = "tfx.components.pusher.component.Pusher"
NEVER_CACHED = {
    RESOLVER: "it reads the metadata store in each run",
    # An earlier push doesn't mean that its model is still live.
    PUSHER: "it checks in each run which model is live",
}
"""Types of nodes that depend on more than their inputs, with the reason."""


@dataclass(frozen=True)
class Artifact:
    """An artifact of the metadata store.

    Attributes:
        id: Its id in the store.
        type: TFX's name of its type, such as "Model".
        uri: Its directory.
        properties: Its properties and custom properties; JSON texts are decoded.
        created: When it was registered, in seconds since 1970.
        live: Whether its files are expected to exist: it is not marked as deleted.
    """

    id: int
    type: str
    uri: str
    properties: Mapping[str, Any]
    created: float
    live: bool = True


@dataclass(frozen=True)
class Execution:
    """An execution of the metadata store: a node ran once, or was cached.

    Attributes:
        id: Its id in the store.
        type: Dotted name of the component's class.
        node: Id of the node.
        pipeline: Name of the pipeline.
        run: Name of the run; empty if the store has none.
        state: MLMD's name of its state: COMPLETE, CACHED, FAILED and so on.
        started: When it was registered, in seconds since 1970.
        ended: When it was last updated, in seconds since 1970.
        parameters: Its execution properties; JSON texts are decoded.
        inputs: Ids of the artifacts that it read, by input name.
        outputs: Ids of the artifacts that it wrote or reused, by output name.
    """

    id: int
    type: str
    node: str
    pipeline: str
    run: str
    state: str
    started: float
    ended: float
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]

    @property
    def seconds(self) -> float:
        """Its duration in seconds."""
        return max(self.ended - self.started, 0.0)

    @property
    def succeeded(self) -> bool:
        """Whether it wrote its outputs, or reused those of an earlier execution."""
        return self.state in {"COMPLETE", "CACHED"}

    @property
    def unfinished(self) -> bool:
        """Whether it is running, or its process was killed before it could say so."""
        return self.state in UNFINISHED

    def read(self) -> set[int]:
        """Returns the ids of all artifacts that it read."""
        return {i for ids in self.inputs.values() for i in ids}

    def made_from(self) -> set[int]:
        """Returns the ids of the artifacts that it read, not just compared with."""
        named = self.inputs.items()
        return {i for name, ids in named if name not in _COMPARED for i in ids}

    def computed_from(self) -> set[int]:
        """Returns the same without a base model, whose weights it only began with."""
        return self.made_from() - set(self.inputs.get(BASE_MODEL, ()))

    def wrote(self) -> set[int]:
        """Returns the ids of all artifacts that it wrote or reused."""
        return {i for ids in self.outputs.values() for i in ids}


Outputs = dict[str, list[Artifact]]
"""Artifacts by the name of a node's output."""


@dataclass(frozen=True)
class Events:
    """The edges between executions and artifacts, by id.

    Attributes:
        read: Ids of the artifacts that an execution read, by the execution's id.
        made_from: The same without those that it only compared with.
        wrote: Ids of the artifacts that it wrote or reused, by the execution's id.
        makers: Ids of the executions that wrote or reused an artifact, by its id.
    """

    read: Mapping[int, set[int]]
    made_from: Mapping[int, set[int]]
    wrote: Mapping[int, set[int]]
    makers: Mapping[int, set[int]]

    def written_by(self, executions: Iterable[int]) -> set[int]:
        """Returns the ids of the artifacts that executions wrote or reused."""
        return {i for e in executions for i in self.wrote.get(e, ())}

    def touched_by(self, executions: Collection[int]) -> set[int]:
        """Returns the ids of the artifacts that executions read, wrote or reused."""
        read = {i for e in executions for i in self.read.get(e, ())}
        return read | self.written_by(executions)

    def behind(self, artifacts: Iterable[int]) -> set[int]:
        """Returns the ids of artifacts and of everything upstream of them."""
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            artifact = waiting.pop()
            if artifact not in found:
                found.add(artifact)
                for execution in self.makers.get(artifact, ()):
                    waiting += self.made_from.get(execution, ())
        return found


@dataclass
class Graph:
    """Executions and artifacts of a store, loaded on demand and kept by id.

    Attributes:
        store: The metadata store.
        executions: The executions loaded so far, by id.
        artifacts: The artifacts loaded so far, by id.
    """

    store: MetadataStore
    executions: dict[int, Execution] = field(default_factory=dict)
    artifacts: dict[int, Artifact] = field(default_factory=dict)

    def of_type(self, name: str) -> list[Artifact]:
        """Loads all artifacts of a type, oldest first."""
        if all(t.name != name for t in self.store.get_artifact_types()):
            return []
        found = self.store.get_artifacts_by_type(name)
        return sorted(self._keep(found), key=lambda artifact: artifact.id)

    def by_id(self, ids: Collection[int]) -> list[Artifact]:
        """Loads artifacts by id, sorted by id; unknown ids are skipped."""
        missing = [i for i in ids if i not in self.artifacts]
        if missing:
            self._keep(self.store.get_artifacts_by_id(missing))
        return [self.artifacts[i] for i in sorted(ids) if i in self.artifacts]

    def makers(self, ids: Collection[int]) -> list[Execution]:
        """Returns the executions that wrote artifacts, without those that reused them.

        Args:
            ids: Ids of the artifacts.

        Returns:
            The first writer of each, oldest first; an imported artifact may have none.
        """
        first: dict[int, int] = {}
        for event in self._events_of_artifacts(ids, _OUTPUT):
            known = first.get(event.artifact_id, event.execution_id)
            # A cached execution has output events for the artifacts it reuses; ids
            # grow, so the lowest is the one that wrote them.
            first[event.artifact_id] = min(known, event.execution_id)
        return self._load(set(first.values()))

    def users(self, ids: Collection[int]) -> list[Execution]:
        """Returns the executions that read artifacts, cached ones too, oldest first."""
        events = self._events_of_artifacts(ids, _INPUT)
        return self._load({event.execution_id for event in events})

    def ancestors(
        self, ids: Collection[int], *, of_bases: bool = True
    ) -> list[Execution]:
        """Returns all executions upstream of artifacts, oldest first.

        Data that was only compared with is not upstream.

        Args:
            ids: The artifacts.
            of_bases: Whether what a base model was made from is upstream, too.
        """
        onward = Execution.made_from if of_bases else Execution.computed_from
        return self._walk(ids, self.makers, onward)

    def descendants(self, ids: Collection[int]) -> list[Execution]:
        """Returns all executions downstream of artifacts, oldest first.

        An execution that only compared with an artifact is not downstream of it.
        """

        def made_from(found: Collection[int]) -> list[Execution]:
            users = self.users(found)
            return [user for user in users if user.made_from() & set(found)]

        return self._walk(ids, made_from, Execution.wrote)

    def run(self, name: str) -> list[Execution]:
        """Loads the executions of a run, oldest first; none if there is no such run."""
        return self._load(self.ids_of_run(name))

    def ids_of_run(self, name: str) -> set[int]:
        """Returns the ids of a run's executions; empty if there is no such run."""
        return self._ids_in(_RUN_CONTEXTS, name)

    def outputs_of_run(self, name: str) -> dict[str, Outputs]:
        """Returns what a run's successful nodes wrote or reused, by node id.

        A node that ran twice has the outputs of its second execution.
        """
        return {s.node: self._outputs(s) for s in self.run(name) if s.succeeded}

    def outputs_of(self, execution: int) -> Outputs:
        """Returns what an execution wrote or reused, by output name."""
        (found,) = self._load({execution})
        return self._outputs(found)

    def ids_of_node(self, pipeline: str, name: str) -> set[int]:
        """Returns the ids of a node's executions in all runs; empty if it never ran."""
        return self._ids_in(_NODE_CONTEXTS, f"{pipeline}.{name}")

    def artifacts_of_node(self, pipeline: str, name: str) -> list[Artifact]:
        """Loads the artifacts that MLMD attributes to a node, of all runs, by id.

        TFX attributes an execution's inputs to its contexts too, not only its outputs.
        """
        context = self._context(_NODE_CONTEXTS, f"{pipeline}.{name}")
        found = self.store.get_artifacts_by_context(context.id) if context else []
        return sorted(self._keep(found), key=lambda artifact: artifact.id)

    def parameters_of(self, ids: Collection[int]) -> list[dict[str, Any]]:
        """Returns the parameters of executions, sorted by id; unknown ids are skipped.

        One call, where a whole `Execution` takes several: upkeep reads all executions
        of a node before it runs, and a year's store has hundreds of them.
        """
        found = self.store.get_executions_by_id(sorted(ids)) if ids else []
        return [_parameters(e) for e in sorted(found, key=lambda e: e.id)]

    def states(self) -> dict[int, str]:
        """Returns MLMD's name of the state of every execution in the store, by id."""
        executions = self.store.get_executions()
        return {e.id: _STATE.Name(e.last_known_state) for e in executions}

    def all_artifacts(self) -> list[Artifact]:
        """Loads every artifact in the store, oldest first."""
        found = self._keep(self.store.get_artifacts())
        return sorted(found, key=lambda artifact: artifact.id)

    def events(self, executions: Collection[int]) -> Events:
        """Loads the events of executions in one call."""
        read, made_from, wrote, makers = (
            defaultdict[int, set[int]](set) for _ in range(4)
        )
        ids = sorted(executions)
        for event in self.store.get_events_by_execution_ids(ids) if ids else ():
            if event.type in _OUTPUT:
                wrote[event.execution_id].add(event.artifact_id)
                makers[event.artifact_id].add(event.execution_id)
            elif event.type in _INPUT:
                read[event.execution_id].add(event.artifact_id)
                if not _COMPARED & {step.key for step in event.path.steps}:
                    made_from[event.execution_id].add(event.artifact_id)
        return Events(dict(read), dict(made_from), dict(wrote), dict(makers))

    def ids_of_pipeline(self, name: str) -> set[int]:
        """Returns the ids of a pipeline's executions; empty if it never ran."""
        return self._ids_in(("pipeline",), name)

    def node(self, pipeline: str, name: str) -> Iterator[Execution]:
        """Yields the executions of a node over all runs, the newest first.

        Each is loaded when it is asked for: a year has hundreds, and a question is
        mostly about the last two.
        """
        for execution_id in sorted(self.ids_of_node(pipeline, name), reverse=True):
            yield from self._load({execution_id})

    def nodes(self, pipeline: str) -> list[str]:
        """Returns the ids of a pipeline's nodes, sorted."""
        prefix = f"{pipeline}."
        names = (
            context.name
            for kind in self._known(_NODE_CONTEXTS)
            for context in self.store.get_contexts_by_type(kind)
        )
        return sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))

    def runs(self) -> list[str]:
        """Returns the names of all runs, oldest first."""
        return [name for name in self._run_names() if not is_span_run(name)]

    def span_runs(self, run: str) -> list[str]:
        """Returns the names under which a run has taken in earlier spans."""
        return [name for name in self._run_names() if is_span_run(name, run)]

    def noted(self, ids: Collection[int], name: str) -> dict[int, str]:
        """Returns a custom property of executions, by the ids of those that have it."""
        found = self.store.get_executions_by_id(sorted(ids)) if ids else []
        return {
            execution.id: execution.custom_properties[name].string_value
            for execution in found
            if name in execution.custom_properties
        }

    def _run_names(self) -> list[str]:
        found: list[mlmd.Context] = []
        for kind in self._known(_RUN_CONTEXTS):
            found += self.store.get_contexts_by_type(kind)
        return [context.name for context in sorted(found, key=lambda c: c.id)]

    def _ids_in(self, kinds: Iterable[str], name: str) -> set[int]:
        """Returns the ids of a context's executions; empty without such a context."""
        context = self._context(kinds, name)
        found = self.store.get_executions_by_context(context.id) if context else []
        return {execution.id for execution in found}

    def _context(self, kinds: Iterable[str], name: str) -> mlmd.Context | None:
        """Finds the context that has a name, of the first type that has one."""
        for kind in self._known(kinds):
            if context := self.store.get_context_by_type_and_name(kind, name):
                return context
        return None

    def _outputs(self, execution: Execution) -> Outputs:
        return {name: self.by_id(ids) for name, ids in execution.outputs.items()}

    def _known(self, kinds: Iterable[str]) -> list[str]:
        names = {t.name for t in self.store.get_context_types()}
        return [kind for kind in kinds if kind in names]

    def _walk(
        self,
        ids: Collection[int],
        step: Callable[[Collection[int]], list[Execution]],
        onward: Callable[[Execution], set[int]],
    ) -> list[Execution]:
        seen: set[int] = set()
        found: dict[int, Execution] = {}
        frontier = set(ids)
        while frontier:
            # Diamonds are the rule (examples lead to a model by three ways), and each
            # level is one set of calls: what was seen isn't loaded again.
            seen |= frontier
            level = step(frontier)
            found.update({execution.id: execution for execution in level})
            frontier = set().union(*map(onward, level)) - seen
        return [found[i] for i in sorted(found)]

    def _events_of_artifacts(
        self, ids: Collection[int], types: Collection[int]
    ) -> Iterator[mlmd.Event]:
        if ids:
            events = self.store.get_events_by_artifact_ids(sorted(ids))
            yield from (event for event in events if event.type in types)

    def _load(self, ids: set[int]) -> list[Execution]:
        missing = sorted(ids - self.executions.keys())
        if missing:
            events = self.store.get_events_by_execution_ids(missing)
            by_execution: dict[int, list[mlmd.Event]] = defaultdict(list)
            for event in events:
                by_execution[event.execution_id].append(event)
            contexts = self._contexts_of(missing)
            for execution in self.store.get_executions_by_id(missing):
                mine = by_execution.get(execution.id, [])
                names = contexts.get(execution.id, {})
                self.executions[execution.id] = _execution(execution, mine, names)
            # In one call for all executions, since callers ask for these artifacts
            # next.
            self.by_id({event.artifact_id for event in events})
        return [self.executions[i] for i in sorted(ids) if i in self.executions]

    def _contexts_of(self, ids: Collection[int]) -> dict[int, dict[str, str]]:
        """Returns the contexts (pipeline, run, node) of executions.

        MLMD 1.21 has no call for the contexts of several executions, so there is one
        call per execution or one per context, whichever are fewer: a run has a dozen
        executions, and the store of a year has a dozen nodes.

        Returns:
            For each execution's id, the names of its contexts by type.
        """
        found: dict[int, dict[str, str]] = {i: {} for i in ids}
        kinds = ("pipeline", *_RUN_CONTEXTS, *_NODE_CONTEXTS)
        every = [
            context
            for kind in self._known(kinds)
            for context in self.store.get_contexts_by_type(kind)
        ]
        if len(ids) <= len(every):
            for i in ids:
                for context in self.store.get_contexts_by_execution(i):
                    # Contexts of other types, such as cache keys, are in here too and
                    # do no harm.
                    found[i].setdefault(context.type, context.name)
            return found
        for context in every:
            for execution in self.store.get_executions_by_context(context.id):
                if execution.id in found:
                    found[execution.id].setdefault(context.type, context.name)
        return found

    def _keep(self, found: Iterable[mlmd.Artifact]) -> list[Artifact]:
        kept = []
        for artifact in found:
            values = {
                **_plain(artifact.properties),
                **_plain(artifact.custom_properties),
            }
            entry = Artifact(
                id=artifact.id,
                type=artifact.type,
                uri=artifact.uri,
                properties=values,
                created=artifact.create_time_since_epoch / 1000,
                live=artifact.state == mlmd.Artifact.LIVE,
            )
            kept.append(entry)
        self.artifacts.update({artifact.id: artifact for artifact in kept})
        return kept


def _execution(
    execution: mlmd.Execution, events: list[mlmd.Event], contexts: Mapping[str, str]
) -> Execution:
    pipeline = contexts.get("pipeline", "")
    node = _first(contexts, _NODE_CONTEXTS).removeprefix(f"{pipeline}.")
    return Execution(
        id=execution.id,
        type=execution.type,
        # A store of another tool may have no node context; the class name is close.
        node=node or execution.type.rpartition(".")[2],
        pipeline=pipeline,
        run=_first(contexts, _RUN_CONTEXTS),
        state=_STATE.Name(execution.last_known_state),
        started=execution.create_time_since_epoch / 1000,
        ended=execution.last_update_time_since_epoch / 1000,
        parameters=_parameters(execution),
        inputs=_by_name(events, _INPUT),
        outputs=_by_name(events, _OUTPUT),
    )


def _parameters(execution: mlmd.Execution) -> dict[str, Any]:
    values = {**_plain(execution.properties), **_plain(execution.custom_properties)}
    # TFX's own bookkeeping, such as the name of its working directory.
    return {name: v for name, v in values.items() if not name.startswith("__")}


def _first(contexts: Mapping[str, str], kinds: Iterable[str]) -> str:
    return next((contexts[kind] for kind in kinds if kind in contexts), "")


def _by_name(
    events: Iterable[mlmd.Event], types: Collection[int]
) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for event in sorted(events, key=lambda e: e.artifact_id):
        if event.type in types:
            # Events that aren't TFX's may have no path.
            steps = event.path.steps
            name = steps[0].key if steps else ""
            found[name] = (*found.get(name, ()), event.artifact_id)
    return found


def _plain(stored: Mapping[str, mlmd.Value]) -> dict[str, Any]:
    texts = {
        name: value.string_value
        for name, value in stored.items()
        if value.WhichOneof("value") == "string_value"
    }
    # Long texts are in several properties, and JSON only as a whole.
    decoded = {name: _decoded(text) for name, text in joined(texts).items()}
    others = {
        name: _value(value) for name, value in stored.items() if name not in texts
    }
    return dict(sorted({**others, **decoded}.items()))


def _value(value: mlmd.Value) -> Any:
    kind = value.WhichOneof("value")
    if kind == "struct_value":
        decoded = json_format.MessageToDict(value.struct_value)
        # TFX wraps a value that is not a dictionary.
        return _decoded(decoded.get("__value__", decoded))
    # A protobuf message (Any) can't be shown without its type.
    return _decoded(getattr(value, kind)) if kind in _SCALARS else None


_SCALARS = frozenset({"int_value", "double_value", "string_value", "bool_value"})


def _decoded(value: Any) -> Any:
    """Decodes a text that is a JSON object or list: TFX stores settings as JSON."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
