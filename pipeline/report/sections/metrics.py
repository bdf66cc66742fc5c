"""The candidate on the test split, beside the baseline it had to beat."""

from pipeline.artifacts import Run
from pipeline.quality.results import BASELINE, CANDIDATE
from pipeline.report.blocks import Cell, Section, Table

# What each is called; those that are not named keep their own name.
_TITLES = {
    "auc": "AUC",
    "auc_precision_recall": "AUC-PR",
    "binary_accuracy": "accuracy",
    "binary_crossentropy": "log loss",
    "calibration": "calibration (predicted / actual)",
    "mean_label": "mean label",
    "mean_prediction": "mean prediction",
    "example_count": "rows",
    "weighted_example_count": "rows, by weight",
}


def section(run: Run) -> Section | None:
    """Tabulates the overall metrics of candidate and baseline."""
    if not run.has("ModelEvaluation"):
        return None
    values = run.metrics()
    known = [name for name in _TITLES if name in values.index]
    names = [*known, *(name for name in values.index if name not in known)]
    columns = ["metric", *values.columns]
    compared = BASELINE in values.columns
    rows: list[list[Cell]] = []
    for name in names:
        row = values.loc[name]
        cells: list[Cell] = [_TITLES.get(name, name), *map(float, row)]
        if compared:
            cells.append(round(float(row[CANDIDATE] - row[BASELINE]), 6))
        rows.append(cells)
    table = Table([*columns, *(["difference"] if compared else [])], rows)
    return Section("Metrics", [table])
