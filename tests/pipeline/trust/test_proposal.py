"""Finding the newest proposed schema."""

from dataclasses import replace

import pytest

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store.artifact_files import SCHEMA_FILE
from pipeline.trust.proposal import proposed_schema
from tests.pipeline.tfx_store import StockStore


def test_the_newest_proposal_is_found(config: Config, store: StockStore) -> None:
    """The newest proposal of SchemaGen is returned."""
    ours = StockStore(config.metadata_url, store.root, pipeline=config.name)
    for run in ("monday", "tuesday"):
        newest = ours.artifact("Schema")
        ours.ran(run, "SchemaGen", outputs={"schema": newest})
    reviewed = ours.artifact("Schema")
    ours.ran("tuesday", "ImportSchemaGen", outputs={"schema": reviewed})

    assert proposed_schema(config) == str(store.root / "Schema" / "2" / SCHEMA_FILE)


def test_without_a_proposal_the_way_to_one_is_named(
    config: Config, store: StockStore
) -> None:
    """Proposals of other pipelines are ignored."""
    store.ran("monday", "SchemaGen", outputs={"schema": store.artifact("Schema")})

    with pytest.raises(UsageError, match=r"run_local\.py") as refused:
        proposed_schema(replace(config, name="mine"))

    assert "'mine'" in str(refused.value)
