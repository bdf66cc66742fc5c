"""Compiles the pipeline for Kubeflow Pipelines, and submits it or runs it here.

Each node is a container that runs `throughline node`: the open-source backend rejects
TFX's resolver executors, and the lineage stays in our metadata store. Kubeflow's cache
is disabled in favour of ours. For Vertex AI TFX's own runner writes the package.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pipeline.config import VERTEX_MOUNT, Config, given_metadata
from pipeline.errors import EXIT_DONE, EXIT_FAILED, ThroughlineError, UsageError
from pipeline.ingestion.spans import Between, Newest
from pipeline.runners import checks, kubeflow_local
from pipeline.runners.containers import (
    IMAGE_PROJECT,
    SECRET_KEY,
    SECRET_VARIABLE,
    Containers,
    check,
    command_of,
    metadata_note,
    steps,
)
from pipeline.store import durable
from pipeline.store.names import local_path
from schema import SCHEMA_PATH

if TYPE_CHECKING:
    from kfp import Client
    from tfx.orchestration.pipeline import Pipeline
    from tfx.types.artifact import Artifact

Target = Literal["kubeflow", "vertex"]
PACKAGES: Mapping[Target, str] = {"kubeflow": "kubeflow.yaml", "vertex": "vertex.json"}
# The states of the v2beta1 API after which a run doesn't change.
ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Options:
    """Settings of the package, and where to submit it."""

    target: Target = "kubeflow"
    """kubeflow is the open-source backend, vertex Vertex AI Pipelines."""
    out: Path = Path("compiled")
    """Directory to write the package to."""
    submit: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Upload the package and start a run."""
    run_local: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run the package at once on this machine, in containers of its Docker, with the
    output directory as the volume."""
    wait: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Wait until the run has ended; the exit code is 1 unless it succeeded."""
    host: str | None = None
    """URL of the Kubeflow Pipelines API."""
    experiment: str = "throughline"
    """Name of the run's experiment."""
    namespace: str | None = None
    """Namespace of the experiment, where the backend has several."""
    containers: Containers = field(default_factory=Containers)

    def __post_init__(self) -> None:
        """Rejects combinations that could only fail later."""
        if self.target == "vertex" and self.submit:
            raise UsageError(
                "submit is for Kubeflow Pipelines' API; docs/vertex.md has the command "
                "that gives a package to Vertex AI"
            )
        if self.run_local and (self.submit or self.target == "vertex"):
            raise UsageError(
                "run-local runs a package for Kubeflow on this machine; leave "
                f"{'--submit' if self.submit else '--target vertex'} out"
            )
        local_path(self.out, "out")
        if self.namespace is not None:
            checks.kubernetes_object(self.namespace, "namespace")
        if self.submit and not self.host:
            raise UsageError("submit needs host, the URL of Kubeflow Pipelines' API")
        if self.wait and not self.submit:
            raise UsageError("wait needs submit: there is no run to wait for")


def run(config: Config, options: Options, build: Callable[[Config], "Pipeline"]) -> int:
    """Compiles for the target, and submits or runs the package if `options` say so.

    Args:
        config: What to run; its paths are paths in the containers.
        options: Settings of the package, and where to submit it.
        build: Creates the pipeline; called late, because that imports TFX.

    Returns:
        The exit code.

    Raises:
        UsageError: A setting is not valid in containers or on Kubernetes.
        ThroughlineError: The backend or Docker can't be reached, or a node failed.
    """
    package = options.out / PACKAGES[options.target]
    if options.target == "vertex":
        config = for_vertex(config)
        options.out.mkdir(parents=True, exist_ok=True)
        write_vertex(config, options.containers, build, package)
        durable.make_private(package)
        sys.stdout.write(f"{package} is the package; docs/vertex.md has what is next\n")
        return EXIT_DONE
    check(config, options.containers)
    checks.kubernetes_name(config.name, "name")
    if options.run_local:
        kubeflow_local.check(config)
    options.out.mkdir(parents=True, exist_ok=True)
    from pipeline.runners import compiler

    dag = compiler.upstream_of(compiler.compile_pipeline(build(config)))
    write(config, options.containers, dag, package)
    # kfp writes the file itself, readable by all.
    durable.make_private(package)
    sys.stdout.write(f"{package} is the package\n")
    if options.run_local:
        return kubeflow_local.run(package, config, options.containers.image)
    sys.stdout.write(f"{metadata_note(options.containers)}\n")
    return submit(config, options, package) if options.submit else EXIT_DONE


def write(
    config: Config,
    settings: Containers,
    upstream: Mapping[str, Collection[str]],
    package: Path,
) -> None:
    """Writes the package for the open-source backend (schema 2.1, containers only).

    Args:
        config: What to run; the volume is mounted at its output directory.
        settings: Settings of the containers.
        upstream: The upstream nodes of each node.
        package: The YAML file to write.
    """
    from kfp import compiler, dsl, kubernetes

    waits = steps(upstream, settings)

    @dsl.pipeline(name=checks.kubernetes_name(config.name, "name"))
    def pipeline() -> None:
        tasks: dict[str, dsl.PipelineTask] = {}
        for step, before in waits.items():
            # The backend substitutes this only where it is a whole input parameter.
            run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
            task = _component(step, config, settings)(run_id=run_id)
            task.after(*(tasks[name] for name in before))
            task.set_display_name(step)
            # Ours decides, by the contents of data and code; Kubeflow's sees commands
            # only.
            task.set_caching_options(enable_caching=False)
            task.set_retry(
                settings.retries, f"{settings.retry_seconds}s", backoff_factor=2.0
            )
            cpu, memory = settings.resources_of(step)
            # Equal requests and limits: Kubernetes evicts such pods last.
            task.set_cpu_request(cpu).set_cpu_limit(cpu)
            task.set_memory_request(memory).set_memory_limit(memory)
            kubernetes.mount_pvc(task, settings.volume, str(config.output))
            kubernetes.use_secret_as_env(
                task,
                settings.metadata_secret,
                {SECRET_KEY: SECRET_VARIABLE},
            )
            tasks[step] = task

    compiler.Compiler().compile(pipeline, str(package))


def for_vertex(config: Config) -> Config:
    """Checks a configuration for Vertex AI; imports no TFX.

    Args:
        config: What to run. Data and output directory are below /gcs/, where Vertex AI
            mounts Cloud Storage.

    Returns:
        It with the artifacts' place in Cloud Storage, `artifacts` in the output
        directory if none is given.

    Raises:
        UsageError: A place is not in Cloud Storage, or a setting can't be kept there.
    """
    for name in ("output", "data"):
        path = getattr(config, name)
        if not path or not path.is_relative_to(VERTEX_MOUNT) or path == VERTEX_MOUNT:
            raise UsageError(
                f"{name} is {path}; for Vertex AI it must be a path in Cloud Storage, "
                f"such as /gcs/bucket/{name}"
            )
    if given_metadata(config):
        raise UsageError(
            "metadata is given, and Vertex AI has a metadata store of its own; leave "
            "--metadata out"
        )
    if config.name != checks.kubernetes_name(config.name, "name"):
        raise UsageError(
            f"name is {config.name!r}; for Vertex AI it must be of lower-case letters, "
            "digits and '-'"
        )
    _refuse_several_spans(config)
    place = config.artifacts or (
        f"gs://{(config.output / 'artifacts').relative_to(VERTEX_MOUNT)}"
    )
    if not place.startswith("gs://"):
        raise UsageError(
            f"artifacts is {place}; for Vertex AI it must be in Cloud Storage, such as "
            "gs://bucket/prefix"
        )
    return replace(config, artifacts=place)


def write_vertex(
    config: Config,
    settings: Containers,
    build: Callable[[Config], "Pipeline"],
    package: Path,
) -> None:
    """Writes the package for Vertex AI with TFX's own runner.

    Args:
        config: What to run, as `for_vertex` returns it.
        settings: Names the image; the other settings are ignored.
        build: Creates the pipeline.
        package: The JSON file to write.
    """
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline.components.data_gate import DataVerdict
    from pipeline.components.example_gen import Quarantine

    pipeline = build(config)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            display_name=config.name, default_image=settings.image
        ),
        output_dir=str(package.parent.absolute()),
        output_filename=package.name,
    )
    with _found_by_name(DataVerdict), _found_by_name(Quarantine):
        runner.run(pipeline, write_out=True)
    # The image has the same schema as this checkout, at another path.
    in_image = IMAGE_PROJECT / "schema" / SCHEMA_PATH.name
    package.write_text(package.read_text().replace(str(SCHEMA_PATH), str(in_image)))


def _refuse_several_spans(config: Config) -> None:
    """Rejects several spans: TFX's runner for Vertex AI always uses TFX's driver."""
    if config.splits.test_spans:
        raise UsageError(
            f"splits.test-spans is {config.splits.test_spans}, which needs several "
            "spans; a run on Vertex AI ingests one, so leave it out"
        )
    match config.wanted_spans:
        case None | Newest(1):
            return
        case Between(first, last) if first == last:
            return
    raise UsageError(
        f"span is {config.span} and window is {config.window}; TFX's driver on Vertex "
        "AI ingests one span, so give --span a single one and leave --window out"
    )


@contextmanager
def _found_by_name(artifact_type: "type[Artifact]") -> Iterator[None]:
    """Renames a type to `package.Class`, the only form that Vertex AI can import."""
    name = artifact_type.TYPE_NAME
    artifact_type.TYPE_NAME = f"pipeline.{artifact_type.__name__}"
    try:
        yield
    finally:
        artifact_type.TYPE_NAME = name


def _component(step: str, config: Config, settings: Containers) -> Callable[..., Any]:
    from kfp import dsl

    def component(run_id: str) -> dsl.ContainerSpec:
        program, *arguments = command_of(step, config, str(run_id))
        return dsl.ContainerSpec(settings.image, [program], arguments)

    # kfp names the component after the function.
    component.__name__ = step
    return dsl.container_component(component)


def submit(config: Config, options: Options, package: Path) -> int:
    """Uploads a package and starts a run; with `options.wait`, waits for its end.

    Returns:
        The exit code: 1 if the run was waited for and did not succeed.

    Raises:
        ThroughlineError: The backend can't be reached, or rejects the package.
    """
    from kfp import Client
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        client = Client(host=options.host, namespace=options.namespace or "kubeflow")
        run_id = start(client, config, options, package)
        sys.stdout.write(f"run {run_id} of {config.name} was started\n")
        if not options.wait:
            return EXIT_DONE
        state = _wait(client, run_id)
    # The first is an answer of the API, the second no answer at all.
    except (ApiException, HTTPError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        msg = f"Kubeflow Pipelines at {options.host} did not take the run: {reason}"
        raise ThroughlineError(msg) from error
    sys.stdout.write(f"run {run_id} ended: {state}\n")
    return EXIT_DONE if state == "SUCCEEDED" else EXIT_FAILED


def _wait(client: "Client", run_id: str) -> str:
    """Polls until a run has ended; kfp's client never returns for a cancelled one."""
    while (state := str(client.get_run(run_id).state)) not in ENDED:
        time.sleep(POLL_SECONDS)
    return state


def start(client: "Client", config: Config, options: Options, package: Path) -> str:
    """Uploads a package, as a new version if the pipeline exists, and starts a run.

    Args:
        client: Connected to the backend.
        config: Names the pipeline.
        options: Names the experiment.
        package: The file that `write` wrote.

    Returns:
        The run's id.
    """
    pipeline_id = client.get_pipeline_id(config.name)
    # The API rejects a second upload under one name.
    if pipeline_id:
        version = f"{config.name}-{_now()}"
        uploaded = client.upload_pipeline_version(
            str(package), version, pipeline_id=pipeline_id
        )
        version_id = uploaded.pipeline_version_id
    else:
        pipeline_id = client.upload_pipeline(str(package), config.name).pipeline_id
        versions = client.list_pipeline_versions(pipeline_id).pipeline_versions
        version_id = versions[0].pipeline_version_id
    experiment = client.create_experiment(
        options.experiment, namespace=options.namespace
    )
    started = client.run_pipeline(
        experiment.experiment_id,
        f"{config.name}-{_now()}",
        pipeline_id=pipeline_id,
        version_id=version_id,
    )
    return str(started.run_id)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
