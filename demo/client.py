"""The clients: they ask the server about trips, one after the other, and count."""

import http.client
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from demo.day import Trip, body
from pipeline.ingestion.columns import Kinds

_SECONDS = 30.0


@dataclass
class Client:
    """Asks about trips, over one connection that stays open.

    Attributes:
        port: The server's port on loopback.
        model: Name of the model.
        kinds: Types of the columns.
        sent: Requests that were sent.
        answered: Those that got a prediction, by version.
        failures: What the others got.
    """

    port: int
    model: str
    kinds: Kinds
    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _connection: http.client.HTTPConnection | None = None

    def ask(self, trip: Trip) -> None:
        """Asks about a trip."""
        self.sent += 1
        headers = {"x-request-id": trip.request_id}
        path = f"/v1/models/{self.model}:predict"
        try:
            connection = self._connected()
            connection.request("POST", path, body(trip, self.kinds), headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self.failures[type(error).__name__] += 1
            return
        if reply.status == http.HTTPStatus.OK:
            self.answered[reply.headers["x-model-version"]] += 1
        else:
            self.failures[f"{reply.status}: {json.loads(text)['error']}"] += 1

    def status(self) -> dict[str, Any]:
        """Returns what the server's page shows."""
        connection = self._connected()
        connection.request("GET", "/status")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=_SECONDS
            )
        return self._connection
