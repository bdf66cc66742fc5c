"""The files of a project are code that means what was decided."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.declarations import Classes, Regression
from pipeline.project import decisions, files, survey
from pipeline.project.decisions import Plan
from pipeline.project.settings_file import PROJECT
from pipeline.project.survey import Survey
from tests.pipeline.project.test_survey import write

ROWS = 400
CHANCE = np.random.default_rng(4)
COLUMNS: dict[str, list[Any]] = {
    "Мест в ряду": CHANCE.integers(2, 5, ROWS).tolist(),
    "class": CHANCE.choice(["a", 'b"', "c"], ROWS).tolist(),
    "price": CHANCE.normal(100, 5, ROWS).round(3).tolist(),
    "gone": [None] * ROWS,
    "rare": ["x", "y", *[None] * (ROWS - 2)],
}


def planned(directory: Path, label: str) -> tuple[Survey, Plan]:
    """Surveys and decides."""
    found = survey.survey(write(directory / "in", **COLUMNS), "*", "utf-8")
    declared, about = decisions.label_of(found.column(label, "label"), None, None, "")
    labelled = survey.labelled(found, declared)
    return found, decisions.decide(found, declared, about, labelled)


def test_the_code_says_what_was_decided(tmp_path: Path) -> None:
    """Run as Python, features.py gives the same declarations."""
    found, plan = planned(tmp_path, "price")

    code = files.generated(found, plan, "trips", "in")[files.FEATURES]

    made: dict[str, Any] = {}
    exec(compile(code, "features.py", "exec"), made)  # noqa: S102 - it is our own
    assert made["FEATURES"] == plan.features
    assert made["LABEL"] == plan.label
    assert made["SLICE_COLUMNS"] == plan.slices
    assert "# gone: 100.0% missing: left out" in code
    assert max(map(len, code.splitlines())) <= 88


def test_the_schema_accepts_the_data_and_a_little_more(tmp_path: Path) -> None:
    """Types, presence and ranges; the label's values exactly, and not in requests."""
    found, plan = planned(tmp_path, "class")

    text = files.generated(found, plan, "trips", "in")[files.SCHEMA]

    schema = text_format.Parse(text, schema_pb2.Schema())
    features = {feature.name: feature for feature in schema.feature}
    assert list(features) == list(COLUMNS)
    assert list(features["class"].string_domain.value) == ["a", 'b"', "c"]
    assert list(features["class"].not_in_environment) == ["SERVING"]
    assert features["gone"].presence.min_fraction == 0.0
    # A split of it may have none of its few values.
    assert features["rare"].presence.min_fraction == 0.0
    assert features["Мест в ряду"].int_domain.max == 5
    prices = features["price"].float_domain
    assert prices.min < min(COLUMNS["price"])
    assert prices.max > max(COLUMNS["price"])


def test_settings_are_those_that_the_data_needs(tmp_path: Path) -> None:
    """Name and data; small steps for few rows; what the gate would not let pass."""
    with_gaps = COLUMNS | {
        "price": [None if n % 5 == 0 else v for n, v in enumerate(COLUMNS["price"])]
    }
    found = survey.survey(write(tmp_path / "in", **with_gaps), "*", "utf-8")
    label = Regression(column="price")
    plan = Plan(label, "a regression", (), ())

    text = files.generated(found, plan, "trips", "in")[files.SETTINGS]

    settings = tomllib.loads(text)
    assert (settings["name"], settings["data"]) == ("trips", "in")
    assert settings["batch-size"] == 32
    assert settings["gate"]["max-missing-labels"] > 0.2


def test_the_tests_hold_the_first_rows(tmp_path: Path) -> None:
    """With the labels that they have, by hand."""
    found, plan = planned(tmp_path, "class")

    text = files.generated(found, plan, "trips", "in")[files.TESTS]

    assert isinstance(plan.label, Classes)
    labels = [plan.label.values.index(row["class"]) for row in found.first]
    assert f"LABELS: list[Any] = {labels!r}" in text
    compile(text, "test_project.py", "exec")


def test_the_path_of_the_data(tmp_path: Path) -> None:
    """Relative if the data moves with the project, else as it is."""
    assert files.relative(tmp_path / "p/data", tmp_path / "p") == "data"
    assert files.relative(tmp_path / "data", tmp_path / "p") == str(tmp_path / "data")


def test_what_is_written_passes_the_project_s_own_lint(tmp_path: Path) -> None:
    """Many classes, long texts and other alphabets: `make lint` has nothing to say."""
    long = {f"a long name of a column {n}": [f"{n} " * 60] * 100 for n in range(3)}
    types = [f"вид {n % 7}" for n in range(100)]
    given = {**long, "тип": types, "x": CHANCE.normal(0, 1, 100).tolist()}
    found = survey.survey(write(tmp_path / "in", **given), "*", "utf-8")
    label, about = decisions.label_of(found.column("тип", "label"), None, None, "")
    plan = decisions.decide(found, label, about, survey.labelled(found, label))
    for name, text in files.generated(found, plan, "long", "in").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    # As in a project, where models/ is a package.
    shutil.copy(PROJECT / "models/__init__.py", tmp_path / "models")

    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [*ruff, *command, "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
