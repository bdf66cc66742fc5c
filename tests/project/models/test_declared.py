"""Declarations that contradict themselves are told before anything runs."""

import pytest

from models import declared
from models.declarations import AnyLabel, Binary, Classes, Feature, Numeric, Vocabulary
from pipeline.errors import UsageError

LABEL = Binary(column="y")


@pytest.mark.parametrize(
    ("features", "label", "said"),
    [
        ((Numeric("y"),), LABEL, "'y' is a feature, and the label is computed from it"),
        ((), LABEL, "FEATURES is empty"),
        ((Numeric("a"), Numeric("a", log=True)), LABEL, "make .* 'a_scaled'"),
        ((Numeric("a b"), Vocabulary("a_b")), LABEL, "both become the input 'a_b'"),
        (
            (Numeric("a"),),
            Classes(column="y", values=("x", "x")),
            "2 classes, 1 of them distinct",
        ),
    ],
)
def test_a_contradiction_is_named(
    features: tuple[Feature, ...], label: AnyLabel, said: str
) -> None:
    """Each is one sentence with the column's name."""
    found = declared.problems(features, label)

    with pytest.raises(UsageError, match=said):
        declared._checked(features, label)
    assert found


def test_the_projects_own_declarations_agree() -> None:
    """What is committed has no problem, and its columns are named once."""
    assert declared.problems(declared.FEATURES, declared.LABEL) == []
    assert len(set(declared.RAW_COLUMNS)) == len(declared.RAW_COLUMNS)
