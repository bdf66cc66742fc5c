"""Runs one node of a compiled pipeline; all runners are built on this.

A node's inputs come from the metadata store and its outputs are registered there, so it
needs nothing but the compiled pipeline, its own id and the name of the run.
"""

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_metadata.errors import StatusError
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import outputs_utils, runtime_parameter_utils
from tfx.orchestration.portable.launcher import Launcher
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.orchestration.portable.outputs_utils import OutputsResolver
from tfx.proto import pusher_pb2
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact
from tfx.types import standard_component_specs as specs
from tfx.utils import import_utils, proto_utils

from pipeline import config as settings
from pipeline.caching import key as cache_key
from pipeline.columnar import engine, files
from pipeline.components import file_systems
from pipeline.config import DATA_NODE, GATE_NODE, METADATA_VARIABLE
from pipeline.errors import (
    EXIT_DONE,
    DataRefusedError,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
)
from pipeline.ingestion.digests import MEMORY_FILE
from pipeline.lineage import card, registered
from pipeline.lineage.query import Lineage
from pipeline.registry import history
from pipeline.runners import compiler
from pipeline.runners.backlog import Backlog
from pipeline.store import locks, properties, upkeep
from pipeline.store.connection import open_store
from pipeline.store.graph import PUSHER, Graph
from pipeline.store.names import is_span_run, run_name
from pipeline.store.ordered import OrderedMetadata
from pipeline.store.url import METADATA_FILE, of_file
from pipeline.store.windows import Window

State = mlmd.Execution.State
_LOG = logging.getLogger(__name__)
RUN_ID_PARAMETER = "pipeline-run-id"


@dataclass(frozen=True)
class NodeResult:
    """The result of a node, as recorded in the metadata store.

    Attributes:
        execution_id: Id of its execution.
        cached: Whether the outputs of an earlier execution were reused.
        notes: Sentences for the user: which spans stay out of the window.
    """

    execution_id: int
    cached: bool
    notes: tuple[str, ...] = ()


def node_of(pipeline: pipeline_pb2.Pipeline, node_id: str) -> pipeline_pb2.PipelineNode:
    """Returns a node of a pipeline by its id.

    Raises:
        UsageError: There is no such node; the message lists the nodes.
    """
    nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}
    if node_id not in nodes:
        msg = f"There is no node {node_id!r}; the nodes are {', '.join(nodes)}"
        raise UsageError(msg)
    return nodes[node_id]


@dataclass(frozen=True)
class Preparation:
    """What a node can do before its inputs exist: its executor's `prepare`.

    Attributes:
        after: Id of the node whose work shows that this one will have work too.
        run: Does it, for the node in this process; without it, the node takes longer.
    """

    after: str
    run: Callable[[], None]


def preparations(
    pipeline: pipeline_pb2.Pipeline, run_id: str, connection: mlmd.ConnectionConfig
) -> dict[str, Preparation]:
    """Returns what nodes can do before their inputs exist, by node id.

    Args:
        pipeline: The compiled pipeline.
        run_id: Name of the run.
        connection: The metadata store, which has what the run's nodes have written.
    """
    written = functools.partial(_written, run_id, connection)
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    found = {}
    for each in pipeline.nodes:
        node_id = each.pipeline_node.node_info.id
        spec = runner_utils.extract_executor_spec(deployment, node_id)
        # Resolvers have no executor; that of a node on Beam is wrapped.
        path = getattr(getattr(spec, "python_executor_spec", spec), "class_path", "")
        executor: Any = import_utils.import_class_by_path(path) if path else None
        if hasattr(executor, "prepare"):
            run = functools.partial(executor.prepare, pipeline, node_id, written)
            found[node_id] = Preparation(executor.PREPARE_AFTER, run)
    return found


def _written(
    run_id: str, connection: mlmd.ConnectionConfig, node_id: str, output: str
) -> str:
    """Returns the URI of the only artifact that a node of a run has written."""
    graph = Graph(MetadataStore(connection))
    (artifact,) = graph.outputs_of_run(run_id)[node_id][output]
    return artifact.uri


def run_node(
    pipeline: pipeline_pb2.Pipeline,
    node_id: str,
    run_id: str,
    connection: mlmd.ConnectionConfig,
) -> NodeResult:
    """Runs a node in this process, unless the run has finished it already.

    Args:
        pipeline: The compiled pipeline; the run id is still a runtime parameter.
        node_id: Id of the node.
        run_id: Name of the run; the same for all nodes of one run.
        connection: The metadata store.

    Returns:
        Its execution, complete or cached.

    Raises:
        ThroughlineError: The node did not run, although the launcher raised nothing.
        Exception: Whatever the executor raised.
    """
    engine.return_freed_memory()
    resolved = pipeline_pb2.Pipeline()
    resolved.CopyFrom(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        resolved, {RUN_ID_PARAMETER: run_id}
    )
    file_systems.register()
    root = str(resolved.runtime_spec.pipeline_root.field_value.string_value)
    store = OrderedMetadata(connection)
    backlog = Backlog(pipeline, run_id, MetadataStore(connection), _memory_of(root))
    # The lock is taken before the cache lookup: outputs that the lookup finds must not
    # be deleted before they are registered.
    with locks.in_use(root):
        window = None
        if node_id == DATA_NODE and not is_span_run(run_id):
            window = backlog.take_in(
                lambda own, name, part: run_node(own, name, part, connection)
            )
        try:
            execution = _launch(resolved, node_id, store, window)
        except DataRefusedError as error:
            if node_id == GATE_NODE and (
                failed := _newest_execution(store, node_of(resolved, node_id))
            ):
                backlog.note(failed.id, refused=str(error))
            raise
    with store as handle:
        upkeep.note_execution(
            handle.store, execution, cache_key.parts_of(pipeline, node_id)
        )
        if node_id == GATE_NODE:
            backlog.note(execution.id)
        if execution.type == PUSHER:
            _complete_registry(resolved, node_id, handle.store)
    cached = execution.last_known_state == State.CACHED
    return NodeResult(execution.id, cached, tuple(window.lines() if window else ()))


def _complete_registry(
    resolved: pipeline_pb2.Pipeline, pusher: str, store: MetadataStore
) -> None:
    """Adds the model's run, data, code and metrics to the registry of versions.

    The push itself is done and true without them, so a failure is logged only; the next
    push or `throughline models` command adds them.
    """
    # Not from the artifacts' root, which may be in a bucket.
    values = node_of(resolved, pusher).parameters.parameters
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(
        values[specs.PUSH_DESTINATION_KEY].field_value.string_value, destination
    )
    serving = Path(destination.filesystem.base_directory)
    config = replace(
        settings.local(), name=resolved.pipeline_info.id, output=serving.parents[1]
    )
    try:
        lineage = Lineage(config, Graph(store))
        registered.synchronize(lineage)
        card.write_missing(lineage, history.read(serving))
    except (ThroughlineError, StatusError, OSError) as error:
        _LOG.warning("The registry lacks facts on its newest version: %s", error)


def _memory_of(root: str) -> Path | None:
    """Returns the file that caches digests of data files; `None` with a bucket."""
    return None if files.is_remote(root) else Path(root).parent / MEMORY_FILE


def _launch(
    resolved: pipeline_pb2.Pipeline,
    node_id: str,
    tfx_store: metadata.Metadata,
    window: Window | None,
) -> mlmd.Execution:
    """Runs a node, or reuses cached outputs; returns its execution."""
    node = node_of(resolved, node_id)
    deployment = runner_utils.extract_local_deployment_config(resolved)
    _retire_broken_outputs(tfx_store, resolved.pipeline_info.id, node_id)
    launcher = _Launcher(
        window,
        pipeline_node=node,
        mlmd_connection=tfx_store,
        pipeline_info=resolved.pipeline_info,
        pipeline_runtime_spec=resolved.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    )
    try:
        # Swallows errors of resolving inputs, so the store is asked for the execution
        # afterwards.
        launcher.launch()
    except Exception:
        _end_failed(tfx_store, node)
        raise
    return _execution_in_store(tfx_store, node)


def run_command(ir: Path, node_id: str, run_id: str, metadata_url: str | None) -> int:
    """Runs a node and prints the result; the entry point of `throughline node`.

    Args:
        ir: File of the compiled pipeline.
        node_id: Id of the node.
        run_id: Name of the run.
        metadata_url: URL of the metadata store; metadata.db next to the artifacts'
            directory if not given.

    Returns:
        The exit code: 0 done, 1 failed, 3 the node rejected the data.

    Raises:
        UsageError: There is no such file or node, code or files behind the node have
            changed since it was compiled, or the name of the run or the metadata
            store's URL is invalid.
        ThroughlineError: The metadata store can't be opened.
    """
    run_name(run_id, "run-id")
    pipeline = compiler.read(ir)
    node_of(pipeline, node_id)
    _refuse_changed_code(pipeline, node_id, ir)
    connection = open_store(metadata_url or _metadata_beside_artifacts(pipeline))
    try:
        result = run_node(pipeline, node_id, run_id, connection)
    except Exception as error:  # noqa: BLE001 - any failure becomes one line
        _LOG.exception("%s failed", node_id)
        sys.stderr.write(f"throughline: {node_id}: {cause_of(error)}\n")
        return exit_code_of(error)
    how = "cached" if result.cached else "done"
    for line in result.notes:
        sys.stdout.write(f"{node_id}: {line}\n")
    sys.stdout.write(f"{node_id} {how}, execution {result.execution_id}\n")
    return EXIT_DONE


def _metadata_beside_artifacts(pipeline: pipeline_pb2.Pipeline) -> str:
    # In the IR the root is a runtime parameter, whose default is the compiled value.
    default = pipeline.runtime_spec.pipeline_root.runtime_parameter.default_value
    root = default.string_value
    if files.is_remote(root):
        raise UsageError(
            f"metadata is missing, and the artifacts are in {root}, beside which there "
            f"is no {METADATA_FILE}; give --metadata, or set {METADATA_VARIABLE}"
        )
    return of_file(Path(root).parent / METADATA_FILE)


def _refuse_changed_code(
    pipeline: pipeline_pb2.Pipeline, node_id: str, ir: Path
) -> None:
    """Rejects a node whose code differs from the code that was compiled.

    The cache key was computed at compile time: the outputs of changed code would be
    stored under the key of the old code.
    """
    if changed := cache_key.changed_files(pipeline, node_id):
        raise UsageError(
            f"{node_id} is not what {ir} was compiled from: {', '.join(changed)} "
            "differ; compile again, or restore them"
        )


class _Outputs(OutputsResolver):
    """Names an execution's directories by `upkeep.claim_directories`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._names: dict[int, str] = {}

    def claim(self, store: MetadataStore, execution: mlmd.Execution) -> None:
        """Claims the directories of an execution, before anything is written."""
        self._names[execution.id] = upkeep.claim_directories(
            store, execution, self._node_dir
        )

    def generate_output_artifacts(self, execution_id: int) -> dict[str, list[Artifact]]:
        """Creates the output artifacts, by output name."""
        found: dict[str, list[Artifact]] = outputs_utils.generate_output_artifacts(
            execution_id=self._names[execution_id],
            outputs=self._pipeline_node.outputs.outputs,
            node_dir=self._node_dir,
        )
        return found

    def get_executor_output_uri(self, execution_id: int) -> str:
        """Returns the file through which the executor reports to the launcher."""
        return str(super().get_executor_output_uri(self._names[execution_id]))

    def make_tmp_dir(self, execution_id: int) -> str:
        """Creates a directory that the launcher removes after the execution."""
        return str(super().make_tmp_dir(self._names[execution_id]))


class _Launcher(Launcher):
    """TFX's launcher, writing to directories that no other execution has written to."""

    def __init__(self, window: Window | None, **specs: Any) -> None:
        super().__init__(**specs)
        self._window = window
        self._output_resolver = _Outputs(
            pipeline_node=specs["pipeline_node"],
            pipeline_info=specs["pipeline_info"],
            pipeline_runtime_spec=specs["pipeline_runtime_spec"],
        )

    def _register_or_reuse_execution(
        self, metadata_handle: metadata.Metadata, *arguments: Any, **named: Any
    ) -> mlmd.Execution:
        execution = super()._register_or_reuse_execution(
            metadata_handle, *arguments, **named
        )
        if not execution_lib.is_execution_successful(execution):
            # TFX leaves a retried execution FAILED or CANCELED while it runs. If the
            # process is killed, only an unfinished one is ended and cleared up.
            execution.last_known_state = State.RUNNING
            metadata_handle.store.put_executions([execution])
            self._output_resolver.claim(metadata_handle.store, execution)
            # Before it ends: a node that is done is never without its window, even if
            # this process is killed.
            if self._window:
                noted = execution.custom_properties[properties.WINDOW]
                noted.string_value = self._window.to_json()
                metadata_handle.store.put_executions([execution])
        return execution


def _retire_broken_outputs(
    tfx_store: metadata.Metadata, pipeline: str, node_id: str
) -> None:
    """Excludes missing and incomplete outputs from the cache."""
    with tfx_store as handle:
        gone = upkeep.retire_incomplete_outputs(handle.store, pipeline, node_id)
    for uri in gone:
        _LOG.warning("%s is missing or incomplete, so it is recreated", uri)


def _end_failed(tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode) -> None:
    """Marks executions as failed that the launcher leaves running if a driver fails."""
    with tfx_store as handle:
        for execution in _executions_of(handle, node):
            if execution_lib.is_execution_active(execution):
                execution.last_known_state = State.FAILED
                handle.store.put_executions([execution])


def _execution_in_store(
    tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> mlmd.Execution:
    """Reads the node's execution from the store: the launcher swallows some errors.

    Raises:
        ThroughlineError: There is no execution, or it did not succeed.
    """
    newest = _newest_execution(tfx_store, node)
    if newest is None:
        msg = "the node has no execution in the metadata store: its inputs are missing"
        raise ThroughlineError(msg)
    if not execution_lib.is_execution_successful(newest):
        code = execution_lib.get_execution_result(newest, ignore_parse_errors=True)
        _LOG.error("Execution %d: %s", newest.id, code)
        state = State.Name(newest.last_known_state)
        msg = f"the execution is {state} in the metadata store"
        if code and code.result_message:
            msg = f"{msg}: {code.result_message.strip().splitlines()[-1]}"
        raise ThroughlineError(msg)
    return newest


def _newest_execution(
    tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> mlmd.Execution | None:
    with tfx_store as handle:
        return max(_executions_of(handle, node), key=lambda e: e.id, default=None)


def _executions_of(
    handle: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> list[mlmd.Execution]:
    """Returns a node's executions in its run; TFX registers at most one."""
    contexts = context_lib.prepare_contexts(handle, node.contexts)
    found: list[mlmd.Execution] = (
        execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
    )
    return found
