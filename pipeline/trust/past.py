"""What the gate accepted earlier: profiles and verdicts, from its artifacts."""

from collections.abc import Iterator

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files
from pipeline.config import GATE_NODE, Config
from pipeline.store.artifact_files import (
    PROFILE_FILE,
    ROWS_FILE,
    VERDICT_FILE,
    location,
)
from pipeline.store.connection import existing_store
from pipeline.store.graph import Graph
from pipeline.trust import profile
from pipeline.trust.gate import Baseline
from pipeline.trust.policy import Verdict

MOST = 16
"""Accepted data that is compared pairwise: four years of quarters, 120 pairs."""


def read_baseline(uri: str) -> Baseline:
    """Reads a DataVerdict artifact as what later data is compared with."""
    splits = profile.from_bytes(
        files.read_bytes(files.join(uri, PROFILE_FILE)),
        files.read_bytes(files.join(uri, ROWS_FILE)),
    )
    verdict = Verdict.from_json(
        files.read_bytes(files.join(uri, VERDICT_FILE)).decode()
    )
    return Baseline(profile.merged(list(splits.values())), verdict)


def accepted(config: Config, most: int = MOST) -> list[Baseline]:
    """Reads what the gate accepted, each data once.

    Args:
        config: Names the pipeline and the metadata store.
        most: How many, the newest ones.

    Returns:
        The profiles with their verdicts, oldest first; those whose files are gone are
        left out.
    """
    graph = Graph(MetadataStore(existing_store(config.metadata_url)))
    written = graph.artifacts_of_node(config.name, GATE_NODE)
    # A gate reads verdicts as well; only what it wrote has a profile of the node's.
    places = [location(a.uri) for a in reversed(written) if a.type == "DataVerdict"]
    found: dict[str, Baseline] = {}
    for each in _readable(filter(None, places)):
        # The newest verdict about data that came twice.
        found.setdefault(each.verdict.fingerprint, each)
        if len(found) == most:
            break
    return list(found.values())[::-1]


def _readable(places: Iterator[str]) -> Iterator[Baseline]:
    for place in places:
        if files.exists(files.join(place, PROFILE_FILE)):
            yield read_baseline(place)
