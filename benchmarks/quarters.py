"""Runs the pipeline after each quarter of the sample, as the quarters would arrive.

    python -m benchmarks quarters        16 runs; six minutes if nothing else runs

After each quarter one run trains on the four newest ones. Printed are its exit code,
the AUC of the candidate, which quarter's model is live then, and what the data gate
found. The quarters are clean: the exit code is 1 if one of them is refused, if a run
fails, or if the gate warns of more than two of them.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import results
from benchmarks.measure import measure
from benchmarks.pipeline import machine
from data import quarters
from pipeline import artifacts
from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE, EXIT_NOT_BLESSED
from pipeline.registry import history
from pipeline.trust.newest import newest_verdict

MOST_WARNINGS = 2
_AUC = "auc"


@dataclass(frozen=True)
class Arrived:
    """What the run after a quarter did.

    Attributes:
        span: Number of the quarter.
        exit_code: Of the run.
        rows: Rows of the quarter.
        findings: What the gate found: severity, name, column and text of each.
        auc: Of the candidate on its test split; `None` if none was evaluated.
        live: Number of the run after which the live version was pushed, that is the
            newest quarter it has learned from; `None` if no version is live.
        cpu_seconds: Processor time of the run.
    """

    span: int
    exit_code: int
    rows: int
    findings: tuple[str, ...]
    auc: float | None
    live: int | None
    cpu_seconds: float

    def __str__(self) -> str:
        """Returns it as a line, and one more for each finding."""
        auc = "-" if self.auc is None else f"{self.auc:.4f}"
        line = (
            f"span {self.span:2}  exit {self.exit_code}  {self.rows:5,} rows  "
            f"AUC {auc}  live: of span {self.live}  {self.cpu_seconds:.0f} CPU s"
        )
        return "\n".join([line, *(f"  {each}" for each in self.findings)])


def arrive_all(place: Path, spans: int, flags: Sequence[str] = ()) -> list[Arrived]:
    """Runs after each of the first quarters, and prints each.

    Args:
        place: Directory for the quarters and the output; empty.
        spans: How many quarters arrive.
        flags: More flags for `run_local.py`.
    """
    quarters.write_sample(place / "all")
    config = Config(name="taxi", output=place / "output")
    made_by: dict[int | None, int] = {}
    found = []
    for span in range(1, spans + 1):
        shutil.copytree(place / f"all/span-{span}", place / f"data/span-{span}")
        found.append(_arrive(span, place, config, flags, made_by))
        print(found[-1], flush=True)
    return found


def is_clean(found: Sequence[Arrived]) -> bool:
    """Whether no quarter was refused, no run failed, and few were warned of."""
    warned = sum(bool(each.findings) for each in found)
    codes = {each.exit_code for each in found}
    return codes <= {EXIT_DONE, EXIT_NOT_BLESSED} and warned <= MOST_WARNINGS


def _arrive(
    span: int,
    place: Path,
    config: Config,
    flags: Sequence[str],
    made_by: dict[int | None, int],
) -> Arrived:
    command = [sys.executable, "run_local.py", "--output", str(config.output)]
    command += ["--data", str(place / "data"), *quarters.FLAGS, *flags]
    took = measure(command, Path.cwd())
    if took.exit_code not in {EXIT_DONE, EXIT_NOT_BLESSED, EXIT_DATA_REFUSED}:
        raise RuntimeError(
            f"the run of span {span} ended with {took.exit_code}; to see why, look "
            f"into {config.output}/runs or run: {' '.join(command)}"
        )
    _, verdict = newest_verdict(config)
    live = history.read(config.serving_directory).live
    made_by.setdefault(live, span)
    run = artifacts.newest(output=config.output)
    return Arrived(
        span,
        took.exit_code,
        sum(verdict.rows.values()),
        tuple(
            f"{f.severity} {f.anomaly} {f.column}: {f.text}" for f in verdict.findings
        ),
        run.outcome().get(_AUC),
        None if live is None else made_by[live],
        took.cpu_seconds,
    )


def main(arguments: list[str]) -> int:
    """Runs, prints each quarter's run, and writes the results; 1 if not clean."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks quarters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--spans", type=int, default=16, help="how many arrive, 1 to 16")
    given, others = flags.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="quarters-") as place:
        found = arrive_all(Path(place), given.spans, others)
    about = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    report = {**about, "quarters": [asdict(each) for each in found]}
    path = results.save("quarters", report)
    warned = [str(each.span) for each in found if each.findings]
    refused = [str(e.span) for e in found if e.exit_code == EXIT_DATA_REFUSED]
    print(f"refused: {', '.join(refused) or 'none'}")
    print(f"warned of: {', '.join(warned) or 'none'}; at most {MOST_WARNINGS} may be")
    print(f"results are in {path}")
    return 0 if is_clean(found) else 1
