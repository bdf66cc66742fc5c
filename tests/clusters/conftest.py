"""What the tests on clusters share: data, a local run, and a network of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from benchmarks import trips
from pipeline.clusters import jars, network
from pipeline.clusters.flink import Flink
from pipeline.clusters.spark import Spark
from pipeline.clusters.standalone import Cluster, running
from pipeline.errors import UsageError
from tests.e2e.runs import Finished, run_local

BOOT = "github.com/apache/beam/sdks/v2/python/container"

# Rows of the sample are drawn several times, and a busy machine answers slowly.
FLAGS = (
    *("--preset", "smoke", "--gate.max-duplicates", "1"),
    *("--serving-check.max-latency-ms", "60000"),
)


@pytest.fixture(scope="session")
def data(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Trips in several shards (`--rows`), so that both workers have some."""
    directory = tmp_path_factory.mktemp("data")
    trips.write(directory / "trips.csv", request.config.getoption("--rows"), 1)
    return directory


@pytest.fixture(scope="session")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run that those on clusters are compared with."""
    output = tmp_path_factory.mktemp("local") / "out"
    done = run_local(output, *FLAGS, "--data", data)
    assert done.exit_code == 0, done.text
    return done


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for compiled programs."""
    return tmp_path_factory.mktemp("binaries")


@pytest.fixture(scope="session")
def compiler(binaries: Path) -> Iterator[subprocess.Popen[str] | None]:
    """Go's compiler, at work on Beam's boot program while others test; None without Go.

    It fetches a hundred modules, and so has to begin before the network is ours alone.
    """
    go = shutil.which("go")
    if not go:
        yield None
        return
    with subprocess.Popen(
        [go, "install", f"{BOOT}@v{beam.__version__}"],
        env={**os.environ, "GOBIN": str(binaries)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.terminate()


@pytest.fixture(scope="session")
def boot(compiler: subprocess.Popen[str] | None, binaries: Path) -> Path:
    """Beam's boot program, which the worker's image takes from Beam's own image."""
    if not compiler:
        pytest.skip("there is no go, to compile Beam's boot program")
    text, _ = compiler.communicate()
    assert compiler.returncode == 0, text
    return binaries / BOOT.rpartition("/")[2]


@pytest.fixture(scope="session")
def isolated(compiler: subprocess.Popen[str] | None) -> None:
    """Gives this process a network of its own, with all jars fetched before."""
    try:
        jars.java()
        for kind in (Flink, Spark):
            jars.class_path(kind.NAME, print)
    except UsageError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    if not network.isolate():
        pytest.skip("only root on Linux can give a cluster a network of its own")


@pytest.fixture(scope="session", params=[Flink, Spark], ids=lambda kind: kind.NAME)
def cluster(
    request: pytest.FixtureRequest,
    isolated: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """A cluster of two workers, which nobody else can reach; one at a time."""
    kind: type[Cluster] = request.param
    with running(kind, tmp_path_factory.mktemp(kind.NAME), 2, print) as started:
        yield started
