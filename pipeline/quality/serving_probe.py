"""Loads a SavedModel as a server would, and checks its answers.

It reads requests as `pipeline.quality.serving_check` writes them, and writes what it
found as JSON. Nothing of the project that trained the model is imported, nor Keras: a
server has neither. It is run in a process of `pipeline.quality.prober`: a crash ends
that process only, and a file then says what it was doing.
"""

import functools
import importlib
import importlib.util
import json
import math
import resource
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import kept_predictions
from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from models.names import (
    PREDICTIONS_FILE,
    SERVING_DEFAULT,
    SERVING_RAW,
    TRANSFORM_FEATURES,
)

REQUESTS_FILE = "requests.json"
ANSWERS_FILE = "answers.json"
STEP_FILE = "last-step.txt"
TOLERANCE = 1e-6
"""Largest difference of two answers, as a share of those above 1."""
TIMED = 200
"""Requests of one row that are timed, for each signature."""

Answer = dict[str, npt.NDArray[Any]]
_MEGABYTE = 1 << 20
_SHOWN = 3


class TensorFlow:
    """The part of TensorFlow that a server needs: a loader and tensors."""

    def __init__(self) -> None:
        """Imports it without Keras, or all of it where that can't be done.

        `import tensorflow` imports Keras and all of the API, which is three quarters of
        its processor time, 3 s. A stand-in for the package leads to its modules.
        """
        self._stand_in: types.ModuleType | None = None
        if "tensorflow" not in sys.modules:
            spec = importlib.util.find_spec("tensorflow")
            stand_in = types.ModuleType("tensorflow")
            stand_in.__path__ = (
                list(spec.submodule_search_locations or []) if spec else []
            )
            self._stand_in = sys.modules["tensorflow"] = stand_in
            try:
                importlib.import_module("tensorflow.python.saved_model.load")
            except ImportError:
                # Another version, whose modules import each other by the package.
                for name in [n for n in sys.modules if n.startswith("tensorflow")]:
                    del sys.modules[name]
                importlib.import_module("tensorflow")
        # What `import tensorflow` does too: without it, nothing is computed at once.
        behavior = importlib.import_module("tensorflow.python.compat.v2_compat")
        behavior.enable_v2_behavior()
        load = importlib.import_module("tensorflow.python.saved_model.load")
        constants = importlib.import_module("tensorflow.python.framework.constant_op")
        self.load: Callable[[str], Any] = load.load
        self.constant: Callable[..., Any] = constants.constant

    def release_name(self) -> None:
        """Makes `import tensorflow` import the package, with what is missing of it."""
        if sys.modules.get("tensorflow") is self._stand_in:
            del sys.modules["tensorflow"]


@dataclass
class Probe:
    """A loaded model, and what was found about it.

    Attributes:
        tensorflow: The loader.
        model: The loaded SavedModel.
        failures: What is wrong, as sentences, by check.
        figures: What was measured and counted.
        step: Notes what is done next, in case the process dies of it.
    """

    tensorflow: TensorFlow
    model: Any
    step: Callable[[str], None]
    failures: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    @functools.cached_property
    def signatures(self) -> dict[str, Any]:
        """The model's signatures by name."""
        return dict(self.model.signatures)

    def fail(self, check: str, reason: str) -> None:
        """Notes what is wrong."""
        self.failures.setdefault(check, []).append(reason)

    def ask(self, signature: str, rows: "Rows") -> Answer:
        """Sends rows to a signature, as a client of it would."""
        function = self.signatures[signature]
        if signature == SERVING_RAW:
            inputs = self.columns(rows)
        else:
            # Its one input is of serialized examples, whatever its name.
            (name,) = function.structured_input_signature[1]
            inputs = {name: self.tensorflow.constant(rows.examples)}
        return {name: value.numpy() for name, value in function(**inputs).items()}

    def columns(self, rows: "Rows") -> dict[str, Any]:
        """Returns rows as the inputs of the signature for raw values."""
        specs = self.signatures[SERVING_RAW].structured_input_signature[1]
        return {
            name: self._column(rows.raw.get(name, [None] * len(rows)), spec)
            for name, spec in specs.items()
        }

    def _column(self, values: Sequence[Any], spec: Any) -> Any:
        if spec.shape.rank == 1:
            return self._constant(values, spec.dtype, [len(values)])
        # Lists are filled up to the longest with values that mean "missing".
        lists = [value or [] for value in values]
        width = max(map(len, lists), default=0)
        flat = [v for each in lists for v in [*each, *[None] * (width - len(each))]]
        return self._constant(flat, spec.dtype, [len(lists), width])

    def _constant(self, values: Sequence[Any], dtype: Any, shape: Sequence[int]) -> Any:
        missing: Any = MISSING_FLOAT if dtype.is_floating else MISSING_INTEGER
        if dtype.name == "string":
            texts = [MISSING_TEXT if value is None else value for value in values]
            held: list[Any] = [t.encode("utf-8", "surrogateescape") for t in texts]
        else:
            held = [missing if value is None else value for value in values]
        return self.tensorflow.constant(held, dtype, shape=shape)


@dataclass(frozen=True)
class Rows:
    """Rows as clients send them.

    Attributes:
        examples: Serialized tf.Examples.
        raw: Values by column; None where one is missing.
    """

    examples: Sequence[bytes]
    raw: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        """Returns how many rows there are."""
        return len(self.examples)

    def __getitem__(self, rows: slice) -> "Rows":
        """Returns some of the rows."""
        raw = {name: values[rows] for name, values in self.raw.items()}
        return Rows(self.examples[rows], raw)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Rows":
        """Restores rows from the requests' file."""
        return cls([bytes.fromhex(each) for each in values["examples"]], values["raw"])


def probe(
    tensorflow: TensorFlow,
    model: Path,
    requests: Mapping[str, Any],
    step: Callable[[str], None],
) -> dict[str, Any]:
    """Loads a model, and makes all checks.

    Args:
        tensorflow: The loader.
        model: Directory of the SavedModel.
        requests: What `serving_check.requests_of` returns.
        step: Called with what is done next.

    Returns:
        "failures": sentences by check; "figures": numbers by name.
    """
    before = _memory()
    step("loading the model")
    started = time.monotonic()
    found = Probe(tensorflow, tensorflow.load(str(model)), step)
    found.figures["load_seconds"] = time.monotonic() - started
    rows = Rows.from_json(requests["rows"])
    answers = _answers(found, rows)
    if answers:
        _agree(found, answers)
        _as_trained(found, rows, answers, kept_predictions.read(model))
        _missing_values(found, requests["missing"])
        _malformed(found, rows, answers)
        _speed(found, rows, list(answers))
    found.figures["memory_mb"] = _memory()
    found.figures["model_memory_mb"] = _memory() - before
    return {"failures": found.failures, "figures": found.figures}


def _answers(found: Probe, rows: Rows) -> dict[str, Answer]:
    """Returns the answers of the signatures that predict, for all rows."""
    answers: dict[str, Answer] = {}
    for name in (SERVING_DEFAULT, SERVING_RAW, TRANSFORM_FEATURES):
        if name not in found.signatures:
            known = ", ".join(sorted(found.signatures)) or "none"
            found.fail("answers", f"there is no signature {name}; there are {known}")
            continue
        found.step(f"sending {len(rows)} rows to {name}")
        try:
            answer = found.ask(name, rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            found.fail("answers", f"{name} refused {len(rows)} rows: {_line(error)}")
            continue
        if name != TRANSFORM_FEATURES and _complete(found, name, answer, len(rows)):
            answers[name] = answer
    found.figures["rows"] = len(rows)
    return answers


def _complete(found: Probe, name: str, answer: Answer, rows: int) -> bool:
    """Whether each row has an answer that is a number."""
    for output, values in answer.items():
        if len(values) != rows:
            found.fail(
                "answers", f"{name} gave {len(values)} answers {output} for {rows} rows"
            )
            return False
        if np.issubdtype(values.dtype, np.number):
            bad = np.flatnonzero(~np.isfinite(values.reshape(rows, -1)).all(axis=1))
            if bad.size:
                text = f"{name} answered {values[bad[0]]} to row {bad[0] + 1}"
                found.fail("answers", f"{text}, and {bad.size} rows in all no number")
                return False
    return True


def _agree(found: Probe, answers: Mapping[str, Answer]) -> None:
    """Compares the two signatures that predict."""
    if len(answers) > 1:
        for text in _differences(answers[SERVING_DEFAULT], answers[SERVING_RAW]):
            found.fail("agreement", f"{SERVING_DEFAULT} and {SERVING_RAW} differ{text}")


def _as_trained(
    found: Probe, rows: Rows, answers: Mapping[str, Answer], kept: Mapping[str, Any]
) -> None:
    """Compares with the predictions that the Trainer kept."""
    if not kept:
        found.fail(
            "as trained",
            f"the model holds no {PREDICTIONS_FILE} to compare with: train it again",
        )
        return
    found.step(f"transforming rows with {TRANSFORM_FEATURES}")
    if TRANSFORM_FEATURES not in found.signatures:
        return
    features = found.ask(TRANSFORM_FEATURES, rows)
    known = {digest: at for at, digest in enumerate(kept["rows"])}
    here = kept_predictions.digests(features, kept["columns"])
    pairs = [(known[d], at) for at, d in enumerate(here) if d in known]
    found.figures["rows_as_trained"] = len(pairs)
    if not pairs:
        found.fail(
            "as trained",
            f"none of {len(here)} rows is transformed as one of the {len(known)} rows "
            "was that the Trainer kept predictions of",
        )
        return
    theirs, ours = map(list, zip(*pairs, strict=True))
    trained = {n: np.asarray(v)[theirs] for n, v in kept["answers"].items()}
    for name, answer in answers.items():
        same = {n: v[ours] for n, v in answer.items() if n in trained}
        for text in _differences(trained, same):
            found.fail("as trained", f"{name} and the Trainer's model differ{text}")


def _missing_values(found: Probe, requests: Sequence[Mapping[str, Any]]) -> None:
    """Sends rows that lack values: an answer, the same from both, or a refusal."""
    answered = 0
    for request in requests:
        what, row = str(request["what"]), Rows.from_json(request["rows"])
        answers: dict[str, Answer] = {}
        for name in (SERVING_DEFAULT, SERVING_RAW):
            if name not in found.signatures:
                continue
            found.step(f"sending a row with {what} to {name}")
            try:
                answer = found.ask(name, row)
            except Exception as error:  # noqa: BLE001 - a refusal, in whatever form
                # A feature that the schema requires may be refused in an example; the
                # signature for raw values has a value for "missing" in each column.
                if name == SERVING_RAW:
                    text = f"{name} refused a row with {what}: {_line(error)}"
                    found.fail("missing values", text)
                continue
            if all(_finite(values) for values in answer.values()):
                answers[name] = answer
            else:
                text = f"{name} answered no number to a row with {what}"
                found.fail("missing values", text)
        answered += SERVING_RAW in answers
        if len(answers) > 1 and request["same"]:
            for apart in _differences(answers[SERVING_DEFAULT], answers[SERVING_RAW]):
                text = f"with {what} the signatures differ{apart}"
                found.fail("missing values", text)
    found.figures["rows_with_missing_values"] = answered


def _malformed(found: Probe, rows: Rows, answers: Mapping[str, Answer]) -> None:
    """Sends what is no row: each must be an error, and change no later answer."""
    count = 0
    for what, name, inputs in _bad_requests(found, rows[:2]):
        if name not in found.signatures:
            continue
        count += 1
        found.step(f"sending {what} to {name}")
        try:
            found.signatures[name](**inputs)
        except Exception:  # noqa: BLE001, S110 - an error, of whatever type, is right
            pass
        else:
            found.fail("malformed requests", f"{name} answered {what}")
    found.figures["malformed_requests"] = count
    for name, before in answers.items():
        found.step(f"sending the rows to {name} again")
        for apart in _differences(before, found.ask(name, rows)):
            text = f"after malformed requests {name} answers differently{apart}"
            found.fail("malformed requests", text)


_Bad = tuple[str, str, dict[str, Any]]


def _bad_requests(found: Probe, rows: Rows) -> Iterator[_Bad]:
    """Yields descriptions, signatures and inputs that none of them may answer."""
    constant = found.tensorflow.constant
    for name in (SERVING_DEFAULT, TRANSFORM_FEATURES):
        if name in found.signatures:
            (key,) = found.signatures[name].structured_input_signature[1]
            yield "bytes that are no tf.Example", name, {key: constant([b"\xff"])}
            yield "numbers for examples", name, {key: constant([1.0, 2.0])}
            yield "a matrix of examples", name, {key: constant([[b""]])}
            yield "no input", name, {}
    if SERVING_RAW not in found.signatures:
        return
    columns = found.columns(rows)
    for name, column in columns.items():
        is_text = column.dtype.name == "string"
        kind, wrong = (
            ("numbers", [1.5, 2.5]) if is_text else ("texts", [b"twelve", b""])
        )
        others = {key: value for key, value in columns.items() if key != name}
        yield f"{kind} for {name}", SERVING_RAW, {**others, name: constant(wrong)}
        yield f"rows without a column {name}", SERVING_RAW, others
        if others:
            short = {**others, name: column[:1]}
            yield f"one value of {name} for two rows", SERVING_RAW, short


def _speed(found: Probe, rows: Rows, signatures: Sequence[str]) -> None:
    """Times requests of one row, after those that were sent already."""
    slowest: list[float] = []
    for name in signatures:
        found.step(f"timing {name}")
        seconds = []
        for turn in range(TIMED):
            row = rows[turn % len(rows) :][:1]
            started = time.perf_counter()
            found.ask(name, row)
            seconds.append(time.perf_counter() - started)
        median, slow = np.percentile(seconds, [50, 95]) * 1000
        found.figures[f"{name}_median_ms"] = float(median)
        found.figures[f"{name}_p95_ms"] = float(slow)
        slowest.append(float(slow))
    found.figures["p95_ms"] = max(slowest)


def _differences(one: Answer, other: Answer) -> Iterator[str]:
    """Yields how much and where outputs differ by more than the tolerance."""
    for output in one.keys() & other.keys():
        first, second = np.asarray(one[output]), np.asarray(other[output])
        if not np.issubdtype(first.dtype, np.number):
            rows = np.flatnonzero(first != second)
            if rows.size:
                yield f" in {output} of {rows.size} of {len(first)} rows"
            continue
        apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
        allowed = TOLERANCE * np.maximum(1.0, np.abs(first))
        # "not <=", because comparisons with NaN are false.
        places = np.argwhere(~(apart <= allowed))
        if len(places):
            worst = np.unravel_index(np.nanargmax(apart), apart.shape)
            yield (
                f" by up to {apart[worst]:.2g} in {output} of "
                f"{len(np.unique(places[:, 0]))} of {len(first)} rows: row "
                f"{worst[0] + 1} has {first[worst]:.6g} and {second[worst]:.6g}"
            )


def _finite(values: npt.NDArray[Any]) -> bool:
    numbers = np.issubdtype(values.dtype, np.number)
    return bool(np.isfinite(values).all()) if numbers else True


def _line(error: Exception) -> str:
    text = str(error).strip() or "no reason given"
    return f"{type(error).__name__}: {text.splitlines()[0]}"[:200]


def _memory() -> float:
    """Returns the most memory that this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not `getrusage`, whose maximum is that of the process which started this one.
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    # In bytes on macOS, the only other system that TFX is installed on.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE


def probe_files(tensorflow: TensorFlow, model: Path, files: Path) -> None:
    """Probes a model with the requests of a directory, and writes what is found there.

    Args:
        tensorflow: The loader.
        model: Directory of the SavedModel.
        files: Directory with REQUESTS_FILE; ANSWERS_FILE is written when all is done,
            STEP_FILE before each step.
    """

    def step(text: str) -> None:
        (files / STEP_FILE).write_text(text)

    requests = json.loads((files / REQUESTS_FILE).read_text())
    answers = probe(tensorflow, model, requests, step)
    answers["figures"] = {
        name: value
        for name, value in answers["figures"].items()
        if math.isfinite(value)
    }
    (files / ANSWERS_FILE).write_text(json.dumps(answers))
