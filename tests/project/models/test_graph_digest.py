"""The digest by which two exports of the same graph are equal."""

from pathlib import Path

import tensorflow as tf

from models.graph_digest import graph_digest


class _Scaled(tf.Module):
    """Multiplies, by a function within a function."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner = tf.function(lambda x: x * factor, autograph=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def answer(self, x: tf.Tensor) -> tf.Tensor:
        """Answers rows."""
        # More nodes in a row than Python's stack has room for.
        for _ in range(1200):
            x = x + 1.0
        return self.inner(x)


def _saved(directory: Path, factor: float) -> bytes:
    tf.saved_model.save(_Scaled(factor), str(directory))
    return (directory / "saved_model.pb").read_bytes()


def test_a_graph_that_is_traced_again_has_the_same_digest(tmp_path: Path) -> None:
    """Its bytes differ by numbers; a graph with another constant is another one."""
    one, again = (_saved(tmp_path / name, 2.0) for name in ("one", "again"))
    other = _saved(tmp_path / "other", 3.0)

    digests = [graph_digest(saved) for saved in (one, again, other)]

    assert one != again
    assert digests[0] == digests[1] != digests[2]
