"""What the tests on clusters share: data, a local run, and a network of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import trips
from pipeline.clusters import flink, jars, network
from pipeline.clusters.flink import Cluster
from pipeline.errors import UsageError
from tests.e2e.runs import Finished, run_local

ROWS = 100_000
"""Four shards: both workers have some."""

# Rows of the sample are drawn several times, and a busy machine answers slowly.
FLAGS = (
    *("--preset", "smoke", "--gate.max-duplicates", "1"),
    *("--serving-check.max-latency-ms", "60000"),
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of trips."""
    directory = tmp_path_factory.mktemp("data")
    trips.write(directory / "trips.csv", ROWS, 1)
    return directory


@pytest.fixture(scope="session")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run that those on clusters are compared with."""
    output = tmp_path_factory.mktemp("local") / "out"
    done = run_local(output, *FLAGS, "--data", data)
    assert done.exit_code == 0, done.text
    return done


@pytest.fixture(scope="session")
def flink_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Flink cluster of two TaskManagers, which nobody else can reach."""
    try:
        jars.java()
        jars.class_path(flink.NAME, print)
    except UsageError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    if not network.isolate():
        pytest.skip("only root on Linux can give a cluster a network of its own")
    with flink.cluster(tmp_path_factory.mktemp("flink"), 2, print) as cluster:
        yield cluster
