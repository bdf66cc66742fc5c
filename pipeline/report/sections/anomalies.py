"""The anomalies in the data, and the gate's findings."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Note, Section, Table
from pipeline.store.artifact_files import location, read_findings

_COLUMNS = ["column", "splits", "anomaly", "what was found"]


def section(run: Run) -> Section | None:
    """Lists the anomalies by column, each with its splits."""
    if not run.has("ExampleAnomalies"):
        return None
    found = run.anomaly_table()
    if found.empty:
        note = Note("The data fits the reviewed schema in every split.", "good")
        return Section("Anomalies", [note, *_tolerated(run)])
    rows = [
        [column, ", ".join(group["split"]), anomaly, text]
        # Most anomalies are in all three splits, and one row each is enough.
        for (column, anomaly, text), group in found.groupby(
            ["column", "anomaly", "text"], sort=False
        )
    ]
    count = f"{len(rows)} {'anomaly' if len(rows) == 1 else 'anomalies'}."
    note = Note(f"{count} None of them stopped the run.", "warn")
    # The gate's own verdict doesn't exist in this case: a failed node has no output.
    if run.ending() == "data refused":
        note = Note(f"{count} The gate stopped the run.", "bad")
    return Section("Anomalies", [note, Table(_COLUMNS, rows), *_tolerated(run)])


def _tolerated(run: Run) -> list[Table]:
    """Returns a table of the findings that the gate tolerated, if there are any."""
    if not run.has("DataVerdict"):
        return []
    path = location(run.artifact("DataVerdict").uri)
    findings = read_findings(path) if path else None
    rows = [
        [f["column"] or "all", f["split"] or "all", f["anomaly"], f["text"]]
        for f in findings or ()
    ]
    if not rows:
        return []
    return [
        Table(
            _COLUMNS,
            rows,
            caption="Findings of the data gate that didn't stop the run.",
        )
    ]
