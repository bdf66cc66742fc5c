"""Why a node ran: real executions of the node that ingests, and what changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import create_pipeline
from pipeline.caching.explain import explain
from pipeline.config import Config
from pipeline.runners.compiler import compile_pipeline
from pipeline.runners.node import run_node
from pipeline.store.connection import open_store

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings for two spans of data."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "fare" type: FLOAT }')
    for span in (1, 2):
        _put(tmp_path, span)
    return Config(
        data=tmp_path / "data",
        output=tmp_path / "out",
        schema=schema,
        pattern="span-{SPAN}/*.csv",
        window=2,
    )


def _put(directory: Path, span: int, fare: float = 1.5) -> None:
    path = directory / "data" / f"span-{span}" / "a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"fare\n{fare}\n")


def _ingest(config: Config, run: str) -> None:
    pipeline = compile_pipeline(create_pipeline(config))
    run_node(pipeline, "ExampleGen", run, open_store(config.metadata_url))


def test_edited_data_is_named_by_its_span(config: Config, tmp_path: Path) -> None:
    """Of several spans the one whose files were edited is named, and nothing else."""
    _ingest(config, "monday")
    # What was cached has no parameters of its own.
    _ingest(config, "tuesday")
    _put(tmp_path, 2, fare=9.5)
    _ingest(config, "wednesday")

    head, *changes = explain(config, "ExampleGen")

    assert head.endswith("because this changed since run tuesday:")
    (change,) = changes
    assert change.startswith("  parameter input_fingerprint.span-2: ")


def test_another_span_is_named(config: Config, tmp_path: Path) -> None:
    """A new span shows, and the one that left the window."""
    _ingest(config, "monday")
    _put(tmp_path, 3)
    _ingest(replace(config), "tuesday")

    _, *changes = explain(config, "ExampleGen")

    said = "\n".join(changes)
    assert 'input_config.splits.span-1.pattern: "span-1/*.csv" -> absent' in said
    assert 'input_config.splits.span-3.pattern: absent -> "span-3/*.csv"' in said
    assert "parameter span: 2 -> 3" in said
