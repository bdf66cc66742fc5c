"""The index page: all runs of an output directory, and their metrics over time."""

import json
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.report import page
from pipeline.report.blocks import Lines, Section, Table

SUMMARY_FILE = "report.json"
INDEX_FILE = "index.html"
PLOTTED = {
    "auc": "AUC",
    "auc_precision_recall": "AUC-PR",
    "binary_accuracy": "accuracy",
    "binary_crossentropy": "log loss",
}


def write_index(config: Config) -> Path:
    """Writes the index from what each report left beside itself.

    Returns:
        Where it is: output/runs/index.html.
    """
    summaries = [
        json.loads(path.read_text())
        for path in sorted(config.runs_directory.glob(f"*/{SUMMARY_FILE}"))
    ]
    path = config.runs_directory / INDEX_FILE
    title = f"Runs of {config.name}"
    text = page.render(title, [_runs(summaries), *_metrics(summaries)], kind="index")
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)
    return path


def _runs(summaries: list[dict[str, Any]]) -> Section:
    metrics = [name for name in PLOTTED if any(name in s for s in summaries)]
    rows = [
        [
            page.Link(summary["run"], f"{summary['run']}/report.html"),
            summary["started"].replace("T", " ")[:16],
            summary["outcome"],
            summary["version"] or "",
            *(summary.get(name) for name in metrics),
        ]
        for summary in reversed(summaries)
    ]
    columns = ["run", "started (UTC)", "outcome", "version"]
    titles = [PLOTTED[name] for name in metrics]
    return Section("Runs", [Table([*columns, *titles], rows)])


def _metrics(summaries: list[dict[str, Any]]) -> list[Section]:
    evaluated = [summary for summary in summaries if "auc" in summary]
    if not evaluated:
        return []
    names = [summary["started"][:16].replace("T", " ") for summary in evaluated]
    charts = [
        Lines(
            title,
            "run",
            title,
            {"candidate": [(i, s[metric]) for i, s in enumerate(evaluated)]},
            x_labels=names,
        )
        for metric, title in PLOTTED.items()
        if all(metric in summary for summary in evaluated)
    ]
    return [Section("Metrics over runs", [page.Grid(charts)])]
