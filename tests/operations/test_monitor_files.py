"""The files of a model's monitoring."""

from dataclasses import replace
from pathlib import Path

import pytest

from operations import monitor_files
from tests.operations.test_observation import FOUND


def test_files_show_the_newest(tmp_path: Path) -> None:
    """A file per window, and one file of gauges for all."""
    later = replace(FOUND, until="2026-03-03T00:00:00+00:00", rows=7)
    monitor_files.write(tmp_path, FOUND)

    written = monitor_files.write(tmp_path, later)
    again = monitor_files.write(tmp_path, replace(later, rows=8))

    assert written.observation.name == "20260303-000000.json"
    assert again == written
    assert [each.rows for each in monitor_files.read(tmp_path)] == [2000, 8]
    assert "throughline_window_rows" in written.gauges.read_text()


def test_the_page_has_the_windows_up_to_one(tmp_path: Path) -> None:
    """It is written anew only if it would be another."""
    page = tmp_path / "index.html"
    later = replace(FOUND, until="2026-03-03T00:00:00+00:00", rows=7)
    for each in (FOUND, later):
        monitor_files.write(tmp_path, each)

    monitor_files.write_page(page, "taxi", [], FOUND.until)
    first = page.read_text()
    monitor_files.write_page(page, "taxi", [])
    both, written = page.read_text(), page.stat().st_mtime_ns
    monitor_files.write_page(page, "taxi", [])

    assert "Over time" not in first
    assert "Over time" in both
    assert page.stat().st_mtime_ns == written


def test_old_observations_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server for years must not fill the disk."""
    monkeypatch.setattr(monitor_files, "_KEPT", 2)
    for day in (1, 2, 3):
        until = f"2026-03-0{day}T00:00:00+00:00"
        monitor_files.write(tmp_path, replace(FOUND, until=until))

    assert len(list(tmp_path.glob("2*.json"))) == 2


def test_a_damaged_observation_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning: the page shows the others."""
    written = monitor_files.write(tmp_path, FOUND)
    written.observation.with_name("20260101-000000.json").write_text("{")

    found = monitor_files.read(tmp_path)

    assert found == [FOUND]
    assert "20260101-000000.json can't be read" in caplog.text
