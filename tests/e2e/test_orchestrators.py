"""The same pipeline, run by each orchestrator for real, gives what a local run gives.

Nodes are forks of the warm process, because their imports would cost more than their
work; order and commands, which the orchestrator decides, stay the same. One node on
Kubeflow, the Trainer, is a process that imports TFX, as all are for a user.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.orchestrated import SMOKE, run_in_store, same_weights, traces
from tests.e2e.runs import PROJECT, Finished, Rows, finished, write_csv
from tests.e2e.warm import WarmProcess
from tests.pipeline.runners.airflow_home import make_airflow
from tests.pipeline.runners.kfp_backend import Backend, Package
from tests.pipeline.runners.redis_server import redis_server

pytestmark = pytest.mark.e2e

PROGRAMS = Path(sys.executable).parent


def call(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, wherever its output goes."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )


def run_on_kubeflow(data: Path, work: Path, warm: WarmProcess) -> Finished:
    """Compiles for Kubeflow, and runs the package as the backend does."""
    output, package = work / "out", work / "package"
    compile_for("kubeflow", package, output, data, warm, "--containers.retries", "0")
    backend = Backend(
        volumes={"throughline": output},
        secrets={
            ("throughline-metadata", "url"): f"sqlite:///{output}/metadata.db",
        },
        path=programs_but_for("Trainer", work / "bin", warm),
    )
    ended = backend.run(Package.read(package / "kubeflow.yaml"), "run-1")
    return run_in_store(ended.exit_code, ended.text, output)


def run_on_luigi(data: Path, work: Path, warm: WarmProcess, *flags: str) -> Finished:
    """Compiles for Luigi and runs that with two workers."""
    output, compiled = work / "out", work / "compiled"
    compile_for("luigi", compiled, output, data, warm, *flags)
    fork_nodes(compiled, warm)
    module = [sys.executable, "-m", "pipeline.runners.luigi", "--compiled", compiled]
    done = call(*module, "--run", "one", "--workers", 2)
    return run_in_store(done.returncode, done.stdout, output)


def run_on_celery(data: Path, work: Path, warm: WarmProcess) -> Finished:
    """Compiles for Celery and runs that with two workers on Redis."""
    output, compiled = work / "out", work / "compiled"
    compile_for("celery", compiled, output, data, warm)
    fork_nodes(compiled, warm)
    module = [sys.executable, "-m", "pipeline.runners.celery"]
    with ExitStack() as stack:
        broker = stack.enter_context(redis_server(work))
        flags = ["--compiled", str(compiled), "--broker", broker]
        for name in ("one@here", "two@here"):
            log = stack.enter_context((work / f"{name}.log").open("wb"))
            worker = subprocess.Popen(
                [*module, "worker", *flags, "--name", name], stdout=log, stderr=log
            )
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
        done = call(*module, "run", *flags, "--run", "one")
    return run_in_store(done.returncode, done.stdout, output)


def run_on_airflow(version: int, data: Path, work: Path, warm: WarmProcess) -> Finished:
    """Compiles for Airflow and runs that with `airflow dags test` on sqlite."""
    output, compiled = work / "out", work / "compiled"
    compile_for("airflow", compiled, output, data, warm)
    fork_nodes(compiled, warm)
    home = work / "airflow"
    home.mkdir()
    done = make_airflow(version, home).run(compiled, "taxi")
    return run_in_store(done.returncode, done.stdout, output)


def compile_for(
    target: str,
    compiled: Path,
    output: Path,
    data: Path,
    warm: WarmProcess,
    *more: str,
) -> None:
    """Compiles the smoke pipeline for an orchestrator."""
    program = [warm.throughline, "compile", "--target", target]
    flags = ["--out", compiled, "--output", output, "--data", data, *SMOKE]
    done = call(*program, *flags, *more)
    assert done.returncode == 0, done.stdout


def fork_nodes(compiled: Path, warm: WarmProcess) -> None:
    """Has the nodes' command run in forks of the warm process."""
    path = compiled / "job.json"
    job = json.loads(path.read_text())
    assert job["command"][0] == str(PROGRAMS / "throughline")
    job["command"][0] = str(warm.throughline)
    path.write_text(json.dumps(job))


def programs_but_for(node: str, directory: Path, warm: WarmProcess) -> Path:
    """Makes a directory with a `throughline` that forks all nodes but one."""
    directory.mkdir()
    program = directory / "throughline"
    program.write_text(
        "#!/bin/sh\n"
        f'program="{warm.throughline}"\n'
        f'case " $* " in *" --node {node} "*) program="{PROGRAMS}/throughline";; esac\n'
        'exec "$program" "$@"\n'
    )
    program.chmod(0o755)
    return directory


Run = Callable[[Path, Path, WarmProcess], Finished]
ORCHESTRATORS: Mapping[str, Run] = {
    "kubeflow": run_on_kubeflow,
    "luigi": run_on_luigi,
    "celery": run_on_celery,
    # Airflow 2 gives the same, but costs 80 s: CI runs its DAG with small nodes.
    "airflow": partial(run_on_airflow, 3),
}


@pytest.fixture(scope="session")
def local_and_others(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sample_rows: Rows,
    warm: WarmProcess,
) -> Iterator[Mapping[str, Future[Finished]]]:
    """Starts the local run, then those of the orchestrators that tests ask for."""
    work = tmp_path_factory.mktemp("orchestrated")
    data = write_csv(work / "data" / "trips.csv", sample_rows[:600])
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    names = [
        c.params["orchestrator"] for c in asked if c and "orchestrator" in c.params
    ]
    with ThreadPoolExecutor(2) as pool:
        started = {"local": pool.submit(run_here, data, work / "local", warm)}
        for name in dict.fromkeys(names):
            runs = ORCHESTRATORS[name]
            started[name] = pool.submit(timed, name, runs, data, work / name, warm)
        yield started


def run_here(data: Path, output: Path, warm: WarmProcess) -> Finished:
    """Runs the same with the local runner and one worker."""
    flags = (*SMOKE, "--data", data, "--workers", "1")
    return finished(*warm.run(output, *flags), output)


def timed(name: str, run: Run, data: Path, work: Path, warm: WarmProcess) -> Finished:
    """Runs an orchestrator and prints what it took."""
    begin = time.monotonic()
    work.mkdir()
    done = run(data, work, warm)
    sys.stderr.write(f"{name} took {time.monotonic() - begin:.0f} s\n")
    return done


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_run_is_that_of_a_local_one(
    orchestrator: str, local_and_others: Mapping[str, Future[Finished]]
) -> None:
    """Nodes, states, artifact types, metrics and all weights equal a local run's."""
    local = local_and_others["local"].result()

    run = local_and_others[orchestrator].result()

    assert local.exit_code == 0, local.text
    assert run.exit_code == 0, run.text
    assert traces(run) == traces(local)
    # TFMA adds up in any order, which shows in the tenth digit.
    ours, theirs = run.metrics()["candidate"], local.metrics()["candidate"]
    assert ours == pytest.approx(theirs, rel=1e-7)
    assert same_weights(run, local)
