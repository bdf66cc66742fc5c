"""Runs a Kubeflow package on this machine, each step in a container of its image.

kfp's own local runner reads the package as it is written for a cluster. It ignores
volumes, secrets, retries and resources, so what a cluster would provide is passed to
the containers here: the output directory at the same path, the metadata store's URL
as a variable, and the machine's network, in which that URL leads to the same server.
"""

import json
import re
import sys
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, environment
from pipeline.errors import EXIT_DONE, ThroughlineError, UsageError
from pipeline.runners.containers import SECRET_VARIABLE
from pipeline.store.run_files import DAG_FILE

if TYPE_CHECKING:
    from docker import DockerClient

_LABEL = "throughline"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# A user whom the image doesn't have has neither home nor name; libraries ask for both.
_HOME = {"HOME": "/tmp", "USER": "throughline"}  # noqa: S108 - in the container


def check(config: Config) -> None:
    """Rejects what the containers couldn't read or write; imports no kfp.

    Raises:
        UsageError: The output directory doesn't exist, or the data is outside of it.
    """
    output = config.output
    if not output.is_absolute() or not output.is_dir():
        raise UsageError(
            f"output is {output}, which must be the absolute path of a directory: the "
            "containers get it at the same path; create it, or give another --output"
        )
    if config.data and not config.data.is_relative_to(output):
        raise UsageError(
            f"data is {config.data}, which the containers don't see; put it into the "
            f"output directory, such as {output / 'data'}"
        )


def run(package: Path, config: Config, image: str) -> int:
    """Runs a package to its end, one container after the other.

    Args:
        package: The file that `kubeflow.write` wrote.
        config: What it was compiled from. The containers run as the owner of the
            output directory, so that they can write to it.
        image: The image of the containers.

    Returns:
        The exit code: 0, since all failures are errors.

    Raises:
        ThroughlineError: Docker can't be reached, it has no such image, a container
            failed, or the metadata store lacks a node of the run.
    """
    from kfp import components

    compiled = config.output / "compiled"
    before = _directories(compiled)
    pipeline = components.load_component_from_file(str(package))
    with (
        _docker() as client,
        _own_containers(client) as label,
        tempfile.TemporaryDirectory(prefix="kfp-") as outputs,
    ):
        _require_image(client, image)
        _initialize(config, label, outputs)
        try:
            pipeline()
        # kfp's only error for a container that ended with another code than 0.
        except RuntimeError as error:
            raise ThroughlineError(
                f"{_COLORS.sub('', str(error))} Its log is above"
            ) from error
    run_directory = _new_run(compiled, before)
    nodes = json.loads((run_directory / DAG_FILE).read_text())
    require_complete(config.metadata_url, run_directory.name, [n["id"] for n in nodes])
    sys.stdout.write(f"run {run_directory.name} of {config.name} is complete\n")
    return EXIT_DONE


def require_complete(url: str, run_id: str, nodes: Collection[str]) -> None:
    """Checks in the metadata store that each node of a run is complete or cached.

    kfp takes a container that has vanished, such as one that was removed by hand, for
    one that ended well.

    Raises:
        ThroughlineError: A node isn't; the message names it and its state.
    """
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    from pipeline.store.connection import existing_store
    from pipeline.store.graph import Graph

    executions = Graph(MetadataStore(existing_store(url))).run(run_id)
    states = {e.node: e.state for e in executions}
    missing = [
        f"{node} ({states.get(node, 'no execution')})"
        for node in nodes
        if states.get(node) not in {"COMPLETE", "CACHED"}
    ]
    if missing:
        raise ThroughlineError(
            f"kfp reported success for run {run_id}, but in the metadata store these "
            f"nodes are not complete: {', '.join(missing)}; their containers have "
            "ended before they did"
        )


def _initialize(config: Config, label: str, outputs: str) -> None:
    """Sets kfp's process-wide local runner.

    Args:
        config: Names the output directory and the metadata store.
        label: Of the containers.
        outputs: Directory for what kfp's own components put out; ours have no outputs.
    """
    from docker.types import Mount
    from kfp import local

    output = str(config.output)
    owner = config.output.stat()
    runner = local.DockerRunner(
        mounts=[Mount(output, output, type="bind")],
        environment={**_HOME, SECRET_VARIABLE: config.metadata_url},
        network_mode="host",
        user=f"{owner.st_uid}:{owner.st_gid}",
        labels={_LABEL: label},
    )
    local.init(runner, pipeline_root=outputs)


@contextmanager
def _docker() -> Iterator["DockerClient"]:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        where = environment().get("DOCKER_HOST", "its default socket")
        reason = str(error).splitlines()[0]
        raise ThroughlineError(
            f"Docker can't be reached at {where}: {reason}; start it, or name another "
            "one in DOCKER_HOST"
        ) from error
    try:
        yield client
    finally:
        client.close()


def _require_image(client: "DockerClient", image: str) -> None:
    # kfp would try to pull it, and fail with a traceback.
    from docker.errors import ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        raise UsageError(
            f"Docker has no image {image}; `make image IMAGE={image}` builds it, "
            "`docker pull` fetches one, and --image names another"
        ) from None


@contextmanager
def _own_containers(client: "DockerClient") -> Iterator[str]:
    """Yields a label for the block's containers, and removes what is left of them.

    kfp leaves a container running when it is interrupted.
    """
    label = uuid.uuid4().hex
    try:
        yield label
    finally:
        left: list[Any] = client.containers.list(filters={"label": f"{_LABEL}={label}"})
        for container in left:
            container.kill()


def _new_run(compiled: Path, before: set[Path]) -> Path:
    """Returns the directory that the step Compile has written; its name is the run's.

    Raises:
        ThroughlineError: There is none: its container vanished.
    """
    new = _directories(compiled) - before
    if not new:
        raise ThroughlineError(
            f"kfp reported success, but {compiled} has no new run; the container of "
            "the step Compile has ended before it did"
        )
    return max(new)


def _directories(parent: Path) -> set[Path]:
    return {path for path in parent.glob("*/") if path.is_dir()}
