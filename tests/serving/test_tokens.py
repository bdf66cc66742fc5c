"""Bearer tokens."""

import os
import time
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from serving import tokens
from serving.rejections import Code, RejectedError
from serving.tokens import Tokens

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a comment and a token."""
    path = tmp_path / "tokens"
    path.write_text(f"# the dispatchers'\n\n{ONE}\n")
    return path


@pytest.mark.parametrize("given", [None, "", ONE, f"Basic {ONE}", f"Bearer {OTHER}"])
def test_what_is_not_in_the_file_is_rejected(file: Path, given: str | None) -> None:
    """No header, another scheme and another token are the same to a client."""
    with pytest.raises(RejectedError, match="no valid token") as found:
        Tokens(file).check(given)

    assert found.value.code is Code.UNAUTHENTICATED
    assert OTHER not in str(found.value)


def test_a_token_of_the_file_passes(file: Path) -> None:
    """The scheme's case doesn't matter."""
    Tokens(file).check(f"bearer {ONE}")
    Tokens(None).check(None)


def test_a_changed_file_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new token passes without a restart; a damaged file locks nobody out."""
    monkeypatch.setattr(tokens, "_POLL_SECONDS", 0.0)
    known = Tokens(file)
    file.write_text(f"{OTHER}\n")
    os.utime(file, (time.time() + 5, time.time() + 5))

    known.check(f"Bearer {OTHER}")
    with pytest.raises(RejectedError):
        known.check(f"Bearer {ONE}")
    file.write_text("")
    os.utime(file, (time.time() + 9, time.time() + 9))

    known.check(f"Bearer {OTHER}")


def test_a_missing_file_is_logged_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with each request, as long as it is gone."""
    monkeypatch.setattr(tokens, "_POLL_SECONDS", 0.0)
    known = Tokens(file)
    file.unlink()

    known.check(f"Bearer {ONE}")
    known.check(f"Bearer {ONE}")

    (warning,) = caplog.messages
    assert "the tokens stay as they were: " in warning
    assert str(file) in warning


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """Named, with what it should be."""
    with pytest.raises(UsageError, match=r"nothing can't be read: no such file.*token"):
        Tokens(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "part"), [("# none\n", "has no token"), ("short\n", "of 5 characters")]
)
def test_a_useless_file_stops_the_start(file: Path, text: str, part: str) -> None:
    """No token would let nobody in, and a short one everybody."""
    file.write_text(text)

    with pytest.raises(UsageError, match=part):
        Tokens(file)
