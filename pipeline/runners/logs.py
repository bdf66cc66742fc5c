"""Logging of the processes that run nodes: to standard error, without passwords."""

import logging
from typing import Literal

from pipeline.store.url import RedactingFormatter

LogLevel = Literal["debug", "info", "warning", "error"]
_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def start_log(level: LogLevel = "info") -> None:
    """Sends log messages to standard error, replacing any handlers of libraries.

    Args:
        level: Lowest level of messages to keep.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # TFX logs to absl's logger, whose level is WARNING once absl's flags are parsed.
    logging.getLogger("absl").setLevel(level.upper())
