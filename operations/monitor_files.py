"""The files of a model's monitoring: each observation, the page, the gauges."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operations import gauges, monitoring_page
from operations.monitoring_page import Moment
from operations.observation import Observation
from pipeline.columnar import files

GAUGES = "throughline.prom"
"""The name ends as node_exporter's textfile collector wants it."""

_KEPT = 1000
_PLOTTED = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """Where an observation was written."""

    observation: Path
    gauges: Path


def write(directory: Path, found: Observation) -> Written:
    """Writes an observation, and the gauges that show it.

    The same window observed again replaces the observation; of a model the newest
    1,000 stay.

    Args:
        directory: Directory of the model's monitoring.
        found: The observation.
    """
    until = datetime.fromisoformat(found.until)
    path = directory / f"{until:%Y%m%d-%H%M%S}.json"
    files.write_text(path, found.to_json())
    for old in _paths(directory)[:-_KEPT]:
        old.unlink()
    files.write_text(directory / GAUGES, gauges.text_of(found))
    return Written(path, directory / GAUGES)


def write_page(
    page: Path, model: str, moments: Sequence[Moment], until: str = ""
) -> None:
    """Writes the page of the observations next to it; nothing if it would be the same.

    Args:
        page: The page, in the directory of the model's monitoring.
        model: Name of the model.
        moments: What has happened, oldest first.
        until: End of the newest window to show, ISO 8601; of all if empty.
    """
    shown = [e for e in read(page.parent) if not until or e.until <= until]
    text = monitoring_page.render(model, shown[-_PLOTTED:], moments)
    if not page.is_file() or page.read_text("utf-8") != text:
        files.write_text(page, text)


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*.json"))


def read(directory: Path) -> list[Observation]:
    """Reads the observations, oldest first; a damaged one is skipped with a warning."""
    found = []
    for path in _paths(directory):
        try:
            found.append(Observation.from_json(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _LOG.warning("%s can't be read: %s; it is skipped", path, error)
    return found
