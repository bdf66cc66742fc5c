"""The command that operates a model: it starts runs, watches, and rolls back."""

import signal
import sys
import time
from dataclasses import dataclass, fields, is_dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from operations.settings import Operate
from pipeline import config as settings
from pipeline.commands.flags import MAIN, parse, say
from pipeline.errors import (
    EXIT_DONE,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
    explained,
    printable,
    without_secrets,
)
from pipeline.store import clock

if TYPE_CHECKING:
    from operations.reconciler import Reconciler

# The flags that --help shows beside those of a run; the groups are in --help-all.
_OWN = tuple(each.name for each in fields(Operate) if not is_dataclass(each.type))


def operate(arguments: list[str]) -> int:
    """Start runs when there is a reason, watch what they push, and roll back."""
    config, options = parse(
        "throughline operate",
        arguments,
        Operate(),
        about="Starts runs when there is a reason, watches what they push, and rolls "
        "back. The other flags are those of a run.",
        main=(*_OWN, *MAIN),
    )
    if sum([options.once, options.status, bool(options.go_on)]) > 1:
        raise UsageError("give one of --once, --status and --go-on")
    settings.check_places(config)
    from operations import status
    from operations.reconciler import Reconciler

    if options.status:
        say("\n".join(status.lines(config, options, clock.now)))
        return EXIT_DONE
    lines = Lines()
    reconciler = Reconciler(config, options, clock.now, lines)
    if options.go_on:
        reconciler.go_on(options.go_on)
        return EXIT_DONE
    return _once(reconciler) if options.once else _loop(reconciler, lines)


@dataclass
class Lines:
    """Prints lines with the time; skips a repeated line."""

    last: str = ""

    def __call__(self, line: str) -> None:
        """Prints a line."""
        if self._is_new(line):
            say(_timed(line))
            sys.stdout.flush()

    def complain(self, error: Exception) -> None:
        """Prints an error; what happens next shows, by its line, that it is over."""
        text = cause_of(error)
        # A traceback's log has another name in each tick.
        if self._is_new(text.partition("\n")[0]):
            code = f"(exit code {exit_code_of(error)} with --once)"
            line = _timed(f"throughline: {text} {code}\n")
            sys.stderr.write(printable(without_secrets(line)))

    def _is_new(self, line: str) -> bool:
        is_new, self.last = line != self.last, line
        return is_new


def _timed(line: str) -> str:
    return f"{clock.now():%Y-%m-%d %H:%M:%S}  {line}"


def _tick(reconciler: "Reconciler") -> int:
    from pipeline.runners.local.console import quiet

    # TensorFlow prints when it is imported, as for live metrics; we still can.
    with quiet():
        return reconciler.tick()


def _once(reconciler: "Reconciler") -> int:
    """Runs one tick; 0 also if another process holds the lock."""
    from operations.tick_lock import HeldError

    try:
        return _tick(reconciler)
    except HeldError as error:
        say(f"nothing done: {error}")
        return EXIT_DONE


def _loop(reconciler: "Reconciler", lines: Lines) -> int:
    """Ticks until SIGTERM or Ctrl-C; an error is printed, and the next tick comes.

    Raises:
        UsageError: The settings are wrong, as the first tick found.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    ticks = Ticks(reconciler, lines)
    try:
        while True:
            ticks.next()
            time.sleep(reconciler.settings.tick_seconds)
    except KeyboardInterrupt:
        say("stopped")
    return EXIT_DONE


@dataclass
class Ticks:
    """The ticks of one process.

    Attributes:
        reconciler: Runs them.
        lines: Prints what they report.
        token: The newest token of the ticks so far.
        is_begun: Whether a tick has ended without an error: the settings are right.
    """

    reconciler: "Reconciler"
    lines: Lines
    token: int = 0
    is_begun: bool = False

    def next(self) -> None:
        """Runs a tick.

        Raises:
            UsageError: The first tick that got to work found a wrong setting.
        """
        from operations.tick_lock import HeldError, count

        directory = self.reconciler.directory
        try:
            self._require_storage(count(directory))
            _tick(self.reconciler)
            self.token, self.is_begun = count(directory), True
        except HeldError as error:
            # Such as --go-on, which is over in a moment.
            self.lines(f"waits: {error}")
        except Exception as error:
            ours = explained(error)
            if isinstance(ours, UsageError) and not self.is_begun:
                raise ours from error
            # Storage and stores come back.
            self.lines.complain(ours)

    def _require_storage(self, token: int) -> None:
        # An empty mount point looks like a model that nobody has trained yet.
        if token < self.token:
            raise ThroughlineError(
                f"{self.reconciler.directory} is gone, or older than a moment ago: is "
                "its storage mounted? Nothing is done until it is back; start the "
                "command again to begin anew with what there is"
            )
