"""Stands in for a run of the pipeline where only its start and its end matter.

Called with a decision's file and the run's name, it writes the run's record as the
local runner does, waits as long as a file `wait` exists next to the output directory,
and ends with the exit code in `code`, 0 without one.
"""

import json
import sys
import time
from pathlib import Path


def main(decision: Path, run_id: str) -> int:
    """Does what a run does, from outside."""
    config = json.loads(decision.read_text())["config"]
    output = Path(config["output"])
    directory = output / "runs" / run_id
    from pipeline.runners.local import run_record
    from pipeline.store.run_files import Outcome

    settings = run_record.from_json(config)
    run = run_record.new_run(settings, run_id)
    with run_record.held(run):
        run.save()
        with (output / "started").open("a") as started:
            started.write(f"{run_id} {config['span']}\n")
        while (output / "wait").exists():
            time.sleep(0.02)
        code = output / "code"
        run.exit_code = int(code.read_text()) if code.exists() else 0
        run.outcome = Outcome.DONE if run.exit_code == 0 else Outcome.FAILED
        run.save()
    assert directory.is_dir()
    return run.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
