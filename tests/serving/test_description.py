"""What a version says of itself."""

from pathlib import Path

import pytest

from pipeline.errors import ThroughlineError
from serving.description import Description, of_version


def written(version: Path, text: str) -> Path:
    """Writes the file of a version."""
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "model.json").write_text(text)
    return version


def test_it_is_read_from_the_version(tmp_path: Path) -> None:
    """A whole number is a threshold as well; what else is there doesn't matter."""
    text = '{"threshold": 1, "inputs": {"a_b": "a b"}, "task": "binary"}'

    assert of_version(written(tmp_path, text)) == Description(1.0, {"a_b": "a b"})


def test_a_version_may_say_nothing(tmp_path: Path) -> None:
    """Without the file, or with a null, there is no threshold."""
    assert of_version(tmp_path) == Description()
    assert of_version(written(tmp_path, '{"threshold": null}')) == Description()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"threshold": "0.5"}', '{"threshold": true}', '{"inputs": [1]}'],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """A version isn't served with a threshold that nobody set."""
    with pytest.raises(ThroughlineError, match=r"model\.json"):
        of_version(written(tmp_path, text))
