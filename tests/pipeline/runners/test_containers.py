"""What the containers of every orchestrator on Kubernetes run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import kubeflow
from pipeline.errors import UsageError
from pipeline.runners.containers import (
    COMPILE,
    Containers,
    check,
    command_of,
    metadata_note,
    steps,
)

UPSTREAM = {"Gen": [], "Train": ["Gen"], "Push": ["Train", "Gen"]}
LIGHT = Containers(heavy=("Train",), cpu="1", heavy_cpu="4")
CONFIG = replace(kubeflow(), output=Path("/mnt/out"))


def test_the_compile_step_comes_before_nodes_that_wait_for_none() -> None:
    """Each node's upstream is sorted; one without any waits for the compilation."""
    assert steps(UPSTREAM, LIGHT) == {
        COMPILE: [],
        "Gen": [COMPILE],
        "Train": ["Gen"],
        "Push": ["Gen", "Train"],
    }


def test_a_heavy_node_that_is_none_is_named() -> None:
    """The error has the unknown name and the known ones."""
    with pytest.raises(UsageError, match="names Trainr; the nodes are Gen, Train"):
        steps(UPSTREAM, Containers(heavy=("Trainr",)))


@pytest.mark.parametrize(
    ("step", "cpu", "memory"), [("Train", "4", "8Gi"), ("Gen", "1", "3Gi")]
)
def test_heavy_nodes_get_the_heavy_resources(step: str, cpu: str, memory: str) -> None:
    """All others get those of a light node."""
    assert LIGHT.resources_of(step) == (cpu, memory)


def test_a_node_reads_what_the_first_step_compiled() -> None:
    """Both commands have the same directory, one for each run."""
    compiled = command_of(COMPILE, CONFIG, "run-1")
    node = command_of("Train", CONFIG, "run-1")

    directory = "/mnt/out/compiled/run-1"
    assert compiled[:4] == ["throughline", "compile", "--out", directory]
    assert compiled[4:6] == ["--preset", "kubeflow"]
    assert node == [
        *("throughline", "node", "--ir", f"{directory}/ir.json"),
        *("--node", "Train", "--run-id", "run-1"),
    ]


def test_settings_reach_the_container_as_flags() -> None:
    """What differs from the preset is a flag of the compilation."""
    command = command_of(COMPILE, replace(CONFIG, train_steps=7), "run-1")

    at = command.index("--train-steps")
    assert command[at + 1] == "7"


def test_the_store_s_url_belongs_in_the_secret() -> None:
    """A URL on the command line is refused with the command that makes the secret."""
    with pytest.raises(UsageError, match="create secret generic throughline-metadata"):
        check(replace(CONFIG, metadata="mysql://host/db"), LIGHT)

    assert "secret throughline-metadata" in metadata_note(LIGHT)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cpu", "many"),
        ("heavy_memory", "8 GB"),
        ("volume", "Not_A_Name"),
        ("image", "{{image}}"),
        ("retries", -1),
    ],
)
def test_what_a_cluster_would_refuse_is_refused(setting: str, value: Any) -> None:
    """A wrong value ends before anything is compiled."""
    with pytest.raises(UsageError):
        Containers(**{setting: value})
