"""Reads `model.json`, which the Trainer stores with each version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.names import MODEL_FILE
from pipeline.errors import ThroughlineError

FILE = Path("assets.extra") / MODEL_FILE


@dataclass(frozen=True)
class Description:
    """What is known of a version beyond its signatures.

    Attributes:
        threshold: The score above which a prediction counts as positive; `None` if the
            version has none.
        inputs: The raw column behind each input of the signature for raw values.
    """

    threshold: float | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)


def of_version(path: Path) -> Description:
    """Reads a version's `model.json`; empty without such a file.

    Args:
        path: The directory of the version.

    Raises:
        ThroughlineError: The file can't be read, or a value in it is of a wrong type.
    """
    file = path / FILE
    if not file.is_file():
        return Description()
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ThroughlineError(f"{file} is no JSON: {error}; push again") from None
    if not isinstance(found, dict):
        raise ThroughlineError(f"{file} holds no JSON object; push again")
    threshold, inputs = found.get("threshold"), found.get("inputs", {})
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | None):
        raise _wrong(file, "threshold", threshold, "a number")
    if not isinstance(inputs, dict) or not all(
        isinstance(column, str) for column in inputs.values()
    ):
        raise _wrong(file, "inputs", inputs, "an object of names of columns")
    return Description(None if threshold is None else float(threshold), inputs)


def _wrong(file: Path, name: str, value: Any, expected: str) -> ThroughlineError:
    return ThroughlineError(
        f"{file} has {value!r} as {name}; expected {expected}; push again"
    )
