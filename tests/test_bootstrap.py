"""What ``bootstrap`` promises short of an installation, which takes a minute."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
BASH = shutil.which("bash") or "/bin/bash"
PYTHON = sys.executable

# The files that an environment depends on.
MADE_FROM = (
    "bootstrap",
    "environments/c-runtime",
    "setup.py",
    "requirements.lock",
    "requirements-run.txt",
)
# The commands that bootstrap runs before it writes anything.
COMMANDS = (
    "awk",
    "basename",
    "cat",
    "cksum",
    "df",
    "dirname",
    "flock",
    "sed",
    "uname",
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without an environment, at a path with a space and a quote."""
    directory = tmp_path / "a b" / "it's"
    directory.mkdir(parents=True)
    (directory / "environments").mkdir()
    for name in MADE_FROM:
        shutil.copy(PROJECT / name, directory / name)
    return directory


@pytest.fixture
def call(checkout: Path) -> Run:
    """Run shell code with bootstrap's functions at hand."""

    def run(code: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BASH, "-c", f"source ./bootstrap\nset -euo pipefail\n{code}"],
            cwd=checkout,
            input=stdin,
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def start(
    directory: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run bootstrap itself."""
    return subprocess.run(
        [BASH, "./bootstrap", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def quoted(*words: object) -> str:
    """Write words so that a shell reads them as they are."""
    return shlex.join(map(str, words))


def tools(directory: Path, *names: str) -> str:
    """Make a PATH that has just the commands named, and those all machines have."""
    directory.mkdir()
    for name in (*COMMANDS, *names):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found, name
        (directory / name).symlink_to(found)
    return str(directory)


def script(path: Path, text: str) -> Path:
    """Write a file that can be executed."""
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def repository(directory: Path, holds: str) -> None:
    """Make an apt repository of one package, python3-pip-whl, with one empty file."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = (
        "Package: python3-pip-whl\nVersion: 1\nArchitecture: all\n"
        "Maintainer: a test <test@localhost>\nDescription: a test\n"
    )
    (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    (tree / holds).parent.mkdir(parents=True)
    (tree / holds).touch()
    deb = directory / "pip.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    (directory / "Packages").write_text(
        f"{control}Filename: ./pip.deb\nSize: {deb.stat().st_size}\nSHA256: {digest}\n",
        encoding="utf-8",
    )
    (directory / "sources.list").write_text(
        f"deb [trusted=yes] file:{directory} ./\n", encoding="utf-8"
    )


def pretend_made(
    checkout: Path, call: Run, asked: str = "", level: str = "run"
) -> None:
    """Leave what a finished bootstrap leaves, with nothing installed."""
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    printed = call("fingerprint").stdout.strip()
    (checkout / ".venv" / "bootstrap.stamp").write_text(
        f"{printed}\n{sys.executable}\n{asked}\n{level}\n", encoding="utf-8"
    )


class TestNothingToDo:
    """A current .venv costs nothing."""

    def test_is_silent(self, tmp_path: Path, checkout: Path, call: Run) -> None:
        """With a current environment it prints nothing, and runs no Python to see it.

        That takes 0.01 s, which every `make run` and `make test` pays.
        """
        pretend_made(checkout, call)

        done = start(checkout, PATH=tools(tmp_path / "bin"), PYTHONHOME="/nonexistent")

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_works_from_any_directory(self, checkout: Path, call: Run) -> None:
        """Where it is called from doesn't matter."""
        pretend_made(checkout, call)

        done = subprocess.run([str(checkout / "bootstrap")], cwd="/", check=False)

        assert done.returncode == 0

    @pytest.mark.parametrize("name", MADE_FROM)
    def test_notices_a_changed_file(self, checkout: Path, call: Run, name: str) -> None:
        """A change of what the environment is made from makes it stale."""
        pretend_made(checkout, call)
        with (checkout / name).open("a", encoding="utf-8") as file:
            file.write("# changed\n")

        assert call("is_current").returncode == 1

    def test_notices_a_moved_checkout(self, checkout: Path, call: Run) -> None:
        """A virtual environment doesn't survive a move, and bootstrap knows."""
        pretend_made(checkout, call)
        moved = checkout.parent / "moved"
        shutil.copytree(checkout, moved, symlinks=True)

        done = subprocess.run(
            [BASH, "-c", "source ./bootstrap; is_current"], cwd=moved, check=False
        )

        assert done.returncode == 1

    def test_notices_a_python_that_is_gone(self, checkout: Path, call: Run) -> None:
        """An interpreter that was removed makes the environment stale."""
        pretend_made(checkout, call)
        (checkout / ".venv" / "bin" / "python").unlink()

        assert call("is_current").returncode == 1

    def test_notices_another_python_asked_for(self, checkout: Path, call: Run) -> None:
        """PYTHON counts when it is set, and any environment does when it isn't."""
        pretend_made(checkout, call, asked="python3.11")

        assert call("is_current").returncode == 0
        assert call("is_current", PYTHON="python3.11").returncode == 0
        assert call("is_current", PYTHON="python3.12").returncode == 1

    def test_what_is_there_for_tests_is_there_for_runs(
        self, checkout: Path, call: Run
    ) -> None:
        """--dev adds to what running needs, and nothing takes it away again."""
        pretend_made(checkout, call, level="dev")

        assert call("is_current").returncode == 0
        assert call("LEVEL=dev; is_current").returncode == 0
        assert call("is_current || true; echo $LEVEL").stdout == "dev\n"

    def test_tests_need_more_than_runs(self, checkout: Path, call: Run) -> None:
        """An environment for running isn't enough for --dev."""
        pretend_made(checkout, call)

        assert call("is_current").returncode == 0
        assert call("LEVEL=dev; is_current").returncode == 1

    def test_a_killed_run_is_not_current(self, checkout: Path, call: Run) -> None:
        """Without its stamp an environment counts for nothing."""
        pretend_made(checkout, call)
        (checkout / ".venv" / "bootstrap.stamp").unlink()

        assert call("is_current").returncode == 1


class TestWhatTheMachineLacks:
    """One sentence and exit code 2."""

    def test_no_python(self, tmp_path: Path, call: Run) -> None:
        """Without any Python it says which it wants and how to name one."""
        path = tools(tmp_path / "bin")

        done = call("PYTHON_DIRECTORIES=(); find_python", PATH=path)

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "no 64-bit CPython 3.11, 3.12 or 3.13" in done.stderr
        assert "(0 other Pythons looked at)" in done.stderr
        assert "PYTHON=" in done.stderr

    def test_pythons_that_do_not_serve(self, tmp_path: Path, call: Run) -> None:
        """A broken shim and an unreadable one are skipped, and each counted once."""
        path = tools(tmp_path / "bin")
        script(tmp_path / "bin" / "python3.11", "#!/nonexistent/interpreter")
        script(tmp_path / "bin" / "python3", "#!/bin/sh\nexit 127")

        done = call(f"PYTHON_DIRECTORIES=({quoted(path)}); find_python", PATH=path)

        assert done.returncode == 2
        assert "(2 other Pythons looked at)" in done.stderr

    def test_the_python_asked_for(self, checkout: Path) -> None:
        """PYTHON is taken at its word: no other is looked for."""
        done = start(checkout, PYTHON="/nonexistent/python")

        assert done.returncode == 2
        assert "PYTHON=/nonexistent/python is not" in done.stderr
        assert not (checkout / ".venv").exists()

    @pytest.mark.parametrize("name", ["python3.11", "python3.13", "python"])
    def test_finds_the_only_python(self, tmp_path: Path, call: Run, name: str) -> None:
        """One suitable Python is found, whichever of the names is the only one."""
        path = tools(tmp_path / "bin")
        script(tmp_path / "bin" / name, f'#!/bin/sh\nexec {quoted(PYTHON)} "$@"')

        done = call(
            'PYTHON_DIRECTORIES=(); find_python; "$BASE" -c "print(1 + 1)"', PATH=path
        )

        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr

    def test_prefers_a_python_that_runs(self, tmp_path: Path, call: Run) -> None:
        """A broken candidate is skipped for one that runs, on PATH or off it."""
        path = tools(tmp_path / "bin")
        script(tmp_path / "bin" / "python3.11", "#!/bin/sh\nexit 126")
        other = tmp_path / "other"
        other.mkdir()
        script(other / "python3.12", f'#!/bin/sh\nexec {quoted(PYTHON)} "$@"')

        done = call(
            f"PYTHON_DIRECTORIES=({quoted(other)}); find_python;"
            ' "$BASE" -c "print(1 + 1)"',
            PATH=path,
        )

        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr

    def test_no_compiler(self, tmp_path: Path, checkout: Path) -> None:
        """A machine that can't compile is refused by g++'s name, before any fetch."""
        path = tools(tmp_path / "bin")

        done = start(checkout, PATH=path, PYTHON=PYTHON)

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "pyfarmhash" in done.stderr
        assert "lacks a C++ compiler (g++)" in done.stderr
        assert "install what Debian calls g++" in done.stderr
        assert not (checkout / ".venv").exists()

    def test_a_compiler_that_does_not_compile(self, checkout: Path) -> None:
        """CXX is the compiler that builds take, so it is what is tried."""
        done = start(checkout, PYTHON=PYTHON, CXX="false")

        assert done.returncode == 2
        assert "lacks a C++ compiler (false)" in done.stderr

    def test_no_python_headers(self, tmp_path: Path, call: Run) -> None:
        """Debian's g++ doesn't bring Python.h, so its package is named."""
        bare = script(
            tmp_path / "python3.13",
            "#!/bin/sh\n"
            "{ echo 'import sysconfig; sysconfig.get_path = lambda name: \"/none\"'\n"
            f'cat; }} | {quoted(PYTHON)} "$@"',
        )

        done = call(f"BASE={quoted(bare)}; check_compiler")

        assert done.returncode == 2
        assert "lacks the headers of python3.13: " in done.stderr
        assert "python3.13-dev" in done.stderr.replace("-devel", "-dev")

    def test_a_compiled_package_needs_no_compiler(
        self, checkout: Path, call: Run
    ) -> None:
        """Where the locked version is compiled already, no compiler is asked for."""
        lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
        (version,) = re.findall(r"^pyfarmhash==(\S+)", lock, re.MULTILINE)
        packages = checkout / ".venv" / "lib" / "python3.11" / "site-packages"
        (packages / f"pyfarmhash-{version}.dist-info").mkdir(parents=True)

        done = call("BASE=/nonexistent; check_compiler")

        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("tool", "said"),
        [
            ("apt-get", "as root, apt-get install g++ python3.13-dev\n"),
            ("dnf", "as root, dnf install gcc-c++ python3.13-devel\n"),
            ("true", "install what Debian calls g++ python3.13-dev\n"),
        ],
    )
    @pytest.mark.skipif(sys.platform != "linux", reason="macOS has one answer")
    def test_packages_by_their_names_here(
        self, tmp_path: Path, call: Run, tool: str, said: str
    ) -> None:
        """The packages have the names that this machine's package manager knows."""
        path = tools(tmp_path / "bin")
        script(tmp_path / "bin" / tool, "#!/bin/sh")

        assert call("installing g++ python3.13-dev", PATH=path).stdout == said

    def test_too_little_disk(self, call: Run) -> None:
        """A full disk is told before anything is fetched, with both figures."""
        done = call("free_mb() { echo 1234; }; check_disk")

        assert done.returncode == 2
        assert "4500 MB" in done.stderr
        assert "1234 MB" in done.stderr

    @pytest.mark.skipif(sys.platform != "linux", reason="apt is for Linux")
    def test_no_apt_on_an_old_machine(
        self, tmp_path: Path, checkout: Path, call: Run
    ) -> None:
        """Where glibc is old and apt-get isn't there, newer systems are named."""
        path = tools(tmp_path / "bin", "mktemp", "rm", "mkdir")
        (checkout / ".venv").mkdir()

        done = call(
            f"PATH={quoted(path)}; runtime_is_new_enough() {{ return 1; }}; BASE=x;"
            " host_release() { echo bookworm; }; provide_runtime"
        )

        assert done.returncode == 2
        assert "without apt-get and dpkg-deb" in done.stderr
        assert "Debian 13" in done.stderr

    def test_a_distribution_it_does_not_know(self, checkout: Path, call: Run) -> None:
        """An old machine of an unknown release is named in the sentence."""
        (checkout / ".venv").mkdir()

        done = call(
            "runtime_is_new_enough() { return 1; }; host_release() { echo warty; };"
            " apt-get() { :; }; dpkg-deb() { :; }; BASE=x; provide_runtime"
        )

        assert done.returncode == 2
        assert "for 'warty' it is not known" in done.stderr

    def test_another_processor(self, call: Run) -> None:
        """A platform without wheels is told by its name."""
        done = call("uname() { [[ $1 == -s ]] && echo Linux || echo s390x; }; prepare")

        assert done.returncode == 2
        assert "this is Linux s390x" in done.stderr

    @pytest.mark.parametrize(
        ("logged", "said"),
        [
            ("OSError: [Errno 28] No space left on device", "the disk is full"),
            ("error: Failed to fetch: `x` dns error", "is there a network"),
            ("E: Failed to fetch y  Could not resolve 'z'", "is there a network"),
            ("  cause: Hash mismatch for `rich==1`", "hash is not the one"),
            ("error: Permission denied (os error 13)", "a permission is missing"),
            ("No such file or directory: 'x86_64-linux-gnu-g++'", "be compiled"),
            ("something else", "see the log's last lines"),
        ],
    )
    def test_reads_the_reason_from_the_log(
        self, checkout: Path, call: Run, logged: str, said: str
    ) -> None:
        """The tools' words become a few of ours."""
        (checkout / ".venv").mkdir()
        (checkout / ".venv" / "bootstrap.log").write_text(
            f"before\n{logged}\n", encoding="utf-8"
        )

        assert said in call("reason").stdout

    def test_an_option_it_does_not_have(self, checkout: Path) -> None:
        """A mistyped option changes nothing and names the options there are."""
        done = start(checkout, "--lcok")

        assert done.returncode == 2
        assert "'--lcok' is not an option" in done.stderr
        assert not (checkout / ".venv").exists()


class TestPip:
    """uv comes by way of some pip, and there are several places to find one."""

    @pytest.fixture
    def without_pip(self, tmp_path: Path, checkout: Path) -> str:
        """Makes a Python that has ensurepip and no pip."""
        (checkout / ".venv").mkdir()
        bare = tmp_path / "bare"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", bare], check=True)
        return str(bare / "bin" / "python")

    @pytest.mark.skipif(not find_spec("ensurepip"), reason="python3-venv isn't here")
    def test_pythons_own(self, tmp_path: Path, call: Run, without_pip: str) -> None:
        """Where no Python has pip, the wheel that ensurepip brings along serves."""
        path = tools(tmp_path / "bin")

        done = call(
            f"BASE={quoted(without_pip)}; PYTHON_DIRECTORIES=(); find_pip;"
            ' "${PIP[@]}" --version',
            PATH=path,
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("pip ")

    @pytest.mark.skipif(
        not (shutil.which("apt-get") and shutil.which("dpkg-deb")),
        reason="apt is for Debian and Ubuntu",
    )
    def test_the_distributions(self, tmp_path: Path, call: Run) -> None:
        """The wheel comes from this machine's own sources, whatever its release."""
        repository(tmp_path / "repo", "usr/share/python-wheels/pip-1-py3.whl")
        settings = tmp_path / "apt.conf"
        settings.write_text(
            f'Dir::Etc::sourcelist "{tmp_path}/repo/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\n',
            encoding="utf-8",
        )
        out = tmp_path / "out"
        out.mkdir()

        done = call(f"fetch_pip_wheel {quoted(out)}", APT_CONFIG=str(settings))

        assert done.returncode == 0, done.stdout + done.stderr
        assert (out / "root/usr/share/python-wheels/pip-1-py3.whl").is_file()


class TestAptSources:
    """Only the distribution's own archive, for the next release."""

    def test_one_line_format(self, call: Run) -> None:
        """Other publishers, sources, backports and comments are left out."""
        sources = """\
# deb http://mirror.test/debian bookworm main
deb http://mirror.test/debian bookworm main contrib non-free-firmware
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=amd64] \
https://cache.test/proxied bookworm-updates main # ours
deb-src http://mirror.test/debian bookworm main
deb http://mirror.test/debian-security/ bookworm-security main
deb http://mirror.test/debian bookworm-backports main
deb https://packages.test/apt cloud-sdk-bookworm main
deb https://apt.test bookworm main
deb https://docker.test/linux/debian bookworm stable
deb https://pgdg.test/debian bookworm-pgdg main
"""

        derived = call("derive_list bookworm trixie", sources).stdout

        assert derived == (
            "deb http://mirror.test/debian trixie main\n"
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=amd64]"
            " https://cache.test/proxied trixie-updates main\n"
            "deb http://mirror.test/debian-security/ trixie-security main\n"
        )

    def test_deb822_format(self, call: Run) -> None:
        """Stanzas keep their key, also one written out in the file."""
        sources = """\
Types: deb deb-src
# a snapshot's address
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://node.test/node_20.x
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm
Components: main
"""

        derived = call("derive_sources bookworm trixie", sources).stdout

        assert (
            derived
            == """\
Types: deb
URIs: http://mirror.test/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: trixie-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""
        )

    def test_ubuntu(self, call: Run) -> None:
        """Ubuntu's archive becomes the next long-term release's."""
        sources = "deb http://mirror.test/ubuntu/ jammy-updates main restricted\n"

        derived = call("derive_list jammy noble", sources).stdout

        assert derived == "deb http://mirror.test/ubuntu/ noble-updates main\n"

    def test_reads_both_formats_from_a_machine(self, tmp_path: Path, call: Run) -> None:
        """Both files' places are read, and files that come to nothing aren't made."""
        etc, out = tmp_path / "etc", tmp_path / "out"
        (etc / "sources.list.d").mkdir(parents=True)
        out.mkdir()
        entry = "deb http://mirror.test/debian bookworm main\n"
        (etc / "sources.list").write_text(entry, encoding="utf-8")
        (etc / "sources.list.d" / "other.list").write_text(
            "deb https://apt.test stable main\n", encoding="utf-8"
        )
        (etc / "sources.list.d" / "debian.sources").write_text(
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\n"
            "Components: main\n",
            encoding="utf-8",
        )

        done = call(f"derive_apt_sources bookworm trixie {quoted(out, etc)}")

        assert done.returncode == 0
        assert sorted(path.name for path in out.iterdir()) == [
            "debian.sources",
            "one-line-sources.list",
        ]

    def test_says_when_nothing_is_left(self, tmp_path: Path, call: Run) -> None:
        """A machine that names no archive of its own is told apart."""
        etc, out = tmp_path / "etc", tmp_path / "out"
        etc.mkdir()
        out.mkdir()

        done = call(f"derive_apt_sources bookworm trixie {quoted(out, etc)}")

        assert done.returncode != 0


class TestThisEnvironment:
    """The environment that these tests run in is one that bootstrap made."""

    def test_the_wrapper_passes_everything_on(self, checkout: Path, call: Run) -> None:
        """Quotes in the project's path reach the loader whole."""
        loader = checkout / ".venv" / "runtime" / "ld-linux-x86-64.so.2"
        loader.parent.mkdir(parents=True)
        (checkout / ".venv" / "bin").mkdir()
        loader.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
        loader.chmod(0o755)
        assert call("BASE=/usr/bin/python; write_wrapper").returncode == 0

        python = checkout / ".venv" / "bin" / "python"
        done = subprocess.run(
            [python, "-c", "print('a  b')"], capture_output=True, text=True, check=True
        )

        assert done.stdout.splitlines() == [
            "--library-path",
            str(checkout / ".venv" / "runtime"),
            "--argv0",
            str(python),
            "/usr/bin/python",
            "-c",
            "print('a  b')",
        ]

    def test_children_get_the_same_runtime(self) -> None:
        """sys.executable, which runners start nodes with, has what TFX needs."""
        done = subprocess.run(
            [
                BASH,
                "-c",
                'source "$1/bootstrap" && runtime_is_new_enough "$2"',
                "test",
                str(PROJECT),
                sys.executable,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr

    def test_running_needs_a_part_of_the_lock(self, call: Run) -> None:
        """Without --dev it installs TFX and the installer, and no test tools."""
        run, dev = (
            {
                line.partition("==")[0]
                for line in call(f"LEVEL={level}; wanted_packages").stdout.splitlines()
                if re.match(r"[a-z]", line)
            }
            for level in ("run", "dev")
        )

        listed = (PROJECT / "requirements-run.txt").read_text(encoding="utf-8")
        assert run == set(listed.splitlines()) < dev
        assert {"tfx", "kfp", "uv", "setuptools"} <= run
        assert {"pytest", "playwright", "jupyterlab"} <= dev - run

    def test_the_lock_names_no_machine_and_no_index(self) -> None:
        """The lock is the same wherever it was made."""
        text = (PROJECT / "requirements.lock").read_text(encoding="utf-8")

        assert "./bootstrap --lock" in text
        assert "://" not in text
        assert str(PROJECT) not in text
        pinned = [line for line in text.splitlines() if "==" in line.split(" ;")[0]]
        assert len(pinned) > 200
        assert text.count("--hash=sha256:") > len(pinned)
