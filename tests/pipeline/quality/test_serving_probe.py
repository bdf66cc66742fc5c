"""The probe: what it finds right, and each thing that it finds wrong."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from models import kept_predictions
from models.names import PREDICTIONS_FILE
from pipeline.quality import serving_check
from pipeline.quality.serving_probe import TensorFlow, probe
from tests.pipeline.quality.served_models import Faults, save

ROWS = pa.RecordBatch.from_pydict(
    {
        "fare": pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float32())),
        "company": pa.array([[b"Blue"], [b"Red"], None], pa.list_(pa.binary())),
    }
)


def probed(directory: Path, faults: Faults | None = None) -> dict[str, Any]:
    """Saves a model and probes it."""
    return ask(save(directory, faults))


def ask(model: Path) -> dict[str, Any]:
    """Probes a model in this process."""
    requests = serving_check.requests_of(ROWS)
    return probe(TensorFlow(), model, requests, lambda text: None)


def test_a_sound_model_has_no_failures(tmp_path: Path) -> None:
    """All rows are answered and compared, and all malformed requests are errors."""
    found = probed(tmp_path)

    assert found["failures"] == {}
    figures = found["figures"]
    assert figures["rows"] == figures["rows_as_trained"] == 3
    # Of each column: no value, an empty list, and the values that mean missing.
    assert figures["rows_with_missing_values"] == 5 + 3 + 1
    assert figures["malformed_requests"] == 2 * 4 + 2 * 3
    assert 0 < figures["serving_raw_median_ms"] <= figures["p95_ms"]
    assert figures["load_seconds"] > 0
    assert figures["memory_mb"] > figures["model_memory_mb"] >= 0


@pytest.mark.parametrize(
    ("faults", "check", "text"),
    [
        (
            Faults(raw_offset=2e-6),
            "agreement",
            "serving_default and serving_raw differ by up to 2",
        ),
        (
            Faults(trained_offset=2e-6),
            "as trained",
            "serving_default and the Trainer's model differ by up to 2",
        ),
        (
            Faults(missing_is_nan=True),
            "missing values",
            "serving_default answered no number to a row with no fare",
        ),
        (
            Faults(ignores_company=True),
            "malformed requests",
            "serving_raw answered one value of company for two rows",
        ),
    ],
)
def test_each_fault_is_found(
    tmp_path: Path, faults: Faults, check: str, text: str
) -> None:
    """A fault is found by the check that is for it, which names signature and row."""
    found = probed(tmp_path, faults)

    assert any(text in each for each in found["failures"][check])


def test_answers_within_the_tolerance_agree(tmp_path: Path) -> None:
    """The last bits of a 32-bit number may differ between two graphs."""
    found = probed(tmp_path, Faults(raw_offset=4e-7, trained_offset=4e-7))

    assert found["failures"] == {}


def test_another_transformation_than_in_training_is_found(tmp_path: Path) -> None:
    """If no row is transformed as it was for the Trainer, nothing can be compared."""
    save(tmp_path)
    kept = tmp_path / kept_predictions.EXTRAS / PREDICTIONS_FILE
    kept.write_text('{"columns": ["blue"], "rows": ["other"], "answers": {}}')

    found = ask(tmp_path)

    (text,) = found["failures"]["as trained"]
    assert text.startswith("none of 3 rows is transformed as one of the 1 rows")


def test_a_model_without_kept_predictions_is_told(tmp_path: Path) -> None:
    """It can't be compared with its training, which is a failure and not a pass."""
    save(tmp_path)
    (tmp_path / kept_predictions.EXTRAS / PREDICTIONS_FILE).unlink()

    found = ask(tmp_path)

    assert "holds no predictions.json" in found["failures"]["as trained"][0]
