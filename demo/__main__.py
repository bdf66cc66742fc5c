"""A day in production: `make demo`, or `python -m demo` (about two minutes).

It trains a model, serves it, replays trips as live traffic and operates the model, all
with the real commands, on a clock that runs faster. Expect 2,664 requests, all answered
and logged, three runs (two of them pushed), and exit code 0.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

import tyro

from demo.conductor import Settings, conduct
from pipeline.errors import EXIT_DONE, EXIT_FAILED, exit_code


def main(arguments: list[str]) -> int:
    """Runs the demo; returns the exit code: 0 if all counts agree, else 1."""
    return exit_code(lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    settings = tyro.cli(Settings, prog="python -m demo", args=arguments)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    found = conduct(settings)
    differences = list(found.differences())
    lines = [*found.lines(), *(f"differs    {text}" for text in differences)]
    if not differences:
        lines.append("nothing was lost, and no worse model was live")
    sys.stdout.write("\n".join(["", *lines, ""]))
    return EXIT_FAILED if differences else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
