"""Selects the nodes to run: all, or a part that reuses earlier outputs."""

from collections.abc import Collection, Mapping

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.portable import partial_run_utils, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from pipeline.errors import UsageError
from pipeline.runners import compiler, node
from pipeline.store.graph import RESOLVER, Graph
from pipeline.store.ordered import OrderedMetadata

_REQUIRED = pipeline_pb2.NodeExecutionOptions.Skip.REQUIRED


def uncache(pipeline: pipeline_pb2.Pipeline, node_ids: Collection[str] | None) -> None:
    """Disables the cache of nodes.

    Args:
        pipeline: The compiled pipeline; modified in place.
        node_ids: Ids of the nodes; empty means all nodes, `None` means none.

    Raises:
        UsageError: There is no such node; the message lists the nodes.
    """
    if node_ids is None:
        return
    for node_id in node_ids or compiler.upstream_of(pipeline):
        options = node.node_of(pipeline, node_id).execution_options
        options.caching_options.enable_cache = False


def select(
    pipeline: pipeline_pb2.Pipeline,
    run_id: str,
    connection: mlmd.ConnectionConfig,
    *,
    first: str | None,
    last: str | None,
) -> dict[str, list[str]]:
    """Selects a part of the pipeline; registers earlier outputs as the run's inputs.

    Resolver nodes run too if the part needs them: the newest model of an earlier run
    may no longer be the newest.

    Args:
        pipeline: The compiled pipeline; not modified.
        run_id: Name of the run.
        connection: The metadata store.
        first: Run this node and its descendants; `None` for no lower bound.
        last: Run this node and its ancestors; `None` for no upper bound.

    Returns:
        The nodes to run, each with its upstream nodes among them.

    Raises:
        UsageError: There is no such node, `last` doesn't depend on `first`, or no
            earlier run has the outputs that the part needs.
    """
    if not first and not last:
        return compiler.upstream_of(pipeline)
    for node_id in filter(None, (first, last)):
        node.node_of(pipeline, node_id)
    marked = pipeline_pb2.Pipeline()
    marked.CopyFrom(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        marked, {node.RUN_ID_PARAMETER: run_id}
    )
    partial_run_utils.mark_pipeline(
        marked,
        from_nodes=[first, *_resolvers(pipeline)] if first else None,
        to_nodes=[last] if last else None,
    )
    options = {
        n.pipeline_node.node_info.id: n.pipeline_node.execution_options
        for n in marked.nodes
    }
    chosen = {node_id for node_id, o in options.items() if not o.HasField("skip")}
    if (first and first not in chosen) or (last and last not in chosen):
        raise UsageError(
            f"{last} does not depend on {first}, so there is nothing to run"
        )
    needed = {n for n, o in options.items() if o.skip.reuse_artifacts_mode == _REQUIRED}
    # A resumed run has registered them already.
    graph = Graph(MetadataStore(connection))
    if needed - graph.outputs_of_run(run_id).keys():
        base = _newest_run_with(graph, needed, not_this=run_id)
        with OrderedMetadata(connection) as handle:
            partial_run_utils.snapshot(handle, marked, base_run_id=base)
    upstream = compiler.upstream_of(pipeline)
    return without(upstream, upstream.keys() - chosen)


def without(
    upstream: Mapping[str, Collection[str]], left_out: Collection[str]
) -> dict[str, list[str]]:
    """Removes nodes from a graph, also from the upstream nodes of others."""
    return {
        node_id: [name for name in before if name not in left_out]
        for node_id, before in upstream.items()
        if node_id not in left_out
    }


def _resolvers(pipeline: pipeline_pb2.Pipeline) -> list[str]:
    infos = [n.pipeline_node.node_info for n in pipeline.nodes]
    return [info.id for info in infos if info.type.name == RESOLVER]


def _newest_run_with(graph: Graph, needed: set[str], *, not_this: str) -> str:
    """Returns the newest other run in which all the needed nodes succeeded."""
    for run_id in reversed(graph.runs()):
        if run_id != not_this and needed <= graph.outputs_of_run(run_id).keys():
            return run_id
    raise UsageError(
        f"No run has the outputs of {', '.join(sorted(needed))} that this part builds "
        "on; run the whole pipeline first"
    )
