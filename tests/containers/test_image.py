"""The images, as they are built here."""

import json
import os
import shlex
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import METADATA_VARIABLE, kubeflow
from pipeline.runners.containers import COMPILE, IMAGE_USER, command_of
from pipeline.store.connection import connection_config
from pipeline.store.graph import Graph
from tests.containers.answers import ROWS, answers_of
from tests.containers.daemon import docker
from tests.e2e.runs import Finished
from tests.servers import free_port

_LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--network=host", "--tmpfs=/tmp")


def size_of(image: str) -> int:
    """Bytes of an image, with those of its base."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def test_the_images_are_small(image: str, server: str) -> None:
    """That of the nodes has 3.0 GB at most, and the server's 1.9, base included."""
    assert size_of(image) <= 3.0e9
    assert size_of(server) <= 1.9e9


def test_an_image_needs_no_rights(image: str) -> None:
    """It runs as another user than root, reads only, and finds no problem."""
    run = ("run", "--rm", *_LOCKED_DOWN, image)

    assert docker(*run, "id", "--user").strip() == str(IMAGE_USER)
    assert "2.21" in docker(*run, "throughline", "doctor")


def test_nodes_need_no_rights(image: str, tmp_path: Path) -> None:
    """Nodes of a compiled pipeline write nothing outside of the volume and /tmp."""
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, IMAGE_USER, IMAGE_USER)
    config = replace(kubeflow(), output=Path("/mnt/throughline"))
    nodes = ("ExampleGen", "StatisticsGen")
    commands = [command_of(step, config, "one") for step in (COMPILE, *nodes)]
    places = (
        f"--volume={volume}:{config.output}",
        f"--env={METADATA_VARIABLE}=sqlite:///{config.output}/metadata.db",
    )

    docker(
        *("run", "--rm", *_LOCKED_DOWN, *places, image, "sh", "-euc"),
        "\n".join(shlex.join(command) for command in commands),
    )

    graph = Graph(MetadataStore(connection_config(f"sqlite:///{volume}/metadata.db")))
    assert {e.node: e.state for e in graph.run("one")} == dict.fromkeys(
        nodes, "COMPLETE"
    )


def test_a_worker_starts(worker: str) -> None:
    """Beam's boot program is what runs, and finds Beam in the environment."""
    assert "Version: 2.77" in docker("run", "--rm", *_LOCKED_DOWN, worker)


def test_the_server_answers(server: str, on_host: Finished, tmp_path: Path) -> None:
    """Without rights, it serves the live version to who has a token."""
    (version,) = on_host.versions
    tokens = tmp_path / "tokens"
    tokens.write_text("secret-of-the-test\n")
    port = free_port()
    tokens_there = "/run/secrets/throughline/tokens"
    places = (
        f"--volume={on_host.output}:/mnt/throughline:ro",
        f"--volume={tokens}:{tokens_there}:ro",
    )
    flags = ("serve", f"--port={port}", "--grpc-port=None", "--log.off")
    where = (
        "--output=/mnt/throughline",
        "--token-file=/run/secrets/throughline/tokens",
    )

    container = docker(
        *("run", "--detach", "--rm", *_LOCKED_DOWN, *places, server, *flags, *where)
    )
    try:
        given = predicted(container, port, "secret-of-the-test")
        with pytest.raises(URLError, match="401"):
            predicted(container, port, "another")
    finally:
        docker("stop", container)

    # REST has the shortest digits of a 32-bit number.
    assert given == pytest.approx(answers_of(version), rel=1e-6)


def predicted(container: str, port: int, token: str) -> list[float]:
    """Asks a server for what `answers_of` computes; waits until it listens."""
    body = {"signature_name": "serving_raw", "instances": ROWS}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models/taxi:predict",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    while True:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                return [float(value) for value in json.load(answer)["predictions"]]
        except ConnectionError:
            running = True
        except URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            running = container[:12] in docker("ps", "--quiet")
        # A server that can't start ends, and is removed.
        assert running, docker("events", "--since=10m", "--until=0s")
        time.sleep(0.2)
