"""Which version is to answer along with the live one, for comparison: `shadow.json`.

The file is next to the versions. `throughline operate` writes it while it watches a
pushed version, and servers follow it as they follow the versions. It ends by itself:
by its time, and as soon as another version is live.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.errors import ThroughlineError
from pipeline.store import durable

FILE = "shadow.json"


@dataclass(frozen=True)
class Order:
    """What servers are asked to do.

    Attributes:
        live: The live version that is compared; with another one live, nothing is done.
        shadow: The version that answers the same requests.
        until: When it ends.
        share: Share of the requests, above 0 and at most 1, decided by request id.
    """

    live: int
    shadow: int
    until: datetime
    share: float

    def to_json(self) -> str:
        """Writes it as JSON."""
        values = {**vars(self), "until": self.until.isoformat(timespec="seconds")}
        return json.dumps(values, indent=1) + "\n"


def read(base: Path) -> Order | None:
    """Reads the order of a model; `None` if there is none.

    Args:
        base: The model's serving directory.

    Raises:
        ThroughlineError: The file holds something else.
    """
    path = base / FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        values = json.loads(text)
        return Order(
            int(values["live"]),
            int(values["shadow"]),
            _aware(values["until"]),
            float(values["share"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ThroughlineError(
            f"{path} is no order for shadow answers: {type(error).__name__} {error}; "
            "delete it, `throughline operate` writes it again"
        ) from None


def _aware(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"until is {text!r}, which has no time zone")
    return found


def follow(base: Path, order: Order | None) -> None:
    """Makes the file say what is wanted; writes only if it says something else.

    Args:
        base: The model's serving directory.
        order: What is wanted; `None` deletes the file.
    """
    path = base / FILE
    if order is None:
        path.unlink(missing_ok=True)
        return
    text = order.to_json()
    if not path.is_file() or path.read_bytes() != text.encode():
        # Readable by others: a model server may run as another user.
        part = path.with_name(f".{FILE}.part")
        durable.stage(part, text, mode=0o644).replace(path)
