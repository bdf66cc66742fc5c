"""The section with the confusion matrix."""

import json

from pipeline.config import Config
from pipeline.quality.results import tfma_proto
from pipeline.report.blocks import Table
from pipeline.report.sections.classes import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore, write_records


def test_classes_are_tabulated_by_name(config: Config, store: StockStore) -> None:
    """A line for each actual class, with what it was taken for and its recall."""
    evaluation, model = store.evaluation(accuracy=0.8), store.artifact("Model")
    plots = tfma_proto("metrics_for_slice_pb2").PlotsForSlice()
    value = plots.plot_keys_and_values.add().value
    matrix = value.multi_class_confusion_matrix_at_thresholds.matrices.add()
    for actual, predicted, rows in ((0, 0, 3.0), (0, 1, 1.0), (1, 1, 4.0)):
        matrix.entries.add(
            actual_class_id=actual,
            predicted_class_id=predicted,
            num_weighted_examples=rows,
        )
    write_records(
        store.path(evaluation) / "plots-00000-of-00001.tfrecord",
        [plots.SerializeToString()],
    )
    extras = store.path(model) / "Format-Serving/assets.extra"
    extras.mkdir(parents=True)
    (extras / "model.json").write_text(json.dumps({"classes": ["dry", "rain"]}))
    store.ran("monday", "Trainer", outputs={"model": model})
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    shown = section(opened(config))

    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    assert list(table.columns) == ["actual", "as dry", "as rain", "recall"]
    assert [list(row) for row in table.rows] == [
        ["dry", 3.0, 1.0, 0.75],
        ["rain", 0.0, 4.0, 1.0],
    ]


def test_another_task_has_no_such_section(config: Config, store: StockStore) -> None:
    """An evaluation without a confusion matrix of classes shows nothing."""
    evaluation = store.evaluation(auc=0.9)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    assert section(opened(config)) is None
