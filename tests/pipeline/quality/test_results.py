"""What an evaluation says, as people read it."""

import pytest

from pipeline.quality.results import metric_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (198612.0, "198,612"),
        (2982.0, "2,982"),
        (0.95921, "0.9592"),
        (12345.67, "12,346"),
        (0.0, "0"),
        (1.0, "1"),
        (0.00001234, "1.234e-05"),
        (float("nan"), "-"),
        (None, "-"),
        (float("inf"), "inf"),
    ],
)
def test_metrics_are_written_for_people(value: float | None, text: str) -> None:
    """Counts are in full, the rest in four digits, and undefined ones a dash."""
    assert metric_text(value) == text
