"""Finds the newest verdict of the data gate in the metadata store."""

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files
from pipeline.config import GATE_NODE, Config
from pipeline.errors import UsageError
from pipeline.store import properties, upkeep
from pipeline.store.artifact_files import VERDICT_FILE, location
from pipeline.store.connection import existing_store
from pipeline.store.graph import Execution, Graph
from pipeline.store.url import redact
from pipeline.trust.policy import Verdict


def newest_verdict(config: Config) -> tuple[Execution, Verdict]:
    """Reads the verdict of the newest run whose gate came to one.

    Returns:
        The gate's execution, and its verdict, also one that stopped the run.

    Raises:
        UsageError: There is no verdict, or its files are gone.
    """
    graph = Graph(MetadataStore(existing_store(config.metadata_url)))
    for execution in graph.node(config.name, GATE_NODE):
        if verdict := verdict_of(config, graph, execution):
            return execution, verdict
    raise UsageError(
        f"No run of {config.name!r} in {redact(config.metadata_url)} has a verdict "
        "about its data; `python run_local.py` makes one"
    )


def verdict_of(config: Config, graph: Graph, execution: Execution) -> Verdict | None:
    """Reads the verdict of an execution of the gate; `None` if it came to none."""
    for directory in _directories(config, graph, execution):
        file = files.join(directory, VERDICT_FILE)
        if files.exists(file):
            return Verdict.from_json(files.read_text(file))
    return None


def _directories(config: Config, graph: Graph, execution: Execution) -> list[str]:
    """Returns where the verdict of an execution may be."""
    written = [location(a.uri) for a in graph.by_id(execution.wrote())]
    # TFX removes the outputs of an execution that fails, but not its working directory.
    name = str(execution.parameters.get(properties.DIRECTORY, ""))
    above = upkeep.working_directories(config.artifact_root, GATE_NODE)
    working = [files.join(above, name)] if name else []
    return [*filter(None, written), *working]
