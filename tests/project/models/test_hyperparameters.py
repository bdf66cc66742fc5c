"""Hyperparameters that cannot train are refused before anything runs."""

import dataclasses
import json
from typing import Any

import pytest

from models.hyperparameters import Hyperparameters


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 0.0, "above 0"),
        ("hidden_layers", (64, 0), "whole numbers of at least 1"),
        ("members", 0, "at least 1"),
        ("frequencies", -1, "at least 0"),
        ("embedding_width", 0, "at least 1"),
        ("dropout", 1.0, "from 0 to below 1"),
        ("l2", -0.1, "at least 0"),
        ("steps_per_evaluation", 0, "at least 1"),
        ("patience", 0, "at least 1"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "finite"),
        ("l2", float("inf"), "finite"),
        ("hidden_layers", (2**63,), "at most"),
        ("members", 2**63, "at most"),
        ("frequencies", 2**63, "at most"),
        ("embedding_width", 2**63, "at most"),
        ("steps_per_evaluation", 2**63, "at most"),
        ("patience", 2**63, "at most"),
    ],
)
def test_an_impossible_value_is_refused(name: str, value: Any, expected: str) -> None:
    """The error names the setting, its value and what was expected."""
    with pytest.raises(ValueError, match=name) as error:
        Hyperparameters(**{name: value})

    assert str(value) in str(error.value)
    assert expected in str(error.value)


def test_settings_survive_json() -> None:
    """What the pipeline sends through custom_config arrives equal."""
    sent = Hyperparameters(learning_rate=0.1, hidden_layers=(8, 4), l2=0.01)

    arrived = Hyperparameters.from_json(
        json.loads(json.dumps(dataclasses.asdict(sent)))
    )

    assert arrived == sent


def test_a_misspelled_setting_is_refused() -> None:
    """The error names what is unknown and what is known."""
    with pytest.raises(ValueError, match=r"'droput'.*'dropout'"):
        Hyperparameters.from_json({"droput": 0.1})
