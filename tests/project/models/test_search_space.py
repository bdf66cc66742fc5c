"""The search space: what can be declared, and how its values are stored."""

import pytest

from models import search_space
from models.hyperparameters import Hyperparameters
from models.search_space import Choice, Range, Space
from models.tuning import SPACE
from pipeline.errors import UsageError


def test_the_projects_own_space_can_be_searched() -> None:
    """`models/tuning.py` is without a mistake."""
    assert search_space.problems(SPACE) == []


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "the search space is empty; declare a dimension"),
        (
            {"learn_rate": Range(0.1, 0.2)},
            "'learn_rate' is no hyperparameter; did you mean learning_rate?",
        ),
        (
            {"dropout": Range(0.5, 0.5)},
            "dropout ranges from 0.5 to 0.5; the first must be below the second",
        ),
        (
            {"dropout": Range(0.0, 0.5, log=True)},
            "dropout ranges from 0.0 to 0.5; the first must be above 0 and below the",
        ),
        ({"dropout": Range(0.0, 1.0)}, "dropout is 1.0; it must be from 0 to below 1"),
        ({"l2": Choice((0.1,))}, "l2 is one of .* give two or more distinct"),
        ({"l2": Choice((0.1, 0.1))}, "give two or more distinct ones"),
        ({"hidden_layers": Choice(((8,), (0,)))}, r"hidden_layers is \(0,\); it must"),
        ({"l2": Choice(("a", "b"))}, "l2 is 'a'; it must be of the kind of 0.0"),
        ({"patience": Range(1.5, 9)}, "patience is 1.5; it must be of the kind of 6"),
        ({"hidden_layers": Choice((8, 9))}, r"hidden_layers is 8; .* of \(64, 32\)"),
    ],
)
def test_mistakes_are_one_sentence(space: Space, said: str) -> None:
    """They name the file, the hyperparameter and what was expected."""
    with pytest.raises(UsageError, match=said) as refused:
        search_space.check(space)

    assert str(refused.value).startswith("models/tuning.py: ")


def test_a_point_has_the_values_of_the_searched_ones() -> None:
    """Tuples are stored as texts, and read back as tuples."""
    start = Hyperparameters(hidden_layers=(9, 8), l2=0.5)
    space: Space = {"hidden_layers": Choice(((1,), (2,))), "dropout": Range(0, 0.5)}

    point = search_space.first_point(start, space)

    assert point == {"hidden_layers": "[9, 8]", "dropout": 0.2}
    found = search_space.with_values(Hyperparameters(), point)
    assert found == Hyperparameters(hidden_layers=(9, 8))


def test_sampled_fractions_have_three_digits() -> None:
    """More of them make no other model, and a diff that is harder to read."""
    sampled = (0.00123456789, 12, "[9, 8]")

    assert [search_space.rounded(value) for value in sampled] == [0.00123, 12, "[9, 8]"]


def test_values_in_use_are_not_rounded() -> None:
    """The first trial is of them, digit by digit."""
    start = Hyperparameters(learning_rate=0.00123456789)
    space: Space = {"learning_rate": Range(0.001, 0.1)}

    point = search_space.first_point(start, space)

    assert search_space.with_values(Hyperparameters(), point) == start
