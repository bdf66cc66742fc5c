"""What the gate accepted earlier: profiles and verdicts, from its artifacts."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files
from pipeline.config import GATE_NODE, TRAINER_NODE, Config
from pipeline.errors import UsageError
from pipeline.ingestion.splitting import TRAIN
from pipeline.store import properties
from pipeline.store.artifact_files import (
    CELLS_FILE,
    PROFILE_FILE,
    ROWS_FILE,
    VERDICT_FILE,
    location,
)
from pipeline.store.connection import existing_store
from pipeline.store.graph import Artifact, Graph
from pipeline.store.url import redact
from pipeline.trust import coverage, profile
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
    rows = profile.merged(list(splits.values()))
    return Baseline(rows, verdict, read_cells(uri).get(TRAIN, {}))


def together(found: Sequence[Baseline]) -> Baseline:
    """Returns the data of several spans as one, such as that of a model's window.

    Args:
        found: One or more; the last one's verdict is kept, about all their spans.
    """
    spans = sorted({span for each in found for span in each.verdict.spans})
    return Baseline(
        profile.merged([each.rows for each in found]),
        replace(found[-1].verdict, spans=tuple(spans)),
        coverage.merged([each.cells for each in found]),
    )


def read_cells(uri: str) -> dict[str, dict[coverage.Cross, coverage.Cells]]:
    """Reads the rows by cell of a DataVerdict, by split; empty if it has none."""
    place = files.join(uri, CELLS_FILE)
    # Verdicts of earlier versions have no such file.
    return coverage.from_bytes(files.read_bytes(place)) if files.exists(place) else {}


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


@dataclass(frozen=True)
class Covered:
    """The conditions that training covers.

    Attributes:
        run: Name of the run that trained, or that the gate last accepted data in.
        splits: Rows by cell of each cross, by split.
        min_rows: Fewest training rows of a cell that counts as covered.
    """

    run: str
    splits: dict[str, dict[coverage.Cross, coverage.Cells]]
    min_rows: int


def covered(config: Config) -> Covered:
    """Reads what the newest model was trained on; without one, the newest data.

    Raises:
        UsageError: No data was accepted, or the files about it are gone.
    """
    graph = Graph(MetadataStore(existing_store(config.metadata_url)))
    for node in (TRAINER_NODE, GATE_NODE):
        for step in graph.node(config.name, node):
            read = step.inputs.get("verdict") if node == TRAINER_NODE else step.wrote()
            found = covered_by(graph.by_id(read or ()), step.run)
            if found:
                return found
    raise UsageError(
        f"No run of {config.name!r} in {redact(config.metadata_url)} has counted the "
        "cells of its data; `python run_local.py` does"
    )


def covered_by(verdicts: Collection[Artifact], run: str) -> Covered | None:
    """Adds up the cells of several verdicts; `None` if there are none.

    Args:
        verdicts: DataVerdict artifacts.
        run: Name of the run that they are for.
    """
    known = {each.id: location(each.uri) for each in verdicts}
    counts = [read_cells(place) for place in known.values() if place]
    names = dict.fromkeys(name for each in counts for name in each)
    splits = {
        name: coverage.merged([each[name] for each in counts if name in each])
        for name in names
    }
    fewest = [
        int(each.properties.get(properties.MIN_ROWS_OF_CELL, 0)) for each in verdicts
    ]
    return Covered(run, splits, max(fewest, default=0)) if splits else None


def _readable(places: Iterator[str]) -> Iterator[Baseline]:
    for place in places:
        if files.exists(files.join(place, PROFILE_FILE)):
            yield read_baseline(place)
