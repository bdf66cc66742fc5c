"""The report of a run as one self-contained HTML file, and the index of all runs.

A runner calls `write_report` at the end of a run. It takes about half a second, and
never raises: a section that fails is replaced by its error message.
"""

import json
import logging
import math
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.artifacts import Run
from pipeline.columnar import files
from pipeline.config import Config
from pipeline.errors import ThroughlineError, UsageError
from pipeline.lineage.query import Lineage, open_lineage
from pipeline.report import page, sections
from pipeline.report.blocks import (
    SECTION_FILE,
    Note,
    Section,
    SectionError,
    read_section,
)
from pipeline.report.index import PLOTTED, SUMMARY_FILE, write_index
from pipeline.store import artifact_files
from pipeline.store.names import run_name
from pipeline.store.run_files import REPORT_FILE

_LOG = logging.getLogger(__name__)


def write_report(config: Config, run_id: str) -> Path:
    """Writes the report of a run and the index of all runs; never raises.

    Args:
        config: Names the output directory and the metadata store.
        run_id: Name of the run.

    Returns:
        Path of the report: output/runs/<run_id>/report.html.
    """
    try:
        return _write(config, run_id)
    except Exception:  # noqa: BLE001 - the run's result is valid without a report
        _LOG.exception("The report of run %s can't be written", run_id)
    return _path_of(config, run_id)


def _path_of(config: Config, run_id: str) -> Path:
    return config.runs_directory / run_id / REPORT_FILE


def _write(config: Config, run_id: str) -> Path:
    path = _path_of(config, run_name(run_id))
    run = Run(run_id, open_lineage(config))
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, page.render(_title(run), all_sections(run)))
    _replace(path.parent / SUMMARY_FILE, json.dumps(_summary(run), indent=1))
    write_index(config, partial(_summary_of, run.lineage))
    return path


def report_on(config: Config, run_id: str | None) -> Path:
    """Writes the report of a run that the user requested.

    Args:
        config: Names the output directory and the metadata store.
        run_id: Name of the run; the newest one if not given.

    Returns:
        Path of the report.

    Raises:
        UsageError: There is no such run, or no run; the message lists the newest ones.
            Or the run's name is not valid as the name of a directory.
        OSError: The report can't be written; an older one is left unchanged.
    """
    names = open_lineage(config).graph.runs()
    if not names or (run_id and run_id not in names):
        known = ", ".join(names[-5:]) or "none; `python run_local.py` starts one"
        raise UsageError(f"There is no run {run_id or 'yet'}; the newest are {known}")
    # Unlike at the end of a run, the user asked for the report: errors are raised.
    return _write(config, run_id or names[-1])


def all_sections(run: Run) -> list[Section]:
    """Returns all sections of a run's report, including those in its artifacts."""
    own = [_guarded(make, run) for make in sections.ALL]
    found = [section for section in own if section]
    for section in sections_in_artifacts(run):
        titles = [s.title for s in found]
        # -2: before the lineage and the settings, which are for reference.
        place = titles.index(section.after) + 1 if section.after in titles else -2
        found.insert(place, section)
    return found


def sections_in_artifacts(run: Run) -> list[Section]:
    """Reads the sections that components left in their artifacts, oldest first."""
    found: list[Section] = []
    for artifact in run.outputs():
        directory = artifact_files.location(artifact.uri)
        section = files.join(directory, SECTION_FILE) if directory else ""
        if section and files.exists(section):
            try:
                found.append(read_section(section))
            except SectionError as error:
                found.append(Section(artifact.type, [Note(str(error), "bad")]))
    return found


def _guarded(make: Callable[[Run], Section | None], run: Run) -> Section | None:
    try:
        return make(run)
    except Exception as error:  # noqa: BLE001 - one section must not cost the others
        _LOG.warning("A section of the report failed:\n%s", traceback.format_exc())
        title = make.__module__.rpartition(".")[2].capitalize()
        text = f"This section can't be shown: {type(error).__name__}: {error}"
        return Section(title, [Note(text, "bad")])


def _title(run: Run) -> str:
    """Returns the title: the pipeline, what the model predicts, and the run."""
    about = ": ".join(filter(None, [run.pipeline, run.task()]))
    return f"{about} · {run.run_id}" if about else run.run_id


def index_runs(config: Config) -> None:
    """Rewrites the index of all runs, such as after `gc` has deleted some."""
    write_index(config, partial(_summary_of, open_lineage(config)))


def _summary_of(lineage: Lineage, run_id: str) -> dict[str, Any] | None:
    """Summarizes a run whose own summary is damaged; `None` if the store lacks it."""
    if run_id not in lineage.graph.runs():
        return None
    try:
        return _summary(Run(run_id, lineage))
    except (ThroughlineError, ValueError, OSError):
        _LOG.warning("Run %s can't be summed up:\n%s", run_id, traceback.format_exc())
        return None


def _summary(run: Run) -> dict[str, Any]:
    """Returns what the index shows of a run, as JSON values."""
    # From the store, because only local runs have a record.
    started = min((step.started for step in run.executions), default=0.0)
    return {
        "run": run.run_id,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "outcome": run.ending(),
        # A metric without a value is null, so that the index shows it as such.
        **(dict.fromkeys(PLOTTED) if run.has("ModelEvaluation") else {}),
        **{name: None if _is_nan(v) else v for name, v in run.outcome().items()},
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _replace(path: Path, text: str) -> None:
    # A browser that reloads the page during a run must not see half of it.
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)


__all__: Sequence[str] = ("REPORT_FILE", "all_sections", "report_on", "write_report")
