"""The whole pipeline on a cluster gives what it gives on this machine.

Each test runs on Flink and on Spark.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.clusters import pool_process
from pipeline.clusters.standalone import Cluster
from pipeline.columnar import shards
from tests.clusters.conftest import FLAGS
from tests.e2e.runs import PROJECT, Finished, finished, run_local, weights_of

SPLITS = ("train", "eval", "test")
# Log, and what it says when a worker is lost under a job.
NOTICED = {
    "flink": ("jobmanager", "RESTARTING"),
    "spark": ("job-server", "Lost executor"),
}


@pytest.fixture(scope="module")
def on_cluster(
    data: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A run on the cluster."""
    output = tmp_path_factory.mktemp(f"on-{cluster.NAME}") / "out"
    return run_local(output, *FLAGS, "--data", data, *cluster.flags())


def test_all_nodes_run_and_the_model_is_pushed(on_cluster: Finished) -> None:
    """The run is complete, and a version is live."""
    assert on_cluster.exit_code == 0, on_cluster.text
    assert set(on_cluster.states().values()) == {"COMPLETE"}
    assert len(on_cluster.versions) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_examples_are_the_same(
    local: Finished, on_cluster: Finished, split: str
) -> None:
    """Each split has the same rows in the same order, in several shards."""
    ours, theirs = (
        shards.shards_of(run.output_of("ExampleGen", "examples") / f"Split-{split}")
        for run in (local, on_cluster)
    )

    assert len(ours) == len(theirs) >= 3
    assert shards.read_table(ours).equals(shards.read_table(theirs))


@pytest.mark.parametrize("split", SPLITS)
def test_statistics_are_the_same(
    local: Finished, on_cluster: Finished, split: str
) -> None:
    """Partial results are merged in the same order: equal to the last bit."""
    ours, theirs = (
        statistics_pb2.DatasetFeatureStatisticsList.FromString(
            (
                run.output_of("StatisticsGen", "statistics")
                / f"Split-{split}"
                / "FeatureStats.pb"
            ).read_bytes()
        )
        for run in (local, on_cluster)
    )

    assert ours == theirs


def test_features_are_the_same(local: Finished, on_cluster: Finished) -> None:
    """Vocabularies are equal, and transformed numbers but for their last digits."""
    graphs = [
        run.output_of("Transform", "transform_graph") for run in (local, on_cluster)
    ]
    words = [
        {p.name: p.read_bytes() for p in (g / "transform_fn" / "assets").iterdir()}
        for g in graphs
    ]
    assert words[0] == words[1] != {}

    tables = [
        shards.read_table(
            shards.shards_of(
                run.output_of("Transform", "transformed_examples") / "Split-train"
            )
        )
        for run in (local, on_cluster)
    ]
    assert tables[0].schema == tables[1].schema
    for name in tables[0].column_names:
        ours, theirs = (
            np.asarray(t[name].combine_chunks().flatten(), np.float64) for t in tables
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=name)


def test_models_and_metrics_are_nearly_the_same(
    local: Finished, on_cluster: Finished
) -> None:
    """Last digits of the features move a model by no more than its own last digits."""
    ours, theirs = (
        weights_of(run.output_of("Trainer", "model") / "Format-Serving")
        for run in (local, on_cluster)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, theirs[name], atol=1e-3, err_msg=name)

    (metrics,), (others,) = local.metrics().values(), on_cluster.metrics().values()
    assert others == pytest.approx(metrics, abs=1e-3)


def test_no_worker_has_most_of_the_work(on_cluster: Finished, cluster: Cluster) -> None:
    """Of two workers, the one with more of a job's work has 60 % at most on average."""
    assert on_cluster.exit_code == 0
    jobs: dict[str, list[float]] = {}
    for worker in pool_process.workers_in(cluster.processes.log_of(pool_process.NAME)):
        jobs.setdefault(worker.job, []).append(worker.seconds)

    # Spark starts none where there is nothing to do: a job of one shard has one.
    assert max(map(len, jobs.values())) == 2
    most = sum(max(workers) for workers in jobs.values())
    assert most <= 0.6 * sum(sum(workers) for workers in jobs.values()), jobs


def test_a_killed_worker_changes_nothing(
    data: Path, on_cluster: Finished, cluster: Cluster
) -> None:
    """An Evaluator that loses a worker in its middle gives the same metrics."""
    before = on_cluster.metrics()
    pool = cluster.processes.log_of(pool_process.NAME)
    started = len(pool_process.workers_in(pool))
    only = ("--only", "Evaluator", "--no-cache", "Evaluator")
    command = [sys.executable, "run_local.py", "--output", str(on_cluster.output)]
    flags = [*FLAGS, "--data", str(data), *only, *cluster.flags()]
    with subprocess.Popen(
        [*command, *flags],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while len(pool_process.workers_in(pool)) < started + 2:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        lost = cluster.worker(2)
        os.kill(cluster.processes.pid_of(lost), signal.SIGKILL)
        while not cluster.replace_lost():
            time.sleep(0.05)
        text = process.communicate()[0]

    after = finished(process.returncode, text, on_cluster.output)
    assert after.exit_code == 0, after.text
    log, text = NOTICED[cluster.NAME]
    assert text in cluster.processes.log_of(log).read_text()
    assert after.run != on_cluster.run
    # By now there is a live model too, to which the candidate is compared.
    assert after.metrics()["candidate"] == before["candidate"]
