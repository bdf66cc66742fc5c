"""Writes manifests for Argo Workflows: a Workflow and a CronWorkflow.

throughline compile --target argo --image REGISTRY/throughline:1 --out compiled
argo submit --watch compiled/workflow.yaml
argo cron create compiled/cronworkflow.yaml
"""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE
from pipeline.runners import checks
from pipeline.runners.containers import (
    IMAGE_USER,
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

if TYPE_CHECKING:
    from hera.workflows import Container, CronWorkflow, Workflow
    from tfx.orchestration.pipeline import Pipeline

WORKFLOW_FILE = "workflow.yaml"
CRON_FILE = "cronworkflow.yaml"
# Argo replaces this by an id that is unique to a run, and the same when it is retried.
_RUN_ID = "{{workflow.uid}}"
_VOLUME = "output"
# Argo appends 11 characters of time for the name of each Workflow (63 in all).
_LONGEST_CRON_NAME = 52


@dataclass(frozen=True)
class Options:
    """Settings of the manifests."""

    out: Path = Path("compiled")
    """Directory to write the manifests to."""
    schedule: str = "0 3 * * *"
    """Schedule of the CronWorkflow, in cron's format."""
    timezone: str = "Etc/UTC"
    """Time zone of the schedule, by its IANA name."""
    namespace: str | None = None
    """Kubernetes namespace; that of the submitting command if not given."""
    service_account: str | None = None
    """Kubernetes service account that the pods run as."""
    parallelism: int = 4
    """Most nodes that run at once."""
    containers: Containers = field(default_factory=Containers)

    def __post_init__(self) -> None:
        """Rejects what Argo or Kubernetes would reject on submission."""
        local_path(self.out, "out")
        checks.schedule(self.schedule)
        checks.timezone(self.timezone)
        checks.at_least(self, 1, "parallelism")
        for name in ("namespace", "service_account"):
            if value := getattr(self, name):
                checks.kubernetes_object(value, name.replace("_", "-"))


def run(config: Config, options: Options, build: Callable[[Config], "Pipeline"]) -> int:
    """Writes both manifests and prints their paths; the command's entry point.

    Args:
        config: What to run; its paths are paths in the containers.
        options: Settings of the manifests.
        build: Creates the pipeline; called late, because that imports TFX.

    Returns:
        The exit code.

    Raises:
        UsageError: A setting is not valid in containers or on Kubernetes.
    """
    check(config, options.containers)
    checks.kubernetes_name(config.name, "name", _LONGEST_CRON_NAME)
    from pipeline.runners import compiler

    upstream = compiler.upstream_of(compiler.compile_pipeline(build(config)))
    write(config, options, upstream)
    sys.stdout.write(f"{options.out} has {WORKFLOW_FILE} and {CRON_FILE}\n")
    sys.stdout.write(f"{metadata_note(options.containers)}\n")
    return EXIT_DONE


def write(
    config: Config, options: Options, upstream: Mapping[str, Collection[str]]
) -> None:
    """Writes both manifests.

    Args:
        config: What to run; the volume is mounted at its output directory.
        options: Settings of the manifests.
        upstream: The upstream nodes of each node.
    """
    from hera.workflows import CronWorkflow, Workflow

    name = checks.kubernetes_name(config.name, "name", _LONGEST_CRON_NAME)
    # A Workflow's name must be unique, so Argo generates the end of it.
    once = _fill(Workflow, config, options, upstream, generate_name=f"{name}-")
    scheduled = _fill(
        CronWorkflow,
        config,
        options,
        upstream,
        name=name,
        schedules=[options.schedule],
        timezone=options.timezone,
        # Concurrent runs would both be compared with the same baseline.
        concurrency_policy="Forbid",
    )
    options.out.mkdir(parents=True, exist_ok=True)
    durable.write(options.out / WORKFLOW_FILE, once.to_yaml())
    durable.write(options.out / CRON_FILE, scheduled.to_yaml())


def _fill(
    kind: "type[Workflow | CronWorkflow]",
    config: Config,
    options: Options,
    upstream: Mapping[str, Collection[str]],
    **settings: Any,
) -> "Workflow | CronWorkflow":
    from hera.workflows import DAG, ExistingVolume, models

    waits = steps(upstream, options.containers)
    with kind(
        **settings,
        entrypoint="pipeline",
        namespace=options.namespace,
        service_account_name=options.service_account,
        parallelism=options.parallelism,
        security_context=models.PodSecurityContext(
            # fs_group, or the volume's directories would belong to root.
            run_as_non_root=True,
            run_as_user=IMAGE_USER,
            fs_group=IMAGE_USER,
        ),
        volumes=ExistingVolume(name=_VOLUME, claim_name=options.containers.volume),
    ) as workflow:
        containers = {step: _container(step, config, options) for step in waits}
        with DAG(name="pipeline"):
            for step, before in waits.items():
                containers[step](
                    # Argo's task names are DNS labels: no `_`, and lower case.
                    name=_dns(step),
                    dependencies=[_dns(node) for node in before],
                )
    return workflow


def _container(step: str, config: Config, options: Options) -> "Container":
    from hera.workflows import (
        Container,
        Resources,
        RetryStrategy,
        SecretEnv,
        models,
    )

    settings = options.containers
    cpu, memory = settings.resources_of(step)
    program, *arguments = command_of(step, config, _RUN_ID)
    return Container(
        name=_dns(step),
        image=settings.image,
        command=[program],
        args=arguments,
        env=[
            SecretEnv(
                name=SECRET_VARIABLE,
                secret_name=settings.metadata_secret,
                secret_key=SECRET_KEY,
            )
        ],
        resources=Resources(
            cpu_request=cpu, cpu_limit=cpu, memory_request=memory, memory_limit=memory
        ),
        retry_strategy=RetryStrategy(
            limit=str(settings.retries),
            # The default, OnFailure, doesn't retry a pod that was lost with its
            # machine.
            retry_policy="Always",
            # A retry would reject the same data again.
            expression=f"asInt(lastRetry.exitCode) != {EXIT_DATA_REFUSED}",
            backoff=models.Backoff(duration=f"{settings.retry_seconds}s", factor="2"),
        ),
        volume_mounts=[models.VolumeMount(name=_VOLUME, mount_path=str(config.output))],
    )


def _dns(node: str) -> str:
    return checks.kubernetes_name(node, "node")
