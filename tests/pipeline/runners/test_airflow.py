"""The compiled pipeline, run by `airflow dags test` of both versions, on sqlite."""

import ast
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.runners.job import AIRFLOW_FILE
from tests.pipeline.runners.airflow_home import PROJECT, Airflow, make_airflow
from tests.pipeline.runners.conftest import Stub

SOURCE = PROJECT / "pipeline" / "runners" / "airflow.py"


@pytest.fixture(scope="session", params=[2, 3])
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Airflow:
    """Each Airflow with an empty database."""
    home = tmp_path_factory.mktemp(f"airflow{request.param}")
    return make_airflow(request.param, home)


@pytest.fixture
def airflow(installed: Airflow, tmp_path: Path, stub: Stub) -> Airflow:
    """Each Airflow with a home of its own, and the four nodes compiled for it."""
    home = tmp_path / "airflow"
    home.mkdir()
    shutil.copy(installed.home / "airflow.db", home)
    shutil.copy(SOURCE, stub.directory / AIRFLOW_FILE)
    return Airflow(installed.version, home)


def test_dag_file_needs_airflow_alone() -> None:
    """The file imports the standard library and Airflow, and nothing of ours."""
    imported = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])

    assert imported - {"airflow"} <= sys.stdlib_module_names


@pytest.mark.e2e
def test_nodes_run_in_order(airflow: Airflow, stub: Stub) -> None:
    """Each node runs once, after those it waits for; the log has what it prints."""
    done = airflow.run(stub.directory, "stub")

    assert done.returncode == 0, done.stdout
    assert stub.calls()[0] == "Gen"
    assert stub.calls()[-1] == "Push"
    assert sorted(stub.calls("start")) == sorted(stub.upstream)
    (run_id,) = stub.run_ids()
    assert run_id.endswith("-abcd1234")


@pytest.mark.e2e
def test_failing_node_fails_the_run(airflow: Airflow, stub: Stub) -> None:
    """The run fails, the node's code is in the log, and nothing follows."""
    stub.fail("Left", 3)

    done = airflow.run(stub.directory, "stub")

    assert done.returncode != 0, done.stdout
    assert "Left ended with exit code 3" in done.stdout
    assert stub.calls("start").count("Left") == 1
    assert "Push" not in stub.calls("start")
