"""TFX's connection to the metadata store, with answers in the order of the request.

TFX's cache pairs the outputs of an execution with their artifacts by position, which
holds on SQLite and MySQL. PostgreSQL returns rows in the order of their last update, so
a cached Transform had its graph for examples and its examples for a graph.
"""

from collections.abc import Iterable
from typing import Any, Self

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata


class OrderedMetadata(metadata.Metadata):
    """TFX's `Metadata`, whose store returns artifacts in the order of their ids' list.

    An id that isn't found is skipped, and an id that is given twice is returned twice.
    """

    def __enter__(self) -> Self:
        """Connects."""
        super().__enter__()
        unordered = self.store.get_artifacts_by_id

        def in_order(ids: Iterable[int], *options: Any) -> list[mlmd.Artifact]:
            wanted = list(ids)
            found = {each.id: each for each in unordered(wanted, *options)}
            return [found[i] for i in wanted if i in found]

        self.store.get_artifacts_by_id = in_order
        return self
