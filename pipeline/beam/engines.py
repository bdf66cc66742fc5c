"""Beam engines for the data-heavy components, and each engine's arguments.

The default is in-process. The arguments of other engines are checked before a run:
Beam itself reports a missing one minutes later or, worse, falls back to another engine.
Importing this module imports neither Beam nor TFX.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError

IN_PROCESS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
)
"""Beam's argument for the engine in this process."""

ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")

FLINK_PARALLELISM = 2
"""Workers on Flink, if the configuration doesn't say: more than the cluster has slots
would make it wait for them in vain, and Beam's own default is one worker."""

_WORKER_KEPT_MS = 60_000

REFUSED = {
    "dask": "Beam 2.77's DaskRunner loses data silently: of several outputs it writes "
    "only the last one",
    "direct": "Beam's DirectRunner may download and start Prism, another engine, at "
    "run time; in-process is the engine that it was before",
    "prism": "Beam downloads Prism at run time",
}


@dataclass(frozen=True)
class Beam:
    """The engine that runs ExampleGen, StatisticsGen, Transform and Evaluator."""

    engine: str = "in-process"
    """in-process, flink, spark or dataflow; docs/beam.md has complete examples."""
    job_endpoint: str | None = None
    """host:port of Beam's job server, in front of Flink or Spark."""
    environment_type: str = "DOCKER"
    """How Flink and Spark start Python workers: DOCKER, PROCESS, EXTERNAL, LOOPBACK."""
    environment_config: str | None = None
    """PROCESS: JSON with the `command` of Beam's boot program; EXTERNAL: host:port of
    the worker pool."""
    worker_image: str | None = None
    """Image of the workers, built from the Dockerfile's `worker` stage."""
    setup_file: Path | None = None
    """setup.py that workers install, where there is no image for them: minutes each."""
    parallelism: int = 0
    """Most workers at once. 0 means 2 on Flink, whose own default is a single one; on
    Spark one per core of an executor; on Dataflow as many as it sees fit."""
    project: str | None = None
    """Google Cloud project that Dataflow runs in."""
    region: str | None = None
    """Google Cloud region that Dataflow runs in."""
    temp_location: str | None = None
    """Cloud Storage directory for Dataflow's temporary files, gs://bucket/path."""

    def __post_init__(self) -> None:
        """Rejects an unknown engine, or one without the arguments that it needs."""
        if self.engine in REFUSED:
            raise _wrong("engine", self.engine, REFUSED[self.engine])
        if self.engine not in ENGINES:
            raise _wrong(
                "engine", self.engine, f"it must be one of {', '.join(ENGINES)}"
            )
        if self.parallelism < 0:
            raise _wrong("parallelism", self.parallelism, "it must be >= 0")
        if self.setup_file and not self.setup_file.is_file():
            raise _wrong("setup-file", self.setup_file, "there is no such file")
        self.arguments()

    def arguments(self) -> list[str]:
        """Returns the engine's Beam arguments; empty for in-process.

        Raises:
            UsageError: A required argument is missing or malformed.
        """
        return ENGINES[self.engine](self)


def refuse_unreachable(beam: Beam, artifacts: str | None) -> None:
    """Rejects artifacts that an engine's workers can't read and write.

    Args:
        beam: The engine.
        artifacts: URI of the artifacts; `None` for a local directory.

    Raises:
        UsageError: Dataflow's artifacts are not in Cloud Storage, or artifacts are in
            S3 with any engine of Beam's, where TensorFlow and Beam read and write too.
    """
    place = artifacts or ""
    if beam.engine == "dataflow" and not place.startswith("gs://"):
        raise _wrong(
            "engine",
            beam.engine,
            "its workers reach Cloud Storage only, so give --artifacts "
            "gs://bucket/prefix",
        )
    if beam.engine != "in-process" and place.startswith("s3://"):
        raise _wrong(
            "engine",
            beam.engine,
            f"artifacts is {place}, which TensorFlow in its workers can't read or "
            "write; use in-process, or artifacts in gs:// or on a shared volume",
        )


def _in_process(_: Beam) -> list[str]:
    return []


def _portable(beam: Beam) -> list[str]:
    """Returns the arguments for a Beam job server in front of Flink or Spark."""
    endpoint = _address(beam, "job_endpoint", "Beam's job server, such as host:8099")
    return [
        # Not FlinkRunner or SparkRunner, which download a jar and start a job server
        # of their own.
        "--runner=PortableRunner",
        f"--job_endpoint={endpoint}",
        # Without it each stage of a job starts workers of its own, which import TFX.
        f"--environment_cache_millis={_WORKER_KEPT_MS}",
        *_environment(beam),
        *_code(beam),
    ]


def _flink(beam: Beam) -> list[str]:
    most = beam.parallelism or FLINK_PARALLELISM
    return [*_portable(beam), f"--parallelism={most}"]


def _spark(beam: Beam) -> list[str]:
    # 0 has the runner count the cores.
    return [*_portable(beam), f"--sdk_worker_parallelism={beam.parallelism}"]


def _dataflow(beam: Beam) -> list[str]:
    needed = {name: getattr(beam, name) for name in ("project", "region")}
    for name, value in needed.items():
        if not value:
            raise _missing(beam, name, f"the Google Cloud {name}")
    if not (beam.temp_location or "").startswith("gs://"):
        raise _missing(beam, "temp_location", "a directory such as gs://bucket/temp")
    _require_code(beam)
    image = [f"--sdk_container_image={beam.worker_image}", "--sdk_location=container"]
    most = beam.parallelism
    return [
        "--runner=DataflowRunner",
        *(f"--{name}={value}" for name, value in needed.items()),
        f"--temp_location={beam.temp_location}",
        # Required for custom images.
        "--experiments=use_runner_v2",
        *(image if beam.worker_image else []),
        *([f"--max_num_workers={most}"] if most else []),
        *_setup_file(beam),
    ]


ENGINES: Mapping[str, Callable[[Beam], list[str]]] = {
    "in-process": _in_process,
    "flink": _flink,
    "spark": _spark,
    "dataflow": _dataflow,
}


def _environment(beam: Beam) -> list[str]:
    kind = beam.environment_type
    if kind not in ENVIRONMENTS:
        expected = f"it must be one of {', '.join(ENVIRONMENTS)}"
        raise _wrong("environment-type", kind, expected)
    if kind == "LOOPBACK":
        return ["--environment_type=LOOPBACK"]
    if kind == "DOCKER":
        _require_code(beam)
        config = beam.worker_image
    elif kind == "EXTERNAL":
        config = _address(beam, "environment_config", "the worker pool")
    else:
        config = _boot_command(beam)
    settings = [f"--environment_config={config}"] if config else []
    return [f"--environment_type={kind}", *settings]


def _boot_command(beam: Beam) -> str:
    given = beam.environment_config or ""
    try:
        if json.loads(given)["command"]:
            return given
    except (ValueError, KeyError, TypeError):
        pass
    raise _missing(beam, "environment_config", '{"command": "/opt/apache/beam/boot"}')


def _code(beam: Beam) -> list[str]:
    """Returns the arguments that give workers our code and TFX.

    An image, even one of the name "none", keeps TFX from packing its own source for
    each job, which workers that have TFX would then install once more.
    """
    if beam.setup_file:
        return _setup_file(beam)
    image = beam.worker_image if beam.environment_type == "DOCKER" else None
    return [f"--sdk_container_image={image or 'none'}"]


def _setup_file(beam: Beam) -> list[str]:
    return [f"--setup_file={beam.setup_file.absolute()}"] if beam.setup_file else []


def _require_code(beam: Beam) -> None:
    """Rejects workers without our code and TFX, which Beam's stock image lacks."""
    if not (beam.worker_image or beam.setup_file):
        what = "an image that has our code, or --beam.setup-file setup.py"
        raise _missing(beam, "worker_image", what)


def _address(beam: Beam, name: str, what: str) -> str:
    value = getattr(beam, name) or ""
    if not re.fullmatch(r"[\w.-]+:\d{1,5}", value):
        raise _missing(beam, name, f"host:port of {what}")
    return str(value)


def _missing(beam: Beam, name: str, what: str) -> UsageError:
    flag = name.replace("_", "-")
    value = getattr(beam, name)
    given = f"is {value!r}" if value else "is missing"
    return UsageError(
        f"beam.{flag} {given}; engine {beam.engine} needs it to be {what}"
    )


def _wrong(name: str, value: object, why: str) -> UsageError:
    return UsageError(f"beam.{name} is {value}; {why}")
