"""Changes in child processes: killed at every moment, at once, on a full disk.

    python -m tests.pipeline.registry.forked_changes MODE BASE MODEL MODEL

A process of its own, because one with TensorFlow's threads shouldn't fork. After each
child it checks what a server would find, and at the end it prints what it did as JSON.
With "kill" it prints the name of the change after each kill, and waits for a line.
"""

import functools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.registry import changes, history
from pipeline.registry.changes import Author
from pipeline.registry.versions import PARTIAL, identity, live, version_of

ME = Author(by="me", because="a test")
_TOUCHING = frozenset(
    {"os.rename", "os.link", "os.mkdir", "os.remove", "open", "shutil.rmtree"}
)
_FAILED = 7


class Changes:
    """Two models that take turns in one serving directory."""

    def __init__(self, base: Path, models: list[Path]) -> None:
        self.base = base
        self.models = models

    def push(self) -> None:
        """Pushes the model that isn't live."""
        which = 1 - self.live_model()
        changes.push(self.models[which], self.base, _origin(which), ME)

    def promote(self) -> None:
        """Promotes the newest version with the other model."""
        changes.promote_version(self.base, self.other(), ME)

    def rollback(self) -> None:
        """Rolls back to the newest version with the other model."""
        changes.rollback(self.base, self.other(), ME)

    def delete(self) -> None:
        """Deletes the oldest version."""
        changes.delete(self.base, history.read(self.base).numbers[0], ME)

    def live_model(self) -> int:
        """Returns which model is live."""
        now = live(self.base)
        return int(now.origin()["model_id"]) if now else 1

    def other(self) -> int:
        """Returns the newest version with the model that isn't live."""
        registry, which = history.read(self.base), 1 - self.live_model()
        return next(
            n
            for n in reversed(registry.numbers)
            if version_of(self.base, n).origin()["model_id"] == which
        )

    def check(self) -> None:
        """Checks what a server relies on, and that the history is that of the disk."""
        now, registry = live(self.base), history.read(self.base)
        assert now
        assert now.damage() == ""
        assert registry.live == now.number
        assert [n for n, e in registry.periods.items() if e[-1].until is None] == [
            now.number
        ]
        # A deletion that was killed half-way is only known by what is missing.
        assert "found" not in {str(event.action) for event in registry.events}


def in_child(do: Callable[[], None], before: Callable[[], None]) -> int:
    """Does something in a child; returns its exit code, negative for a signal."""
    child = os.fork()
    if not child:
        code = _FAILED
        try:
            before()
            do()
            code = 0
        except OSError:
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(moment: int, base: Path) -> None:
    """Has this process killed before its n-th file operation below a directory."""
    left = moment

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        paths = [str(a) for a in arguments if isinstance(a, str | Path)]
        if event in _TOUCHING and any(p.startswith(str(base)) for p in paths):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def kill(turns: Changes) -> dict[str, int]:
    """Kills each change at each of its moments; returns the number of moments.

    After each kill, and after the change that is left alone, somebody else has the
    time to load what is live.
    """
    moments = {}
    for name in ("push", "promote", "rollback", "delete"):
        do, moment, code = getattr(turns, name), 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            moment += 1
            code = in_child(do, functools.partial(killed_at, moment, turns.base))
            turns.check()
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            sys.stdin.readline()
        assert code == 0, (name, moment, code)
        moments[name] = moment - 1
    return moments


def at_once(turns: Changes) -> dict[str, int]:
    """Has processes compete; each version must have replaced the one before it."""
    children = []
    for number in range(6):
        child = os.fork()
        if not child:
            do = (turns.push, turns.promote, turns.rollback)[number % 3]
            for _ in range(8):
                do()
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    assert codes == [0] * 6, codes
    turns.check()
    events = history.read(turns.base).events
    replaced = [event.replaced for event in events[1:]]
    assert replaced == [event.version for event in events[:-1]]
    return {"versions": len(events)}


def full(turns: Changes) -> dict[str, int]:
    """Lets files grow so far and no further; returns how often that was not enough."""
    failed = {}
    for name in ("push", "promote", "rollback"):
        sizes = [0, 20, 200, 2_000, 4_000, 6_000, 1 << 20]
        codes = []
        for size in sizes:
            limit = functools.partial(
                resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)
            )
            code = in_child(getattr(turns, name), limit)
            turns.check()
            assert not list(turns.base.glob(f"{PARTIAL}*"))
            codes.append(code)
        assert set(codes) == {0, 1}, (name, codes)
        failed[name] = codes.count(1)
    return failed


def _origin(model: int) -> dict[str, Any]:
    return identity(model, f"/m/{model}", 7)


def main() -> None:
    """Pushes both models, then does what the command line says."""
    mode, base, *models = sys.argv[1:]
    turns = Changes(Path(base), [Path(model) for model in models])
    turns.push()
    turns.push()
    done = {"kill": kill, "at_once": at_once, "full": full}[mode](turns)
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main()
