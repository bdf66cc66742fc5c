"""Adds code, files and versions to the cache keys of nodes.

TFX's cache key has the inputs and parameters of a node, but neither the code that it
runs nor the contents of files that a parameter names. Both are derived here from the
compiled pipeline alone, and added to a field that is part of the key.
"""

import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from google.protobuf import any_pb2
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from pipeline.caching.fingerprint import digest, modules_behind

FLAG = "--throughline-key="
_FUNCTION_PARAMETERS = ("run_fn", "preprocessing_fn", "tuner_fn")
# Not all packages of the lock: an upgrade of a tool would empty every cache. TFT, TFDV
# and TFMA are released with TFX and change with it.
_VERSIONED_PACKAGES = ("tfx", "tensorflow")

Parts = dict[str, str]


def stamp(pipeline: pipeline_pb2.Pipeline) -> None:
    """Adds the fingerprint of each node's code, files and versions to its cache key.

    It is stored in the executor's `extra_flags`, which TFX includes in the key and no
    executor reads.

    Args:
        pipeline: A compiled pipeline; its deployment configuration is modified.
    """
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    pipeline.deployment_config.Unpack(deployment)
    for node in pipeline.nodes:
        node_id = node.pipeline_node.node_info.id
        if node_id in deployment.executor_specs:
            spec = _unpack(deployment.executor_specs[node_id])
            parts = _parts_of(node.pipeline_node, spec.class_path)
            _set_flag(deployment.executor_specs[node_id], json.dumps(parts))
    # Deterministic, because protobuf promises no order of a map, and equal settings
    # must compile to equal bytes.
    pipeline.deployment_config.Pack(deployment, deterministic=True)


def parts_of(pipeline: pipeline_pb2.Pipeline, node_id: str) -> Parts:
    """Returns the parts of a node's key that `stamp` has added.

    Returns:
        Version or SHA-256 of each package, module and file behind the node, by name;
        empty for a node without an executor.
    """
    return parts_in(_spec_of(pipeline, node_id).extra_flags)


def parts_in(flags: Iterable[str]) -> Parts:
    """Returns the parts of a node's key that are among its executor's flags."""
    found = [f.removeprefix(FLAG) for f in flags if f.startswith(FLAG)]
    return json.loads(found[-1]) if found else {}


def _spec_of(
    pipeline: pipeline_pb2.Pipeline, node_id: str
) -> executable_spec_pb2.PythonClassExecutableSpec:
    """Returns a node's executor spec; an empty one for a node without an executor."""
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    pipeline.deployment_config.Unpack(deployment)
    if node_id not in deployment.executor_specs:
        return executable_spec_pb2.PythonClassExecutableSpec()
    return _unpack(deployment.executor_specs[node_id])


def changed_files(pipeline: pipeline_pb2.Pipeline, node_id: str) -> list[str]:
    """Compares the stamped fingerprint of a node with the current code and versions.

    Modules are compared by name, so the project may have moved to another path.

    Args:
        pipeline: A compiled pipeline, possibly from another time or machine.
        node_id: Id of one of its nodes.

    Returns:
        What differs, sorted: project files by relative path, other files by absolute
        path, packages with both versions. Empty for a node without an executor.
    """
    before = parts_of(pipeline, node_id)
    if not before:
        return []
    (node,) = (
        n.pipeline_node
        for n in pipeline.nodes
        if n.pipeline_node.node_info.id == node_id
    )
    now = _parts_of(node, _spec_of(pipeline, node_id).class_path)
    return sorted(
        _named(part, before.get(part), now.get(part))
        for part in before.keys() | now.keys()
        if before.get(part) != now.get(part)
    )


def _named(part: str, before: str | None, now: str | None) -> str:
    """Describes a part of the key: a file's path, or a package with both versions."""
    if part in _VERSIONED_PACKAGES:
        return f"{part} {before}, which is {now} here"
    if part.startswith("/"):
        return part
    for name, path in modules_behind(part):
        if name == part:
            is_package = path.name == "__init__.py"
            return part.replace(".", "/") + ("/__init__.py" if is_package else ".py")
    return f"{part.replace('.', '/')}.py, which is not here"


def _parts_of(node: pipeline_pb2.PipelineNode, class_path: str) -> Parts:
    parameters = _string_parameters(node)
    functions = [parameters[p] for p in _FUNCTION_PARAMETERS if parameters.get(p)]
    # Functions that parameters name, such as run_fn, are code of the node as well; TFX
    # hashes only a module_file.
    parts = code_behind([class_path, *functions])
    for parameter in parameters.values():
        # Such as the reviewed schema: TFX's key has its path, not its contents.
        for path in _files_named(parameter):
            parts[str(path)] = digest(path.read_bytes())
    return dict(sorted(parts.items()))


def code_behind(dotted: Iterable[str]) -> Parts:
    """Returns what the results of classes and functions depend on besides their inputs.

    Args:
        dotted: Dotted names of project classes and functions.

    Returns:
        Version or SHA-256 of each package and module behind them, by name.
    """
    parts = {p: importlib.metadata.version(p) for p in _VERSIONED_PACKAGES}
    for name in dotted:
        for module, path in modules_behind(name.rpartition(".")[0]):
            parts[module] = digest(path.read_bytes())
    return parts


def _string_parameters(node: pipeline_pb2.PipelineNode) -> Mapping[str, str]:
    return {
        name: value.field_value.string_value
        for name, value in node.parameters.parameters.items()
        if value.field_value.string_value
    }


def _files_named(parameter: str) -> Iterator[Path]:
    """Yields the files whose absolute paths are in a parameter, also within JSON."""
    try:
        waiting = [json.loads(parameter)]
    except ValueError:
        waiting = [parameter]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value.startswith("/") and Path(value).is_file():
            yield Path(value)


def _unpack(packed: any_pb2.Any) -> executable_spec_pb2.PythonClassExecutableSpec:
    # Executors on Beam are wrapped in a type of their own; Unpack reports a mismatch.
    beam = executable_spec_pb2.BeamExecutableSpec()
    if packed.Unpack(beam):
        return beam.python_executor_spec
    python = executable_spec_pb2.PythonClassExecutableSpec()
    packed.Unpack(python)
    return python


def _set_flag(packed: any_pb2.Any, key: str) -> None:
    beam = executable_spec_pb2.BeamExecutableSpec()
    if packed.Unpack(beam):
        beam.python_executor_spec.extra_flags.append(FLAG + key)
        packed.Pack(beam, deterministic=True)
        return
    python = executable_spec_pb2.PythonClassExecutableSpec()
    packed.Unpack(python)
    python.extra_flags.append(FLAG + key)
    packed.Pack(python, deterministic=True)
