"""Compares the pipeline in-process with Flink clusters of this machine.

    python -m benchmarks engines --rows 300000            ten minutes on two cores

The same rows run in-process, and on clusters of one and of two TaskManagers
(`throughline cluster`), once each with an output directory of its own. Processor time
is reported for all processes, and for the Python workers that the engine gave work to;
the rest is the run itself and Flink's Java processes. Other jobs on the machine disturb
it less than the wall time.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import results, trips
from benchmarks.measure import measure_done
from benchmarks.pipeline import machine
from benchmarks.settings import BATCH, STEPS
from pipeline.clusters import pool_process

WORKERS = (0, 1, 2)
"""TaskManagers; without any, the run is in-process."""
EVAL_ROWS = 100_000
"""Rows of the eval split that the Trainer uses: all of them would be read ten times, on
one machine whatever the engine."""
ON_ENGINE = ("ExampleGen", "StatisticsGen", "DataGate", "Transform", "Evaluator")


@dataclass(frozen=True)
class Ran:
    """What a run took.

    Attributes:
        task_managers: Of the cluster; 0 for the run in-process.
        rows: Number of rows of the data.
        seconds: Wall time, with the start of the cluster.
        cpu_seconds: Processor time of all processes.
        worker_cpu_seconds: Processor time of the Python workers of each job.
        nodes: Wall seconds of each node.
    """

    task_managers: int
    rows: int
    seconds: float
    cpu_seconds: float
    worker_cpu_seconds: list[list[float]]
    nodes: dict[str, float]

    @property
    def largest_share(self) -> float:
        """What a job's busiest worker has of the job's work, on average."""
        busiest = sum(map(max, self.worker_cpu_seconds))
        return busiest / sum(map(sum, self.worker_cpu_seconds))


def run(task_managers: int, rows: int, data: Path, place: Path) -> Ran:
    """Runs the pipeline once.

    Raises:
        RuntimeError: The run failed.
    """
    output, logs = place / "output", place / "cluster"
    cluster: list[str] = []
    if task_managers:
        cluster = ["-m", "pipeline.cli", "cluster", "flink"]
        cluster += ["--workers", str(task_managers), "--directory", str(logs)]
        cluster += ["--", sys.executable]
    command = [sys.executable, *cluster, "run_local.py", "--output", str(output)]
    command += ["--data", str(data), "--train-steps", str(STEPS)]
    command += ["--eval-steps", str(EVAL_ROWS // BATCH)]
    # The rows are drawn with replacement, so most repeat another.
    command += ["--batch-size", str(BATCH), "--gate.max-duplicates", "1"]
    command += ["--serving-check.max-latency-ms", "60000"]
    took = measure_done(command, Path.cwd())
    jobs: dict[str, list[float]] = {}
    if task_managers:
        for worker in pool_process.workers_in(logs / f"{pool_process.NAME}.log"):
            jobs.setdefault(worker.job, []).append(worker.seconds)
    newest = max((output / "runs").glob("*/run.json"))
    nodes = json.loads(newest.read_text())["nodes"]
    return Ran(
        task_managers,
        rows,
        took.seconds,
        took.cpu_seconds,
        list(jobs.values()),
        {name: round(node["seconds"], 2) for name, node in nodes.items()},
    )


def table(found: list[Ran]) -> str:
    """Formats the runs, one line for each."""
    heads = ["engine", "rows", "all", "Python workers", "largest share", "jobs"]
    heads += ON_ENGINE
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for ran in found:
        cells = [
            f"Flink, {ran.task_managers}" if ran.task_managers else "in-process",
            f"{ran.rows:,}",
            f"{ran.cpu_seconds:.0f}",
            f"{sum(map(sum, ran.worker_cpu_seconds)):.0f}",
            f"{ran.largest_share:.0%}" if ran.task_managers else "",
            str(len(ran.worker_cpu_seconds)),
            *(f"{ran.nodes[node]:.0f}" for node in ON_ENGINE),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Measures, prints a table, and writes the results."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--rows", type=int, default=300_000)
    flags.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    given = flags.parse_args(arguments)
    found: list[Ran] = []
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        place = Path(name)
        data = place / "data"
        data.mkdir()
        trips.write(data / "trips.csv", given.rows, seed=1)
        for count in given.workers:
            found.append(run(count, given.rows, data, place / str(count)))
            print(json.dumps(asdict(found[-1])), flush=True)
            # A later run may take half an hour, and fail.
            path = _write(found, given)
    print(table(found))
    print(f"results are in {path}")
    return 0


def _write(found: list[Ran], given: argparse.Namespace) -> Path:
    about = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    runs = {"runs": [asdict(each) for each in found]}
    # A size may be measured in several calls, each with other workers.
    names = (given.rows, "workers", *given.workers)
    return results.save("engines", {**about, **runs}, *map(str, names))
