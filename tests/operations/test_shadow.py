"""The live version compared with the one before, on the same requests."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from models import declared
from operations import labels, requests, shadow
from operations.labels import Job
from operations.outcomes import Roles
from operations.requests import Log
from operations.shadow import Apart, Asked, Quality
from operations.training_files import Place
from pipeline.config import Config
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.ingestion.spans import Pattern
from pipeline.trust import schema_review
from schema import SCHEMA_PATH
from tests.operations import request_logs
from tests.operations.request_logs import START

DAY = timedelta(days=1)
KINDS = kinds_of_schema(schema_review.read(SCHEMA_PATH))
ASKED = Asked(2, 1, START, START + DAY)
ROWS = 500


@pytest.fixture
def log(config: Config) -> Log:
    """The request log; nothing is in it yet."""
    return Log(requests.directory_of(config))


def write(log: Log, version: int, since: datetime = START, **values: Any) -> None:
    """Logs what a version answered to 500 trips: 2 is live, and 1 its shadow."""
    where = log if version == 2 else log.shadow
    trips = request_logs.trips(ROWS)
    request_logs.write_trips(
        where.directory, trips, since, since + DAY, version=version, **values
    )


def test_both_answers_are_compared(log: Log) -> None:
    """Failures of one only, latency where both answered, and equal decisions."""
    live, before = np.full(ROWS, 0.6), np.full(ROWS, 0.6)
    before[:50] = 0.4
    statuses = ["INVALID_ARGUMENT"] * 10 + ["OK"] * 490
    write(
        log,
        2,
        # Those that failed were slow, and count for the failures only.
        latency_ms=[900.0] * 10 + [4.0] * 490,
        status=statuses,
        row=[None if each != "OK" else 0 for each in statuses],
        prediction=[None] * 10 + list(live[10:]),
    )
    write(log, 1, latency_ms=2.0, prediction=list(before))

    found = shadow.answers(log, ASKED)

    assert found
    assert (found.requests, found.failed, found.before_failed) == (ROWS, 10, 0)
    assert (found.latency_ms, found.before_latency_ms) == (4.0, 2.0)
    assert found.agreement == pytest.approx(450 / 490)
    assert found.difference == pytest.approx(0.2 * 40 / 490)
    assert found.line() == (
        "on 500 requests, 10 failed only here, 0 only before, 95 % within 4 and 2 ms, "
        "91.8% of the answers agree, predictions differ by 0.0163 on average"
    )


def test_each_version_has_its_own_threshold(log: Log) -> None:
    """A recalibrated model decides alike with other scores."""
    write(log, 2, prediction=0.6, threshold=0.5)
    write(log, 1, prediction=0.3, threshold=0.2)

    found = shadow.answers(log, ASKED)

    assert found
    assert found.agreement == 1
    assert found.difference == pytest.approx(0.3)
    # Deciding at 1/2, as accuracy does, they differ always.
    assert found.apart == Apart(1, 0)


def test_classes_agree_if_the_likeliest_is_the_same(log: Log) -> None:
    """Scores of several classes have no difference of their own."""
    scores = [[0.1, 0.7, 0.2]] * 400 + [[0.5, 0.3, 0.2]] * 100
    write(log, 2, prediction=[None] * ROWS, scores=scores)
    write(log, 1, prediction=[None] * ROWS, scores=[[0.2, 0.6, 0.2]] * ROWS)

    found = shadow.answers(log, ASKED)

    assert found
    assert (found.agreement, found.difference) == (0.8, None)
    assert found.apart
    assert found.apart.mean == pytest.approx(0.2)
    assert found.apart.error == pytest.approx(0.4 / ROWS**0.5)


def test_numbers_have_a_difference_only(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two estimates of a duration are never equal."""
    monkeypatch.setattr(declared, "TASK", "regression")
    write(log, 2, prediction=300.0)
    write(log, 1, prediction=310.0)

    found = shadow.answers(log, ASKED)

    assert found
    assert (found.agreement, found.difference) == (None, 10)
    assert found.apart == Apart(10, 0)


def test_only_the_same_requests_of_the_two_versions_count(log: Log) -> None:
    """Not those of other days, nor of other versions, nor those that one has not."""
    write(log, 2)
    write(log, 1, since=START - 2 * DAY)
    write(log, 7, since=START - DAY + timedelta(hours=1))
    without = shadow.answers(log, ASKED)
    ids = [f"t0100-{n}" if n < 120 else f"other-{n}" for n in range(ROWS)]
    request_logs.write_trips(
        log.shadow.directory,
        request_logs.trips(ROWS),
        START,
        START + DAY,
        request_id=ids,
        version=1,
    )

    found = shadow.answers(log, ASKED)

    assert without is None
    assert found
    assert found.requests == 120


def test_an_id_that_is_sent_over_and_over_is_matched_by_time(log: Log) -> None:
    """Otherwise 500 requests would make 250,000 pairs."""
    ids = ["always"] * ROWS
    write(log, 2, request_id=ids)
    write(log, 1, request_id=ids)

    found = shadow.answers(log, ASKED)

    assert found
    assert found.requests == ROWS


def test_only_the_newest_are_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory doesn't grow with the log."""
    monkeypatch.setattr(shadow, "_MOST_ROWS", 100)
    for day in range(3):
        write(log, 2, since=START + day * DAY)
        write(log, 1, since=START + day * DAY)

    found = shadow.answers(log, Asked(2, 1, START, START + 3 * DAY))

    # A batch has the rows of a segment.
    assert found
    assert found.requests == ROWS


@pytest.fixture
def compare(
    config: Config, log: Log, tmp_path: Path
) -> Callable[[np.ndarray, np.ndarray], Quality | None]:
    """Logs both versions' scores of 500 trips, and joins the trips' labels."""

    def logged(live: np.ndarray, before: np.ndarray) -> Quality | None:
        write(log, 2, prediction=list(live))
        write(log, 1, prediction=list(before))
        file = tmp_path / "outcomes.csv"
        ids = [f"t0100-{n}" for n in range(ROWS)]
        trips = request_logs.trips(ROWS)
        trips[["tips"]].assign(request_id=ids).to_csv(file, index=False)
        data = request_logs.write_training_data(tmp_path / "data")
        job = Job(Place(data, Pattern(request_logs.PATTERN)), Roles(), 2 * DAY)
        labels.add(config, file, job, START + DAY)
        book = labels.ledger_of(config)
        return shadow.quality(log, book, KINDS, ASKED, "all-trips")

    return logged


def by_card() -> np.ndarray:
    """Scores card trips by their fare, and others with 0."""
    trips = request_logs.trips(ROWS)
    card = (trips["payment_type"] == "Credit Card").to_numpy(float)
    return np.asarray(card / (1 + np.exp(-trips["fare"].to_numpy() / 100)))


def test_a_worse_version_is_seen_on_the_same_requests(
    compare: Callable[[np.ndarray, np.ndarray], Quality | None],
) -> None:
    """The whole interval of the difference is below 0."""
    scores = np.random.default_rng(1).random(ROWS)
    trips = request_logs.trips(ROWS)
    big = trips["tips"] > 0.2 * trips["fare"]

    found = compare(scores, by_card())

    assert found
    assert found.rows == ROWS
    assert found.live == pytest.approx(roc_auc_score(big, scores), abs=0.01)
    assert found.before == pytest.approx(roc_auc_score(big, by_card()), abs=0.01)
    assert found.low < found.live - found.before < found.high < -0.2


def test_an_equal_version_is_not_worse(
    compare: Callable[[np.ndarray, np.ndarray], Quality | None],
) -> None:
    """Its difference is 0, and certain."""
    found = compare(by_card(), by_card())

    assert found
    assert (found.low, found.high) == (0, 0)


def test_without_labels_or_shadow_answers_there_is_no_quality(
    config: Config, log: Log
) -> None:
    """Nothing can be said."""
    write(log, 2)
    book = labels.ledger_of(config)

    assert shadow.quality(log, book, KINDS, ASKED, "all-trips") is None
    assert shadow.answers(log, ASKED) is None


def test_weights_count_rows_several_times() -> None:
    """As if each were there so often; NaN without one of the classes."""
    truth, scores = np.array([0.0, 1, 1, 0]), np.array([0.1, 0.4, 0.35, 0.35])
    weights = np.array([1.0, 2, 3, 4])
    times = weights.astype(int)

    found = shadow.auc(truth, scores, weights)

    expected = roc_auc_score(np.repeat(truth, times), np.repeat(scores, times))
    assert found == pytest.approx(expected)
    assert np.isnan(shadow.auc(truth, scores, truth))


def test_classes_are_compared_by_accuracy_and_numbers_by_r2() -> None:
    """With weights, and NaN without any, or of equal numbers."""
    chance = np.random.default_rng(1)
    weights = chance.poisson(1, 50).astype(float)
    classes, answers = chance.integers(0, 3, 50).astype(float), chance.random((50, 3))
    numbers = chance.normal(size=50)
    guesses = numbers + chance.normal(scale=0.3, size=50)

    accuracy = shadow.metric("classes", classes, answers, weights)
    r2 = shadow.metric("regression", numbers, guesses, weights)

    likeliest = answers.argmax(axis=1)
    assert accuracy == pytest.approx(
        accuracy_score(classes, likeliest, sample_weight=weights)
    )
    assert r2 == pytest.approx(r2_score(numbers, guesses, sample_weight=weights))
    assert np.isnan(shadow.metric("regression", np.ones(50), guesses, weights))
    assert np.isnan(shadow.metric("classes", classes, answers, np.zeros(50)))
