"""Artifacts in a bucket, for code that knows local files only."""

from pathlib import Path
from typing import Any

import pytest
from tfx.types import Artifact
from tfx.types.standard_artifacts import Model, ModelBlessing

from pipeline.columnar import files
from pipeline.components.local_files import local_files


def _artifact(kind: type[Artifact], uri: str) -> Any:
    artifact = kind()
    artifact.uri = uri
    return artifact


def test_inputs_come_and_outputs_go(bucket: str) -> None:
    """Inside are local URIs with the inputs' files; afterwards all is as it was."""
    files.write_text(f"{bucket}/model/1/weights", "w")
    model = _artifact(Model, f"{bucket}/model/1")
    blessing = _artifact(ModelBlessing, f"{bucket}/blessing/1")

    with local_files({"model": [model]}, {"blessing": [blessing]}):
        seen = Path(model.uri, "weights").read_text()
        Path(blessing.uri, "BLESSED").touch()
        blessing.set_string_custom_property("current_model", model.uri)

    assert seen == "w"
    assert model.uri == f"{bucket}/model/1"
    assert blessing.uri == f"{bucket}/blessing/1"
    assert blessing.get_string_custom_property("current_model") == model.uri
    assert files.tree(blessing.uri) == {"BLESSED": 0}


def _fail(outputs: dict[str, list[Artifact]]) -> None:
    with local_files({}, outputs):
        Path(outputs["model"][0].uri, "half").touch()
        raise ValueError("stopped")


def test_a_failure_leaves_uris_and_bucket_as_they_were(bucket: str) -> None:
    """After an error the artifact has its URI again, and no file."""
    model = _artifact(Model, f"{bucket}/model/2")

    with pytest.raises(ValueError, match="stopped"):
        _fail({"model": [model]})

    assert model.uri == f"{bucket}/model/2"
    assert files.tree(model.uri) == {}


def test_local_artifacts_stay_where_they_are(tmp_path: Path) -> None:
    """Nothing is copied of what is local already."""
    model = _artifact(Model, str(tmp_path / "model"))

    with local_files({}, {"model": [model]}):
        inside = model.uri

    assert inside == str(tmp_path / "model")
