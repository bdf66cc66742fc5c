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
        for kind in self._known(_RUN_CONTEXTS):
            context = self.store.get_context_by_type_and_name(kind, name)
            if context:
                found = self.store.get_executions_by_context(context.id)
                return self._load({execution.id for execution in found})
        return []

    def runs(self) -> list[str]:
        """Names all runs, oldest first."""
        found: list[mlmd.Context] = []
        for kind in self._known(_RUN_CONTEXTS):
            found += self.store.get_contexts_by_type(kind)
        return [context.name for context in sorted(found, key=lambda c: c.id)]

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
            for execution in self.store.get_executions_by_id(missing):
                mine = [e for e in events if e.execution_id == execution.id]
                self.executions[execution.id] = self._execution(execution, mine)
            self.by_id({event.artifact_id for event in events})
        return [self.executions[i] for i in sorted(ids) if i in self.executions]

    def _execution(
        self, execution: mlmd.Execution, events: list[mlmd.Event]
    ) -> Execution:
        contexts: dict[str, str] = {}
        for context in self.store.get_contexts_by_execution(execution.id):
            contexts.setdefault(context.type, context.name)
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


_RUN_CONTEXT = "pipeline_run"


_NODE_CONTEXT = "node"


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
    outputs: Outputs = {}
    for execution in executions_of_run(store, run_id):
        if execution.last_known_state in {
            mlmd.Execution.COMPLETE,
            mlmd.Execution.CACHED,
        }:
            outputs[node_of(store, execution)] = outputs_of(store, execution)
    return outputs


def finished_nodes(connection: mlmd.ConnectionConfig, run_id: str) -> set[str]:
    """Names the nodes of a run that have ended well."""
    return set(outputs_of_run(MetadataStore(connection), run_id))


def run_ids(store: MetadataStore) -> list[str]:
    """Names all runs in the store, the newest first."""
    contexts = store.get_contexts_by_type(_RUN_CONTEXT)
    return [c.name for c in sorted(contexts, key=lambda c: c.id, reverse=True)]


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


def nodes_of(store: MetadataStore, pipeline_name: str) -> list[str]:
    """Lists the nodes of a pipeline that the store has seen."""
    prefix = f"{pipeline_name}."
    contexts = store.get_contexts_by_type(_NODE_CONTEXT)
    names = [c.name.removeprefix(prefix) for c in contexts if c.name.startswith(prefix)]
    return sorted(names)


def run_of(store: MetadataStore, execution: mlmd.Execution) -> str:
    """Returns the name of the run that an execution is part of."""
    types = {t.id: t.name for t in store.get_context_types()}
    contexts = store.get_contexts_by_execution(execution.id)
    return next(c.name for c in contexts if types[c.type_id] == _RUN_CONTEXT)


def is_resolver(store: MetadataStore, execution: mlmd.Execution) -> bool:
    """Whether an execution looked artifacts up and had nothing to compute."""
    (kind,) = store.get_execution_types_by_id([execution.type_id])
    return kind.name.endswith(".Resolver")


def outputs_of(
    store: MetadataStore, execution: mlmd.Execution
) -> dict[str, list[mlmd.Artifact]]:
    """Returns what an execution wrote, or took from the cache, by output name."""
    outputs: dict[str, list[mlmd.Artifact]] = defaultdict(list)
    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == mlmd.Event.OUTPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            outputs[event.path.steps[0].key].append(artifact)
    return dict(outputs)
