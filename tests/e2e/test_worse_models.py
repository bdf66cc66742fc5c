"""Models that the pipeline really trains, worse than the live one: none goes live.

Rows are split by time, so that what is spoiled is what the worse models learn from: the
rows that they are judged by are those of the good model.
"""

import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.features import COMPANY, FARE, TIPS
from pipeline.quality.gates import BEST, FAILED, LIVE, PASSED
from pipeline.quality.rules import GATES_FILE
from pipeline.registry import history
from tests.e2e.places import FLAGS, restoring
from tests.e2e.runs import PROJECT, Finished, Rows, finished, write_csv
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

ROWS = 3000
TIME = "trip_start_timestamp"
TEST_FROM = 1_426_000_000
LARGEST_COMPANY = "Taxi Affiliation Services"
MAX_LOSS = 0.005
SETTINGS = (
    *FLAGS,
    *("--min-auc", "0.85", "--max-auc-loss", str(MAX_LOSS), "--train-steps", "100"),
    *("--splits.time-column", TIME, "--splits.test-from", str(TEST_FROM)),
    *("--quality.slice-columns", COMPANY, "--quality.max-slice-auc-loss", "0.02"),
)


LEAST_AUC, NO_LOSS = "auc >= 0.85", f"auc loss <= {MAX_LOSS}"
NO_LOSS_OF_A_COMPANY = f"log_loss by {COMPANY} loss <= 0.2"


@dataclass(frozen=True)
class Live:
    """A place where a good model is live.

    Attributes:
        warm: Runs the pipeline.
        rows: The rows that the model was trained and judged by.
        run: Its run.
    """

    warm: WarmProcess
    rows: Rows
    run: Finished

    def train(self, rows: Rows, *given: object, project: Path = PROJECT) -> Finished:
        """Runs a project on rows, where the good model is live."""
        output = self.run.output
        data = write_csv(output.parent / "data" / "trips.csv", rows)
        flags = (*SETTINGS, "--data", data, *given)
        if project == PROJECT:
            code, text = self.warm.run(output, *flags)
        else:
            flags = ("--output", output, *flags)
            code, text = self.warm.run_in(project, "run_local", *flags)
        return finished(code, text, output)


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Live:
    """A good model, blessed and live."""
    rows = sample_rows[:ROWS]
    output = tmp_path_factory.mktemp("good") / "out"
    data = write_csv(output.parent / "data" / "trips.csv", rows)
    code, text = warm.run(output, *SETTINGS, "--data", data)
    run = finished(code, text, output)
    assert run.exit_code == 0, run.text
    return Live(warm, rows, run)


def findings(run: Finished) -> list[dict[str, Any]]:
    """Reads what each rule found in the model of a run."""
    judged = run.output_of("Evaluator", "evaluation") / GATES_FILE
    found: list[dict[str, Any]] = json.loads(judged.read_text())["findings"]
    return found


def losses(run: Finished) -> dict[str, dict[str, Any]]:
    """Reads what was found about the loss of AUC on all rows, by the other model."""
    return {f["against"]: f for f in findings(run) if f["rule"] == NO_LOSS}


def is_never_live(live: Live, worse: Finished, *rules: str) -> None:
    """Checks that a worse model was trained and judged, broke rules, and isn't live."""
    assert worse.exit_code == 4, worse.text
    failed = {f["rule"] for f in findings(worse) if f["outcome"] == FAILED}
    assert {*rules} <= failed
    assert {worse.states()[node] for node in ("Trainer", "Pusher")} == {"COMPLETE"}
    assert worse.versions == live.run.versions
    (version,) = live.run.versions
    assert f"live       {version}\n" in worse.text
    assert history.read(version.parent).live == int(version.name)


def spoiled(rows: Rows, change: Callable[[dict[str, str]], str]) -> Rows:
    """Gives the rows before the test split other tips."""
    return [
        {**row, TIPS: change(row)} if int(row[TIME]) < TEST_FROM else row
        for row in rows
    ]


def _tips(row: dict[str, str], *, tipped: bool) -> str:
    """Returns tips that make a row positive, or don't."""
    return f"{float(row[FARE]) * 0.25 + 0.01:.2f}" if tipped else "0.0"


def _noise(row: dict[str, str]) -> str:
    """A quarter of the rows tip, whatever they are."""
    return _tips(row, tipped=zlib.crc32(str(sorted(row.items())).encode()) % 4 == 0)


def _inverted(row: dict[str, str]) -> str:
    return _tips(row, tipped=float(row[TIPS]) <= 0.2 * float(row[FARE]))


def _sacrificed(row: dict[str, str]) -> str:
    return _inverted(row) if row[COMPANY] == LARGEST_COMPANY else row[TIPS]


@pytest.mark.parametrize("change", [_inverted, _sacrificed])
def test_labels_of_another_rate_train_no_model(
    change: Callable[[dict[str, str]], str], live: Live
) -> None:
    """Inverted labels, in all rows or in those of one company, are refused data."""
    refused = live.train(spoiled(live.rows, change))

    assert refused.exit_code == 3, refused.text
    assert "label rate against the previous data" in refused.text
    assert "Trainer" not in refused.states()
    assert refused.versions == live.run.versions


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", ":!tests", ":!docs", ":!benchmarks"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    target = tmp_path / "project"
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target / name)
    return target


DECLARED = {
    "dropped feature": (r"    Vocabulary\(PAYMENT_TYPE\),\n", ""),
    # Every fare is in the first of two buckets, so each row gets the same answer.
    "constant": (
        r"= \(\n    Vocab.*?\n\)\n",
        "= (Bucketized(FARE, boundaries=(1e6,)),)\n",
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_model_of_too_few_features_is_never_live(
    name: str, live: Live, project: Path
) -> None:
    """Also if what it learns from is a mistake in the declarations, not in the data."""
    features = project / "models" / "features.py"
    pattern, text = DECLARED[name]
    edited, count = re.subn(pattern, text, features.read_text(), flags=re.DOTALL)
    features.write_text(edited)

    worse = live.train(live.rows, project=project)

    assert count == 1
    is_never_live(live, worse, LEAST_AUC, NO_LOSS)


# Of the rows of the company that is third in the vocabulary, after the two largest.
FLIPPED = r"""\g<0>
\1    flipped = rows["company_id"] == 4
\1    labels = rows[LABEL_NAME]
\1    labels = np.where(flipped, 1 - labels, labels).astype(labels.dtype)
\1    rows = {**rows, LABEL_NAME: labels}
"""
FLIPPED_COMPANY = "Blue Ribbon Taxi Association Inc."


def test_a_model_that_errs_for_one_company_is_never_live(
    live: Live, project: Path
) -> None:
    """Also if its data are good, and its AUC is, on all rows and within each company.

    Its training reads inverted labels of one company, and lasts longer. That moves all
    answers for the company, which the AUC of its rows alone doesn't show.
    """
    reader = project / "models" / "input.py"
    loop = r"( +)for rows in _rebatched\(_shuffled.*\n"
    edited, count = re.subn(loop, FLIPPED, reader.read_text())
    reader.write_text(edited)

    worse = live.train(live.rows, "--train-steps", 300, project=project)

    assert count == 1
    is_never_live(live, worse, NO_LOSS_OF_A_COMPANY)
    (failed,) = [each for each in findings(worse) if each["outcome"] == FAILED]
    assert failed["where"] == f"{COMPANY} {FLIPPED_COMPANY}"
    overall = losses(worse)[LIVE]
    assert overall["value"] > overall["other"]


# Their AUCs are 0.0004, 0.0017, 0.0020 and so on to 0.0082 below the live model's.
FEWER_STEPS = (99, 98, 97, 96, 94, 92, 90, 88, 85, 82)


def test_small_losses_in_a_row_end_at_the_bound(live: Live, tmp_path: Path) -> None:
    """Of ten models, each a little worse than the one before, only the first are live.

    Each is good enough for the one before, and the sum of their losses is bounded by
    the comparison with the best recent model.
    """
    with restoring(live.run.output, tmp_path / "kept"):
        runs = [live.train(live.rows, "--train-steps", count) for count in FEWER_STEPS]
        found = [losses(run) for run in runs]
        states = [run.states() for run in runs]

    # Really trained, by the same transformed rows.
    assert {each["Trainer"] for each in states} == {"COMPLETE"}
    assert {each["Transform"] for each in states} == {"CACHED"}
    pushed = [run.exit_code for run in runs].count(0)
    assert [run.exit_code for run in runs] == [0] * pushed + [4] * (10 - pushed)
    assert pushed >= 2
    assert len(runs[-1].versions) == 1 + pushed
    # The first that is refused is good enough for the live model.
    refused = found[pushed]
    assert (refused[LIVE]["outcome"], refused[BEST]["outcome"]) == (PASSED, FAILED)
    assert refused[BEST]["text"] in runs[pushed].text
    # What is live lost less than the bound, and the last model more.
    best = found[0][LIVE]["other"]
    assert 0 < best - found[pushed - 1][LIVE]["value"] <= MAX_LOSS
    assert best - found[-1][LIVE]["value"] > MAX_LOSS


def test_a_model_of_noisy_labels_is_never_live(live: Live) -> None:
    """Not even if the DataGate only warns of them.

    The last one: later runs would compare their data with these.
    """
    warned = ("--gate.warn", "LABEL_RELATION")

    worse = live.train(spoiled(live.rows, _noise), *warned)

    is_never_live(live, worse, LEAST_AUC, NO_LOSS)
