"""The check: requests, the fresh process, and the judgement."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.quality.serving_check import (
    Limits,
    check,
    judge,
    requests_of,
)
from tests.pipeline.quality.served_models import save
from tests.pipeline.quality.test_serving_probe import ROWS

LIMITS = Limits(max_load_seconds=60, max_latency_ms=1000, max_memory_mb=8000)


def test_a_model_that_cannot_be_loaded_is_a_failure(tmp_path: Path) -> None:
    """The failure says at which step, and why."""
    broken = save(tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"\xff" * 100)

    result = check(broken, requests_of(ROWS), LIMITS)

    (failure,) = result.failures
    assert failure.startswith("load: loading the model: ")
    assert "saved_model.pb" in failure
    assert result.figures == {}


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("max_load_seconds", "loading took 2 s or more"),
        ("max_latency_ms", "of requests of one row, 5 % took 2 ms or more"),
        ("max_memory_mb", "the process held 2 MB or more"),
    ],
)
def test_limits_are_kept(limit: str, text: str) -> None:
    """A figure above its limit is a failure which names the flag."""
    figures = {"load_seconds": 2.0, "p95_ms": 2.0, "memory_mb": 2.0}
    answers = {"failures": {}, "figures": figures}

    (failure,) = judge(answers, dataclasses.replace(LIMITS, **{limit: 1.5})).failures

    assert text in failure
    assert f"serving-check.{limit.replace('_', '-')} allows 1.5" in failure
    assert judge(answers, LIMITS).failures == ()


def test_values_are_missing_in_every_way() -> None:
    """Each column lacks its value, is empty, or has a value that means missing."""
    requests = requests_of(ROWS)

    assert [(each["what"], each["same"]) for each in requests["missing"]] == [
        ("no fare", True),
        ("an empty fare", True),
        ("fare nan", False),
        ("fare inf", False),
        ("fare -inf", False),
        ("no company", True),
        ("an empty company", True),
        ("company b''", False),
        ("no value at all", True),
    ]
    assert requests["rows"]["raw"] == {
        "fare": [1.0, 2.0, 3.0],
        "company": ["Blue", "Red", None],
    }


def test_a_column_without_values_is_left_out() -> None:
    """A column that no row has a value in has no type, and is sent by nobody."""
    rows = ROWS.append_column("trip_miles", pa.nulls(3))

    requests = requests_of(rows)

    assert requests["rows"]["raw"]["trip_miles"] == [None] * 3
    assert not [e for e in requests["missing"] if "trip_miles" in e["what"]]
