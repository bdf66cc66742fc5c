"""Networks that are built and traced before there are rows."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from models import network, trainer
from models.declarations import Vocabulary, transformed_name
from models.declared import FEATURES
from tests.project.models.conftest import Row, RunTrainer

Weights = dict[str, np.ndarray]
MIN_COUNT, MAX_SIZE = 2, 3
SMALL = Vocabulary("company", min_count=MIN_COUNT, max_size=MAX_SIZE)


@pytest.fixture(autouse=True)
def _nothing_prepared() -> Iterator[None]:
    yield
    network._discard()


def _weights_of(arguments: SimpleNamespace) -> Weights:
    place = f"{arguments.serving_model_dir}/variables/variables"
    reader = tf.train.load_checkpoint(place)
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}


def _statistics(
    **texts: dict[str, int],
) -> statistics_pb2.DatasetFeatureStatistics:
    found = statistics_pb2.DatasetFeatureStatistics()
    for column, counts in texts.items():
        feature = found.features.add()
        feature.path.step.append(column)
        for text, count in counts.items():
            feature.string_stats.rank_histogram.buckets.add(
                label=text, sample_count=count
            )
    return found


def _counted(trips: list[Row], extra: int = 0) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for feature in FEATURES:
        if isinstance(feature, Vocabulary):
            seen = [trip[feature.column] for trip in trips]
            texts = {text: seen.count(text) for text in seen if text}
            counts[feature.column] = texts | {
                f"extra {number}": 1000 for number in range(extra)
            }
    return counts


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ({"a": 5, "b": 2, "c": 1}, 2),
        ({"a": 5, "b": 4, "c": 3, "d": 2}, 3),
        ({"": 9, "a": 5}, 1),
    ],
    ids=["rare values", "too many values", "no text"],
)
def test_sizes_are_expected_from_counts(counts: dict[str, int], size: int) -> None:
    """A vocabulary holds the values that are frequent enough, and not too many."""
    statistics = _statistics(company=counts)

    assert network.expected_sizes(statistics, [SMALL]) == {
        transformed_name(SMALL): size
    }


def test_no_counts_are_no_expectation() -> None:
    """Of a column that has no list of values, the size is unknown."""
    statistics = _statistics(other={"a": 5})

    assert network.expected_sizes(statistics, [SMALL]) is None


@pytest.mark.parametrize(
    ("extra", "log"),
    [
        (0, "The network was traced before there were rows"),
        (1, "The network was traced for others than these rows"),
    ],
    ids=["as expected", "another size"],
)
def test_weights_are_the_same_prepared_or_not(
    run_trainer: RunTrainer,
    trips: list[Row],
    caplog: pytest.LogCaptureFixture,
    extra: int,
    log: str,
) -> None:
    """To the bit, also if the vocabularies turn out to be of other sizes."""
    fresh = run_trainer()
    caplog.set_level("INFO")
    trainer.prepare(fresh, _statistics(**_counted(trips, extra)))

    prepared = run_trainer()

    assert log in caplog.text
    assert not network.is_prepared()
    expected, found = _weights_of(fresh), _weights_of(prepared)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
