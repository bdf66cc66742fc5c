"""A model called with batches: every type, and every missing value."""

from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf

from pipeline.errors import DataRefusedError, UsageError
from pipeline.prediction.raw_model import RawModel
from tests.pipeline.prediction.small_model import save


def test_types_come_from_the_signature(small: RawModel) -> None:
    """What the model reads is known without a schema."""
    assert small.kinds == {"fare": "FLOAT", "hour": "INT", "payment": "BYTES"}


def test_values_and_missing_ones(small: RawModel) -> None:
    """Columns in any order, with nulls, become what the signature expects."""
    batch = pa.RecordBatch.from_pydict(
        {
            "payment": pa.array([b"Card", b"Cash", None, b"Card"], pa.binary()),
            "fare": pa.array([5.0, None, 2.0, None], pa.float32()),
            "other": pa.array(["x"] * 4),
            "hour": pa.array([3, 13, None, None], pa.int64()),
        }
    )

    scores = small(batch)

    assert scores.schema.names == ["probability"]
    assert scores["probability"].to_pylist() == pytest.approx([3.5, 0.0, 0.2, 2.0])


def test_lists_are_refused(small: RawModel) -> None:
    """A column of several values per row is named."""
    batch = pa.RecordBatch.from_pydict(
        {
            "payment": pa.array([b"Card"]),
            "fare": pa.array([[5.0, 6.0]]),
            "hour": pa.array([3]),
        }
    )

    with pytest.raises(DataRefusedError, match="'fare' holds lists"):
        small(batch)


class _OfClasses(tf.Module):
    """Answers the class of the longest list, read from a column with an odd name."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name="a_b")])
    def serving_raw(self, a_b: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes "" for an item that is missing."""
        items = tf.reduce_sum(tf.cast(a_b != "", tf.int64), axis=1)
        chance = tf.fill([tf.shape(a_b)[0]], 0.5)
        return {
            "class": tf.strings.as_string(items),
            "probability": chance,
            "probabilities": tf.stack([chance, chance], axis=1),
        }


def test_classes_and_lists(tmp_path: Path) -> None:
    """Lists are filled up, inputs find their columns, and each answer has a type."""
    model = _OfClasses()
    tf.saved_model.save(
        model, str(tmp_path), signatures={"serving_raw": model.serving_raw}
    )
    extras = tmp_path / "assets.extra"
    extras.mkdir()
    (extras / "model.json").write_text('{"inputs": {"a_b": "a b"}}')
    rows = pa.array([[b"x", b"y"], None, [b"z"], []], pa.list_(pa.binary()))

    raw = RawModel(tmp_path)
    found = raw(pa.RecordBatch.from_arrays([rows], ["a b"]))

    assert raw.kinds == {"a b": "BYTES"}
    assert found.schema.names == ["class", "probability"]
    assert found["class"].to_pylist() == ["2", "0", "1", "0"]


def test_a_model_without_the_signature(tmp_path: Path) -> None:
    """A SavedModel of another kind is refused with what it has."""
    with pytest.raises(UsageError, match="no signature serving_raw; it has other"):
        RawModel(save(tmp_path / "model", "other"))


def test_the_threshold_is_the_model_s_own(tmp_path: Path) -> None:
    """A model without a file about it decides nothing."""
    save(tmp_path)

    without = RawModel(tmp_path).threshold
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "model.json").write_text('{"threshold": 0.25}')

    assert without is None
    assert RawModel(tmp_path).threshold == 0.25


def test_columns_of_examples_are_answered(small: RawModel) -> None:
    """Lists of one value, and columns that the data doesn't have."""
    batch = pa.RecordBatch.from_pydict(
        {
            "fare": pa.array([[5.0], None, []], pa.large_list(pa.float32())),
            "payment": pa.array([[b"Card"], [b"Card"], None]),
            "other": pa.array([["x"], ["y"], None]),
        }
    )

    scores = small.of_lists(batch)

    assert scores["probability"].to_pylist() == pytest.approx([2.5, 2.0, 0.0])


def test_lists_of_examples_stay_lists(tmp_path: Path) -> None:
    """Where the model reads several values."""
    model = _OfClasses()
    tf.saved_model.save(
        model, str(tmp_path), signatures={"serving_raw": model.serving_raw}
    )
    rows = pa.array([[b"x", b"y"], None, [b"z"]], pa.large_list(pa.large_binary()))

    found = RawModel(tmp_path).of_lists(pa.RecordBatch.from_arrays([rows], ["a_b"]))

    assert found["class"].to_pylist() == ["2", "0", "1"]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [("fare", [[b"much"]], "much"), ("payment", [[3]], "large_binary")],
)
def test_a_column_of_another_type_is_an_error(
    small: RawModel, column: str, values: list[list[object]], said: str
) -> None:
    """Text is no number, and a number no text: nothing is guessed."""
    batch = pa.RecordBatch.from_pydict({column: pa.array(values)})

    with pytest.raises(pa.ArrowException, match=said):
        small.of_lists(batch)
