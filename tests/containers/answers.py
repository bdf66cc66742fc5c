"""What a pushed model answers on this machine, to compare containers with."""

from pathlib import Path

import tensorflow as tf

from benchmarks.serving import ROW

ROWS = [{**ROW, "payment_type": paid_by} for paid_by in ("Credit Card", "Cash")]
"""Two trips, of all raw values that the model takes."""


def answers_of(version: Path) -> list[float]:
    """Returns the answers to the two trips."""
    signature = tf.saved_model.load(str(version)).signatures["serving_raw"]
    types = signature.structured_input_signature[1]
    columns = {
        name: tf.constant([row[name] for row in ROWS], types[name].dtype)
        for name in ROWS[0]
    }
    answer = signature(**columns)["probability"]
    return [float(value) for value in tf.reshape(answer, [-1])]
