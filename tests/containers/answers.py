"""What a pushed model answers on this machine, to compare containers with."""

from pathlib import Path

import tensorflow as tf

ROWS = [
    {
        "payment_type": payment_type,
        "company": "",
        "fare": 9.5,
        "trip_miles": 2.4,
        "trip_seconds": 780,
        "trip_start_month": 5,
        "trip_start_day": 6,
        "trip_start_hour": 19,
        "pickup_community_area": 8,
        "dropoff_community_area": 32,
        "pickup_latitude": 41.9,
        "pickup_longitude": -87.63,
        "dropoff_latitude": 41.88,
        "dropoff_longitude": -87.62,
    }
    for payment_type in ("Credit Card", "Cash")
]
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
