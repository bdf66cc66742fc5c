"""The server's web page: live version, traffic and latency. It loads nothing else."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from pipeline.project.settings_file import PROJECT
from pipeline.store import clock
from serving.activity import Activity
from serving.journal import Counts
from serving.live import Live
from serving.shadow import Shadow

_HERE = Path(__file__).parent
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

# Nothing from elsewhere, also if a text of the server's were HTML by mistake.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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


def status(
    live: Live, shadow: Shadow | None, activity: Activity, logged: Counts | None
) -> dict[str, Any]:
    """Returns what the page shows, as JSON values.

    Args:
        live: The version that answers.
        shadow: The version that answers along with it; `None` if none can.
        activity: The last minutes.
        logged: Rows of the request log; `None` if there is none.
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
