"""The process that runs the pipeline for a decision."""

import json
import subprocess
import sys
from pathlib import Path

from pipeline.config import Config
from pipeline.runners.local import run_record

PROJECT = Path(__file__).parents[2]


def test_settings_come_from_the_decision(config: Config, tmp_path: Path) -> None:
    """What is wrong with them ends with their exit code, in a sentence."""
    decision = tmp_path / "000001.json"
    values = run_record.to_json(config)
    decision.write_text(json.dumps({"config": values}))

    done = subprocess.run(
        [sys.executable, "-m", "operations.pipeline_run", str(decision), "r1"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"data is {config.data}, which is not a directory" in done.stderr
