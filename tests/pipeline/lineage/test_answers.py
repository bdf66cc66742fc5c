"""Answers of lineage queries, as values and as JSON."""

import json

import pytest

from pipeline.lineage.answers import (
    Change,
    Data,
    DataLineage,
    File,
    ModelDiff,
    ModelLineage,
    ModelUse,
    as_json,
)


def model(*versions: str, auc: float = 0.9) -> ModelLineage:
    """A model with nothing recorded but its versions and its AUC."""
    return ModelLineage(
        artifact=7,
        uri="/artifacts/7",
        versions=versions,
        live=False,
        pipeline="stock",
        run="monday",
        trained="2026-01-31T10:00:00",
        data=(),
        schema=None,
        verdicts=(),
        metrics={"candidate": {"auc": auc}},
        code={},
        parameters={},
        packages={},
        steps=(),
        artifacts={7: "Model"},
    )


@pytest.mark.parametrize(
    ("versions", "name"), [((), "model 7"), (("101", "102"), "102")]
)
def test_a_model_is_named_by_its_newest_version(
    versions: tuple[str, ...], name: str
) -> None:
    """A model that was never pushed is named by its artifact's id instead."""
    assert model(*versions).name == name


def test_json_has_null_for_what_is_no_number() -> None:
    """NaN, which JSON doesn't have, becomes null; None and ids stay what they are."""
    found = as_json(model("101", auc=float("nan")))

    assert found["metrics"] == {"candidate": {"auc": None}}
    assert found["schema"] is None
    assert found["versions"] == ["101"]
    assert found["artifacts"] == {"7": "Model"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_json_of_data_has_files_and_models() -> None:
    """Nested answers keep their fields' names."""
    file = File("/data/a.csv", 12, "ab" * 32, unchanged=True, span=3)
    data = Data(1, "monday", 3, "", {"train": 8}, (file,), (2, 3), ("skips 1",))
    use = ModelUse(7, ("101",), "monday", "2026-01-31", ("AUC", None))

    found = as_json(DataLineage("3", (data,), (use,), (), {}))

    assert found["data"][0]["files"] == [
        {
            "path": "/data/a.csv",
            "bytes": 12,
            "sha256": "ab" * 32,
            "unchanged": True,
            "span": 3,
        }
    ]
    assert found["data"][0]["spans"] == [2, 3]
    assert found["models"][0]["metric"] == ["AUC", None]


def test_a_difference_has_its_subjects_in_order() -> None:
    """Every subject is there, also one without a change, and the two names aren't."""
    change = Change("seed", "1", "2")

    subjects = ModelDiff("101", "102", parameters=(change,)).subjects()

    assert list(subjects) == [
        "data",
        "schema",
        "code",
        "parameters",
        "packages",
        "verdicts",
        "metrics",
    ]
    assert subjects["parameters"] == (change,)
    assert subjects["data"] == ()
