"""A model's output directory with a request log, and training data by span."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from operations.requests import directory_of
from operations.training_files import Place
from pipeline.config import Config
from pipeline.ingestion.spans import Pattern
from tests.operations import request_logs

Rows = Sequence[Mapping[str, Any]]
WriteCsv = Callable[[str, Rows], Path]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings whose output directory is empty."""
    return Config(output=tmp_path / "out", data=tmp_path / "data")


@pytest.fixture
def log(config: Config) -> Path:
    """A request log of ten trips, a minute apart: r0 to r9."""
    return request_logs.write_ten(directory_of(config))


@pytest.fixture
def place(config: Config) -> Place:
    """Training data of one span, number 7, by a pattern of three digits."""
    directory = request_logs.write_training_data(config.data_directory)
    return Place(directory, Pattern(request_logs.PATTERN))


@pytest.fixture
def outcomes(tmp_path: Path) -> WriteCsv:
    """Writes rows of outcomes to a CSV file of a name."""

    def write(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write
