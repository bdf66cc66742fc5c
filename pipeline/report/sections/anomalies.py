"""The anomalies in the data of a run without a gate, as a stock pipeline's."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Note, Section, Table
from pipeline.report.sections.trust import verdict_of

_COLUMNS = ["column", "splits", "anomaly", "what was found"]


def section(run: Run) -> Section | None:
    """Lists the anomalies by column, each with its splits.

    `None` where the gate has judged them: then they are among its findings.
    """
    if not run.has("ExampleAnomalies") or verdict_of(run):
        return None
    found = run.anomaly_table()
    if found.empty:
        note = Note("The data fits the reviewed schema in every split.", "good")
        return Section("Anomalies", [note])
    rows = [
        [column, ", ".join(group["split"]), anomaly, text]
        # Most anomalies are in all three splits, and one row each is enough.
        for (column, anomaly, text), group in found.groupby(
            ["column", "anomaly", "text"], sort=False
        )
    ]
    count = f"{len(rows)} {'anomaly' if len(rows) == 1 else 'anomalies'}."
    note = Note(f"{count} No gate has judged them.", "warn")
    return Section("Anomalies", [note, Table(_COLUMNS, rows)])
