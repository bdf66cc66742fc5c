"""An Airflow of its own for a test: environment, home, database and dags folder."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Airflow:
    """An installed Airflow with an empty home.

    Attributes:
        version: 2 or 3.
        home: Where its configuration, its database and its logs go.
    """

    version: int
    home: Path

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs `airflow`, in an environment that knows nothing of ours."""
        programs = PROJECT / f".venv-airflow{self.version}" / "bin"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        return subprocess.run(
            [str(programs / "airflow"), *command],
            cwd=self.home,
            env={
                **kept,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
                "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )

    def run(self, compiled: Path, name: str) -> subprocess.CompletedProcess[str]:
        """Links a compiled directory into the dags folder, and runs its DAG."""
        dags = self.home / "dags"
        dags.mkdir(exist_ok=True)
        (dags / "throughline").symlink_to(compiled)
        return self.call("dags", "test", name)


def make_airflow(version: int, home: Path) -> Airflow:
    """Makes the environment, if it isn't current, and an empty database."""
    made = subprocess.run(
        ["make", "airflow-env"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout
    airflow = Airflow(version, home)
    migrated = airflow.call("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout
    return airflow
