"""Sums over a window of the request log."""

from datetime import timedelta

import numpy as np
import pytest

from operations import requests, windows
from operations.requests import Log
from operations.windows import Traffic, Window
from pipeline.config import Config
from pipeline.ingestion.columns import Kinds
from tests.operations import request_logs
from tests.operations.request_logs import START

KINDS: Kinds = {"trip_miles": "FLOAT", "company": "BYTES"}


def read(config: Config, minutes: int = 60) -> Window:
    """Sums the first minutes of the log."""
    log = Log(requests.directory_of(config))
    return windows.read(log, KINDS, START, START + timedelta(minutes=minutes))


def test_rows_failures_and_versions_are_counted(config: Config) -> None:
    """A failed request is no row; it counts for the version that it had, if any."""
    directory = requests.directory_of(config)
    rows = [request_logs.request(n, version=1 + n % 2) for n in range(6)]
    failed = {"row": None, "prediction": None, "status": "UNAVAILABLE"}
    rows += [request_logs.request(6, version=None, **failed)]
    rows += [request_logs.request(7, version=2, **failed)]
    rows += [request_logs.request(61)]
    request_logs.write(directory, rows)

    window = read(config)

    assert window.rows == 6
    assert {v: t.rows for v, t in window.traffic.items()} == {0: 0, 1: 3, 2: 3}
    assert window.traffic[2].failed == {"UNAVAILABLE": 1}
    assert window.total.failed == {"UNAVAILABLE": 2}
    assert window.total.failed_share == pytest.approx(2 / 8)
    assert window.profile is not None
    assert window.profile.rows == 6


def test_latencies_have_percentiles(config: Config) -> None:
    """To a percent, in bounded memory; requests that failed don't count."""
    rows = [request_logs.request(n, latency_ms=float(n + 1)) for n in range(100)]
    rows += [request_logs.request(100, status="INTERNAL", latency_ms=9e5)]
    request_logs.write(requests.directory_of(config), rows)

    total = read(config, 200).total

    for share in (0.5, 0.95, 0.99):
        assert total.latency(share) == pytest.approx(100 * share, rel=0.011)
    assert Traffic().latency(0.5) is None


def test_scores_are_in_bins(config: Config) -> None:
    """Only those that can be probabilities: another model's scores have no bin."""
    scores = [0.0, 0.0004, 0.9999, 1.0, 1.5, -0.1, None]
    rows = [request_logs.request(n, prediction=s) for n, s in enumerate(scores)]
    request_logs.write(requests.directory_of(config), rows)

    found = read(config).scores

    assert (found.counts[0], found.counts[-1], found.counts.sum()) == (2, 2, 4)
    assert found.sums.sum() == pytest.approx(2.0003)


def test_pieces_add_up(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles are merged a few at a time, with the same result."""
    monkeypatch.setattr(windows, "_MERGED", 2)
    for n in range(5):
        row = request_logs.request(n, trip_miles=float(n))
        request_logs.write(requests.directory_of(config), [row])

    window = read(config)

    assert window.profile is not None
    assert window.profile.columns["trip_miles"].values.tolist() == [0, 1, 2, 3, 4]
    assert set(window.profile.columns) == {"trip_miles", "company", "prediction"}


def test_an_empty_window_has_no_profile(config: Config) -> None:
    """Nor a share of anything."""
    window = read(config)

    assert (window.rows, window.profile, window.total.failed_share) == (0, None, 0.0)
    assert not np.any(window.scores.counts)
