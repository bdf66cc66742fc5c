"""Finds the newest proposed schema in the metadata store."""

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files
from pipeline.config import PROPOSAL_NODE, Config
from pipeline.errors import UsageError
from pipeline.store.artifact_files import SCHEMA_FILE
from pipeline.store.connection import existing_store
from pipeline.store.graph import Graph
from pipeline.store.url import redact


def proposed_schema(config: Config) -> str:
    """Returns the file of the newest schema that SchemaGen has proposed.

    Raises:
        UsageError: No run of the pipeline has a proposed schema.
    """
    store = MetadataStore(existing_store(config.metadata_url))
    found = Graph(store).artifacts_of_node(config.name, PROPOSAL_NODE)
    proposals = [a for a in found if a.type == "Schema" and a.live]
    if not proposals:
        msg = (
            f"No run of {config.name!r} in {redact(config.metadata_url)} has proposed "
            "a schema; `python run_local.py` does"
        )
        raise UsageError(msg)
    return files.join(proposals[-1].uri, SCHEMA_FILE)
