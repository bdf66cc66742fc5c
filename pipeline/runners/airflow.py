"""An Airflow DAG of a compiled pipeline, one task per node; for Airflow 2.11 and 3.

`throughline compile --target airflow` copies this file, as throughline_dag.py, into the
directory that it compiles to. Link or copy that directory into Airflow's dags folder.
The scheduler only reads two small JSON files; TFX is needed in the environment of the
command that each task runs, not in Airflow's.
"""

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # Airflow 2
    from airflow.exceptions import AirflowException, AirflowFailException
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.dag import DAG

EXIT_DATA_REFUSED = 3
HERE = Path(__file__).resolve().parent
JOB = json.loads((HERE / "job.json").read_text())
UPSTREAM = {
    node["id"]: node["upstream"] for node in json.loads((HERE / "dag.json").read_text())
}


class Node(BaseOperator):
    """Runs `throughline node`, with its output in the task's log."""

    ui_color = "#e8f0fe"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> None:
        """Runs the node.

        Raises:
            AirflowFailException: The data was rejected; Airflow does not retry.
            AirflowException: The node failed; Airflow retries.
        """
        # A finished node of a run never runs again, so a changed pipeline needs another
        # run id.
        run_id = f"{context['run_id']}-{JOB['definition']}"
        self.process = subprocess.Popen(
            [*JOB["command"], "--node", self.task_id, "--run-id", run_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, so that `on_kill` also reaches Beam's and TensorFlow's
            # children.
            start_new_session=True,
        )
        for line in self.process.stdout or ():
            self.log.info(line.rstrip())
        code = self.process.wait()
        context["ti"].xcom_push(key="exit_code", value=code)
        message = f"{self.task_id} ended with exit code {code}"
        if code == EXIT_DATA_REFUSED:
            raise AirflowFailException(message)
        if code:
            raise AirflowException(message)

    def on_kill(self) -> None:
        """Stops the node when its task is stopped."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)


with DAG(
    dag_id=JOB["name"],
    description="Throughline, compiled from pipeline/pipeline.py",
    schedule=JOB["schedule"],
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    # Concurrent runs would both be compared with the same baseline.
    max_active_runs=1,
    default_args={"retries": JOB["retries"], "retry_delay": timedelta(seconds=30)},
    tags=["throughline", "tfx"],
) as dag:
    tasks = {node: Node(task_id=node) for node in UPSTREAM}
    for node, before in UPSTREAM.items():
        tasks[node].set_upstream([tasks[name] for name in before])
