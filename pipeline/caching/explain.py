"""`throughline explain`: why a node ran, or why its outputs were cached."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.runners.local.run_record import Run, read_runs
from pipeline.store import graph, properties
from pipeline.store.connection import existing_store

State = mlmd.Execution.State
_LONGEST_VALUE = 60
_DIGEST_SHOWN = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = "input_fingerprint"
_CONTENT = re.compile(r"^split:(.*?),.*,sha256:([0-9a-f]{64})$", re.MULTILINE)
_ENDED_WELL = (State.COMPLETE, State.CACHED)


def explain(config: Config, node_id: str) -> list[str]:
    """Compares a node's newest execution with its last successful one before.

    Args:
        config: Names the pipeline, its metadata store and its output directory.
        node_id: Id of the node.

    Returns:
        A line with the verdict, then one line per changed part of the cache key.

    Raises:
        UsageError: The node has never run; the message lists the nodes that have.
    """
    store = MetadataStore(existing_store(config.metadata_url))
    executions = graph.executions_of_node(store, f"{config.name}.{node_id}")
    if not executions:
        known = ", ".join(graph.nodes_of(store, config.name)) or "none"
        raise UsageError(f"{node_id!r} has never run; nodes that have: {known}")
    newest = executions[-1]
    run_id = graph.run_of(store, newest)
    title = f"{node_id} in run {run_id}"
    if newest.last_known_state == State.CACHED:
        return [f"{title} was cached: {_origin(store, newest)}"]
    if newest.type in graph.NEVER_CACHED:
        return [f"{title} ran: {graph.NEVER_CACHED[newest.type]}"]
    state = State.Name(newest.last_known_state).lower()
    earlier = [e for e in executions[:-1] if e.last_known_state in _ENDED_WELL]
    if not earlier:
        return [f"{title} ran ({state}): it had never finished before"]
    changes = list(_changes(store, earlier[-1], newest))
    before = graph.run_of(store, earlier[-1])
    if changes:
        head = f"{title} ran ({state}), because this changed since run {before}:"
        return [head, *(f"  {change}" for change in changes)]
    return [f"{title} ran ({state}): {_without_change(config, run_id, node_id)}"]


def _origin(store: MetadataStore, cached: mlmd.Execution) -> str:
    """Explains which execution's outputs a cached execution reused."""
    groups = graph.outputs_of(store, cached).values()
    origin = graph.first_writer(store, [a.id for group in groups for a in group])
    return (
        f"inputs, parameters, code and versions are those of run "
        f"{graph.run_of(store, origin)}, whose outputs were taken"
    )


def _without_change(config: Config, run_id: str, node_id: str) -> str:
    runs = {run.run_id: run for run in read_runs(config)}
    if run_id in runs and _was_uncached(runs[run_id], node_id):
        return "--no-cache was given for it"
    return "its earlier outputs were gone or incomplete"


def _was_uncached(run: Run, node_id: str) -> bool:
    return run.uncached is not None and node_id in (run.uncached or [node_id])


def _changes(
    store: MetadataStore, before: mlmd.Execution, after: mlmd.Execution
) -> Iterator[str]:
    """Yields a line per part of the cache key that differs, with both values."""
    for kind, old, new in (
        ("input", _inputs(store, before), _inputs(store, after)),
        ("parameter", _parameters(_done_by(store, before)), _parameters(after)),
        ("code", _code(before), _code(after)),
    ):
        for name in sorted(old.keys() | new.keys()):
            was, now = old.get(name, "absent"), new.get(name, "absent")
            if was != now:
                yield f"{kind} {name}: {_shown(was)} -> {_shown(now)}"


def _inputs(store: MetadataStore, execution: mlmd.Execution) -> dict[str, str]:
    return {
        name: ", ".join(
            sorted(f"{a.type} {a.id} of {_maker(store, a)}" for a in artifacts)
        )
        for name, artifacts in graph.inputs_of(store, execution).items()
    }


def _maker(store: MetadataStore, artifact: mlmd.Artifact) -> str:
    """Describes an artifact by the node and the run that wrote it first."""
    execution = graph.first_writer(store, [artifact.id])
    run_id = graph.run_of(store, execution)
    return f"{graph.node_of(store, execution)} in run {run_id}"


def _done_by(store: MetadataStore, execution: mlmd.Execution) -> mlmd.Execution:
    """Returns the execution that did the work: itself, or the one that it reused.

    TFX doesn't store the parameters that a driver resolves with a cached execution.
    """
    groups = graph.outputs_of(store, execution).values()
    outputs = [artifact.id for group in groups for artifact in group]
    return graph.first_writer(store, outputs) if outputs else execution


def _parameters(execution: mlmd.Execution) -> dict[str, str]:
    """Flattens an execution's parameters, decoding JSON, to one value per name."""
    values: dict[str, str] = {}
    for name, value in execution.custom_properties.items():
        if not name.startswith(("__", properties.OURS)):
            kind = value.WhichOneof("value")
            content = getattr(value, kind) if kind else None
            values |= _digests(name, content) or _flat(name, _parsed(content))
    return values


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _digests(name: str, value: Any) -> dict[str, str]:
    """Splits an input fingerprint into the digests of its spans; empty for others."""
    found = _CONTENT.findall(value) if name == _FINGERPRINT else ()
    return {f"{name}.{split}": digest for split, digest in found}


def _flat(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, list) and all(_has_name(item) for item in value):
        value = {item["name"]: _without_name(item) for item in value}
    if isinstance(value, Mapping):
        parts = [_flat(f"{name}.{key}", _parsed(v)) for key, v in value.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {name: json.dumps(value)}


def _has_name(item: Any) -> bool:
    return isinstance(item, Mapping) and "name" in item


def _without_name(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "name"}


def _code(execution: mlmd.Execution) -> dict[str, str]:
    text = graph.text_of(execution, properties.KEY)
    parts: dict[str, str] = json.loads(text or "{}")
    return parts


def _shown(value: str) -> str:
    if _DIGEST.fullmatch(value):
        return value[:_DIGEST_SHOWN]
    return textwrap.shorten(value, _LONGEST_VALUE, placeholder=" …")
