"""What models say of a batch: literal columns in, scores and labels out."""

import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.scoring import EvaluationError, Examples, Model

BATCH = pa.RecordBatch.from_pydict(
    {
        "size": pa.array([[1.0], [3.0]], pa.large_list(pa.float32())),
        "label": pa.array([[0], [1]], pa.large_list(pa.int64())),
        "rare": pa.array([[1.0], None], pa.large_list(pa.float32())),
        "color": pa.array([[b"red"], [b"blue"]], pa.large_list(pa.large_binary())),
    }
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose score is half of the size, with signatures of two kinds."""
    path = str(tmp_path_factory.mktemp("model"))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def of_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {"size": tf.io.FixedLenFeature([], tf.float32)}
        return {"score": tf.io.parse_example(examples, spec)["size"] / 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="size")])
    def of_columns(size: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": size / 2, "spare": size}

    module = tf.Module()
    signatures = {"serving_default": of_examples, "by_name": of_columns}
    tf.saved_model.save(module, path, signatures=signatures)
    return path


def scored(saved: str, **spec: str) -> Model:
    """Loads the model as an EvalConfig wants it."""
    return Model(saved, config_pb2.ModelSpec(**{"label_key": "label", **spec}))


@pytest.mark.parametrize(
    "spec", [{}, {"signature_name": "by_name", "prediction_key": "score"}], ids=str
)
def test_any_signature_gives_the_same_scores(saved: str, spec: dict[str, str]) -> None:
    """Rows reach a signature as tf.Examples or as columns by name."""
    answers = scored(saved, **spec)(BATCH, Examples(BATCH))

    assert answers.scored.predictions.tolist() == [0.5, 1.5]
    assert answers.scored.labels.tolist() == [0.0, 1.0]
    assert answers.scored.weights.tolist() == [1.0, 1.0]


def test_weights_are_a_column(saved: str) -> None:
    """A column that the EvalConfig names weighs the rows."""
    answers = scored(saved, example_weight_key="size")(BATCH, Examples(BATCH))

    assert answers.scored.weights.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("tip", "label_key 'tip' is neither .* there are color, label, rare, size"),
        ("rare", "label_key 'rare' has 1 values in 2 rows"),
        ("color", "label_key 'color' is no number"),
    ],
)
def test_a_label_that_is_no_number_per_row_is_named(
    saved: str, label: str, message: str
) -> None:
    """The error has the setting, the column and what is wrong with it."""
    with pytest.raises(EvaluationError, match=message):
        scored(saved, label_key=label)(BATCH, Examples(BATCH))


def test_a_signature_that_is_absent_is_named(saved: str) -> None:
    """The error has those that the model has."""
    with pytest.raises(EvaluationError, match="it has by_name, serving_default"):
        scored(saved, signature_name="other")


def test_a_model_is_asked_for_its_form(saved: str) -> None:
    """This one scores rows one by one, and takes no columns as a whole."""
    model = scored(saved)

    assert model.one_score
    assert not model.takes_columns
