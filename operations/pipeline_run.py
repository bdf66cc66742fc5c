"""Runs the pipeline for a decision, in a process of its own.

    python -m operations.pipeline_run DECISION_FILE RUN_ID

The settings are in the decision, so what is run is what was decided, whatever has
arrived since. A run of that name that was stopped is resumed.
"""

import dataclasses
import json
import sys
from pathlib import Path

from pipeline import config as settings
from pipeline import create_pipeline
from pipeline.errors import exit_code
from pipeline.runners.local import run_record, runner
from pipeline.store.names import run_name
from pipeline.store.run_files import RECORD_FILE


def main() -> int:
    """Runs the pipeline; returns its exit code."""
    return exit_code(lambda: _run(Path(sys.argv[1]), run_name(sys.argv[2])))


def _run(decision: Path, run_id: str) -> int:
    values = json.loads(decision.read_text("utf-8"))["config"]
    # Its URL may have a password, which is only in the environment.
    config = dataclasses.replace(run_record.from_json(values), metadata=None)
    config = settings.with_environment(config, settings.environment())
    is_there = (config.runs_directory / run_id / RECORD_FILE).exists()
    options = runner.Options(resume=(run_id,) if is_there else None)
    return runner.run(config, options, create_pipeline, run_id)


if __name__ == "__main__":
    sys.exit(main())
