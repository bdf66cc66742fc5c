"""The plan of the day: which trips are asked for when, and what goes wrong.

History is the sample from 2014 to June 2015; live traffic are the trips after it, each
once, in a random order that is the same each time. So an hour of the day has trips of
all hours, and differs from another hour only by chance or by what is planned here:

* from 14:00 to 16:00 the app sends kilometres where it should send miles;
* from 17:00 on, because of a fair, more and more trips begin downtown, from 19:00 to
  21:00 all of them;
* at 22:00 a supplier delivers trips whose tips belong to other trips.

Outcomes of two hours come two hours after them.
"""

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from data import quarters, taxi
from models import declared
from models.features import PICKUP_COMMUNITY_AREA, TIPS, TRIP_MILES
from pipeline.ingestion.columns import Kinds

Row = Mapping[str, str]

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
HOURS = range(12, 24)
KILOMETRES = range(14, 16)
FAIR: Mapping[int, float] = {17: 0.62, 18: 0.72, 19: 1.0, 20: 1.0}
"""Share of an hour's trips that begin downtown; it is 0.59 in the sample."""
DOWNTOWN = frozenset({"8", "32", "33"})
"""Community areas: the Near North Side, the Loop and the Near South Side."""
POISON_HOUR = 22
POISON_ROWS = 600
LATE = timedelta(hours=2)
"""How long after a trip its outcome is known."""
BATCH_HOURS = 2
"""Hours of trips whose outcomes come together."""
ROWS_PER_HOUR = 222

_HISTORY = slice(4, 10)
_LIVE = slice(10, 16)
_KILOMETRES_PER_MILE = 1.609344
_SEED = 2
# The app sends nineteen of twenty trips.
_DESK_EVERY = 20


def at(hour: float) -> datetime:
    """Returns the time of an hour of the day."""
    return MIDNIGHT + timedelta(hours=hour)


@dataclass(frozen=True)
class Trip:
    """A trip that a client asks about.

    Attributes:
        number: Its place in the day, from 0.
        at: When it is asked about.
        row: The trip as the sample has it.
        client: Who asks: the app or the phone desk.
    """

    number: int
    at: datetime
    row: Row
    client: str

    @property
    def request_id(self) -> str:
        """The id of its request."""
        return f"demo-{self.number:05d}"

    @property
    def is_in_kilometres(self) -> bool:
        """Whether its client has sent kilometres."""
        return self.client == "app" and self.at.hour in KILOMETRES

    def features(self, kinds: Kinds) -> dict[str, float | int | str | None]:
        """Returns what the client sends: all that the model reads, as it has it.

        Args:
            kinds: Types of the columns.
        """
        sent = {n: _value(self.row[n], kinds[n]) for n in declared.RAW_COLUMNS}
        if self.is_in_kilometres:
            miles = float(self.row[TRIP_MILES] or 0)
            sent[TRIP_MILES] = miles * _KILOMETRES_PER_MILE
        return sent

    def outcome(self) -> dict[str, str]:
        """Returns what is known two hours later: columns that no request has."""
        more = {n: v for n, v in self.row.items() if n not in declared.RAW_COLUMNS}
        return {"request_id": self.request_id, **more}


def _value(text: str, kind: str) -> float | int | str | None:
    if not text:
        return None
    if kind == "BYTES":
        return text
    return int(text) if kind == "INT" else float(text)


def history() -> dict[str, bytes]:
    """Returns the files of the training data of the first model, by name."""
    files = list(quarters.split(taxi.read_sample()).items())[_HISTORY]
    return {name.rpartition("/")[2]: content for name, content in files}


def hours(rows_per_hour: int = ROWS_PER_HOUR) -> Iterator[tuple[int, list[Trip]]]:
    """Yields each hour of the day with its trips, at equal distances.

    Args:
        rows_per_hour: Trips of an hour.
    """
    chance = random.Random(_SEED)  # noqa: S311 - no secret depends on it
    rows = _live_rows()
    chance.shuffle(rows)
    downtown = [row for row in rows if row[PICKUP_COMMUNITY_AREA] in DOWNTOWN]
    others = [row for row in rows if row[PICKUP_COMMUNITY_AREA] not in DOWNTOWN]
    usual = len(downtown) / len(rows)
    number = 0
    for hour in HOURS:
        count = round(FAIR.get(hour, usual) * rows_per_hour)
        rows = [*_taken(downtown, count), *_taken(others, rows_per_hour - count)]
        chance.shuffle(rows)
        step = timedelta(hours=1) / len(rows)
        trips = []
        for place, row in enumerate(rows):
            client = "app" if number % _DESK_EVERY else "phone desk"
            trips.append(Trip(number, at(hour) + place * step, row, client))
            number += 1
        yield hour, trips


def _live_rows() -> list[Row]:
    contents = list(quarters.split(taxi.read_sample()).values())[_LIVE]
    return [row for content in contents for row in _rows(content)]


def _rows(content: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def _taken(rows: list[Row], count: int) -> list[Row]:
    """Takes the first rows out of a list: each trip is asked about once."""
    taken, rows[:] = rows[:count], rows[count:]
    return taken


def poisoned() -> bytes:
    """Returns a file of older trips whose tips belong to other trips.

    Each column has the values that it had: only the relation of tips to the rest is
    lost, as when a supplier joins two tables by the wrong key.
    """
    chance = random.Random(_SEED)  # noqa: S311 - as above
    older = [row for content in history().values() for row in _rows(content)]
    rows = [dict(row) for row in chance.sample(older, POISON_ROWS)]
    tips = [row[TIPS] for row in rows]
    chance.shuffle(tips)
    for row, tip in zip(rows, tips, strict=True):
        row[TIPS] = tip
    return as_csv(rows)


def as_csv(rows: Sequence[Row]) -> bytes:
    """Returns rows as a CSV file with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def batches(trips: Sequence[Trip]) -> dict[datetime, list[Trip]]:
    """Groups trips by the time at which their outcomes come, the earliest first."""
    found: dict[datetime, list[Trip]] = {}
    length = timedelta(hours=BATCH_HOURS)
    begin = at(HOURS.start)
    for trip in trips:
        end = begin + ((trip.at - begin) // length + 1) * length
        found.setdefault(end + LATE, []).append(trip)
    return found


def body(trip: Trip, kinds: Kinds) -> bytes:
    """Returns the JSON of the request for a trip."""
    request = {"signature_name": "serving_raw", "instances": [trip.features(kinds)]}
    return json.dumps(request).encode()
