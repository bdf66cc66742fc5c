"""What the clusters of this machine have in common."""

import time
from pathlib import Path

import pytest

from pipeline.clusters.flink import Flink
from pipeline.clusters.processes import Processes
from pipeline.clusters.spark import Spark
from pipeline.clusters.standalone import Cluster, opened


@pytest.mark.parametrize("kind", [Flink, Spark])
def test_only_lost_workers_are_replaced(
    tmp_path: Path, kind: type[Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has ended is started again, one that runs is left alone."""
    with Processes(tmp_path) as processes:
        cluster = kind(processes, tmp_path, workers=2)
        processes.start(cluster.worker(1), ["sleep", "60"], None)
        processes.start(cluster.worker(2), ["true"], None)
        started: list[str] = []
        monkeypatch.setattr(kind, "start_worker", lambda _, name: started.append(name))

        while not processes.ended():
            time.sleep(0.01)

        assert cluster.replace_lost() == [cluster.worker(2)] == started


def test_a_cluster_without_a_master_is_not_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing answers at the master's port, it waits."""
    # Nothing can listen there.
    monkeypatch.setattr(Flink, "WEB_PORT", 0)

    assert not Flink(Processes(tmp_path), tmp_path, workers=1).is_up()


def test_packages_are_opened_and_exported() -> None:
    """Each is opened to all modules, which the engines' classes are not in."""
    flags = opened(["java.util"], [("java.naming", "sun.x")])

    assert flags == [
        "--add-exports=java.naming/sun.x=ALL-UNNAMED",
        "--add-opens=java.base/java.util=ALL-UNNAMED",
    ]
