"""Commands and resources of the containers, for the orchestrators on Kubernetes.

The first step compiles the pipeline inside the image, so that the fingerprints in the
cache keys are those of the code that runs; each further step is one node.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import (
    METADATA_VARIABLE,
    TUNER_NODE,
    Config,
    given_metadata,
    kubeflow,
)
from pipeline.errors import UsageError
from pipeline.runners import checks
from pipeline.runners.flags import flags_of
from pipeline.store.run_files import IR_FILE

COMPILE = "Compile"
PROGRAM = "throughline"
# The variable that holds the metadata store's URL, and its key in the secret.
SECRET_VARIABLE = METADATA_VARIABLE
SECRET_KEY = "url"  # noqa: S105 - as above
# Where the Dockerfile puts the project.
IMAGE_PROJECT = Path("/opt/throughline")
# The user and group that its processes run as.
IMAGE_USER = 10001


@dataclass(frozen=True)
class Containers:
    """Image, volume, secret and resources of the containers."""

    image: str = "throughline:latest"
    """The image built from the Dockerfile, by a name that the cluster can pull."""
    volume: str = "throughline"
    """Persistent volume claim, shared by all containers (ReadWriteMany); it is mounted
    at the output directory."""
    metadata_secret: str = "throughline-metadata"  # noqa: S105 - a name, no password
    """Kubernetes secret whose key `url` is the metadata store's URL."""
    cpu: str = "1"
    """Cores of a light node, in Kubernetes' format."""
    memory: str = "3Gi"
    """Memory of a light node, in Kubernetes' format."""
    heavy: tuple[str, ...] = (
        "ExampleGen",
        "Transform",
        TUNER_NODE,
        "Trainer",
        "Evaluator",
    )
    """Nodes that get heavy-cpu and heavy-memory."""
    heavy_cpu: str = "2"
    """Cores of a heavy node."""
    heavy_memory: str = "8Gi"
    """Memory of a heavy node."""
    retries: int = 2
    """Number of retries of a failed node."""
    retry_seconds: int = 30
    """Delay before the first retry; it doubles each time."""

    def __post_init__(self) -> None:
        """Rejects values that the cluster would reject."""
        checks.at_least(self, 0, "retries", "retry_seconds", group="containers")
        checks.cpu(self.cpu, "containers.cpu")
        checks.cpu(self.heavy_cpu, "containers.heavy-cpu")
        checks.memory(self.memory, "containers.memory")
        checks.memory(self.heavy_memory, "containers.heavy-memory")
        checks.kubernetes_object(self.volume, "containers.volume")
        checks.kubernetes_object(self.metadata_secret, "containers.metadata-secret")
        checks.no_placeholders([self.image])

    def resources_of(self, step: str) -> tuple[str, str]:
        """Returns the cores and the memory of a step."""
        if step in self.heavy:
            return self.heavy_cpu, self.heavy_memory
        return self.cpu, self.memory


def check(config: Config, containers: Containers) -> None:
    """Rejects a configuration that can't be passed to containers; imports no TFX.

    Args:
        config: What to run.
        containers: Names the secret that holds the metadata store's URL.

    Raises:
        UsageError: A value contains a placeholder, or --metadata was given, whose URL
            belongs in the secret.
    """
    if given_metadata(config):
        raise UsageError(
            "metadata is given, but manifests and packages can be read by many, so "
            "containers take the URL from a secret: leave --metadata out, and "
            f"`kubectl create secret generic {containers.metadata_secret} "
            f"--from-literal={SECRET_KEY}=URL` (--containers.metadata-secret names "
            "another)"
        )
    checks.no_placeholders([str(config.output), *flags_of(config, kubeflow())])


def metadata_note(containers: Containers) -> str:
    """Returns a line about where the containers get the metadata store's URL from."""
    return (
        f"metadata: the nodes take the store's URL from key {SECRET_KEY!r} of the "
        f"secret {containers.metadata_secret}"
    )


def steps(
    upstream: Mapping[str, Collection[str]], containers: Containers
) -> dict[str, list[str]]:
    """Prepends the Compile step to the nodes.

    Args:
        upstream: The upstream nodes of each node.
        containers: Names the heavy nodes, which are checked.

    Returns:
        The upstream steps of each step, in topological order.

    Raises:
        UsageError: A heavy node doesn't exist.
    """
    # The Tuner is only there if the settings ask for it.
    if unknown := set(containers.heavy) - {*upstream, TUNER_NODE}:
        msg = (
            f"containers.heavy names {', '.join(sorted(unknown))}; "
            f"the nodes are {', '.join(upstream)}"
        )
        raise UsageError(msg)
    # The roots wait for it; all others do through them.
    nodes = {node: sorted(before) or [COMPILE] for node, before in upstream.items()}
    return {COMPILE: [], **nodes}


def command_of(step: str, config: Config, run_id: str) -> list[str]:
    """Returns the command of a step.

    Args:
        step: A node's id, or `COMPILE`.
        config: What to run.
        run_id: The run's name, or the orchestrator's placeholder for it. It must be
            unique: a finished node of a run never runs again.
    """
    # By run, on the shared volume: two runs of different images don't mix.
    compiled = config.output / "compiled" / run_id
    if step == COMPILE:
        flags = ["--preset", "kubeflow", *flags_of(config, kubeflow())]
        return [PROGRAM, "compile", "--out", str(compiled), *flags]
    ir = str(compiled / IR_FILE)
    return [PROGRAM, "node", "--ir", ir, "--node", step, "--run-id", run_id]
