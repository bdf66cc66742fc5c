"""`throughline explain`: why a node ran, or why its outputs were cached."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store import properties
from pipeline.store.connection import existing_store
from pipeline.store.graph import NEVER_CACHED, Artifact, Execution, Graph
from pipeline.store.run_files import Run, read_runs

_LONGEST_VALUE = 60
_DIGEST_SHOWN = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A line of `input_fingerprint`, as our ExampleGen writes it for each span.
_CONTENT = re.compile(r"^split:(.*?),.*,sha256:([0-9a-f]{64})$", re.MULTILINE)


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
    graph = Graph(MetadataStore(existing_store(config.metadata_url)))
    # An iterator: in the usual case only the last two executions are loaded.
    executions = graph.node(config.name, node_id)
    newest = next(executions, None)
    if newest is None:
        known = ", ".join(graph.nodes(config.name)) or "none"
        raise UsageError(f"{node_id!r} has never run; nodes that have: {known}")
    title = f"{node_id} in run {newest.run}"
    if newest.state == "CACHED":
        return [f"{title} was cached: {_origin(graph, newest)}"]
    # These run in each run, so no changed part of a key could be the reason.
    if newest.type in NEVER_CACHED:
        return [f"{title} ran: {NEVER_CACHED[newest.type]}"]
    state = newest.state.lower()
    # A failed execution leaves nothing in the cache to compare with.
    earlier = next((e for e in executions if e.succeeded), None)
    if earlier is None:
        return [f"{title} ran ({state}): it had never finished before"]
    if changes := list(_changes(graph, earlier, newest)):
        since = f"because this changed since run {earlier.run}"
        head = f"{title} ran ({state}), {since}:"
        return [head, *(f"  {change}" for change in changes)]
    return [f"{title} ran ({state}): {_without_change(config, newest.run, node_id)}"]


def _origin(graph: Graph, cached: Execution) -> str:
    """Describes the execution whose outputs a cached one reused."""
    return (
        f"inputs, parameters, code and versions are those of run "
        f"{_done_by(graph, cached).run}, whose outputs were taken"
    )


def _without_change(config: Config, run_id: str, node_id: str) -> str:
    runs = {run.run_id: run for run in read_runs(config.runs_directory)}
    if run_id in runs and _was_uncached(runs[run_id], node_id):
        return "--no-cache was given for it"
    # What remains: the key is equal, and the cache wasn't disabled. Retired outputs are
    # marked in the store, but not with the run that found them.
    return "its earlier outputs were gone or incomplete"


def _was_uncached(run: Run, node_id: str) -> bool:
    return run.uncached is not None and node_id in (run.uncached or [node_id])


def _changes(graph: Graph, before: Execution, after: Execution) -> Iterator[str]:
    """Yields each part of the cache key that differs, with both values."""
    for kind, old, new in (
        ("input", _inputs(graph, before), _inputs(graph, after)),
        # `after` ran itself, so its own parameters are complete; `before` may be
        # cached.
        ("parameter", _parameters(_done_by(graph, before)), _parameters(after)),
        ("code", _code(before), _code(after)),
    ):
        for name in sorted(old.keys() | new.keys()):
            was, now = old.get(name, "absent"), new.get(name, "absent")
            if was != now:
                yield f"{kind} {name}: {_shown(was)} -> {_shown(now)}"


def _inputs(graph: Graph, execution: Execution) -> dict[str, str]:
    return {
        name: ", ".join(sorted(_described(graph, a) for a in graph.by_id(ids)))
        for name, ids in execution.inputs.items()
    }


def _described(graph: Graph, artifact: Artifact) -> str:
    """Describes an artifact by type, id, and the node and run that wrote it."""
    made = "".join(f" of {m.node} in run {m.run}" for m in graph.makers([artifact.id]))
    return f"{artifact.type} {artifact.id}{made}"


def _done_by(graph: Graph, execution: Execution) -> Execution:
    """Returns the execution that wrote the outputs; itself if it was not cached.

    TFX doesn't store the parameters that a driver resolves with a cached execution.
    """
    return next(iter(graph.makers(execution.wrote())), execution)


def _parameters(execution: Execution) -> dict[str, str]:
    """Flattens the parameters, also those that hold JSON, to single values."""
    values: dict[str, str] = {}
    for name, value in execution.parameters.items():
        if not name.startswith(properties.OURS):
            values |= _digests(name, value) or _flat(name, _parsed(value))
    return values


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _digests(name: str, value: Any) -> dict[str, str]:
    """Splits a fingerprint of our ExampleGen into one digest per span."""
    found = _CONTENT.findall(value) if name == properties.FINGERPRINT else ()
    return {f"{name}.{split}": digest for split, digest in found}


def _flat(name: str, value: Any) -> dict[str, str]:
    # By name rather than by index: a split or metric that was inserted first would show
    # all others as changed.
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


def _code(execution: Execution) -> dict[str, str]:
    parts: dict[str, str] = execution.parameters.get(properties.KEY, {})
    return parts


def _shown(value: str) -> str:
    # Twelve digits identify a version of a file well enough, and two fit on a line.
    if _DIGEST.fullmatch(value):
        return value[:_DIGEST_SHOWN]
    return textwrap.shorten(value, _LONGEST_VALUE, placeholder=" …")
