"""A Kubeflow package on this machine: what is checked before and after.

tests/containers/test_kubeflow.py runs one with a Docker daemon.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import config as settings
from pipeline.config import Config
from pipeline.errors import ThroughlineError, UsageError
from pipeline.runners import kubeflow_local
from pipeline.runners.kubeflow import Options
from tests.pipeline.tfx_store import StockStore

FAILED = mlmd.Execution.FAILED


def test_data_must_be_in_the_volume(tmp_path: Path) -> None:
    """The containers see the output directory only, which must be there."""
    inside = replace(settings.kubeflow(), output=tmp_path, data=tmp_path / "data")

    kubeflow_local.check(inside)

    with pytest.raises(UsageError, match=r"put it into the output directory, such as"):
        kubeflow_local.check(replace(inside, data=tmp_path.parent / "data"))
    with pytest.raises(UsageError, match=r"must be the absolute path of a directory"):
        kubeflow_local.check(replace(inside, output=tmp_path / "none"))
    with pytest.raises(UsageError, match=r"must be the absolute path of a directory"):
        kubeflow_local.check(replace(inside, output=Path()))


def test_all_nodes_complete_is_success(config: Config, store: StockStore) -> None:
    """Cached nodes are complete, and nodes of which a second execution is."""
    store.ran("monday", "Gen", state=mlmd.Execution.CACHED)
    store.ran("monday", "Trainer", state=FAILED)
    store.ran("monday", "Trainer")

    kubeflow_local.require_complete(config.metadata_url, "monday", ["Gen", "Trainer"])


def test_a_container_that_vanished_is_an_error(
    config: Config, store: StockStore
) -> None:
    """Nodes that the store lacks, or that didn't end well, are named."""
    store.ran("monday", "Gen")
    store.ran("monday", "Trainer", state=mlmd.Execution.RUNNING)
    store.ran("tuesday", "Pusher")
    nodes = ["Gen", "Trainer", "Pusher"]

    with pytest.raises(ThroughlineError) as refused:
        kubeflow_local.require_complete(config.metadata_url, "monday", nodes)

    assert "complete: Trainer (RUNNING), Pusher (no execution);" in str(refused.value)


def test_a_compile_that_vanished_is_an_error(tmp_path: Path) -> None:
    """Without a compiled pipeline of its own a run has no name."""
    (tmp_path / "11").mkdir()
    before = kubeflow_local._directories(tmp_path)

    with pytest.raises(ThroughlineError, match="the step Compile has ended before it"):
        kubeflow_local._new_run(tmp_path, before)
    (tmp_path / "12").mkdir()
    new = kubeflow_local._new_run(tmp_path, before)

    assert new == tmp_path / "12"


def test_no_docker_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the address at which there is none."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")

    with (
        pytest.raises(ThroughlineError, match=f"reached at unix://{tmp_path}/none: "),
        kubeflow_local._docker(),
    ):
        pytest.fail("there is no Docker")


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({"submit": True, "host": "http://h"}, "--submit"),
        ({"target": "vertex"}, "--target vertex"),
    ],
)
def test_it_is_for_this_machine(flags: dict[str, str], flag: str) -> None:
    """A package is either run here or submitted."""
    with pytest.raises(UsageError, match=f"leave {flag} out"):
        Options(run_local=True, **flags)  # type: ignore[arg-type]
