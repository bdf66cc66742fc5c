"""What a Spark cluster on this machine is told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.clusters.processes import Processes
from pipeline.clusters.spark import Spark
from pipeline.commands.run import parse_run


@pytest.fixture
def cluster(tmp_path: Path) -> Spark:
    """A cluster of three workers, of which nothing runs."""
    return Spark(Processes(tmp_path), tmp_path, 3, [Path("a.jar"), Path("b.jar")])


def test_flags_are_those_of_the_pipelines_commands(cluster: Spark) -> None:
    """The flags parse, and leave the number of workers to Spark."""
    config, _ = parse_run("x", cluster.flags())

    assert (config.beam.engine, config.beam.parallelism) == ("spark", 0)
    assert config.beam.environment_type == "EXTERNAL"


def test_executors_have_the_jars_that_jobs_do_not_bring(
    cluster: Spark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job server gives executors its class path, and one partition per worker."""
    given: list[str] = []

    def server(_: Any, options: Sequence[str], *__: object) -> None:
        given.extend(options)

    monkeypatch.setattr(Spark, "run_job_server", server)

    cluster.start_job_server()

    assert "-Dspark.executor.extraClassPath=a.jar:b.jar" in given
    assert "-Dspark.default.parallelism=3" in given


def test_all_processes_listen_on_loopback(
    cluster: Spark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Master and workers get the address as a flag, their web pages by environment."""
    started: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def java(
        _: Any,
        __: str,
        options: Sequence[str],
        main: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        assert options
        assert main.startswith("org.apache.spark.deploy.")
        started.append((arguments, environment))

    monkeypatch.setattr(Spark, "run_java", java)

    cluster.start_master()
    cluster.start_worker("spark-worker-1")

    for arguments, environment in started:
        assert arguments[:2] == ["--host", "127.0.0.1"]
        assert environment["SPARK_LOCAL_IP"] == "127.0.0.1"
        # Without it no executor starts.
        assert (Path(environment["SPARK_HOME"]) / "jars").is_dir()
    assert len(started) == 2
