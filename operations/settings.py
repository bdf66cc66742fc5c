"""The settings of `labels add`, `monitor` and `operate`; flags are generated from them.

Importing this module imports no Arrow, TFX or TensorFlow, so `--help` is quick.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pipeline.errors import UsageError, require, require_positive
from pipeline.runners import checks

Trigger = Literal["span", "labels", "drift", "skew", "performance"]

_AT_LEAST = {
    "new_labels": 1,
    "max_runs_per_day": 1,
    "stop_after": 1,
    "max_minutes_per_day": 0,
    "cool_down_minutes": 0,
    "backoff_minutes": 0,
}


@dataclass(frozen=True)
class Joining:
    """How outcomes are joined, as flags."""

    key: tuple[str, ...] = ()
    """Join by these features instead of request_id, to the newest request before
    the time."""
    time: str = ""
    """Column with the time of the predicted event; needed with a key."""
    label_time: str = ""
    """Column with the time at which an outcome became known; now if not given."""
    window_days: float = 30.0
    """Days after its prediction in which a label counts; later ones are kept and not
    learned from."""
    time_column: str = ""
    """Column of the training data that gets the request's time, in seconds since
    1970, if the file doesn't have that column."""

    def __post_init__(self) -> None:
        """Rejects a window of no time."""
        require_positive(self, "window_days")


@dataclass(frozen=True)
class Limits:
    """What is compared, and beyond what an alarm is raised."""

    window_hours: float = 24.0
    """Hours of the request log that are looked at, and compared with those before."""
    min_rows: int = 100
    """Fewest rows of a window for features and scores to be looked at."""
    min_traffic: int = 0
    """Fewest rows of a window; fewer are an alarm."""
    max_failed: float = 0.01
    """Largest share of requests, 0 to 1, that may fail."""
    max_latency_ms: float = 0.0
    """Largest 95th percentile of the latency in milliseconds; 0 for no limit."""
    false_alarms: float = 0.001
    """Probability, 0 to 1, that a window without a change counts as drifted."""

    def __post_init__(self) -> None:
        """Rejects values out of bounds."""
        require_positive(self, "window_hours")
        for name, least in (("min_rows", 1), ("min_traffic", 0), ("max_latency_ms", 0)):
            require(self, name, at_least=least)
        if not 0 <= self.max_failed <= 1:
            raise UsageError(f"max-failed is {self.max_failed}; it must be 0 to 1")
        if not 0 < self.false_alarms <= 1:
            raise UsageError(
                f"false-alarms is {self.false_alarms}; it must be above 0 and at most "
                "1, or no drift is found"
            )

    @property
    def window(self) -> timedelta:
        """The length of a window."""
        return timedelta(hours=self.window_hours)


@dataclass(frozen=True)
class Watch:
    """How a version is watched after it was pushed, and when it is rolled back."""

    hours: float = 24.0
    """Hours after a push in which the version is watched; 0 for not at all."""
    min_rows: int = 200
    """Fewest answers of both versions before they are compared."""
    max_slowdown: float = 1.5
    """Most times the 95th percentile of the latency before."""
    max_failed: float = 0.01
    """Most by which the share of failed requests, 0 to 1, may have grown."""
    max_loss: float = 0.005
    """Most by which the AUC, the accuracy or R2 may be below that of the version
    before, on the same requests."""
    shadow_share: float = 0.2
    """Share of the requests, 0 to 1, that servers have the version before answer too;
    0 for none."""

    def __post_init__(self) -> None:
        """Rejects values out of bounds."""
        require(self, "shadow_share", at_least=0, at_most=1, group="watch")
        for name, least in (("hours", 0), ("min_rows", 1), ("max_slowdown", 1)):
            require(self, name, at_least=least, group="watch")


@dataclass(frozen=True)
class Inbox(Joining):
    """Where outcomes arrive, and how they are joined; see `throughline labels add`."""

    directory: Path | None = None
    """Directory whose files are added as labels; none if not given."""


@dataclass(frozen=True)
class Operate:
    """When a run is started, and what keeps it from being started."""

    once: bool = False
    """Do one tick and exit, for cron, systemd or a CronJob."""
    status: bool = False
    """Print the state, what comes next and the newest decisions; change nothing."""
    go_on: str = ""
    """Allow runs again after it has stopped because of failures: the reason."""
    on: tuple[Trigger, ...] = ("span", "labels", "drift", "performance")
    """What starts a run: a new span, enough new labels, an alarm of drift, of skew, or
    of live performance."""
    schedule: str = ""
    """Start a run at these times too: five cron fields, in UTC."""
    new_labels: int = 1000
    """Fewest joined labels that no run has read, for the trigger labels."""
    backlog: Literal["newest", "in-order"] = "newest"
    """Of several new spans, read the newest window only, or one after another."""
    cool_down_minutes: float = 0.0
    """Minutes between the end of a run and the next."""
    max_runs_per_day: int = 24
    """Most starts of runs in 24 hours."""
    max_minutes_per_day: float = 0.0
    """Most minutes of runs in 24 hours; 0 for no limit."""
    backoff_minutes: float = 5.0
    """Minutes before a failed run is tried again, doubled with each failure."""
    stop_after: int = 3
    """Failures in a row after which no run is started until --go-on."""
    tick_seconds: float = 60.0
    """Seconds from the end of a tick to the next."""
    monitor_minutes: float = 60.0
    """Minutes from one look at the request log to the next."""
    notify_command: str = ""
    """Command that gets each event as JSON on standard input."""
    notify_webhook: str = ""
    """URL that each event is posted to as JSON."""
    monitor: Limits = field(default_factory=Limits)
    inbox: Inbox = field(default_factory=Inbox)
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        """Rejects values out of bounds, and a schedule that is none."""
        for name, least in _AT_LEAST.items():
            require(self, name, at_least=least)
        for name in ("tick_seconds", "monitor_minutes"):
            require_positive(self, name)
        if self.schedule:
            checks.schedule(self.schedule)
        if self.notify_webhook and not self.notify_webhook.startswith(
            ("http://", "https://")
        ):
            raise UsageError(
                f"notify-webhook is {self.notify_webhook!r}; it must begin with "
                "http:// or https://"
            )
