"""Live metrics are those that the evaluation would compute of the same rows."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from sklearn.metrics import log_loss, roc_auc_score

from operations import labels, performance, requests
from operations.labels import Job
from operations.outcomes import Roles
from operations.performance import Asked
from operations.training_files import Place
from pipeline.config import Config, Quality
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.ingestion.spans import Pattern
from pipeline.quality.eval_config import eval_config
from pipeline.trust import schema_review
from schema import SCHEMA_PATH
from tests.operations import request_logs
from tests.operations.request_logs import START

KINDS = kinds_of_schema(schema_review.read(SCHEMA_PATH))
SETTINGS = json_format.MessageToDict(
    eval_config(Quality(min_auc=0.7)), preserving_proto_field_name=True
)
DAY = timedelta(days=1)


@pytest.fixture
def scored(config: Config, tmp_path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logs 500 trips of two versions and joins their labels.

    Returns:
        Scores, labels, and which trips were paid by card.
    """
    trips = request_logs.trips(500)
    big = (trips["tips"] > 0.2 * trips["fare"]).to_numpy(float)
    scores = np.clip(big * 0.3 + np.random.default_rng(1).random(500) * 0.7, 0, 1)
    request_logs.write_trips(
        requests.directory_of(config),
        trips,
        START,
        START + DAY,
        prediction=list(scores),
        version=[1] * 250 + [2] * 250,
    )
    file = tmp_path / "outcomes.csv"
    ids = [f"t0100-{n}" for n in range(500)]
    trips[["tips"]].assign(request_id=ids).to_csv(file, index=False)
    data = request_logs.write_training_data(tmp_path / "data")
    job = Job(Place(data, Pattern(request_logs.PATTERN)), Roles(), 2 * DAY)
    labels.add(config, file, job, START + DAY)
    return scores, big, (trips["payment_type"] == "Credit Card").to_numpy()


def test_metrics_are_right(
    config: Config, scored: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """Against scikit-learn; the interval of the gated one holds it."""
    scores, big, _ = scored
    book = labels.ledger_of(config)

    found = performance.measure(
        book, KINDS, Asked(START, START + DAY, SETTINGS, "all-trips")
    )

    auc = found.metrics["auc"]
    assert (found.rows, found.known) == (500, 500)
    assert auc.value == pytest.approx(roc_auc_score(big, scores), abs=1e-3)
    assert auc.low is not None
    assert auc.high is not None
    assert auc.low < auc.value < auc.high
    loss = found.metrics["binary_crossentropy"].value
    assert loss == pytest.approx(log_loss(big, scores), abs=1e-6)
    assert found.bounds == {"auc": 0.7}


def test_the_policy_and_the_version_choose_rows(
    config: Config, scored: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """Trips without a recorded tip weigh nothing, and other versions aren't read."""
    scores, big, card = scored
    mine = card & (np.arange(500) >= 250)
    book = labels.ledger_of(config)

    found = performance.measure(
        book, KINDS, Asked(START, START + DAY, SETTINGS, "card-trips", version=2)
    )

    assert (found.rows, found.known) == (250, mine.sum())
    auc = found.metrics["auc"].value
    assert auc == pytest.approx(roc_auc_score(big[mine], scores[mine]), abs=1e-3)


def test_a_period_without_labels_has_no_metrics(config: Config) -> None:
    """Nor does a ledger that doesn't exist."""
    asked = Asked(START, START + DAY, SETTINGS, "all-trips")

    found = performance.measure(labels.ledger_of(config), KINDS, asked)

    assert (found.rows, found.metrics) == (0, {})
