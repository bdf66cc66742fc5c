"""The compiled pipeline, run by Luigi."""

import subprocess
import sys

from tests.pipeline.runners.conftest import Stub


def luigi(stub: Stub, run: str = "monday") -> subprocess.CompletedProcess[str]:
    """Runs the four nodes with two workers."""
    module = [sys.executable, "-m", "pipeline.runners.luigi"]
    return subprocess.run(
        [*module, "--compiled", str(stub.directory), "--run", run, "--workers", "2"],
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
    """The same run again starts no node; another run starts all."""
    luigi(stub)

    again = luigi(stub)
    other = luigi(stub, "tuesday")

    assert (again.returncode, other.returncode) == (0, 0)
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


def test_luigi_needs_no_tensorflow(stub: Stub) -> None:
    """Luigi's process imports neither TFX nor TensorFlow."""
    code = (
        "import sys, pipeline.runners.luigi as l\n"
        f"code = l.run(['--compiled', {str(stub.directory)!r}, '--run', 'x'])\n"
        "bad = {'tfx', 'tensorflow', 'apache_beam', 'ml_metadata'} & set(sys.modules)\n"
        "sys.exit(code or str(bad) if bad else code)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_names_that_lead_elsewhere_are_refused(stub: Stub) -> None:
    """A run whose name could leave the directory ends with 2; nothing is written."""
    before = sorted(stub.directory.parent.rglob("*"))
    run = "../../../evilrun"

    done = luigi(stub, run)

    assert done.returncode == 2
    assert f"run is {run!r}; the name of a run must" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(stub.directory.parent.rglob("*")) == before
