"""TFX's connection to the metadata store."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store.connection import open_store
from pipeline.store.ordered import OrderedMetadata


def stored(url: str) -> tuple[OrderedMetadata, list[int]]:
    """Opens a store with three artifacts, of which the first was updated last."""
    connection = OrderedMetadata(open_store(url))
    with connection as handle:
        type_id = handle.store.put_artifact_type(mlmd.ArtifactType(name="Model"))
        ids = handle.store.put_artifacts(
            [mlmd.Artifact(type_id=type_id, uri=f"/{name}") for name in "abc"]
        )
        (first,) = handle.store.get_artifacts_by_id(ids[:1])
        first.state = mlmd.Artifact.LIVE
        handle.store.put_artifacts([first])
    return connection, ids


@pytest.mark.parametrize("server", ["sqlite", "postgresql", "mariadb"])
def test_artifacts_come_in_the_order_of_the_request(
    server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Ids that are missing are skipped, on every kind of server."""
    url = f"sqlite://{tmp_path}/metadata.db"
    if server != "sqlite":
        url = f"{request.getfixturevalue(server)}/ordered"
    connection, (a, b, c) = stored(url)

    with connection as handle:
        found = handle.store.get_artifacts_by_id([c, a, 999, b])
        again = handle.store.get_artifacts_by_id([a, b, c])

    assert [artifact.uri for artifact in found] == ["/c", "/a", "/b"]
    assert [artifact.uri for artifact in again] == ["/a", "/b", "/c"]
