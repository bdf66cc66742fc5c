"""Which classes are taken for which, on the test split."""

import json

from models.names import MODEL_FILE
from pipeline.artifacts import Run
from pipeline.columnar import files
from pipeline.quality.results import CANDIDATE, read_class_matrix
from pipeline.report.blocks import Cell, Section, Table
from pipeline.store.artifact_files import location

_MOST = 30


def section(run: Run) -> Section | None:
    """Tabulates the candidate's confusion matrix, with the recall of each class."""
    if not run.has("ModelEvaluation"):
        return None
    path = location(run.artifact("ModelEvaluation").uri)
    matrix = read_class_matrix(path).get(CANDIDATE) if path else None
    if not matrix:
        return None
    names = _names(run)
    present = sorted({number for pair in matrix for number in pair})
    title = {n: names[n] if n < len(names) else str(n) for n in present}
    shown = present[:_MOST]
    rows: list[list[Cell]] = []
    for actual in shown:
        found = [matrix.get((actual, predicted), 0.0) for predicted in present]
        total, right = sum(found), matrix.get((actual, actual), 0.0)
        recall: Cell = round(right / total, 4) if total else None
        rows.append([title[actual], *found[: len(shown)], recall])
    caption = "Rows of the test split, by weight: a line for each actual class."
    if len(present) > len(shown):
        caption += f" The first {len(shown)} of {len(present)} classes."
    columns = ["actual", *(f"as {title[n]}" for n in shown), "recall"]
    return Section("Classes", [Table(columns, rows, caption=caption)])


def _names(run: Run) -> list[str]:
    """Returns the classes as the model's extras name them."""
    place = location(run.artifact("Model").uri) if run.has("Model") else None
    if not place:
        return []
    file = files.join(place, "Format-Serving", "assets.extra", MODEL_FILE)
    noted = json.loads(files.read_text(file)) if files.exists(file) else {}
    return [str(each) for each in noted.get("classes", ())]
