"""The server's web page: live version, traffic and latency, and what is monitored.

It loads nothing from elsewhere. What is monitored (drift, labels, quality, decisions)
is a page that `throughline operate` and `monitor` write; the server hands it on.
"""

import asyncio
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from pipeline.project.settings_file import PROJECT
from pipeline.store import clock
from serving.activity import Activity
from serving.journal import Counts
from serving.live import Live
from serving.rejections import Code, RejectedError
from serving.shadow import Shadow

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_LOOK_SECONDS = 2.0
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES: Mapping[str, Path] = {
    "/": _HERE / "page.html",
    "/page.js": _HERE / "page.js",
    # One style for all pages of the project.
    "/page.css": PROJECT / "pipeline" / "report" / "report.css",
}
"""The files of the page, by path."""
STATUS = "/status"
"""The path of what the page shows, as JSON."""
MONITORING = "/monitoring"
"""The path of what is monitored."""

# Nothing from elsewhere, also if a text of the server's were HTML by mistake.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def file(path: str) -> web.Response:
    """Returns a file of the page.

    Args:
        path: One of `FILES`.
    """
    found = FILES[path]
    return web.Response(
        body=_read(found),
        headers={
            "Content-Type": f"{_TYPES[found.suffix]}; charset=utf-8",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        },
    )


@functools.cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


class Monitoring:
    """The page of what is monitored, as it was found last.

    It is read apart from requests: a file system that is gone may not answer at all.

    Attributes:
        changed: When the file was changed, in seconds since 1970; 0 without one.
    """

    def __init__(self, path: Path) -> None:
        """Reads nothing yet; see `follow`.

        Args:
            path: The file.
        """
        self.changed = 0.0
        self._path = path
        self._body = b""

    async def follow(self) -> None:
        """Reads the file when it has changed, until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._read)
            except OSError as error:
                _LOG.debug("%s can't be read: %s", self._path, error)
            await asyncio.sleep(_LOOK_SECONDS)

    def _read(self) -> None:
        changed = self._path.stat().st_mtime if self._path.exists() else 0.0
        if changed != self.changed:
            self._body = self._path.read_bytes() if changed else b""
            self.changed = changed

    def response(self) -> web.Response:
        """Returns the page; 404 as long as nobody has written it."""
        if not self._body:
            text = "nothing is monitored; `throughline operate` or `monitor` does that"
            raise RejectedError(Code.NOT_FOUND, text)
        return web.Response(
            body=self._body,
            headers={
                "Content-Type": "text/html; charset=utf-8",
                # The page brings a policy for what it loads, which is nothing.
                "Content-Security-Policy": "frame-ancestors 'self'",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-cache",
            },
        )


def status(
    live: Live,
    shadow: Shadow | None,
    activity: Activity,
    logged: Counts | None,
    monitored: Monitoring,
) -> dict[str, Any]:
    """Returns what the page shows, as JSON values.

    Args:
        live: The version that answers.
        shadow: The version that answers along with it; `None` if none can.
        activity: The last minutes.
        logged: Rows of the request log; `None` if there is none.
        monitored: The page of what is monitored.
    """
    version = live.version
    info: Mapping[str, Any] = version.info if version is not None else {}
    simulated = f"{clock.now():%Y-%m-%d %H:%M} UTC" if clock.is_simulated() else None
    return {
        "model": live.model,
        "simulated": simulated,
        "ready": live.is_ready,
        "version": version.number if version is not None else None,
        "since": live.since,
        "seconds": info.get("seconds"),
        "threshold": info.get("threshold"),
        "storage": live.is_reachable,
        "waiting": version.batcher.waiting if version is not None else 0,
        "log": vars(logged) if logged else None,
        "shadow": _shadow(shadow) if shadow else None,
        "versions": [
            {"version": str(number), "state": state, "problem": problem}
            for number, (state, problem) in live.states().items()
        ],
        "whole": activity.whole(),
        "points": activity.points(),
        "monitored": monitored.changed,
    }


def _shadow(shadow: Shadow) -> dict[str, Any] | None:
    if (order := shadow.order) is None:
        return None
    return {
        "version": order.shadow,
        "share": order.share,
        "until": order.until.timestamp(),
        "requests": dict(shadow.outcomes),
    }
