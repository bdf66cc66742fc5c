"""Reading of the request log."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from operations import requests
from operations.requests import Log
from pipeline.config import Config
from pipeline.errors import ThroughlineError
from pipeline.ingestion.columns import Kinds
from serving import request_log
from tests.operations import request_logs
from tests.operations.request_logs import START

KINDS: Kinds = {
    "fare": "FLOAT",
    "trip_seconds": "INT",
    "company": "BYTES",
    "new": "INT",
}


def ids(log: Path, since: int | None = None, until: int | None = None) -> list[str]:
    """Ids of the requests from one minute to another."""
    first, end = (
        None if minute is None else START + timedelta(minutes=minute)
        for minute in (since, until)
    )
    batches = Log(log).batches({}, first, end)
    return [
        name for batch in batches for name in batch.column("request_id").to_pylist()
    ]


def test_rows_of_a_time_are_read(log: Path) -> None:
    """From a time on, before another, in the order of the segments."""
    assert ids(log) == [f"r{n}" for n in range(10)]
    assert ids(log, 3, 6) == ["r3", "r4", "r5"]
    assert ids(log, 60) == []


def test_features_are_as_ingestion_makes_them(config: Config) -> None:
    """32-bit numbers, and null for what stands for "missing" or doesn't fit."""
    log = requests.directory_of(config)
    rows = [
        request_logs.request(0, fare=12.05, trip_seconds=780),
        request_logs.request(1, fare=float("nan"), trip_seconds=-1, company=""),
    ]
    request_logs.write(log, rows)

    (batch,) = Log(log).batches(KINDS, fixed=())

    assert batch.column("fare").type == pa.float32()
    assert batch.column("fare").to_pylist() == [pytest.approx(12.05, 1e-6), None]
    assert batch.column("trip_seconds").to_pylist() == [780, None]
    assert batch.column("company").to_pylist() == [b"Blue Cab", None]
    assert batch.column("new").to_pylist() == [None, None]


def test_a_value_that_does_not_fit_is_null() -> None:
    """A client may send 2.5 where a whole number belongs."""
    found = requests.as_kind(pa.array([2.5, 3.0]), "INT", "trip_seconds")

    assert found.to_pylist() == [None, 3]


def test_no_log_is_an_empty_log(config: Config) -> None:
    """Before the first request there is no directory."""
    assert ids(requests.directory_of(config)) == []
    assert requests.no_rows({"fare": "FLOAT"})["fare"].type == pa.float32()


def test_a_damaged_segment_is_named(log: Path) -> None:
    """With what to do about it."""
    path = request_log.segments(log)[0]
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(ThroughlineError, match=f"{path} is damaged"):
        ids(log)


def test_a_journal_of_a_dead_server_is_read(config: Config) -> None:
    """What it was about to close counts, once `close` was called."""
    log = requests.directory_of(config)
    row = dict(request_logs.request(0))
    line = {
        **{name: row[name] for name in ("request_id", "version", "signature")},
        "time": int(START.timestamp() * 1e6),
        **{name: row[name] for name in ("threshold", "latency_ms", "status")},
        "rows": [[12.05]],
        "answers": [0.5],
        "width": 1,
    }
    (log / "journals").mkdir(parents=True)
    name = request_log.name_of(START, "dead")
    lines = [{"format": 1, "features": {"fare": "FLOAT"}}, line]
    (log / "journals" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))

    before = ids(log)
    Log(log).close()

    assert (before, ids(log)) == ([], ["r0"])
