"""The command that operates a model: it starts runs, watches, and rolls back."""

import signal
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from operations.settings import Operate
from pipeline import config as settings
from pipeline.commands.flags import parse, say
from pipeline.errors import (
    EXIT_DONE,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
    printable,
    without_secrets,
)
from pipeline.store import clock

if TYPE_CHECKING:
    from operations.reconciler import Reconciler


def operate(arguments: list[str]) -> int:
    """Start runs when there is a reason, watch what they push, and roll back."""
    config, options = parse("throughline operate", arguments, Operate())
    if sum([options.once, options.status, bool(options.go_on)]) > 1:
        raise UsageError("give one of --once, --status and --go-on")
    settings.check_places(config)
    from operations import status
    from operations.reconciler import Reconciler

    if options.status:
        say("\n".join(status.lines(config, options, clock.now)))
        return EXIT_DONE
    reconciler = Reconciler(config, options, clock.now, _Lines())
    if options.go_on:
        reconciler.go_on(options.go_on)
        return EXIT_DONE
    return _once(reconciler) if options.once else _loop(reconciler)


@dataclass
class _Lines:
    """Prints lines with the time; skips a repeated line."""

    last: str = ""

    def __call__(self, line: str) -> None:
        """Prints a line."""
        if line != self.last:
            say(f"{clock.now():%Y-%m-%d %H:%M:%S}  {line}")
            sys.stdout.flush()
        self.last = line


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


def _loop(reconciler: "Reconciler") -> int:
    """Ticks until SIGTERM or Ctrl-C; an error is printed, and the next tick comes."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        while True:
            try:
                _tick(reconciler)
            except UsageError:
                # Another one operates the model, or the settings are wrong.
                raise
            except ThroughlineError as error:
                _complain(error)
            time.sleep(reconciler.settings.tick_seconds)
    except KeyboardInterrupt:
        say("stopped")
    return EXIT_DONE


def _complain(error: ThroughlineError) -> None:
    text = (
        f"throughline: {cause_of(error)} (exit code {exit_code_of(error)} with --once)"
    )
    sys.stderr.write(printable(without_secrets(f"{text}\n")))
