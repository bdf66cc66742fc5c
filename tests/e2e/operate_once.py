"""One tick of `throughline operate`, which may kill itself at a moment.

    operate_once.py FILE MOMENT

FILE has a pickled configuration, settings, and the program that runs the pipeline. With
a moment above 0, the process is killed (-9) before its n-th write to disk or store, or
start of a run.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations.reconciler import Reconciler
from operations.tick_lock import HeldError
from pipeline.store import clock


def main(file: Path, moment: int) -> int:
    """Ticks; returns the exit code."""
    config, settings, program = pickle.loads(file.read_bytes())  # noqa: S301 - our own
    if moment:
        _die_before_write(moment)
    with contextlib.suppress(HeldError):
        return Reconciler(config, settings, clock.now, print, program).tick()
    print("held")
    return 0


def _die_before_write(moment: int) -> None:
    left = moment

    def dying(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(*given, **named)

        return done

    # What reaches disk or store, or starts something, goes through one of these.
    os.link, os.replace = dying(os.link), dying(os.replace)
    subprocess.Popen = dying(subprocess.Popen)  # type: ignore[misc,assignment]
    MetadataStore.put_execution = dying(MetadataStore.put_execution)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
