"""What the data of a run looks like: its statistics, and counts from its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files, lists, shards
from pipeline.config import STATISTICS_NODE, Config
from pipeline.errors import UsageError
from pipeline.store import artifact_files
from pipeline.store.connection import existing_store
from pipeline.store.graph import Graph
from pipeline.store.url import redact
from pipeline.trust.distributions import Feature, features_of
from pipeline.trust.fit import Observed, Outside

_SPLIT = "Split-"


@dataclass(frozen=True)
class Data:
    """Where the newest data is, and what describes it.

    Attributes:
        run: Name of the run that described it.
        statistics: Directories of the ExampleStatistics.
        examples: Directories of the Examples; those that are gone are left out.
    """

    run: str
    statistics: tuple[str, ...]
    examples: tuple[str, ...]


def newest(config: Config) -> Data:
    """Finds the newest data that has statistics, whether it was accepted or refused.

    Raises:
        UsageError: There is none, or its files are gone.
    """
    graph = Graph(MetadataStore(existing_store(config.metadata_url)))
    for step in graph.node(config.name, STATISTICS_NODE):
        written = graph.by_id(step.wrote())
        statistics = [artifact_files.location(each.uri) for each in written]
        if step.succeeded and statistics and all(statistics):
            examples = (
                artifact_files.location(each.uri) for each in graph.by_id(step.read())
            )
            return Data(
                step.run, tuple(filter(None, statistics)), tuple(filter(None, examples))
            )
    raise UsageError(
        f"No run of {config.name!r} in {redact(config.metadata_url)} has statistics of "
        "its data; `python run_local.py` computes them"
    )


def features(directories: Iterable[str]) -> dict[str, dict[str, Feature]]:
    """Reads statistics by split, then by column.

    Args:
        directories: Those of ExampleStatistics artifacts. If there are several, their
            splits are named apart.
    """
    found = [artifact_files.read_statistics(each) for each in directories]
    return {
        split if len(found) == 1 else f"{split} {number}": {
            feature.name: feature for feature in features_of(statistics)
        }
        for number, splits in enumerate(found, 1)
        for split, statistics in splits.items()
    }


def rows(observed: Observed) -> dict[str, int]:
    """Returns the number of rows by split."""
    return {
        split: next(iter(columns.values())).rows if columns else 0
        for split, columns in observed.items()
    }


def counter(directories: Iterable[str]) -> Outside | None:
    """Returns what counts values out of range in ingested rows, batch by batch.

    Statistics have the smallest and the largest value, and not how many are as bad.

    Args:
        directories: Those of Examples artifacts.

    Returns:
        The function; `None` if there are no rows of ours to read.
    """
    found = [
        shard
        for directory in directories
        for split in files.subdirectories(directory)
        if files.name_of(split).startswith(_SPLIT)
        and any(name.endswith(shards.SUFFIX) for name in files.listed(split))
        for shard in shards.shards_of(split)
    ]
    if not found:
        return None

    def outside(column: str, low: float, high: float) -> tuple[int, int]:
        below = above = 0
        for shard in found:
            for batch in shards.read_batches(shard, columns=[column]):
                values = lists.unwrap(batch.column(0)).cast(pa.float64())
                below += _true(pc.less(values, low))
                above += _true(pc.greater(values, high))
        return below, above

    return outside


def _true(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)
