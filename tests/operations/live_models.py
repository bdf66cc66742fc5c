"""A live model in a registry and a metadata store, with its data and evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.registry import changes
from pipeline.registry.versions import identity
from pipeline.store.artifact_files import PROFILE_FILE, ROWS_FILE, VERDICT_FILE
from pipeline.store.connection import open_store
from pipeline.trust import profile
from pipeline.trust.policy import Verdict
from tests.operations import request_logs
from tests.operations.request_logs import Trips
from tests.pipeline.registry.saved_models import named
from tests.pipeline.tfx_store import StockStore

BUCKETS = [(low / 10, low / 10 + 0.1, 100.0, 10 * low + 5.0) for low in range(10)]
"""A calibration plot of 1,000 rows whose scores are right."""

# As JSON: TFMA's protos import TensorFlow, which most of these tests don't need.
EVALUATION = {
    "model_specs": [
        {
            "signature_name": "serving_default",
            "prediction_key": "probability",
            "preprocessing_function_names": ["transform_features"],
            "label_key": "big_tipper",
            "example_weight_key": "label_weight",
        }
    ],
    "slicing_specs": [{}, {"feature_keys": ["payment_type"]}],
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": "AUC",
                    "per_slice_thresholds": [
                        {
                            "slicing_specs": [{}],
                            "threshold": {"value_threshold": {"lower_bound": 0.6}},
                        }
                    ],
                },
                {"class_name": "BinaryCrossEntropy"},
                {"class_name": "ExampleCount"},
                {"class_name": "CalibrationPlot"},
            ]
        }
    ],
}
"""The settings of an evaluation, with a threshold."""


@dataclass(frozen=True)
class Pushed:
    """A model that was pushed: its version and its artifact."""

    version: int
    artifact: int


def push(
    config: Config,
    trips: Trips,
    *,
    auc: float = 0.83,
    accuracy: float = 0.9,
    spans: Sequence[int] = (),
    run: str = "monday",
    window: Mapping[int, Trips] = MappingProxyType({}),
) -> Pushed:
    """Makes a model live that was trained on trips, and registers its whole run.

    Args:
        config: Names the output directory.
        trips: Its training data.
        auc: Its AUC on the test split; the interval is 0.02 around it.
        accuracy: Share of the 10,000 rows of the test split that it gets right.
        spans: The spans of its training data.
        run: Name of the run.
        window: Training data of earlier spans, each judged by itself.
    """
    root = config.output / "artifacts" / run
    store = StockStore(config.metadata_url, root, config.name)
    noted = [{"span": n, "version": None, "pattern": f"span-{n}/*"} for n in spans]
    examples = store.examples(
        span=max(spans, default=0),
        spans=json.dumps(noted),
    )
    store.ran(run, "ExampleGen", outputs={"examples": examples})
    earlier = []
    for span, rows in window.items():
        earlier.append(store.artifact("DataVerdict"))
        _write_profile(store, earlier[-1], rows, (span,))
    verdict = store.artifact("DataVerdict")
    store.ran(
        run,
        "DataGate",
        inputs={"examples": [examples]},
        outputs={"verdict": verdict},
        properties={"label_policy": "all-trips"},
    )
    _write_profile(store, verdict, trips, tuple(spans))
    model = store.artifact("Model")
    store.ran(
        run,
        "Trainer",
        inputs={"examples": [examples], "verdict": [*earlier, verdict]},
        outputs={"model": model},
    )
    evaluation = store.evaluation(
        buckets=BUCKETS,
        intervals={"auc": (auc - 0.02, auc + 0.02)},
        auc=auc,
        binary_accuracy=accuracy,
        example_count=10_000.0,
    )
    store.ran(
        run,
        "Evaluator",
        inputs={"examples": [examples], "model": [model]},
        outputs={"evaluation": evaluation},
        properties={"eval_config": json.dumps(EVALUATION)},
    )
    return Pushed(_pushed(config, store, model, run), model)


def _write_profile(
    store: StockStore, verdict: int, trips: Trips, spans: tuple[int, ...]
) -> None:
    batch = request_logs.batch_of(trips)
    nothing = np.zeros(batch.num_rows, np.int64)
    found = profile.of_batch(batch, nothing, nothing)
    columns, rows = profile.to_bytes({"train": found})
    place = store.path(verdict)
    (place / PROFILE_FILE).write_bytes(columns)
    (place / ROWS_FILE).write_bytes(rows)
    (place / VERDICT_FILE).write_text(Verdict(spans=spans).to_json())


def _pushed(config: Config, store: StockStore, model: int, run: str) -> int:
    (artifact,) = MetadataStore(open_store(config.metadata_url)).get_artifacts_by_id(
        [model]
    )
    origin = identity(model, artifact.uri, artifact.create_time_since_epoch)
    directory = named(store.path(model), "Format-Serving")
    (directory / "assets").mkdir(exist_ok=True)
    # Equal models would not be ones to roll back to.
    (directory / "assets" / "run").write_text(run)
    author = changes.Author(by="test", run=run)
    return changes.push(directory, config.serving_directory, origin, author)
