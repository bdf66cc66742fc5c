"""Ends a process when its parent dies; a signal to the parent alone does not."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent dies (Linux only).

    Otherwise it would go on working for something that no longer exists.

    Args:
        parent: Process id of the parent, from before this process was started.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the call above.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
