"""What tests of the report look at: a run's artifacts, and the text of a page."""

import html
import re
from pathlib import Path

from pipeline.artifacts import Run
from pipeline.config import Config
from pipeline.lineage.query import open_lineage


def opened(config: Config, run: str = "monday") -> Run:
    """Opens a run of a store, as the report does."""
    return Run(run, open_lineage(config))


def text_of(page: Path) -> str:
    """Returns the text of a page, without scripts, styles and tags."""
    markup = re.sub(r"<(script|style)>.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", markup)))
