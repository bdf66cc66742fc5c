"""What a process that runs a node logs, and how much; to standard error, always."""

import logging
from typing import Literal

from pipeline.store.url import RedactingFormatter

LogLevel = Literal["debug", "info", "warning", "error"]
# Executors report progress to this logger, and the console shows it.
PROGRESS_LOGGER = "throughline.progress"
_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def start_log(level: LogLevel = "info") -> None:
    """Sends log messages to standard error, whatever a library has set up.

    Args:
        level: The least severe messages that are kept. Progress is kept at any level,
            since the console shows it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(PROGRESS_LOGGER).setLevel(logging.INFO)
