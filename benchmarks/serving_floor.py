"""Calls a model through its signature for raw values, in process, and measures it.

    python -m benchmarks.serving_floor VERSION <ROW

Prints percentiles of one row's call in milliseconds, from the Python values to the
number, as a JSON object: what a server's latency is to be compared with.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

_CALLS = 2_000
_WARM_UP_CALLS = 200


def main(path: str) -> None:
    """Loads the version, calls it, and prints what it took."""
    model = tf.saved_model.load(path)
    answer = model.signatures["serving_raw"]
    row = json.load(sys.stdin)
    specs = answer.structured_input_signature[1]

    def call() -> float:
        columns = {n: tf.constant([row[n]], s.dtype) for n, s in specs.items()}
        return float(answer(**columns)["probability"].numpy()[0])

    seconds = []
    for _ in range(_WARM_UP_CALLS + _CALLS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    waits = np.percentile(np.array(seconds[_WARM_UP_CALLS:]) * 1e3, (50, 95, 99))
    names = ("p50", "p95", "p99")
    print(json.dumps({n: round(w, 3) for n, w in zip(names, waits, strict=True)}))


if __name__ == "__main__":
    main(sys.argv[1])
