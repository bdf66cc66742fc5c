"""``throughline doctor``: reports versions and resources, and problems with remedies.

Versions are read from package metadata: importing TensorFlow would take seconds and
fail in exactly the environments that this command is for.
"""

import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.project.settings_file import PROJECT

PACKAGES = (
    "tfx",
    "tensorflow",
    "keras",
    "tensorflow-data-validation",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "ml-metadata",
    "apache-beam",
    "protobuf",
    "pyarrow",
    "numpy",
)
SUPPORTED_PYTHON = ((3, 11), (3, 13))
# What the ml-metadata and TFDV 1.21 wheels are built for (manylinux_2_39, but 2.38 is
# the newest symbol they use).
NEEDED_GLIBC = (2, 38)
# The sample job peaks at 1.35 GB in stock TFX; with less than this it may be killed.
NEEDED_MEMORY_BYTES = 2 * 1024**3
NEEDED_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Memory:
    """Main memory that this process may use, in bytes."""

    total: int
    available: int


@dataclass(frozen=True)
class CRuntime:
    """The C library in use: its version, and whether bootstrap put it into .venv."""

    version: tuple[int, ...]
    private: bool

    def __str__(self) -> str:
        """Return the version and where the library comes from."""
        if not self.version:
            return "not glibc"
        whose = "private, in .venv/runtime" if self.private else "the host's"
        return f"glibc {'.'.join(map(str, self.version))} ({whose})"


@dataclass(frozen=True)
class Host:
    """The file systems with a process's limits; tests use other directories.

    Attributes:
        proc: The proc file system.
        cgroup: The control group file system.
    """

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")

    def controls(self, controller: str) -> Iterator[Path]:
        """Yield the directories of this process's control groups, innermost first.

        Args:
            controller: "cpu" or "memory"; control groups of version 1 have a tree for
                each, version 2 has one for both.
        """
        for line in _lines(self.proc / "self/cgroup"):
            number, names, path = line.split(":", 2)
            if number == "0":
                base = self.cgroup
            elif controller in names.split(","):
                base = self.cgroup / controller
            else:
                continue
            # In a container this may be the host's path, which doesn't exist here.
            inner = base / path.lstrip("/")
            # A limit of any enclosing group holds too, and a missing file has no limit.
            yield from (p for p in (inner, *inner.parents) if p.is_relative_to(base))


@dataclass(frozen=True)
class Problem:
    """A problem with the environment, and the command or step that fixes it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """Facts to show by name, and the problems that were found."""

    facts: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)


def doctor() -> int:
    """Print versions, resources and problems.

    Returns:
        0 without problems, else 1.
    """
    report = examine(PROJECT)
    show(report, Console())
    return 1 if report.problems else 0


def examine(project: Path, host: Host | None = None) -> Report:
    """Examine the machine and the environment that this process runs in.

    Args:
        project: The project's directory, with requirements.lock,
            requirements-run.txt and output/.
        host: File systems to read limits from; /proc and /sys if not given.
    """
    host = host or Host()
    installed = installed_versions()
    runtime = c_runtime(host, Path(sys.prefix))
    memory = usable_memory(host)
    disk = free_disk(project / "output")
    lock = project / "requirements.lock"
    needed = project / "requirements-run.txt"
    differences = (
        lock_differences(
            lock.read_text(encoding="utf-8"),
            installed,
            needed.read_text(encoding="utf-8"),
        )
        if lock.is_file()
        else None
    )
    facts = {
        "Python": f"{platform.python_version()} ({sys.executable})",
        **{name: installed.get(name, "missing") for name in PACKAGES},
        "C runtime": str(runtime),
        "cores": f"{usable_cores(host):g}",
        "memory": "unknown"
        if memory is None
        else f"{_gib(memory.available)} of {_gib(memory.total)} available",
        "disk": f"{_gib(disk)} free for output/",
        "requirements.lock": _lock_fact(differences),
    }
    problems = [
        *python_problems(sys.version_info[:2]),
        *runtime_problems(runtime),
        *lock_problems(differences),
        *room_problems(memory, disk),
    ]
    return Report(facts, problems)


def show(report: Report, console: Console) -> None:
    """Print the facts as a table, then each problem with its remedy."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, fact in report.facts.items():
        table.add_row(escape(name), escape(fact))
    console.print(table)
    console.print()
    for problem in report.problems:
        console.print(f"[red]problem[/]: {escape(problem.what)}")
        console.print(f"         {escape(problem.remedy)}")
    if not report.problems:
        console.print("no problems")


def installed_versions() -> dict[str, str]:
    """Return the version of each installed distribution by its canonical name.

    Directory names hold both; reading each METADATA would take a second.
    """
    found: dict[str, str] = {}
    for entry in map(Path, sys.path):
        for info in sorted(entry.glob("*.dist-info")):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            found.setdefault(canonicalize_name(name), version)
    return found


def lock_differences(lock: str, installed: Mapping[str, str], needed: str) -> list[str]:
    """List the packages that are missing, or not of the locked version.

    Packages that the lock doesn't have are ignored: users add their own tools. So are
    missing ones that only `bootstrap --dev` installs.

    Args:
        lock: Text of requirements.lock.
        installed: Versions by canonical name.
        needed: Text of requirements-run.txt, a name per line.
    """
    differences = []
    names = {canonicalize_name(name.partition("[")[0]) for name in needed.splitlines()}
    for want in locked(lock.splitlines()):
        version = str(want.specifier).removeprefix("==")
        have = installed.get(canonicalize_name(want.name))
        if have is None and canonicalize_name(want.name) in names:
            differences.append(f"{want.name} {version} is missing")
        elif have is not None and not want.specifier.contains(have, prereleases=True):
            differences.append(f"{want.name} is {have}, locked is {version}")
    return differences


def locked(lines: Iterable[str]) -> Iterator[Requirement]:
    """Yield the pinned requirements whose markers match this machine."""
    for line in lines:
        # Lines with hashes are indented, comments begin with #.
        if re.match(r"[A-Za-z0-9]", line):
            want = Requirement(line.removesuffix("\\").strip())
            if want.marker is None or want.marker.evaluate():
                yield want


def python_problems(version: tuple[int, ...]) -> Iterator[Problem]:
    """Yield a problem if a Python version (major, minor) is not supported."""
    oldest, newest = SUPPORTED_PYTHON
    if not oldest <= version <= newest:
        yield Problem(
            f"Python is {_dotted(version)}, and TFX 1.21 here needs"
            f" {_dotted(oldest)} to {_dotted(newest)}",
            "PYTHON=/path/to/python3.11 ./bootstrap",
        )


def runtime_problems(runtime: CRuntime) -> Iterator[Problem]:
    """Yield a problem if the C library is too old for TFX's wheels."""
    if runtime.version and runtime.version < NEEDED_GLIBC:
        yield Problem(
            f"{runtime} is older than {_dotted(NEEDED_GLIBC)}, which the TFX 1.21"
            " wheels need",
            "use .venv/bin/python, which ./bootstrap gives a newer one",
        )


def lock_problems(differences: list[str] | None) -> Iterator[Problem]:
    """Yield a problem if packages differ from the lock; `None` means no lock."""
    if differences:
        shown = "; ".join(differences[:5])
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""  # noqa: PLR2004 - as shown above
        yield Problem(
            f"the environment differs from requirements.lock: {shown}{more}",
            # The stamp says that the environment is complete, and bootstrap would do
            # nothing.
            "rm -f .venv/bootstrap.stamp && ./bootstrap",
        )


def room_problems(memory: Memory | None, disk: int) -> Iterator[Problem]:
    """Yield a problem each for too little memory and disk (bytes)."""
    if memory is not None and memory.available < NEEDED_MEMORY_BYTES:
        yield Problem(
            f"{_gib(memory.available)} of memory are available, and the sample job"
            f" needs {_gib(NEEDED_MEMORY_BYTES)}",
            "end other programs, or raise the container's memory limit",
        )
    if disk < NEEDED_DISK_BYTES:
        yield Problem(
            f"{_gib(disk)} of disk are free for output/, and runs need"
            f" {_gib(NEEDED_DISK_BYTES)}",
            "free some space; old runs are in output/artifacts",
        )


def c_runtime(host: Host, prefix: Path) -> CRuntime:
    """Return the C library that this process runs on.

    ``platform.libc_ver`` reads the same value, but guesses where there is no glibc.

    Args:
        host: File systems that list the process's mapped libraries.
        prefix: The environment's directory (``sys.prefix``).
    """
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return CRuntime((), private=False)
    numbers = tuple(int(part) for part in re.findall(r"\d+", version))
    own = str(prefix / "runtime" / "libc.so.6")
    mapped = any(line.endswith(own) for line in _lines(host.proc / "self/maps"))
    return CRuntime(numbers if name == "glibc" else (), private=mapped)


def usable_cores(host: Host) -> float:
    """Return the number of cores that this process may use at once.

    This is the lower of the scheduler's affinity and the container's quota, which may
    be a fraction.
    """
    try:
        cores = float(len(os.sched_getaffinity(0)))
    except AttributeError:
        cores = float(os.cpu_count() or 1)
    for group in host.controls("cpu"):
        cores = min(cores, _cpu_quota(group))
    return cores


def usable_memory(host: Host) -> Memory | None:
    """Return the memory this process may use; None if there is no /proc/meminfo."""
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (
            line.partition(":") for line in _lines(host.proc / "meminfo")
        )
        if rest.strip()
    }
    if "MemTotal" not in sizes:
        return None
    total = sizes["MemTotal"]
    # MemAvailable counts the page cache that can be dropped; kernels before 3.14 lack
    # it.
    available = sizes.get("MemAvailable", sizes.get("MemFree", total))
    for group in host.controls("memory"):
        limit, used = _memory_limit(group)
        total = min(total, limit)
        available = min(available, max(limit - used, 0))
    return Memory(total, available)


def free_disk(path: Path) -> int:
    """Return the free bytes on the disk of a path, or of its nearest parent."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _cpu_quota(group: Path) -> float:
    """Return a control group's quota in cores; infinity without a quota."""
    # Version 2 has both numbers in one file, version 1 a file for each; no quota is
    # "max" or -1.
    words = " ".join(_lines(group / "cpu.max")).split() or [
        *_lines(group / "cpu.cfs_quota_us"),
        *_lines(group / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not words[0].isdigit():  # noqa: PLR2004 - quota and period
        return math.inf
    return int(words[0]) / int(words[1])


def _memory_limit(group: Path) -> tuple[int, int]:
    """Return a control group's memory limit and its use without page cache, in bytes.

    The inactive page cache can be reclaimed, so it does not count as used.
    """
    for limit, usage, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        words = list(_lines(group / limit))
        if words and words[0].isdigit():
            used = int(next(_lines(group / usage), "0"))
            pages = dict(line.split() for line in _lines(group / "memory.stat"))
            return int(words[0]), used - int(pages.get(reclaimable, "0"))
    return sys.maxsize, 0


def _lines(path: Path) -> Iterator[str]:
    """Yield a file's lines; empty if it can't be read."""
    try:
        yield from path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return


def _lock_fact(differences: list[str] | None) -> str:
    if differences is None:
        return "not here: this is no checkout"
    if differences:
        return f"{len(differences)} packages differ"
    return "all as locked"


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
