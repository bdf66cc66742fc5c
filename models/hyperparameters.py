"""The hyperparameters: settings of the model and its training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

# As in pipeline/config.py, which imports this module.
_LARGEST = 2**31 - 1
_COUNT = f"at least 1 and at most {_LARGEST}"


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of the model; steps, batch size and seed are in `pipeline.config`."""

    learning_rate: float = 0.002
    """Adam's first learning rate; it falls to 0 along a cosine over all steps."""
    hidden_layers: tuple[int, ...] = (64, 32)
    """Units of each hidden layer, first to last; empty and no `frequencies`: linear."""
    members: int = 4
    """Networks whose answers are averaged; they share embeddings and hidden layers."""
    frequencies: int = 8
    """Learned frequencies of the sines of each number; 0 for the number alone."""
    embedding_width: int = 8
    """Length of the embedding vector of a category's value."""
    dropout: float = 0.2
    """Share of a hidden layer's units that each step drops, 0 to below 1."""
    l2: float = 0.0
    """Penalty on squared weights and embeddings; 0 for none."""
    steps_per_evaluation: int = 50
    """Training steps between two evaluations on the eval split."""
    patience: int = 6
    """Evaluations without a lower eval loss after which training stops."""

    def __post_init__(self) -> None:
        """Rejects values that can't be trained with.

        Raises:
            ValueError: A value is out of bounds; names it and what was expected.
        """
        for name, holds, expected in (
            (
                "learning_rate",
                0 < self.learning_rate < math.inf,
                "above 0 and finite",
            ),
            (
                "hidden_layers",
                all(1 <= units <= _LARGEST for units in self.hidden_layers),
                f"whole numbers of at least 1 and at most {_LARGEST}",
            ),
            ("members", 1 <= self.members <= _LARGEST, _COUNT),
            (
                "frequencies",
                0 <= self.frequencies <= _LARGEST,
                f"at least 0 and at most {_LARGEST}",
            ),
            ("embedding_width", 1 <= self.embedding_width <= _LARGEST, _COUNT),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("l2", 0 <= self.l2 < math.inf, "at least 0 and finite"),
            (
                "steps_per_evaluation",
                1 <= self.steps_per_evaluation <= _LARGEST,
                _COUNT,
            ),
            ("patience", 1 <= self.patience <= _LARGEST, _COUNT),
        ):
            if not holds:
                msg = f"{name} is {getattr(self, name)}; it must be {expected}"
                raise ValueError(msg)

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> "Hyperparameters":
        """Restores hyperparameters from the JSON of `dataclasses.asdict`.

        Args:
            settings: Field names to values; fields that are absent keep their default.

        Raises:
            ValueError: A name is not a hyperparameter, or a value cannot train.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            msg = f"unknown hyperparameters {unknown}; expected some of {known}"
            raise ValueError(msg)
        # JSON has no tuples.
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
        }
        return cls(**values)
