"""The engine: local workers and Beam give the same results to the last bit."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.columnar import engine
from pipeline.columnar.engine import OnBeam, Runner, Workers
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.errors import ThroughlineError


@pytest.fixture(params=["one", "threads", "beam"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """Each form that an engine has."""
    options = PipelineOptions([IN_PROCESS_BEAM_RUNNER])
    forms: dict[str, Runner] = {
        "one": Workers(1),
        "threads": Workers(3),
        "beam": OnBeam(lambda: beam.Pipeline(options=options), str(tmp_path)),
    }
    return forms[request.param]


def _fraction(number: int) -> tuple[float, list[int]]:
    return (1.0 / (number + 1), [number])


def _summed(partials: list[tuple[float, list[int]]]) -> tuple[float, list[int]]:
    # Neither sum is the same in another order.
    return (
        sum(value for value, _ in partials),
        [number for _, numbers in partials for number in numbers],
    )


def _refused(number: int) -> None:
    raise ThroughlineError(f"shard {number} is damaged")


@pytest.mark.parametrize("count", [1, 16, 17, 300])
def test_results_are_the_same_in_each_form(runner: Runner, count: int) -> None:
    """Sums of floats are equal to the last bit, and everything is there in order."""
    expected = engine.aggregate(_fraction, _summed, range(count), Workers(1))

    found = engine.aggregate(_fraction, _summed, range(count), runner)

    assert found == expected
    assert found is not None
    assert found[1] == list(range(count))


def test_map_keeps_the_order_of_the_shards(runner: Runner) -> None:
    """There is a result for each shard, in their order."""
    assert engine.map_shards(hex, range(20), runner) == [hex(n) for n in range(20)]


def test_nothing_to_do_gives_nothing(runner: Runner) -> None:
    """Without shards there are no results and no partial result."""
    assert engine.map_shards(hex, [], runner) == []
    assert engine.aggregate(_fraction, _summed, [], runner) is None


def test_error_of_a_shard_is_raised(runner: Runner) -> None:
    """What a worker raised says which shard it was."""
    with pytest.raises(Exception, match="shard 0 is damaged"):
        engine.map_shards(_refused, range(3), runner)


def test_results_on_beam_leave_no_files(tmp_path: Path) -> None:
    """The files that results pass through are removed."""
    options = PipelineOptions([IN_PROCESS_BEAM_RUNNER])
    runner = OnBeam(lambda: beam.Pipeline(options=options), str(tmp_path))

    engine.map_shards(hex, range(20), runner)

    assert list(tmp_path.iterdir()) == []


def test_workers_are_bounded() -> None:
    """No more threads work at once than there are workers, and one is this thread."""
    seen: set[int] = set()

    def note(_: int) -> None:
        seen.add(threading.get_ident())

    engine.map_shards(note, range(50), Workers(2))
    assert len(seen) <= 2
    seen.clear()
    engine.map_shards(note, range(5), Workers(1))
    assert seen == {threading.get_ident()}


def test_a_stream_is_worked_on_in_order_and_not_read_far_ahead() -> None:
    """Results come in order; only as many pieces wait as there are workers."""
    read: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    done = engine.in_order(str, pieces(), Workers(3))

    assert next(done) == "0"
    assert len(read) <= 4
    assert list(done) == [str(number) for number in range(1, 20)]


# Each process starts the threads of its libraries once.
_LIMITED = """
import json
from pathlib import Path
import pyarrow as pa
import tensorflow as tf
from pipeline.columnar import engine
from pipeline.columnar.engine import Workers

engine.limit_workers(1)
large = tf.ones([1_000, 1_000])
(large @ large).numpy()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print(json.dumps([Workers().at_once, Workers(3).at_once, pa.cpu_count(),
                  names.count("tf_Compute")]))
"""


def test_limit_bounds_workers_and_libraries() -> None:
    """What a runner's --workers says bounds our threads, Arrow's and TensorFlow's."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=True
    )

    usual, explicit, arrow, tensorflow = json.loads(done.stdout)
    assert (usual, explicit, arrow) == (1, 3, 1)
    assert tensorflow == 1


_FREED = """
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow as pa
import pyarrow.compute as pc
from pipeline.columnar import engine

def resident():
    found = re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024

if sys.argv[1] == "return":
    engine.return_freed_memory()
base = pa.array(range(500_000))

def allocate(_):
    return [pc.add(base, n) for n in range(20)]

before = resident()
with ThreadPoolExecutor(4) as threads:
    held = list(threads.map(allocate, range(4)))
    del held
    print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc")
def test_freed_memory_is_returned() -> None:
    """Of 320 MB that threads got and freed, a node's process keeps next to nothing."""
    kept = {}
    for how in ("keep", "return"):
        done = subprocess.run(
            [sys.executable, "-c", _FREED, how],
            capture_output=True,
            text=True,
            check=True,
        )
        kept[how] = int(done.stdout)

    assert kept["return"] < 32
    assert kept["keep"] > 2 * kept["return"]


@pytest.mark.parametrize(("workers", "same"), [(1, True), (2, False)])
def test_work_beside_is_on_another_thread(
    monkeypatch: pytest.MonkeyPatch, *, workers: int, same: bool
) -> None:
    """Unless this process may have a single worker only."""
    monkeypatch.setattr(engine, "_limit", workers)

    found = engine.beside(threading.get_ident)()

    assert (found == threading.get_ident()) is same
