"""Names and policies that follow from declarations."""

import pytest

from models.declarations import (
    AnyLabel,
    Binary,
    Classes,
    Numeric,
    OneOf,
    Regression,
    Share,
    Timestamp,
    input_name,
    task_of,
    transformed_names,
)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("fare", "fare"),
        ("class", "class_"),
        ("self", "self_"),
        ("Miles per gallon", "Miles_per_gallon"),
        ("od280/od315", "od280_od315"),
        ("1st", "column_1st"),
        ("_x", "column_x"),
        ("%", "column_"),
        ("Цена", "u0426u0435u043du0430"),
    ],
)
def test_input_names_are_identifiers(column: str, name: str) -> None:
    """Spaces, signs, other alphabets and Python's words are changed."""
    assert input_name(column) == name
    assert name.isidentifier()


def test_a_feature_names_all_its_columns() -> None:
    """What `flag_missing` and `age` add is named too."""
    assert transformed_names(Numeric("a b", flag_missing=True)) == [
        "a_b_scaled",
        "a_b_missing",
    ]
    assert transformed_names(Timestamp("t", age=True)) == ["t_cycles", "t_age"]
    assert transformed_names(Timestamp("t", parts=(), age=True)) == ["t_age"]


def test_the_first_policy_is_the_default() -> None:
    """An empty name chooses it, and without policies every label counts."""
    label = Regression(column="a", policies={"some": OneOf("b", (1,)), "all": None})

    assert label.condition("") == OneOf("b", (1,))
    assert label.condition("all") is None
    assert Regression(column="a").condition("") is None
    with pytest.raises(ValueError, match="'x'; it must be 'some' or 'all'"):
        label.condition("x")
    with pytest.raises(ValueError, match="'x'; it must be left out: there is none"):
        Regression(column="a").condition("x")


@pytest.mark.parametrize(
    ("label", "task", "columns", "read"),
    [
        (
            Binary(
                column="a",
                above=Share("b", 20),
                weight="w",
                policies={"p": OneOf("c", ("x",))},
            ),
            "binary",
            ("a", "b"),
            ("a", "b", "w", "c"),
        ),
        (Classes(column="a", values=("x", "y")), "classes", ("a",), ("a",)),
        (Regression(column="a"), "regression", ("a",), ("a",)),
    ],
)
def test_a_label_names_the_columns_that_it_reads(
    label: AnyLabel, task: str, columns: tuple[str, ...], read: tuple[str, ...]
) -> None:
    """Those without which there is no label, and those of weights and policies."""
    assert (task_of(label), label.columns, label.read) == (task, columns, read)
