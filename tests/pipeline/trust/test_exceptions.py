"""Reviewed exceptions: a file that people and the gate read."""

from datetime import date
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.trust import exceptions
from pipeline.trust.policy import Accepted

TODAY = date(2026, 11, 24)
SALE = Accepted("DRIFT", "2026-12-31", 'a "sale"; 10 % off', "fare")


def test_exceptions_are_appended(tmp_path: Path) -> None:
    """What was added is read again, after what the file had, comments included."""
    path = tmp_path / "exceptions.toml"
    exceptions.add(path, SALE, TODAY)
    path.write_text(path.read_text() + "# reviewed by A. B.\n")

    exceptions.add(path, Accepted("LEAKAGE", "2026-11-24", "known"), TODAY)

    assert exceptions.read(path) == (SALE, Accepted("LEAKAGE", "2026-11-24", "known"))
    assert "# reviewed by A. B.\n\n[[accepted]]" in path.read_text()


def test_no_file_means_no_exceptions(tmp_path: Path) -> None:
    """A project without exceptions needs no file."""
    assert exceptions.read(exceptions.file_of(tmp_path / "schema.pbtxt")) == ()


@pytest.mark.parametrize(
    ("exception", "why"),
    [
        (Accepted("DRIFFT", "2026-12-31", "x"), "'DRIFFT' is neither"),
        (Accepted("DRIFT", "2026-11-23", "x"), "--until is 2026-11-23, which is over"),
        (Accepted("DRIFT", "tomorrow", "x"), "until is 'tomorrow'; it must be a day"),
        (Accepted("DRIFT", "2026-12-31", " "), "because is ' '; give the reason"),
        (Accepted("DRIFT", "2026-12-31", "a\nb"), "give the reason in one line"),
    ],
)
def test_what_is_no_exception_is_not_added(
    tmp_path: Path, exception: Accepted, why: str
) -> None:
    """A mistake is reported with what was expected, and the file stays as it was."""
    path = tmp_path / "exceptions.toml"

    with pytest.raises(UsageError, match=why):
        exceptions.add(path, exception, TODAY)

    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[accepted]\n", "is not TOML"),
        (
            '[[accepted]]\nanomaly = "DRIFT"\nuntil = 2026-12-31\n',
            "exception 1 of .* has anomaly, until; it must have anomaly, until",
        ),
        (
            '[[accepted]]\nanomaly = "NO"\nuntil = 2026-12-31\nbecause = "x"\n',
            "'NO' is neither one of TFDV's anomaly types nor a check",
        ),
    ],
)
def test_a_malformed_file_is_reported(tmp_path: Path, text: str, why: str) -> None:
    """The file is edited by hand, so mistakes in it are explained."""
    path = tmp_path / "exceptions.toml"
    path.write_text(text)

    with pytest.raises(UsageError, match=why):
        exceptions.read(path)
