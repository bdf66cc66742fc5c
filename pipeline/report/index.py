"""The index page: all runs of an output directory, and their metrics over time."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.quality.titles import TITLES
from pipeline.report import page
from pipeline.report.blocks import Lines, Section, Table

SUMMARY_FILE = "report.json"
INDEX_FILE = "index.html"
PLOTTED = {
    name: TITLES[name]
    for name in (
        "auc",
        "auc_precision_recall",
        "binary_accuracy",
        "binary_crossentropy",
        "accuracy",
        "log_loss",
        "r2",
        "rmse",
        "mean_absolute_error",
    )
}

Summary = Mapping[str, Any]
_LOG = logging.getLogger(__name__)


def write_index(config: Config, summarize: Callable[[str], Summary | None]) -> Path:
    """Writes the index from the summaries that are stored next to the reports.

    Args:
        config: Names the output directory.
        summarize: Recreates the summary of a run from its name if the stored one is
            damaged; returns `None` for a run that the metadata store doesn't have.

    Returns:
        Path of the index: output/runs/index.html.
    """
    found = [
        _read(path, summarize)
        # From files, not from the store: reading the metrics of a year of runs takes
        # too long for the end of each run.
        for path in sorted(config.runs_directory.glob(f"*/{SUMMARY_FILE}"))
    ]
    summaries = [summary for summary in found if summary]
    path = config.runs_directory / INDEX_FILE
    title = f"Runs of {config.name}"
    text = page.render(title, [_runs(summaries), *_metrics(summaries)], kind="index")
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)
    return path


def _read(path: Path, summarize: Callable[[str], Summary | None]) -> Summary | None:
    """Reads a run's summary, or recreates a damaged one; never raises for one run."""
    run = path.parent.name
    try:
        return _checked(json.loads(path.read_text("utf-8")), run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{path} is damaged ({type(error).__name__}: {error})"
    again = summarize(run)
    if again is None:
        _LOG.warning("%s; the index leaves run %s out", reason, run)
        return None
    _LOG.warning("%s; the metadata store still has run %s", reason, run)
    return _checked(again, run)


def _checked(values: Summary, run: str) -> Summary:
    """Returns the values that the index shows, converted to the types it expects."""
    metrics = {name: values[name] for name in PLOTTED if name in values}
    return {
        # The name of the directory, because links use it.
        "run": run,
        "started": values["started"].replace("T", " ")[:16],
        "outcome": str(values["outcome"]),
        "version": str(values.get("version") or ""),
        # JSON has no NaN, so an undefined metric is stored as null.
        **{n: math.nan if v is None else float(v) for n, v in metrics.items()},
    }


def _runs(summaries: list[Summary]) -> Section:
    metrics = [name for name in PLOTTED if any(name in s for s in summaries)]
    rows = [
        [
            page.Link(summary["run"], f"{summary['run']}/report.html"),
            summary["started"],
            summary["outcome"],
            summary["version"],
            *(summary.get(name) for name in metrics),
        ]
        for summary in reversed(summaries)
    ]
    columns = ["run", "started (UTC)", "outcome", "version"]
    titles = [PLOTTED[name] for name in metrics]
    return Section("Runs", [Table([*columns, *titles], rows)])


def _metrics(summaries: list[Summary]) -> list[Section]:
    evaluated = [summary for summary in summaries if PLOTTED.keys() & summary.keys()]
    if not evaluated:
        return []
    names = [summary["started"] for summary in evaluated]
    charts = [
        Lines(
            title,
            "run",
            title,
            {
                "candidate": [
                    (i, s[metric])
                    # Equal distances between runs: on a time axis a day of tests hides
                    # the rest.
                    for i, s in enumerate(evaluated)
                    if math.isfinite(s[metric])
                ]
            },
            x_labels=names,
        )
        for metric, title in PLOTTED.items()
        if all(metric in summary for summary in evaluated)
    ]
    return [Section("Metrics over runs", [page.Grid(charts)])]
