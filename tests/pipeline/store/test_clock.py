"""The clock: the machine's, or a file's in demos and tests."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.store import clock

MORNING = datetime(2026, 3, 2, 6, 30, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the environment names, with a time in the past."""
    path = tmp_path / "clock"
    clock.write(path, MORNING)
    monkeypatch.setenv(clock.VARIABLE, str(path))
    return path


def test_without_a_file_it_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in microseconds, and in UTC."""
    monkeypatch.delenv(clock.VARIABLE, raising=False)

    found, micros = clock.now(), clock.microseconds()

    assert abs(found - datetime.now(UTC)) < timedelta(seconds=5)
    assert abs(micros / 1e6 - found.timestamp()) < 5
    assert found.utcoffset() == timedelta(0)
    assert not clock.is_simulated()


def test_a_files_time_counts_until_it_is_set(file: Path) -> None:
    """It stands still, and may be set forward and back."""
    first = clock.now()
    later = datetime(2026, 3, 2, 9, tzinfo=timezone(timedelta(hours=1)))
    clock.write(file, later)
    second = clock.now()
    clock.write(file, MORNING - timedelta(days=1))

    assert (first, second) == (MORNING, datetime(2026, 3, 2, 8, tzinfo=UTC))
    assert second.utcoffset() == timedelta(0)
    assert clock.now() == MORNING - timedelta(days=1)
    assert clock.microseconds() == 1_772_346_600_250_000
    assert clock.is_simulated()
    assert [path.name for path in file.parent.iterdir()] == ["clock"]


def test_other_processes_have_it_too(file: Path) -> None:
    """By the environment that they inherit."""
    program = "from pipeline.store import clock; print(clock.now().isoformat())"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == MORNING.isoformat()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "has no time"),
        ("2026-03-02T06:30", "without a time"),
        (None, "No"),
    ],
)
def test_a_file_without_a_time_is_refused(
    file: Path, text: str | None, said: str
) -> None:
    """Rather than taking the machine's time, which would be another day."""
    file.unlink() if text is None else file.write_text(text)

    with pytest.raises(UsageError, match=said):
        clock.now()
