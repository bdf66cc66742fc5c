"""Single facts of lineage."""

import json
from pathlib import Path

import pytest

from pipeline.ingestion import digests
from pipeline.lineage import facts
from pipeline.store.graph import Artifact


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A data file."""
    path = tmp_path / "trips.csv"
    path.write_text("fare\n1.5\n")
    return path


def _examples(output: Path, file: Path, sha256: str) -> Artifact:
    uri = output / "artifacts" / "ExampleGen" / "examples" / "1"
    noted = [{"path": str(file), "bytes": file.stat().st_size, "sha256": sha256}]
    return Artifact(1, "Examples", str(uri), {"source_files": noted}, 0.0)


@pytest.mark.parametrize("edit", [False, True])
def test_an_edited_file_is_not_what_was_read(
    tmp_path: Path,
    file: Path,
    edit: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A file of equal size with other contents counts as changed."""
    examples = _examples(tmp_path, file, digests.sha256_of([file])[file])
    if edit:
        file.write_text("fare\n2.5\n")

    (found,) = facts.files_of(examples, None)

    assert found.unchanged is not edit


def test_files_that_ingestion_has_read_are_not_read_again(
    tmp_path: Path, file: Path
) -> None:
    """The cached digest of a file is used instead of reading it again."""
    memory = tmp_path / digests.MEMORY_FILE
    digests.sha256_of([file], memory, settled_seconds=-3600)
    remembered = json.loads(memory.read_text())
    remembered[str(file)][-1] = "of the memory"
    memory.write_text(json.dumps(remembered))

    (found,) = facts.files_of(_examples(tmp_path, file, "of the memory"), None)

    assert found.unchanged
