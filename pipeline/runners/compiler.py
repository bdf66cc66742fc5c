"""Compiles a pipeline to TFX's intermediate representation, which all runners read."""

import json
from pathlib import Path

from google.protobuf import json_format
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.orchestration import pipeline_pb2

from pipeline.caching import key as cache_key
from pipeline.errors import UsageError
from pipeline.store import durable, graph
from pipeline.store.run_files import DAG_FILE, IR_FILE


def compile_pipeline(pipeline: Pipeline) -> pipeline_pb2.Pipeline:
    """Compiles a pipeline deterministically: same pipeline and code, same bytes.

    The result doesn't contain the connection to the metadata store, which may hold a
    password; the runner supplies it.

    Returns:
        The IR, with the fingerprint of each node's code in the node's cache key.
    """
    compiled: pipeline_pb2.Pipeline = Compiler().compile(pipeline)
    # After TFX's compiler: what an executor is, is only known in the compiled form.
    cache_key.stamp(compiled)
    for node in compiled.nodes:
        if node.pipeline_node.node_info.type.name in graph.NEVER_CACHED:
            options = node.pipeline_node.execution_options
            # TFX's switch is for the whole pipeline.
            options.caching_options.enable_cache = False
    return compiled


def write(pipeline: pipeline_pb2.Pipeline, directory: Path) -> None:
    """Writes a compiled pipeline as ir.json, and its graph as dag.json.

    Args:
        pipeline: The compiled pipeline.
        directory: Directory to write to, created if it does not exist. dag.json is a
            list of `{"id", "upstream"}` in topological order, for orchestrators without
            TFX.
    """
    directory.mkdir(parents=True, exist_ok=True)
    durable.write(directory / IR_FILE, to_json(pipeline))
    dag = [{"id": n, "upstream": up} for n, up in upstream_of(pipeline).items()]
    durable.write(directory / DAG_FILE, json.dumps(dag, indent=1) + "\n")


def to_json(pipeline: pipeline_pb2.Pipeline) -> str:
    """Converts a compiled pipeline to JSON, deterministically."""
    return json_format.MessageToJson(pipeline, sort_keys=True, indent=1) + "\n"


def read(path: Path) -> pipeline_pb2.Pipeline:
    """Reads a compiled pipeline from a file.

    Raises:
        UsageError: The file doesn't exist, or is not a compiled pipeline with nodes.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not there; `throughline compile` makes it")
    try:
        pipeline = from_json(path.read_text())
    except (json_format.ParseError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path} is not a compiled pipeline ({reason}); give the {IR_FILE} that "
            "`throughline compile` writes"
        ) from error
    # An empty JSON object parses as an empty pipeline.
    if not pipeline.nodes:
        raise UsageError(
            f"{path} is a compiled pipeline without a node; give the {IR_FILE} that "
            "`throughline compile` writes"
        )
    return pipeline


def from_json(text: str) -> pipeline_pb2.Pipeline:
    """Parses the JSON of `to_json`."""
    pipeline = pipeline_pb2.Pipeline()
    json_format.Parse(text, pipeline)
    return pipeline


def upstream_of(pipeline: pipeline_pb2.Pipeline) -> dict[str, list[str]]:
    """Returns the upstream nodes of each node, in topological order."""
    return {
        n.pipeline_node.node_info.id: sorted(n.pipeline_node.upstream_nodes)
        for n in pipeline.nodes
    }
