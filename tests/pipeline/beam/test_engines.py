"""What each engine is told, checked by Beam's own options, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from tfx.utils.dependency_utils import make_beam_dependency_flags

from pipeline.beam.engines import Beam
from pipeline.config import Config
from pipeline.errors import UsageError

BOOT = json.dumps({"command": "/opt/apache/beam/boot"})
CLUSTER: dict[str, Any] = {
    "job_endpoint": "jobs.example:8099",
    "worker_image": "r/worker:1",
}
CLOUD: dict[str, Any] = {
    "project": "p",
    "region": "europe-west1",
    "temp_location": "gs://b/temp",
    "worker_image": "r/worker:1",
}


def options_of(**settings: Any) -> PipelineOptions:
    """Parses an engine's arguments as Beam does; all of them must be known to it."""
    arguments = Beam(**settings).arguments()
    options = PipelineOptions(arguments)
    known = options.get_all_options(drop_default=True)
    assert len(known) == len(arguments), (known, arguments)
    return options


def test_default_is_in_process_by_name() -> None:
    """Without a setting the engine is named, so that Beam chooses nothing."""
    assert "fn_runner.FnApiRunner" in Config().beam_pipeline_args[0]


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_cluster_is_reached_through_its_job_server(engine: str) -> None:
    """Flink and Spark get job server, environment and the image of the workers."""
    options = options_of(engine=engine, **CLUSTER)

    portable = options.view_as(PortableOptions)
    assert options.view_as(StandardOptions).runner == "PortableRunner"
    assert portable.job_endpoint == "jobs.example:8099"
    assert portable.environment_type == "DOCKER"
    assert portable.environment_config == "r/worker:1"


def test_parallelism_has_each_engines_name() -> None:
    """The one setting becomes the option that each engine reads."""
    flink = options_of(engine="flink", parallelism=8, **CLUSTER)
    spark = options_of(engine="spark", parallelism=8, **CLUSTER)
    dataflow = options_of(engine="dataflow", parallelism=8, **CLOUD)

    assert flink.view_as(FlinkRunnerOptions).parallelism == 8
    assert spark.view_as(PortableOptions).sdk_worker_parallelism == "8"
    assert dataflow.view_as(WorkerOptions).max_num_workers == 8


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_several_workers_are_asked_for_by_default(engine: str) -> None:
    """Beam's own default is one worker, which would do all the work."""
    options = options_of(engine=engine, **CLUSTER)

    assert options.view_as(FlinkRunnerOptions).parallelism == (
        2 if engine == "flink" else -1
    )
    # On Spark 0 means as many as there are cores.
    workers = options.view_as(PortableOptions).sdk_worker_parallelism
    assert str(workers) == ("1" if engine == "flink" else "0")


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_workers_outlive_a_stage(engine: str) -> None:
    """Workers that were started for a stage are there for the next one."""
    options = options_of(engine=engine, **CLUSTER)

    assert int(options.view_as(PortableOptions).environment_cache_millis) >= 10_000


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        (CLUSTER, "r/worker:1"),
        ({"job_endpoint": "h:1", "environment_type": "LOOPBACK"}, "none"),
        ({**CLUSTER, "environment_type": "LOOPBACK"}, "none"),
    ],
)
def test_tfx_packs_nothing_for_workers_that_have_it(
    settings: dict[str, Any], image: str
) -> None:
    """An image is named, also where there is none: TFX then packs no source."""
    arguments = Beam(engine="flink", **settings).arguments()

    assert make_beam_dependency_flags(arguments) == arguments
    workers = PipelineOptions(arguments).view_as(WorkerOptions)
    assert workers.sdk_container_image == image


def test_dataflow_gets_project_region_and_image() -> None:
    """Dataflow gets all that it asks for, and its workers our image."""
    options = options_of(engine="dataflow", **CLOUD)

    cloud = options.view_as(GoogleCloudOptions)
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert (cloud.project, cloud.region) == ("p", "europe-west1")
    assert cloud.temp_location == "gs://b/temp"
    assert options.view_as(WorkerOptions).sdk_container_image == "r/worker:1"


def test_setup_file_stands_in_for_an_image(tmp_path: Path) -> None:
    """Workers may install our code from setup.py, named by its absolute path."""
    file = tmp_path / "setup.py"
    file.touch()

    options = options_of(engine="flink", job_endpoint="h:1", setup_file=file)

    assert options.view_as(SetupOptions).setup_file == str(file)
    assert options.view_as(PortableOptions).environment_config is None
    # Beam's stock image, in which the setup file is installed.
    assert options.view_as(WorkerOptions).sdk_container_image is None


@pytest.mark.parametrize(
    ("kind", "config"),
    [("PROCESS", BOOT), ("EXTERNAL", "pool:50000"), ("LOOPBACK", None)],
)
def test_workers_can_start_without_docker(kind: str, config: str | None) -> None:
    """Each other way to start workers gets what it needs, and no image."""
    options = options_of(
        engine="flink",
        job_endpoint="h:1",
        environment_type=kind,
        environment_config=config,
    )

    portable = options.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == (kind, config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "dask"}, "DaskRunner loses data"),
        ({"engine": "direct"}, "Prism"),
        ({"engine": "storm"}, "one of in-process, flink, spark, dataflow"),
        ({"engine": "flink"}, "beam.job-endpoint is missing; engine flink needs"),
        (
            {"engine": "spark", "job_endpoint": "http://h"},
            "beam.job-endpoint is 'http://h'",
        ),
        ({"engine": "flink", "job_endpoint": "h:1"}, "beam.worker-image is missing"),
        (
            {"engine": "flink", **CLUSTER, "environment_type": "POD"},
            "beam.environment-type is POD; it must be one of DOCKER, PROCESS",
        ),
        (
            {"engine": "flink", **CLUSTER, "environment_type": "PROCESS"},
            "beam.environment-config is missing",
        ),
        (
            {"engine": "flink", **CLUSTER, "environment_type": "EXTERNAL"},
            "host:port of the worker pool",
        ),
        ({"engine": "dataflow", **CLOUD, "region": None}, "region is missing"),
        (
            {"engine": "dataflow", **CLOUD, "temp_location": "/tmp"},  # noqa: S108
            "beam.temp-location is '/tmp'",
        ),
        ({"engine": "dataflow", **CLOUD, "worker_image": None}, "--beam.setup-file"),
        ({"setup_file": Path("/nowhere/setup.py")}, "there is no such file"),
        ({"parallelism": -1}, "beam.parallelism is -1"),
    ],
)
def test_incomplete_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    """What is missing or can't work is named before anything runs."""
    with pytest.raises(UsageError) as refusal:
        Beam(**settings).arguments()

    assert said in str(refusal.value)


DATAFLOW = Beam(engine="dataflow", **CLOUD)
FLINK = Beam(engine="flink", **CLUSTER)


@pytest.mark.parametrize(
    ("beam", "artifacts", "said"),
    [
        (DATAFLOW, None, r"engine is dataflow; .*--artifacts gs://bucket/prefix"),
        (DATAFLOW, "s3://bucket/x", "engine is dataflow; .*--artifacts gs://bucket"),
        (FLINK, "s3://bucket/x", "engine is flink; artifacts is s3://bucket/x, which"),
    ],
)
def test_artifacts_that_workers_can_t_reach_are_refused(
    beam: Beam, artifacts: str | None, said: str
) -> None:
    """Dataflow's workers reach Cloud Storage only, and TensorFlow has no S3."""
    with pytest.raises(UsageError, match=said):
        Config(beam=beam, artifacts=artifacts)


@pytest.mark.parametrize(
    ("beam", "artifacts"),
    [
        (DATAFLOW, "gs://bucket/x"),
        (FLINK, "gs://bucket/x"),
        (FLINK, None),
        (Beam(), "s3://bucket/x"),
    ],
)
def test_artifacts_that_workers_reach_are_accepted(
    beam: Beam, artifacts: str | None
) -> None:
    """Cloud Storage goes with every engine, S3 with the one in this process."""
    assert Config(beam=beam, artifacts=artifacts).artifacts == artifacts
