"""What two runs of the pipeline must have in common, whatever ran them."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.store.graph import Graph
from tests.e2e.runs import Finished, weights_of

SMOKE = (
    *("--train-steps", "20", "--min-auc", "0.01"),
    # Of a model that has learned nothing, groups may differ as they like.
    *("--quality.max-error-rate-gap", "1"),
    *("--serving-check.max-latency-ms", "60000"),
)


def run_in_store(exit_code: int, text: str, output: Path) -> Finished:
    """Finds the only run in an output directory's metadata store."""
    done = Finished(exit_code, text, output, Path(), ())
    names = Graph(done.store).runs()
    assert len(names) == 1, text
    versions = sorted((output / "serving" / "taxi").glob("[0-9]*"))
    return Finished(exit_code, text, output, Path(names[0]), tuple(versions))


def traces(run: Finished) -> dict[str, Any]:
    """What a run left in its metadata store, but for names, places and times."""
    artifacts = Graph(run.store).outputs_of_run(run.run.name)
    return {
        "states": run.states(),
        "artifacts": {
            node: {key: [a.type for a in found] for key, found in outputs.items()}
            for node, outputs in artifacts.items()
        },
    }


def same_weights(run: Finished, other: Finished) -> bool:
    """Whether the only model that each of two runs pushed is the same, bit by bit."""
    (version,), (expected,) = run.versions, other.versions
    ours, theirs = weights_of(version), weights_of(expected)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(weights, theirs[name]) for name, weights in ours.items()
    )
