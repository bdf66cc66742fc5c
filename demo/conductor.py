"""Conducts the day: sets the clock, sends the trips, delivers files, and counts."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pyarrow import parquet

from data.quarters import PATTERN
from demo import counts, day
from demo.client import Client
from demo.counts import Counts
from demo.day import Trip
from demo.places import Places
from demo.processes import Processes, free_port
from demo.story import Story
from operations import facts, requests, tick_lock
from operations.decisions import Action
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.registry import history
from pipeline.store import clock
from pipeline.trust import schema_review
from serving import request_log

_BEFORE = 11.0
"""The hour at which the first model is trained."""
_POISONED_FILE = "supplier.csv"
# Of an hour in which a model is trained some trips are kept back, since traffic goes on
# until the new version answers: pause in seconds, as long as more than these are left.
_PACES = ((0.1, 80), (0.3, 25), (1.0, 3))
_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Settings:
    """How the demo runs."""

    output: Path = Path("output-demo")
    """Directory of the demo's own, emptied at the start."""
    port: int = 8501
    """Port of the server's page; a free one is taken if it is in use."""
    train_steps: int = 1000
    """Training steps of each model."""


@dataclass
class Conductor:
    """Runs the day.

    Attributes:
        settings: How.
        places: Where.
        processes: What was started.
    """

    settings: Settings
    places: Places
    processes: Processes
    _told: int = 0
    _rows: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepares what needs no process."""
        self.config = self.places.config(self.settings.train_steps)
        self.port = free_port(self.settings.port)
        kinds = kinds_of_schema(schema_review.read(self.config.schema))
        self.client = Client(self.port, self.config.name, kinds)
        self.story = Story(self.config, clock.now)
        self.outcomes = 0

    def run(self) -> Counts:
        """Runs the day; returns what it has come to.

        Raises:
            ThroughlineError: A process has ended, or doesn't do its work.
        """
        clock.write(self.places.clock, day.at(_BEFORE))
        with _clock_of(self.places.clock):
            self._begin()
            hours = list(day.hours())
            posts = day.batches([trip for _, trips in hours for trip in trips])
            for hour, trips in hours:
                self._announce(hour)
                before = dict(self.client.answered)
                self._send(trips)
                self._end_hour(hour + 1, posts, len(trips), before)
            return self._end()

    def _begin(self) -> None:
        """Trains the first model and starts the server."""
        story = self.story
        story.say(f"http://127.0.0.1:{self.port}/ answers from 12:00 on", "page")
        story.say(str(self.places.root), "files")
        self.places.deliver(1, day.history())
        story.say("span 1 arrives: trips from January 2014 to June 2015", "data")
        self.processes.start("operate", self._operate_flags())
        self._wait_for_model()
        story.catch_up()
        self.processes.start("serve", self._serve_flags())
        self.processes.wait_until(
            lambda: "REST" in self.processes.log_of("serve").read_text(),
            "the start of the server",
        )
        story.say(
            "answers an app, which sends 19 of 20 trips, and a phone desk", "server"
        )
        clock.write(self.places.clock, day.at(day.HOURS.start))
        self._settle()

    def _operate_flags(self) -> list[str]:
        config = self.config
        return [
            *("--data", str(config.data), "--pattern", PATTERN, "--window", "all"),
            *("--output", str(config.output)),
            *("--train-steps", str(config.train_steps)),
            # Spans of two hours come after one of eighteen months.
            *("--gate.min-share-of-rows", "0.01"),
            # Labels are learned from when there is a reason, not for their number.
            *("--on", "span", "drift"),
            *("--tick-seconds", "0.4", "--cool-down-minutes", "45"),
            *("--monitor-minutes", "60", "--monitor.window-hours", "1"),
            *("--inbox.directory", str(self.places.inbox)),
            # Training, server and clients share the cores: latency says nothing here.
            *("--watch.max-slowdown", "1000"),
            *("--serving-check.max-latency-ms", "10000"),
        ]

    def _serve_flags(self) -> list[str]:
        return [
            *("--output", str(self.config.output)),
            *("--port", str(self.port), "--grpc-port", "0"),
            *("--log.segment-seconds", "0.5", "--log.flush-seconds", "0.2"),
        ]

    def _announce(self, hour: int) -> None:
        plans: Mapping[int, str] = {
            day.KILOMETRES.start: "the app's new release sends kilometres, not miles",
            day.KILOMETRES.stop: "the app is fixed",
            min(day.FAIR): "a fair opens downtown: more and more trips begin there",
        }
        if text := plans.get(hour):
            self.story.say(text, "world")
        if hour == day.POISON_HOUR:
            self._deliver_poison()

    def _deliver_poison(self) -> None:
        spans = facts.gather(self.config, clock.now()).spans
        number = max(span.number for span in spans) + 1
        self.places.deliver(number, {_POISONED_FILE: day.poisoned()})
        self.story.say(
            f"span {number} arrives from a supplier; its tips are those of other trips",
            "data",
        )
        self._settle()

    def _send(self, trips: Sequence[Trip]) -> None:
        """Sends the trips of an hour; while a model is trained, slowly."""
        looked, is_busy = float("-inf"), False
        for place, trip in enumerate(trips):
            clock.write(self.places.clock, trip.at)
            self.client.ask(trip)
            if time.monotonic() - looked > _LOOK_SECONDS:
                self.processes.check()
                looked, is_busy = time.monotonic(), self._is_busy()
                self.story.catch_up()
                self._tell_of_reload()
            left = len(trips) - place - 1
            pauses = [seconds for seconds, least in _PACES if left >= least]
            if is_busy and pauses:
                time.sleep(pauses[0])
            elif is_busy:
                self._wait_until_idle()

    def _is_busy(self) -> bool:
        """Whether a run is under way, or its version isn't served yet."""
        return self._run_is_open() or self._served() != self._live()

    def _run_is_open(self) -> bool:
        decisions = facts.decisions_of(self.config).all()
        return any(d.action is Action.RUN and d.is_open for d in decisions)

    def _live(self) -> int | None:
        return history.read(self.config.serving_directory).live

    def _served(self) -> int | None:
        found: int | None = self.client.status()["version"]
        return found

    def _wait_until_idle(self) -> None:
        self.processes.wait_until(lambda: not self._is_busy(), "a run and its reload")

    def _wait_for_model(self) -> None:
        """Waits until the first model is live and its run has ended."""
        self.processes.wait_until(
            lambda: self._live() is not None and not self._run_is_open(),
            "the training of the first model",
        )

    def _tell_of_reload(self) -> None:
        """Tells once of each version that the server has begun to serve."""
        found = self.client.status()
        if found["version"] and found["version"] != self._told:
            if self._told:
                self.story.say(
                    f"version {found['version']} answers, loaded in "
                    f"{found['seconds']:.1f} s next to the old one; "
                    f"{self.client.failures.total()} requests have failed",
                    "server",
                )
            self._told = found["version"]

    def _end_hour(
        self,
        hour: int,
        posts: Mapping[datetime, list[Trip]],
        trips: int,
        before: Mapping[str, int],
    ) -> None:
        """Lets the processes do what there is to do at the end of an hour."""
        self.processes.wait_until(
            lambda: self._logged() >= self.client.answered.total(), "the request log"
        )
        now = day.at(hour)
        if batch := posts.get(now):
            rows = [trip.outcome() for trip in batch]
            self.outcomes += len(rows)
            self.places.post(f"{now:%H}-outcomes.csv", day.as_csv(rows))
            # Joined before the hour ends: an alarm of the hour may start a run.
            self._settle()
        clock.write(self.places.clock, now)
        self._settle()
        new = {v: n - before.get(v, 0) for v, n in self.client.answered.items()}
        versions = " and ".join(v for v, n in new.items() if n)
        self.story.hour(trips, versions)
        self.story.catch_up()
        self._tell_of_reload()

    def _settle(self) -> None:
        """Waits until a whole tick has seen what there is, or a run has begun."""
        directory = facts.directory_of(self.config)
        # The one that is under way may have looked already, and the next is whole when
        # the one after it begins.
        enough = tick_lock.count(directory) + 2
        self.processes.wait_until(
            lambda: tick_lock.count(directory) >= enough or self._run_is_open(),
            "a tick of `throughline operate`",
        )

    def _logged(self) -> int:
        """Counts the rows of the request log's segments."""
        for path in request_log.segments(requests.directory_of(self.config)):
            if path not in self._rows:
                self._rows[path] = parquet.read_metadata(path).num_rows
        return sum(self._rows.values())

    def _end(self) -> Counts:
        """Stops all and counts."""
        self._wait_until_idle()
        self._tell_of_reload()
        served = self._served()
        self.client.close()
        codes = self.processes.stop()
        self.story.catch_up()
        stopped = ", ".join(f"{name} with {code}" for name, code in codes.items())
        self.story.say(stopped, "stopped")
        return counts.count(
            self.config,
            self.client.sent,
            self.client.answered.total(),
            self.outcomes,
            served,
        )


@contextmanager
def _clock_of(file: Path) -> Iterator[None]:
    """Has this process take the time from a file too."""
    before = os.environ.get(clock.VARIABLE)
    os.environ[clock.VARIABLE] = str(file)
    try:
        yield
    finally:
        if before is None:
            del os.environ[clock.VARIABLE]
        else:
            os.environ[clock.VARIABLE] = before


def conduct(settings: Settings) -> Counts:
    """Runs the day with real processes, which are stopped whatever happens.

    Args:
        settings: How.
    """
    places = Places(settings.output.absolute())
    places.prepare()
    with Processes(places.clock, places.logs) as processes:
        return Conductor(settings, places, processes).run()
