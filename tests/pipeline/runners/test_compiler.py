"""The compiled pipeline's files."""

import json
from pathlib import Path

import pytest
from tfx.proto.orchestration import pipeline_pb2

from pipeline.errors import UsageError
from pipeline.runners import compiler
from pipeline.store import run_files


@pytest.fixture
def pipeline() -> pipeline_pb2.Pipeline:
    """Two nodes, of which the second waits for the first."""
    made = pipeline_pb2.Pipeline()
    for name in ("Gen", "Push"):
        made.nodes.add().pipeline_node.node_info.id = name
    made.nodes[1].pipeline_node.upstream_nodes.append("Gen")
    return made


def test_both_files_are_written(
    pipeline: pipeline_pb2.Pipeline, tmp_path: Path
) -> None:
    """ir.json is read as it was written; dag.json needs no TFX to be read."""
    compiler.write(pipeline, tmp_path / "new" / "directory")

    directory = tmp_path / "new" / "directory"
    assert compiler.read(directory / run_files.IR_FILE) == pipeline
    assert json.loads((directory / run_files.DAG_FILE).read_text()) == [
        {"id": "Gen", "upstream": []},
        {"id": "Push", "upstream": ["Gen"]},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there"),
        ("{}", "without a node"),
        ("[", "is not a compiled pipeline"),
        ('{"nodes": 7}', "is not a compiled pipeline"),
        (b"\xff\xfe", "is not a compiled pipeline"),
    ],
)
def test_another_file_is_refused(
    content: str | bytes | None, said: str, tmp_path: Path
) -> None:
    """What is no compiled pipeline is named, with what to give instead."""
    path = tmp_path / "ir.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(UsageError, match=said) as refused:
        compiler.read(path)

    assert str(path) in str(refused.value)
    assert "throughline compile" in str(refused.value)
