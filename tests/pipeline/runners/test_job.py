"""What `throughline compile --target` writes for orchestrators that start processes."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tfx.orchestration.pipeline import Pipeline

from pipeline import create_pipeline
from pipeline.config import METADATA_VARIABLE, Config
from pipeline.errors import UsageError
from pipeline.runners import job
from tests.pipeline.runners.conftest import Stub

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a data directory of its own."""
    (tmp_path / "data").mkdir()
    return Config(output=tmp_path / "out", data=tmp_path / "data")


def not_built(_: Config) -> Pipeline:
    """Stands where the pipeline is built, which imports TFX."""
    pytest.fail("the pipeline was built before the settings were checked")


def compiled(config: Config, out: Path, target: str = "luigi") -> dict[str, Any]:
    """Compiles for an orchestrator; returns job.json."""
    assert job.compile_job(config, job.Options(out), target, create_pipeline) == 0
    read: dict[str, Any] = json.loads((out / "job.json").read_text())
    return read


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("target", job.TARGETS)
def test_the_nodes_use_the_store_that_was_given(
    config: Config, tmp_path: Path, target: str
) -> None:
    """A URL without a password is in each node's command, and for its owner to read."""
    out = tmp_path / "compiled"
    url = "postgresql://throughline@host/metadata"

    described = compiled(replace(config, metadata=url), out, target)

    command = job.read_job(out).command_of("Trainer", "monday")
    assert described["command"][-2:] == ["--metadata", url]
    assert command[command.index("--metadata") + 1] == url
    assert mode_of(out / "job.json") == 0o600


def test_a_bucket_s_nodes_are_told_where_the_store_is(
    config: Config, tmp_path: Path
) -> None:
    """Beside artifacts in a bucket no node would find the output directory's store."""
    out = tmp_path / "compiled"

    described = compiled(replace(config, artifacts="s3://bucket/taxi"), out)

    assert described["command"][-2:] == ["--metadata", config.metadata_url]


def test_without_a_url_others_can_read_the_job(config: Config, tmp_path: Path) -> None:
    """A job that names no store stays readable, as for Airflow's own user."""
    out = tmp_path / "compiled"
    compiled(replace(config, metadata="sqlite:////srv/metadata.db"), out)

    described = compiled(config, out)

    assert "--metadata" not in described["command"]
    assert mode_of(out / "job.json") & 0o400
    assert mode_of(out / "job.json") == mode_of(out / "dag.json")


@pytest.mark.parametrize(
    ("url", "target", "said"),
    [
        (
            "mysql://u:hunter2@h/d",
            "luigi",
            f"set {METADATA_VARIABLE} to the URL in the",
        ),
        ("mysql://u:hunter2@h/d", "celery", "a password is written into no file"),
        ("mysql://u:hunter2@h/d", "airflow", "metadata is mysql://u:***@h/d, and"),
        ("mysql://u@h/d", None, "neither ir.json nor dag.json holds a URL"),
        ("redis://h/d", "luigi", "redis scheme is not one of the three"),
    ],
)
def test_a_url_that_can_t_be_written_is_refused(
    config: Config, tmp_path: Path, url: str, target: str | None, said: str
) -> None:
    """It is refused with what to do, before anything is built or written."""
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        job.compile_job(
            replace(config, metadata=url),
            job.Options(tmp_path / "c"),
            target,
            not_built,
        )

    assert "hunter2" not in str(refused.value)
    assert not (tmp_path / "c").exists()


def test_a_url_of_the_environment_stays_there(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL that the environment gives, password and all, is written into no file."""
    url = "mysql://u:hunter2@h/d"
    monkeypatch.setenv(METADATA_VARIABLE, url)
    out = tmp_path / "compiled"

    described = compiled(replace(config, metadata=url), out)

    assert "--metadata" not in described["command"]
    assert not [p for p in out.iterdir() if "hunter2" in p.read_text()]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"retries": -5}, "retries is -5; it must be at least 0"),
        ({"schedule": "not cron"}, "schedule is 'not cron'; it must have five fields"),
        ({"out": Path("s3://b/x")}, "out is s3://b/x; it must be a path"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], said: str) -> None:
    """What Airflow would refuse when it reads the DAG is refused by the flag's name."""
    with pytest.raises(UsageError, match=re.escape(said)):
        job.Options(**fields)


@pytest.mark.parametrize("run", ["../../evil", "", "a/b", "a b", "javascript:alert(1)"])
def test_runs_stay_in_their_directory(stub: Stub, run: str) -> None:
    """Also a name that comes in a message, or from Luigi's own command, is checked."""
    read = job.read_job(stub.directory)

    for use in (read.run_directory, lambda r: read.command_of("Gen", r)):
        with pytest.raises(UsageError, match="the name of a run must"):
            use(run)
    with pytest.raises(UsageError, match="the name of a run must"):
        read.run_node("Gen", run)

    assert stub.events() == []


def test_nodes_are_those_of_the_pipeline(stub: Stub) -> None:
    """A node that isn't there is refused, and no file is made of its name."""
    read = job.read_job(stub.directory)

    with pytest.raises(UsageError, match=r"no node '\.\./x'; the nodes are Gen, Left"):
        read.run_node("../x", "monday")

    assert not list(stub.directory.rglob("*x.l*"))
