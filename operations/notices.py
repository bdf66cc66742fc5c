"""Sends notifications of events: runs a command, posts to a webhook."""

import http.client
import json
import logging
import shlex
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LOG = logging.getLogger(__name__)
_SECONDS = 30
_AGAIN = "; the next tick sends the event again"

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Notices:
    """The receivers of notifications.

    Attributes:
        command: Gets an event as JSON on standard input; empty for none.
        webhook: An event is posted to this URL as JSON; empty for none.
    """

    command: str = ""
    webhook: str = ""

    def tell(self, event: Event) -> str:
        """Sends an event; failures are returned as text, never raised.

        Args:
            event: JSON values; `text` is what a person reads.

        Returns:
            What went wrong, as sentences; empty if nothing.
        """
        text = json.dumps(event)
        problems = [
            problem
            for tell, where in ((_run, self.command), (_post, self.webhook))
            if where and (problem := tell(where, text))
        ]
        for problem in problems:
            _LOG.warning("%s", problem)
        return "; ".join(problems)


def _run(command: str, text: str) -> str:
    try:
        subprocess.run(
            shlex.split(command),
            input=text,
            text=True,
            timeout=_SECONDS,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()[-1:]
        why = f": {said[0]}" if said else ""
        return f"notify-command ended with {error.returncode}{why}{_AGAIN}"
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"notify-command failed: {error}{_AGAIN}"
    return ""


def _post(url: str, text: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - the settings accept http(s) only
        url, text.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310 - as above
            return ""
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The host only: the rest of a webhook's URL is often a secret.
        host = urllib.parse.urlsplit(url).hostname
        return f"notify-webhook to {host} failed: {_reason(error)}{_AGAIN}"


def _reason(error: Exception) -> str:
    """Returns what an HTTP error or the error below urllib's says."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code} {error.reason}"
    below = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(below, OSError) and below.strerror:
        return below.strerror.lower()
    return str(below) or type(below).__name__
