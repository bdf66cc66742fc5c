"""Beam's boot program can start Python's workers; other tests have a pool of them."""

import ensurepip
import json
import os
import shlex
import sys
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.beam.engines import Beam
from pipeline.clusters.standalone import JOB_PORT, Cluster
from pipeline.columnar.engine import OnBeam, map_shards
from tests.e2e.runs import PROJECT

SHARDS = list(range(8))


def started_by(shard: int) -> tuple[int, str]:
    """Returns the shard, and the name of the worker's parent process."""
    return shard, Path(f"/proc/{os.getppid()}/comm").read_text().strip()


def test_workers_may_be_processes(cluster: Cluster, boot: Path, tmp_path: Path) -> None:
    """PROCESS: Beam's boot program starts the workers, as in the worker's image."""
    # Boot asks pip which Beam there is; the environment has none.
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    # Boot leaves a file in its working directory, which is that of the test's process.
    elsewhere = tmp_path / "start"
    elsewhere.write_text(
        f'#!/bin/sh\ncd {shlex.quote(str(tmp_path))}\nexec {boot} "$@"\n'
    )
    elsewhere.chmod(0o755)
    config = {
        "command": str(elsewhere),
        "env": {
            # As in the image: the environment is the one that has our packages.
            "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{PROJECT}:{pip}",
        },
    }
    settings = Beam(
        engine=cluster.NAME,
        job_endpoint=f"127.0.0.1:{JOB_PORT}",
        environment_type="PROCESS",
        environment_config=json.dumps(config),
    )
    options = PipelineOptions(settings.arguments())
    runner = OnBeam(lambda: beam.Pipeline(options=options), str(tmp_path))

    found = map_shards(started_by, SHARDS, runner)

    assert found == [(shard, boot.name) for shard in SHARDS]
