"""What is decided from data, and why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.declarations import (
    Binary,
    Boolean,
    Classes,
    FreeText,
    IntegerCategory,
    Numeric,
    Regression,
    Task,
    Timestamp,
    Vocabulary,
)
from pipeline.errors import DataRefusedError
from pipeline.project import decisions, survey
from pipeline.project.decisions import Plan
from tests.pipeline.project.test_survey import write

ROWS = 400
CHANCE = np.random.default_rng(3)


def decided(directory: Path, label: str, **columns: Any) -> Plan:
    """Decides about columns, one of them the label."""
    given = {n: list(v) for n, v in columns.items()}
    found = survey.survey(write(directory / "in", **given), "*", "utf-8")
    declared, about = decisions.label_of(found.column(label, "label"), None, None, "")
    return decisions.decide(found, declared, about, survey.labelled(found, declared))


def label_of(
    directory: Path,
    values: list[Any],
    task: Task | None = None,
    positive: str | None = None,
) -> Any:
    """Decides about a label alone."""
    found = survey.survey(write(directory / "in", y=values), "*", "utf-8")
    return decisions.label_of(found.column("y", "label"), task, positive, "")[0]


def some(*values: Any) -> list[Any]:
    """Draws values at random."""
    return [values[at] for at in CHANCE.integers(len(values), size=ROWS)]


def test_each_kind_of_column_gets_its_declaration(tmp_path: Path) -> None:
    """Numbers, codes, categories, yes or no, dates, texts; and what is left out."""
    days = np.datetime64("2024-01-01") + np.arange(ROWS) * 2
    text = [f"a story of {n} words {n * 7}" for n in range(ROWS)]
    y = some("a", "b")

    plan = decided(
        tmp_path,
        "y",
        y=y,
        amount=CHANCE.normal(0, 1, ROWS).round(4),
        tail=np.exp(CHANCE.normal(0, 3, ROWS)).round(4),
        doors=some(2, 3, 4, 5),
        town=some("Rome", "Oslo", None),
        sold=some("yes", "no"),
        day=days,
        text=text,
        serial=range(10, 10 + ROWS),
        code=[f"x-{n}" for n in range(ROWS)],
        seen=some("31/12/2025", "01/02/2026", "03/02/2026"),
        same=["one"] * ROWS,
        empty=[None] * ROWS,
        copy=[v.upper() for v in y],
    )

    kinds = {d.column: [type(f) for f in d.features] for d in plan.decisions}
    assert kinds == {
        "amount": [Numeric],
        "tail": [Numeric],
        "doors": [Numeric, IntegerCategory],
        "town": [Vocabulary],
        "sold": [Boolean],
        "day": [Timestamp],
        "text": [FreeText],
        "serial": [],
        "code": [],
        "seen": [],
        "same": [],
        "empty": [],
        "copy": [],
    }
    reasons = {d.column: d.reason for d in plan.decisions}
    assert reasons["serial"] == "grows from row to row: left out"
    assert reasons["code"] == "400 distinct values in 400 rows, an id: left out"
    assert reasons["seen"] == (
        "dates such as '01/02/2026', write them as 2026-01-31: left out"
    )
    assert reasons["same"] == "one value, 'one': left out"
    assert reasons["empty"] == "100.0% missing: left out"
    assert "predicts the label alone (AUC 1.000), leak?" in reasons["copy"]
    declared = {feature.column: feature for feature in plan.features}
    assert declared["tail"] == Numeric("tail", log=True)
    assert declared["day"] == Timestamp("day", ("weekday", "yearday"), age=True)
    assert plan.slices == ("doors", "town")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1] * 30, Binary(column="y")),
        (["no", "yes"] * 30, Binary(column="y", positive=("yes",), negative=("no",))),
        # Without a word for yes, the rarer value.
        (["b"] * 40 + ["a"] * 30, Binary(column="y", positive=("a",), negative=("b",))),
        (["x", "y", "z"] * 20, Classes(column="y", values=("x", "y", "z"))),
        ([3, 1, 2] * 20, Classes(column="y", values=(1, 2, 3))),
        ([-1, 0, 5] * 20, Classes(column="y", values=(-1, 0, 5))),
        (list(range(100)), Regression(column="y", middle=49.0)),
        ([n / 8 for n in range(70)], Regression(column="y", middle=4.25)),
    ],
)
def test_the_task_follows_from_the_values(
    tmp_path: Path, values: list[Any], expected: Any
) -> None:
    """Two values are yes or no, a few are classes, many numbers are a regression."""
    assert label_of(tmp_path, values) == expected


def test_what_is_given_wins(tmp_path: Path) -> None:
    """A task, and the value that is yes."""
    rain = label_of(tmp_path / "a", ["sun", "rain", "fog"] * 20, positive="rain")
    number = label_of(tmp_path / "b", [1, 2, 3] * 20, task="regression")

    assert rain.positive == ("rain",)
    assert set(rain.negative) == {"sun", "fog"}
    assert isinstance(number, Regression)


@pytest.fixture(autouse=True)
def _directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        (["x"] * 60, {}, "one value, 'x', in all 60 rows|has one value, 'x'"),
        (
            [f"v{n}" for n in range(10_000)],
            {},
            "distinct values; at most 1,000 classes",
        ),
        ([None] * 1940 + ["a", "b"] * 30, {}, "missing in 97.0% of the rows"),
        (["a", "b"] * 10, {}, "only 20 rows have a label"),
        (["a", "b", "c"] * 20, {"task": "regression"}, "holds texts such as 'a'"),
        (["a", "b", "c"] * 20, {"task": "binary"}, "give the one that is yes as --pos"),
        (["a", "b"] * 30, {"positive": "z"}, "positive is 'z', which is no value of"),
        ([0.5, 1.25, 2.0] * 20, {"task": "classes"}, "numbers with a fraction"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(
    tmp_path: Path, values: list[Any], more: dict[str, Any], said: str
) -> None:
    """One sentence, with what to do."""
    with pytest.raises(DataRefusedError, match=said):
        label_of(tmp_path, values, **more)


def test_half_of_the_labels_may_be_missing(tmp_path: Path) -> None:
    """Rows without one are not learned from."""
    label = label_of(tmp_path, ["a", None, "b", None] * 40)

    assert label == Binary(column="y", positive=("a",), negative=("b",)) or (
        label.positive == ("b",)
    )


def test_data_without_features_is_refused(tmp_path: Path) -> None:
    """Each column is named with why it was left out."""
    with pytest.raises(DataRefusedError, match="no column is left as a feature: same"):
        decided(tmp_path, "y", y=some("a", "b"), same=["one"] * ROWS)
