"""The part of a metadata store around some artifacts: what made them, what used them.

Works on any store that TFX 1.x wrote. It asks in batches, one level of the graph at a
time, so that a store on a server with thousands of runs answers quickly too.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

_INPUT = frozenset({mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT})
_OUTPUT = frozenset({mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT})
_STATE = mlmd.Execution.State
_RUN_CONTEXTS = ("pipeline_run", "run")
_NODE_CONTEXTS = ("node", "component_run")

RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
PUSHER = "tfx.components.pusher.component.Pusher"
NEVER_CACHED = {
    RESOLVER: "it looks at the metadata store anew in each run",
    # What it did before says nothing about what is live now.
    PUSHER: "it looks in each run at what is live",
}
"""Types of nodes that depend on more than their inputs, and on what."""


@dataclass(frozen=True)
class Artifact:
    """Something that a component wrote.

    Attributes:
        id: In the metadata store.
        type: TFX's name of its type, such as "Model".
        uri: Its directory.
        properties: Its own and its custom properties.
        created: When it was registered, in seconds since 1970.
    """

    id: int
    type: str
    uri: str
    properties: Mapping[str, Any]
    created: float


@dataclass(frozen=True)
class Execution:
    """One time that a component ran, or was found in the cache.

    Attributes:
        id: In the metadata store.
        type: Dotted name of the component's class.
        node: Id of the node.
        pipeline: Name of the pipeline.
        run: Name of the run; empty if the store knows none.
        state: COMPLETE, CACHED, FAILED and so on.
        started: In seconds since 1970.
        ended: When its state last changed.
        parameters: What the component was told; JSON texts are decoded.
        inputs: Ids of the artifacts that it read, by name of the input.
        outputs: Ids of the artifacts that it wrote, by name of the output.
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
        """How long it took."""
        return max(self.ended - self.started, 0.0)

    def read(self) -> set[int]:
        """Ids of all artifacts that it read."""
        return {i for ids in self.inputs.values() for i in ids}

    def wrote(self) -> set[int]:
        """Ids of all artifacts that it wrote."""
        return {i for ids in self.outputs.values() for i in ids}


@dataclass
class Graph:
    """Executions and artifacts by id; grows as it is asked for more.

    Attributes:
        store: Where they come from.
        executions: Those that have been met so far.
        artifacts: The same for artifacts.
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
        """Loads artifacts by their ids, in order; those that there are."""
        missing = [i for i in ids if i not in self.artifacts]
        if missing:
            self._keep(self.store.get_artifacts_by_id(missing))
        return [self.artifacts[i] for i in sorted(ids) if i in self.artifacts]

    def makers(self, ids: Collection[int]) -> list[Execution]:
        """Finds what wrote artifacts: for each the first, since later ones reused it.

        Args:
            ids: Of the artifacts.

        Returns:
            The executions, oldest first; an imported artifact may have none.
        """
        first: dict[int, int] = {}
        for event in self._events_of_artifacts(ids, _OUTPUT):
            known = first.get(event.artifact_id, event.execution_id)
            first[event.artifact_id] = min(known, event.execution_id)
        return self._load(set(first.values()))

    def users(self, ids: Collection[int]) -> list[Execution]:
        """Finds what read artifacts, oldest first; also what reused results."""
        events = self._events_of_artifacts(ids, _INPUT)
        return self._load({event.execution_id for event in events})

    def ancestors(self, ids: Collection[int]) -> list[Execution]:
        """Finds everything that artifacts come from, oldest first."""
        return self._walk(ids, self.makers, Execution.read)

    def descendants(self, ids: Collection[int]) -> list[Execution]:
        """Finds everything that came of artifacts, oldest first."""
        return self._walk(ids, self.users, Execution.wrote)

    def run(self, name: str) -> list[Execution]:
        """Loads the executions of a run, oldest first; none if there is no such run."""
        return self._load(self.ids_of_run(name))

    def ids_of_run(self, name: str) -> set[int]:
        """Returns the ids of a run's executions; empty if there is no such run."""
        return self._ids_in(_RUN_CONTEXTS, name)

    def ids_of_pipeline(self, name: str) -> set[int]:
        """Returns the ids of a pipeline's executions; empty if it never ran."""
        return self._ids_in(("pipeline",), name)

    def node(self, pipeline: str, name: str) -> Iterator[Execution]:
        """Yields the executions of a node over all runs, the newest first.

        Each is loaded when it is asked for: a year has hundreds, and a question is
        mostly about the last two.
        """
        ids = self._ids_in(_NODE_CONTEXTS, f"{pipeline}.{name}")
        for execution_id in sorted(ids, reverse=True):
            yield from self._load({execution_id})

    def nodes(self, pipeline: str) -> list[str]:
        """Names the nodes of a pipeline that the store has seen, sorted."""
        prefix = f"{pipeline}."
        names = (
            context.name
            for kind in self._known(_NODE_CONTEXTS)
            for context in self.store.get_contexts_by_type(kind)
        )
        return sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))

    def runs(self) -> list[str]:
        """Names all runs, oldest first."""
        found: list[mlmd.Context] = []
        for kind in self._known(_RUN_CONTEXTS):
            found += self.store.get_contexts_by_type(kind)
        return [context.name for context in sorted(found, key=lambda c: c.id)]

    def _ids_in(self, kinds: Iterable[str], name: str) -> set[int]:
        """Finds the executions of the context that has a name, of the first type."""
        for kind in self._known(kinds):
            if context := self.store.get_context_by_type_and_name(kind, name):
                found = self.store.get_executions_by_context(context.id)
                return {execution.id for execution in found}
        return set()

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
            self.by_id({event.artifact_id for event in events})
        return [self.executions[i] for i in sorted(ids) if i in self.executions]

    def _contexts_of(self, ids: Collection[int]) -> dict[int, dict[str, str]]:
        """Finds pipeline, run and node of executions: names by type, by execution.

        MLMD 1.21 has no call for the contexts of several executions. It is asked once
        for each execution or once for each context, whichever are fewer: a run has a
        dozen executions and the store of a year has a dozen nodes.
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
            created = artifact.create_time_since_epoch / 1000
            kept.append(
                Artifact(artifact.id, artifact.type, artifact.uri, values, created)
            )
        self.artifacts.update({artifact.id: artifact for artifact in kept})
        return kept


def _execution(
    execution: mlmd.Execution, events: list[mlmd.Event], contexts: Mapping[str, str]
) -> Execution:
    pipeline = contexts.get("pipeline", "")
    node = _first(contexts, _NODE_CONTEXTS).removeprefix(f"{pipeline}.")
    values = {**_plain(execution.properties), **_plain(execution.custom_properties)}
    return Execution(
        id=execution.id,
        type=execution.type,
        node=node or execution.type.rpartition(".")[2],
        pipeline=pipeline,
        run=_first(contexts, _RUN_CONTEXTS),
        state=_STATE.Name(execution.last_known_state),
        started=execution.create_time_since_epoch / 1000,
        ended=execution.last_update_time_since_epoch / 1000,
        parameters={k: v for k, v in values.items() if not k.startswith("__")},
        inputs=_by_name(events, _INPUT),
        outputs=_by_name(events, _OUTPUT),
    )


def _first(contexts: Mapping[str, str], kinds: Iterable[str]) -> str:
    return next((contexts[kind] for kind in kinds if kind in contexts), "")


def _by_name(
    events: Iterable[mlmd.Event], types: Collection[int]
) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for event in sorted(events, key=lambda e: e.artifact_id):
        if event.type in types:
            steps = event.path.steps
            name = steps[0].key if steps else ""
            found[name] = (*found.get(name, ()), event.artifact_id)
    return found


def _plain(properties: Mapping[str, mlmd.Value]) -> dict[str, Any]:
    return {name: _value(value) for name, value in sorted(properties.items())}


def _value(value: mlmd.Value) -> Any:
    kind = value.WhichOneof("value")
    if kind == "struct_value":
        decoded = json_format.MessageToDict(value.struct_value)
        # TFX wraps a value that is no dictionary.
        return _decoded(decoded.get("__value__", decoded))
    return _decoded(getattr(value, kind)) if kind in _SCALARS else None


_SCALARS = frozenset({"int_value", "double_value", "string_value", "bool_value"})


def _decoded(value: Any) -> Any:
    """Decodes a text that is a JSON object or list, as TFX stores settings."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


Outputs = dict[str, dict[str, list[mlmd.Artifact]]]
_Ports = dict[int, dict[str, list[mlmd.Artifact]]]

_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"


@dataclass(frozen=True)
class Events:
    """Which execution read and wrote which artifacts, for many at once.

    Attributes:
        read: Ids of the artifacts that an execution read, by the execution's id.
        wrote: The same for what it wrote, or took from the cache.
        makers: Ids of the executions that wrote an artifact, by the artifact's id.
    """

    read: Mapping[int, set[int]]
    wrote: Mapping[int, set[int]]
    makers: Mapping[int, set[int]]

    @classmethod
    def of(cls, store: MetadataStore, executions: Collection[int]) -> "Events":
        """Loads the events of executions in one call."""
        read, wrote, makers = (defaultdict[int, set[int]](set) for _ in range(3))
        ids = sorted(executions)
        for event in store.get_events_by_execution_ids(ids) if ids else ():
            if event.type in _OUTPUT:
                wrote[event.execution_id].add(event.artifact_id)
                makers[event.artifact_id].add(event.execution_id)
            elif event.type in _INPUT:
                read[event.execution_id].add(event.artifact_id)
        return cls(dict(read), dict(wrote), dict(makers))

    def written_by(self, executions: Iterable[int]) -> set[int]:
        """Ids of the artifacts that executions wrote, or took from the cache."""
        return {i for e in executions for i in self.wrote.get(e, ())}

    def touched_by(self, executions: Collection[int]) -> set[int]:
        """Ids of the artifacts that executions read, wrote, or took from the cache."""
        read = {i for e in executions for i in self.read.get(e, ())}
        return read | self.written_by(executions)

    def behind(self, artifacts: Iterable[int]) -> set[int]:
        """Ids of artifacts, and of all that they were made from, in turn."""
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            artifact = waiting.pop()
            if artifact not in found:
                found.add(artifact)
                for execution in self.makers.get(artifact, ()):
                    waiting += self.read.get(execution, ())
        return found


def executions_of_run(store: MetadataStore, run_id: str) -> list[mlmd.Execution]:
    """Lists the executions of a run, oldest first; none if there is no such run."""
    context = store.get_context_by_type_and_name(_RUN_CONTEXT, run_id)
    found = store.get_executions_by_context(context.id) if context else []
    return sorted(found, key=lambda execution: execution.id)


def outputs_of_run(store: MetadataStore, run_id: str) -> Outputs:
    """Finds what a run's nodes wrote, or took from the cache.

    Returns:
        Artifacts by node id and output name, for executions that ended well.
    """
    ended_well = {mlmd.Execution.COMPLETE, mlmd.Execution.CACHED}
    done = [
        execution
        for execution in executions_of_run(store, run_id)
        if execution.last_known_state in ended_well
    ]
    outputs = _outputs_by_execution(store, [execution.id for execution in done])
    return {node_of(store, e): outputs.get(e.id, {}) for e in done}


def finished_nodes(connection: mlmd.ConnectionConfig, run_id: str) -> set[str]:
    """Names the nodes of a run that have ended well."""
    return set(outputs_of_run(MetadataStore(connection), run_id))


def executions_of_node(store: MetadataStore, node_context: str) -> list[mlmd.Execution]:
    """Lists the executions of a node over all runs, oldest first.

    Args:
        store: The metadata store.
        node_context: `<pipeline>.<node>`.
    """
    context = store.get_context_by_type_and_name(_NODE_CONTEXT, node_context)
    found = store.get_executions_by_context(context.id) if context else []
    return sorted(found, key=lambda execution: execution.id)


def live_artifacts_of_node(
    store: MetadataStore, node_context: str
) -> list[mlmd.Artifact]:
    """Lists the artifacts that a node has written and nobody has deleted."""
    context = store.get_context_by_type_and_name(_NODE_CONTEXT, node_context)
    found = store.get_artifacts_by_context(context.id) if context else []
    return [a for a in found if a.state == mlmd.Artifact.LIVE]


def node_of(store: MetadataStore, execution: mlmd.Execution) -> str:
    """Returns the id of the node that an execution is of."""
    types = {t.id: t.name for t in store.get_context_types()}
    contexts = store.get_contexts_by_execution(execution.id)
    names = [c.name for c in contexts if types[c.type_id] == _NODE_CONTEXT]
    # The context is named <pipeline>.<node>.
    return names[0].partition(".")[2]


def text_of(item: mlmd.Artifact | mlmd.Execution, name: str) -> str:
    """Reads a custom property of text; empty if there is none.

    Asking a proto map for a key that it lacks adds the key, with a value of no kind,
    and MLMD's C++ side ends the whole process when it is given such a one to store.
    """
    properties = item.custom_properties
    return properties[name].string_value if name in properties else ""


def outputs_of(
    store: MetadataStore, execution: mlmd.Execution
) -> dict[str, list[mlmd.Artifact]]:
    """Returns what an execution wrote, or took from the cache, by output name."""
    return _outputs_by_execution(store, [execution.id]).get(execution.id, {})


def _outputs_by_execution(store: MetadataStore, ids: Collection[int]) -> _Ports:
    return _artifacts_by_execution(store, ids, _OUTPUT)


def _artifacts_by_execution(
    store: MetadataStore, ids: Collection[int], types: Collection[int]
) -> _Ports:
    """Loads artifacts of executions in two calls; by execution, then by name."""
    events = store.get_events_by_execution_ids(sorted(ids)) if ids else []
    events = [event for event in events if event.type in types]
    wanted = sorted({event.artifact_id for event in events})
    loaded = store.get_artifacts_by_id(wanted) if wanted else []
    by_id = {artifact.id: artifact for artifact in loaded}
    found: _Ports = {}
    for event in events:
        ports = found.setdefault(event.execution_id, {})
        artifact = by_id[event.artifact_id]
        ports.setdefault(event.path.steps[0].key, []).append(artifact)
    return found


def writers_of(store: MetadataStore, artifact: mlmd.Artifact) -> list[mlmd.Execution]:
    """Lists the executions that wrote an artifact, or took it from the cache."""
    events = store.get_events_by_artifact_ids([artifact.id])
    ids = {event.execution_id for event in events if event.type in _OUTPUT}
    return sorted(store.get_executions_by_id(sorted(ids)), key=lambda e: e.id)
