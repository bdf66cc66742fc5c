"""Runs one node of a compiled pipeline; what every orchestrator builds on.

The inputs of a node come from the metadata store and its outputs go there, so that a
node needs nothing but the compiled pipeline, its own name and the name of the run.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import outputs_utils, runtime_parameter_utils
from tfx.orchestration.portable.launcher import Launcher
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.orchestration.portable.outputs_utils import OutputsResolver
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact

from pipeline.beam import patches
from pipeline.caching import key as cache_key
from pipeline.components import span_driver
from pipeline.errors import (
    EXIT_DONE,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
)
from pipeline.names import run_name
from pipeline.runners import compiler
from pipeline.store import locks, upkeep
from pipeline.store.connection import open_store
from pipeline.store.url import METADATA_FILE, of_file

State = mlmd.Execution.State
_LOG = logging.getLogger(__name__)
RUN_ID_PARAMETER = "pipeline-run-id"


@dataclass(frozen=True)
class NodeResult:
    """How a node ended, by what the metadata store says.

    Attributes:
        execution_id: Its execution in the metadata store.
        cached: Whether the outputs of an earlier execution were taken.
    """

    execution_id: int
    cached: bool


def node_of(pipeline: pipeline_pb2.Pipeline, node_id: str) -> pipeline_pb2.PipelineNode:
    """Finds a node by its id.

    Raises:
        UsageError: There is none with this id; names those there are.
    """
    nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}
    if node_id not in nodes:
        msg = f"There is no node {node_id!r}; the nodes are {', '.join(nodes)}"
        raise UsageError(msg)
    return nodes[node_id]


def run_node(
    pipeline: pipeline_pb2.Pipeline,
    node_id: str,
    run_id: str,
    connection: mlmd.ConnectionConfig,
) -> NodeResult:
    """Runs a node in this process, unless the run has finished it already.

    Args:
        pipeline: The compiled pipeline, with the run id still to be filled in.
        node_id: The node to run.
        run_id: Name of the run; the same for all nodes of one run.
        connection: Where the metadata store is.

    Returns:
        Its execution, complete or cached.

    Raises:
        ThroughlineError: The node did not run, and the launcher did not say why.
        Exception: Whatever the executor raised.
    """
    patches.install()
    resolved = pipeline_pb2.Pipeline()
    resolved.CopyFrom(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        resolved, {RUN_ID_PARAMETER: run_id}
    )
    root = Path(resolved.runtime_spec.pipeline_root.field_value.string_value)
    # From before the cache is asked: what it names must not be removed meanwhile.
    with locks.in_use(root):
        execution = _launch(resolved, node_id, metadata.Metadata(connection))
    with metadata.Metadata(connection) as handle:
        if execution.last_known_state == State.COMPLETE:
            node = node_of(resolved, node_id)
            span_driver.note_passed_over(handle.store, node, execution)
        upkeep.note_execution(
            handle.store, execution, cache_key.parts_of(pipeline, node_id)
        )
    return NodeResult(execution.id, execution.last_known_state == State.CACHED)


def _launch(
    resolved: pipeline_pb2.Pipeline, node_id: str, tfx_store: metadata.Metadata
) -> mlmd.Execution:
    """Runs a node, or takes its outputs from the cache; returns how it ended."""
    node = node_of(resolved, node_id)
    deployment = runner_utils.extract_local_deployment_config(resolved)
    _retire_broken_outputs(tfx_store, node)
    launcher = _Launcher(
        pipeline_node=node,
        mlmd_connection=tfx_store,
        pipeline_info=resolved.pipeline_info,
        pipeline_runtime_spec=resolved.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    )
    try:
        launcher.launch()
    except Exception:
        _end_failed(tfx_store, node)
        raise
    return _execution_in_store(tfx_store, node)


def run_command(ir: Path, node_id: str, run_id: str, metadata_url: str | None) -> int:
    """Runs a node as `throughline node` does; what TFX logs goes to standard error.

    Args:
        ir: The compiled pipeline.
        node_id: The node to run.
        run_id: Name of the run.
        metadata_url: The metadata store; metadata.db beside the artifacts if not given.

    Returns:
        0 done, 1 failed, 3 the node refused the data.

    Raises:
        UsageError: There is no such file or node, code or files that the node depends
            on have changed since it was compiled, or the name of the run or the
            metadata store's URL is wrong.
        ThroughlineError: The metadata store can't be opened.
    """
    run_name(run_id, "run-id")
    pipeline = compiler.read(ir)
    node_of(pipeline, node_id)
    _refuse_changed_code(pipeline, node_id, ir)
    root = pipeline.runtime_spec.pipeline_root.runtime_parameter.default_value
    beside = Path(root.string_value).parent
    connection = open_store(metadata_url or of_file(beside / METADATA_FILE))
    try:
        result = run_node(pipeline, node_id, run_id, connection)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends in a sentence
        _LOG.exception("%s failed", node_id)
        sys.stderr.write(f"throughline: {node_id}: {cause_of(error)}\n")
        return exit_code_of(error)
    how = "cached" if result.cached else "done"
    sys.stdout.write(f"{node_id} {how}, execution {result.execution_id}\n")
    return EXIT_DONE


def _refuse_changed_code(
    pipeline: pipeline_pb2.Pipeline, node_id: str, ir: Path
) -> None:
    """The key of the cache was made when the pipeline was compiled.

    Changed code would run under the old key, and the cache would give its outputs for
    the old code.
    """
    if changed := cache_key.changed_files(pipeline, node_id):
        raise UsageError(
            f"{node_id} is not what {ir} was compiled from: {', '.join(changed)} "
            "differ; compile again, or restore them"
        )


class _Outputs(OutputsResolver):
    """Names an execution's directories as `upkeep.claim_directories` says."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._names: dict[int, str] = {}

    def claim(self, store: MetadataStore, execution: mlmd.Execution) -> None:
        """Decides on the names, before anything is written."""
        self._names[execution.id] = upkeep.claim_directories(
            store, execution, Path(self._node_dir)
        )

    def generate_output_artifacts(self, execution_id: int) -> dict[str, list[Artifact]]:
        """Returns the artifacts to fill, by output name."""
        found: dict[str, list[Artifact]] = outputs_utils.generate_output_artifacts(
            execution_id=self._names[execution_id],
            outputs=self._pipeline_node.outputs.outputs,
            node_dir=self._node_dir,
        )
        return found

    def get_executor_output_uri(self, execution_id: int) -> str:
        """Returns the file that the executor leaves for the launcher."""
        return str(super().get_executor_output_uri(self._names[execution_id]))

    def make_tmp_dir(self, execution_id: int) -> str:
        """Creates the directory that is removed after the execution."""
        return str(super().make_tmp_dir(self._names[execution_id]))


class _Launcher(Launcher):
    """TFX's launcher, in directories that no other execution has written to."""

    def __init__(self, **specs: Any) -> None:
        super().__init__(**specs)
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
            self._output_resolver.claim(metadata_handle.store, execution)
        return execution


def _retire_broken_outputs(
    tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> None:
    """Keeps outputs that are gone or incomplete out of the cache."""
    with tfx_store as handle:
        (name,) = (c.name for c in node.contexts.contexts if c.type.name == "node")
        gone = upkeep.retire_incomplete_outputs(
            handle.store, name.field_value.string_value
        )
    for uri in gone:
        _LOG.warning("%s is not what its execution left: it is made anew", uri)


def _end_failed(tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode) -> None:
    """Ends what the launcher leaves open when a driver fails, and not an executor."""
    with tfx_store as handle:
        for execution in _executions_of(handle, node):
            if execution_lib.is_execution_active(execution):
                execution.last_known_state = State.FAILED
                handle.store.put_executions([execution])


def _execution_in_store(
    tfx_store: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> mlmd.Execution:
    """Asks the store how the node ended: the launcher swallows some errors."""
    with tfx_store as handle:
        executions = _executions_of(handle, node)
    newest = max(executions, key=lambda e: e.id, default=None)
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


def _executions_of(
    handle: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> list[mlmd.Execution]:
    """Lists what the store has of a node in its run; TFX keeps it at one."""
    contexts = context_lib.prepare_contexts(handle, node.contexts)
    found: list[mlmd.Execution] = (
        execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
    )
    return found
