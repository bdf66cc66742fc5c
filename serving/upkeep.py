"""A process that turns the request log's journals into Parquet, and deletes old files.

It is separate, so that no request waits for a compression. It goes on for a last turn
when the server has ended, also after a kill: what the server has written to its journal
is in a segment a moment later.
"""

import logging
import os
import select
import socket
import time
from pathlib import Path
from typing import Any

from pipeline.errors import cause_of
from pipeline.store import clock
from serving import request_log

_LOG = logging.getLogger(__name__)

TASK = "request log"
"""Name of the nursery's task."""

_LOWER_PRIORITY = 10
_POLL_SECONDS = 1.0
_SECONDS_BETWEEN_REMOVALS = 60.0
_SECONDS_BETWEEN_REPORTS = 30.0


def run(arguments: dict[str, Any], connection: socket.socket) -> None:
    """Works until the server is gone.

    Args:
        arguments: "directories" of the logs, "days" and "megabytes" to keep of each or
            `None`.
        connection: Is at its end when the server is gone or stopping.
    """
    os.nice(_LOWER_PRIORITY)
    directories = [Path(each) for each in arguments["directories"]]
    removed = float("-inf")
    reported = float("-inf")
    is_last = False
    while not is_last:
        is_last = bool(select.select([connection], [], [], _POLL_SECONDS)[0])
        try:
            is_due = time.monotonic() - removed > _SECONDS_BETWEEN_REMOVALS
            removed = time.monotonic() if is_due else removed
            for directory in directories:
                request_log.close_journals(directory)
                if is_due:
                    request_log.remove_old(
                        directory,
                        clock.now(),
                        arguments["days"],
                        arguments["megabytes"],
                    )
        # A full disk is no reason to end: the journals stay until there is room.
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                _LOG.error(
                    "journals of the request log in %s can't become Parquet files: "
                    "%s; it is tried again",
                    *(directories[0], cause_of(error)),
                )
