"""The files of a model's monitoring: each observation, the page, the gauges."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operations import gauges, monitoring_page
from operations.observation import Observation
from pipeline.columnar import files

PAGE = "index.html"
GAUGES = "throughline.prom"
"""The name ends as node_exporter's textfile collector wants it."""

_KEPT = 1000
_PLOTTED = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """Where an observation was written."""

    observation: Path
    page: Path
    gauges: Path


def write(directory: Path, found: Observation) -> Written:
    """Writes an observation, and the page and the gauges that show it.

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
    shown = [each for each in read(directory)[-_PLOTTED:] if each.until <= found.until]
    files.write_text(directory / PAGE, monitoring_page.render(shown))
    return Written(path, directory / PAGE, directory / GAUGES)


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
