"""The local runner in a terminal: a table and a summary, all else in logs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import terminals
from tests.e2e.places import Place
from tests.e2e.runs import PROJECT, Finished
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

MakeData = Callable[..., Path]
NODES = (
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "DataBaselines",
    "DataGate",
    "Window",
    "Transform",
    "Trainer",
    "Baseline",
    "BestModel",
    "Evaluator",
    "ServingCheck",
    "Pusher",
)
# Full, after as many rows as `small_data` has in their splits.
BARS = {
    "ExampleGen": "600",
    "StatisticsGen": "600",
    "Transform": r"[\d,]+",
    "Evaluator": r"[\d,]+",
}
STATES = ("done", "failed", "not", "waiting", "running", "cached", "canceled")
# As absl, logging, warnings and TensorFlow's C++ begin their lines.
NOISE = re.compile(r"absl|INFO|WARNING|^[IWE]\d{4} |^\d{4}-\d\d-\d\d ", re.MULTILINE)


def rows_of_table(lines: list[str]) -> list[str]:
    """Names in the lines that show a node and its state."""
    words = [line.split()[:2] for line in lines]
    return [w[0] for w in words if len(w) > 1 and w[0] in NODES and w[1] in STATES]


def test_a_run_shows_a_table_and_keeps_logs(
    settled_runs: tuple[Place, Finished],
) -> None:
    """In 80 columns each node has one line, and what it logged is in its log alone."""
    place, run = settled_runs

    lines = terminals.screen(run.text)

    assert sorted(rows_of_table(lines)) == sorted(NODES)
    table = [line for line in lines if rows_of_table([line])]
    assert max(map(len, table)) <= 80
    for node, rows in BARS.items():
        (line,) = [line for line in table if line.startswith(f"{node} ")]
        assert re.search(rf"\d ━+ ({rows} of )?{rows} rows  .*[\d.] rows/s$", line)
    assert "started" not in run.text
    assert not NOISE.search(run.text)
    logs = {path.stem: path.read_text() for path in (run.run / "logs").iterdir()}
    assert [node for node in NODES if not logs[node]] == []
    assert "rows read" in logs["ExampleGen"]
    # TensorFlow's autograph writes one for each function that it translates.
    by_run = {int(p.stem.split(".")[-1]): p for p in place.output.parent.glob("*.tmp")}
    assert list(by_run[min(by_run)].iterdir()) == []


def test_compile_prints_what_it_wrote_and_nothing_else(
    tmp_path: Path, small_data: MakeData
) -> None:
    """Nothing of TensorFlow, absl or kfp is on either stream, nor in TMPDIR."""
    out, temporary = tmp_path / "compiled", tmp_path / "tmp"
    temporary.mkdir()
    flags = ["--out", out, "--data", small_data(), "--output", tmp_path / "out"]

    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "compile", *map(str, flags)],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out} has ir.json, dag.json\n"
    assert list(temporary.iterdir()) == []


def test_a_failing_run_names_a_log_with_the_traceback(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """In 140 columns the log that a failure names holds its traceback."""
    (tmp_path / "out" / "artifacts").mkdir(parents=True)
    (tmp_path / "out" / "artifacts" / "StatisticsGen").write_text("in the way")
    output, flags = tmp_path / "out", ("--preset", "smoke", "--data", small_data())

    code, printed = warm.run(output, *flags, columns=140)

    assert code == 1, printed
    lines = terminals.screen(printed)
    assert sorted(rows_of_table(lines)) == sorted(NODES)
    assert not NOISE.search(printed)
    text = re.sub(r"\s+", "", "".join(lines))
    (named,) = re.findall(r"Thelogis(/.*?/StatisticsGen\.log)", text)
    assert "Traceback (most recent call last)" in Path(named).read_text()
    assert "Traceback" not in printed
