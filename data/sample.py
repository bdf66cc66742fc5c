"""The sample that runs read if no data is given: Chicago taxi trips."""

from pathlib import Path

from data import taxi


def write(directory: Path) -> Path:
    """Writes the sample; see `taxi.write_sample`."""
    return taxi.write_sample(directory)
