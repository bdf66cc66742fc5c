"""What ``throughline doctor`` promises, on machines laid out as files."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import doctor
from pipeline.doctor import CRuntime, Host, Memory
from pipeline.project.settings_file import PROJECT

GIB = 1024**3


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine of 16 GiB, 12 of them available, without control groups."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(
        f"MemTotal: {16 * 1024**2} kB\nMemAvailable: {12 * 1024**2} kB\n",
        encoding="utf-8",
    )
    (tmp_path / "cgroup").mkdir()
    return Host(proc, tmp_path / "cgroup")


def control(host: Host, membership: str, **files: str) -> None:
    """Put the process into a control group with the files given.

    A name's double underscore stands for a dot, a triple one for a slash.
    """
    (host.proc / "self" / "cgroup").write_text(membership, encoding="utf-8")
    for name, text in files.items():
        path = host.cgroup / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class TestCores:
    """Cores are what the process may use, not what the machine has."""

    def test_affinity_counts(self, host: Host) -> None:
        """Without a quota it is the scheduler's number."""
        expected = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count()
        )

        assert doctor.usable_cores(host) == expected

    def test_quota_of_version_2(self, host: Host) -> None:
        """A container's quota counts, set on its own group or on one around it."""
        control(
            host,
            "0::/pod/job\n",
            pod___cpu__max="50000 100000\n",
            pod___job___cpu__max="max 100000\n",
        )

        assert doctor.usable_cores(host) == 0.5

    def test_quota_of_version_1(self, host: Host) -> None:
        """The older layout, with a tree for each controller, counts too."""
        control(
            host,
            "4:cpu,cpuacct:/\n3:memory:/\n",
            cpu___cpu__cfs_quota_us="25000\n",
            cpu___cpu__cfs_period_us="100000\n",
        )

        assert doctor.usable_cores(host) == 0.25

    def test_no_quota_of_version_1(self, host: Host) -> None:
        """A quota of -1 is none."""
        control(
            host,
            "4:cpu,cpuacct:/\n",
            cpu___cpu__cfs_quota_us="-1\n",
            cpu___cpu__cfs_period_us="100000\n",
        )

        assert doctor.usable_cores(host) >= 1


class TestMemory:
    """Memory is what the process may use before it is killed."""

    def test_machine_without_limits(self, host: Host) -> None:
        """It is the machine's where nothing limits it."""
        assert doctor.usable_memory(host) == Memory(16 * GIB, 12 * GIB)

    def test_limit_of_version_2(self, host: Host) -> None:
        """A limit counts, less what is used and can't be given back."""
        control(
            host,
            "0::/\n",
            memory__max=f"{4 * GIB}\n",
            memory__current=f"{3 * GIB}\n",
            memory__stat=f"anon 5\ninactive_file {GIB}\n",
        )

        assert doctor.usable_memory(host) == Memory(4 * GIB, 2 * GIB)

    def test_limit_of_version_1(self, host: Host) -> None:
        """The older layout counts, and its huge number for no limit doesn't."""
        control(
            host,
            "3:memory:/a\n",
            memory___memory__limit_in_bytes=f"{2 * GIB}\n",
            memory___memory__usage_in_bytes=f"{GIB}\n",
            memory___a___memory__limit_in_bytes="9223372036854771712\n",
            memory___a___memory__usage_in_bytes=f"{GIB}\n",
        )

        assert doctor.usable_memory(host) == Memory(2 * GIB, GIB)

    def test_group_that_is_not_visible(self, host: Host) -> None:
        """In a container whose group's path is the host's, the visible root counts."""
        control(host, "0::/host/only/path\n", memory__max=f"{GIB}\n")

        memory = doctor.usable_memory(host)

        assert memory is not None
        assert memory.total == GIB

    def test_no_kernel_to_ask(self, tmp_path: Path) -> None:
        """Where there is no /proc it is unknown, and no error."""
        assert doctor.usable_memory(Host(tmp_path, tmp_path)) is None


class TestLock:
    """The environment is compared with the lock, name by name."""

    NEEDED = "absl-py\ntypes-pyyaml\nzipp[extra]\n"
    LOCK = (
        "# a comment\n"
        "absl-py==1.4.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "    # via keras\n"
        "Types_PyYAML==6.0 \\\n    --hash=sha256:22\n"
        "pywin32==312 ; sys_platform == 'never' \\\n    --hash=sha256:33\n"
        "zipp==4.1.2 ; python_full_version > '3.0' \\\n    --hash=sha256:44\n"
    )

    def test_same(self) -> None:
        """Nothing differs where all is as locked, whatever else is installed."""
        installed = {
            "absl-py": "1.4.0",
            "types-pyyaml": "6.0",
            "zipp": "4.1.2",
            "mine": "1",
        }

        assert doctor.lock_differences(self.LOCK, installed, self.NEEDED) == []

    def test_different_and_missing(self) -> None:
        """Each difference names the package, what is there and what is locked."""
        installed = {"absl-py": "2.0.0", "types-pyyaml": "6.0"}

        assert doctor.lock_differences(self.LOCK, installed, self.NEEDED) == [
            "absl-py is 2.0.0, locked is 1.4.0",
            "zipp 4.1.2 is missing",
        ]

    def test_what_only_tests_need_may_be_missing(self) -> None:
        """A package that running doesn't need may be missing, but not be another."""
        needed = "absl-py\n"

        assert doctor.lock_differences(self.LOCK, {"absl-py": "1.4.0"}, needed) == []
        assert doctor.lock_differences(
            self.LOCK, {"absl-py": "1.4.0", "zipp": "1.0"}, needed
        ) == ["zipp is 1.0, locked is 4.1.2"]

    def test_build_numbers_are_no_difference(self) -> None:
        """A local version, as a rebuilt wheel has, is still the locked release."""
        installed = {"absl-py": "1.4.0+cpu", "types-pyyaml": "6.0.0", "zipp": "4.1.2"}

        assert doctor.lock_differences(self.LOCK, installed, self.NEEDED) == []

    def test_problem_is_short(self) -> None:
        """Of many differences five are shown, and the rest counted."""
        problems = list(doctor.lock_problems([f"p{n} 1 is missing" for n in range(9)]))

        assert len(problems) == 1
        assert "p4 1 is missing; and 4 more" in problems[0].what
        assert "./bootstrap" in problems[0].remedy

    def test_no_lock(self) -> None:
        """An installed Throughline without a checkout has no lock to differ from."""
        assert list(doctor.lock_problems(None)) == []


class TestProblems:
    """What is amiss is named with its value and with what to do."""

    @pytest.mark.parametrize("version", [(3, 10), (3, 14)])
    def test_python(self, version: tuple[int, int]) -> None:
        """A Python that TFX has no wheels for is amiss."""
        (problem,) = doctor.python_problems(version)

        assert f"{version[0]}.{version[1]}" in problem.what
        assert "./bootstrap" in problem.remedy

    @pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
    def test_supported_python(self, version: tuple[int, int]) -> None:
        """The Pythons that there are wheels for are fine."""
        assert list(doctor.python_problems(version)) == []

    def test_old_c_runtime(self) -> None:
        """A glibc older than the wheels is amiss, a newer one or none is not."""
        (problem,) = doctor.runtime_problems(CRuntime((2, 36), private=False))

        assert "glibc 2.36 (the host's) is older than 2.38" in problem.what
        assert not list(doctor.runtime_problems(CRuntime((2, 41), private=True)))
        assert not list(doctor.runtime_problems(CRuntime((), private=False)))

    def test_little_room(self) -> None:
        """Little memory and little disk are amiss each by itself."""
        memory, disk = doctor.room_problems(Memory(GIB, GIB // 2), GIB)

        assert memory.what.startswith("0.5 GiB of memory")
        assert disk.what.startswith("1.0 GiB of disk")
        assert not list(doctor.room_problems(Memory(8 * GIB, 4 * GIB), 9 * GIB))
        assert not list(doctor.room_problems(None, 9 * GIB))


class TestHere:
    """On the machine and in the environment that the tests run in."""

    def test_free_disk_of_a_directory_to_be(self, tmp_path: Path) -> None:
        """output/ needn't exist to be asked about."""
        assert doctor.free_disk(tmp_path / "not" / "there" / "yet") > 0

    @pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
    def test_c_runtime_in_use(self) -> None:
        """It tells our own runtime from the host's by what the process has loaded."""
        runtime = doctor.c_runtime(Host(), Path(sys.prefix))

        assert runtime.version >= doctor.NEEDED_GLIBC
        assert runtime.private is (Path(sys.prefix) / "runtime").is_dir()

    def test_this_environment_is_as_locked(self) -> None:
        """The environment that bootstrap made is what the lock says."""
        lock, needed = (
            (PROJECT / name).read_text(encoding="utf-8")
            for name in ("requirements.lock", "requirements-run.txt")
        )

        assert doctor.lock_differences(lock, doctor.installed_versions(), needed) == []

    def test_versions_agree_with_the_packages(self) -> None:
        """Versions read from directory names are those the packages report."""
        found = doctor.installed_versions()

        assert found["tfx"] == "1.21.0"
        assert found["pytest"] == pytest.__version__

    def test_needs_no_tensorflow(self) -> None:
        """A command for broken environments imports nothing that may be broken."""
        code = (
            "import sys; from pipeline.doctor import doctor; doctor();"
            " print([m for m in ('tensorflow', 'tfx', 'apache_beam', 'numpy')"
            " if m in sys.modules])"
        )

        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.splitlines()[-1] == "[]"

    def test_prints_facts_and_exits_with_the_verdict(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It returns 1 and says what to do when something is amiss, else 0."""
        monkeypatch.setattr(doctor, "room_problems", lambda *_: iter(()))
        well = doctor.doctor()
        shown = capsys.readouterr().out
        problem = doctor.Problem("a thing [is] off", "mend it")
        monkeypatch.setattr(doctor, "room_problems", lambda *_: iter((problem,)))

        ill = doctor.doctor()

        assert (well, ill) == (0, 1)
        assert "tfx" in shown
        assert "no problems" in shown
        printed = capsys.readouterr().out
        assert "problem: a thing [is] off" in printed
        assert "mend it" in printed
        assert "no problems" not in printed

    def test_a_checkout_without_a_lock(self, tmp_path: Path) -> None:
        """Outside a checkout there is nothing to compare with, and it says so."""
        report = doctor.examine(tmp_path)
        out = io.StringIO()

        doctor.show(report, Console(file=out, width=120))

        assert "this is no checkout" in out.getvalue()
