"""The project's sample."""

from pathlib import Path

from data import sample, taxi


def test_the_sample_is_the_taxi_trips(tmp_path: Path) -> None:
    """Runs without data read it."""
    written = sample.write(tmp_path / "in")

    assert written.read_bytes() == taxi.read_sample()
