"""Answers of an earlier version to the live one's requests."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet
from sklearn.metrics import roc_auc_score

from models.signatures import PROBABILITY, SERVING_RAW
from operations import labels, requests, shadow
from operations.labels import Job
from operations.outcomes import Roles
from operations.shadow import Asked, Shadow
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


class _ByCard(tf.Module):
    """Scores card trips by their fare, and others with 0."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="payment_type"),
            tf.TensorSpec([None], tf.float32, name="fare"),
        ]
    )
    def answer(self, payment_type: tf.Tensor, fare: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a probability per row."""
        card = tf.cast(payment_type == "Credit Card", tf.float32)
        return {PROBABILITY: card / (1 + tf.exp(-fare / 100))}


@pytest.fixture
def compare(config: Config, tmp_path: Path) -> Callable[[np.ndarray], Shadow | None]:
    """Logs 500 trips with scores, joins their labels, and has `_ByCard` answer."""
    model = _ByCard()
    earlier = tmp_path / "model"
    tf.saved_model.save(model, str(earlier), signatures={SERVING_RAW: model.answer})
    trips = request_logs.trips(500)

    def log(scores: np.ndarray) -> Shadow | None:
        request_logs.write_trips(
            requests.directory_of(config),
            trips,
            START,
            START + DAY,
            prediction=list(scores),
            version=2,
        )
        file = tmp_path / "outcomes.csv"
        ids = [f"t0100-{n}" for n in range(500)]
        trips[["tips"]].assign(request_id=ids).to_csv(file, index=False)
        data = request_logs.write_training_data(tmp_path / "data")
        job = Job(Place(data, Pattern(request_logs.PATTERN)), Roles(), 2 * DAY)
        labels.add(config, file, job, START + DAY)
        asked = Asked(2, START, earlier, "all-trips")
        book = labels.ledger_of(config)
        return shadow.compare(book, KINDS, asked, tmp_path / "shadow.parquet")

    return log


def test_a_worse_version_is_seen_on_the_same_requests(
    compare: Callable[[np.ndarray], Shadow | None], tmp_path: Path
) -> None:
    """The whole interval of the difference is below 0; both answers are kept."""
    scores = np.random.default_rng(1).random(500)

    found = compare(scores)

    table = parquet.read_table(tmp_path / "shadow.parquet").to_pandas()
    assert found is not None
    assert found.rows == len(table) == 500
    assert found.live == pytest.approx(roc_auc_score(table["label"], scores))
    assert found.earlier == pytest.approx(
        roc_auc_score(table["label"], table["shadow_prediction"])
    )
    assert found.low < found.live - found.earlier < found.high < -0.2
    assert table["request_id"][0] == "t0100-0"


def test_an_equal_version_is_not_worse(
    compare: Callable[[np.ndarray], Shadow | None],
) -> None:
    """Its difference is 0, and certain."""
    trips = request_logs.trips(500)
    card = (trips["payment_type"] == "Credit Card").to_numpy(float)
    fare = trips["fare"].to_numpy(np.float32)

    found = compare(card / (1 + np.exp(-fare / 100)))

    assert found is not None
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-3)


def test_weights_count_rows_several_times() -> None:
    """As if each were there so often; NaN without one of the classes."""
    truth, scores = np.array([0.0, 1, 1, 0]), np.array([0.1, 0.4, 0.35, 0.35])
    weights = np.array([1.0, 2, 3, 4])
    times = weights.astype(int)

    found = shadow.auc(truth, scores, weights)

    expected = roc_auc_score(np.repeat(truth, times), np.repeat(scores, times))
    assert found == pytest.approx(expected)
    assert np.isnan(shadow.auc(truth, scores, truth))


def test_without_labels_there_is_no_comparison(config: Config, tmp_path: Path) -> None:
    """Nor a file."""
    model = _ByCard()
    tf.saved_model.save(
        model, str(tmp_path / "m"), signatures={SERVING_RAW: model.answer}
    )
    asked = Asked(2, START, tmp_path / "m", "all-trips")

    found = shadow.compare(
        labels.ledger_of(config), KINDS, asked, tmp_path / "shadow.parquet"
    )

    assert found is None
    assert not (tmp_path / "shadow.parquet").exists()
