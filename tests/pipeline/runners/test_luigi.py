"""The compiled pipeline, run by Luigi."""

import subprocess
import sys

import pytest

from pipeline.errors import exit_code
from pipeline.runners.luigi import run
from tests.pipeline.runners.conftest import Stub

MODULE = ("-m", "pipeline.runners.luigi")
# The same, which ends with 99 if that imported TensorFlow or TFX.
LIGHT = """\
import sys
from pipeline.errors import exit_code
from pipeline.runners.luigi import run
code = exit_code(lambda: run(sys.argv[1:]))
heavy = {"tfx", "tensorflow", "apache_beam", "ml_metadata"}
sys.exit(99 if heavy & set(sys.modules) else code)
"""


def luigi(
    stub: Stub, run: str = "monday", program: tuple[str, ...] = MODULE
) -> subprocess.CompletedProcess[str]:
    """Runs the four nodes with two workers."""
    flags = ["--compiled", str(stub.directory), "--run", run, "--workers", "2"]
    return subprocess.run(
        [sys.executable, *program, *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nodes_run_in_order_and_in_parallel(stub: Stub) -> None:
    """Each node runs once, after those it waits for, and two at the same time."""
    stub.slow_down("Left", 1)
    stub.slow_down("Right", 1)

    done = luigi(stub)

    assert done.returncode == 0, done.stderr
    assert stub.calls()[0] == "Gen"
    assert stub.calls()[-1] == "Push"
    assert sorted(stub.calls("start")) == sorted(stub.upstream)
    assert {event.split()[0] for event in stub.events()[2:4]} == {"start"}
    assert stub.run_ids() == {"monday-abcd1234"}


def test_second_time_does_nothing(stub: Stub) -> None:
    """The same run again starts no node, another one all; none imports TensorFlow."""
    first = luigi(stub, program=("-c", LIGHT))

    again = luigi(stub)
    other = luigi(stub, "tuesday")

    assert (first.returncode, again.returncode, other.returncode) == (0, 0, 0)
    assert len(stub.calls("start")) == 8


def test_failing_node_fails_the_run_with_its_code(stub: Stub) -> None:
    """The exit code is the node's, what waits for it never starts, its log is named."""
    stub.fail("Left", 3)

    done = luigi(stub)

    assert done.returncode == 3
    assert "Push" not in stub.calls("start")
    assert "Left.log" in done.stderr


def test_failed_run_goes_on_where_it_stopped(stub: Stub) -> None:
    """After a failure the same command runs what is not done, and nothing twice."""
    stub.fail("Left", 1, once=True)
    failed = luigi(stub)

    done = luigi(stub)

    assert (failed.returncode, done.returncode) == (1, 0)
    assert sorted(stub.calls()) == sorted(stub.upstream)
    assert sorted(stub.calls("start")) == sorted([*stub.upstream, "Left"])


def test_names_that_lead_elsewhere_are_refused(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose name could leave the directory ends with 2; nothing is written."""
    before = sorted(stub.directory.parent.rglob("*"))
    name = "../../../evilrun"
    flags = ["--compiled", str(stub.directory), "--run", name]

    code = exit_code(lambda: run(flags))

    assert code == 2
    said = capsys.readouterr().err
    assert f"run is {name!r}; the name of a run must" in said
    assert "Traceback" not in said
    assert sorted(stub.directory.parent.rglob("*")) == before
