"""From an exception to the sentence and the exit code that a person sees."""

import apache_beam as beam
import pyarrow as pa
import pytest

from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.errors import (
    DataRefusedError,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
)

CHAINED = """bundle failed: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in process
    return self.do_fn_invoker.invoke_process(windowed_value)
KeyError: 'fare'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "worker.py", line 3, in write
    raise ValueError(text)
models.trainer.TrainingError: the label has one value only
add rows with the other one [while running 'Write/Map(write_shards)']
"""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ThroughlineError("x"), 1),
        (UsageError("x"), 2),
        (DataRefusedError("x"), 3),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    """Our own errors carry their exit code; any other is a failure."""
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(
            DataRefusedError("two lines\n  of ours"),
            "two lines\n  of ours",
            id="our own errors are taken at their word",
        ),
        pytest.param(ValueError("bad fare"), "ValueError: bad fare", id="one line"),
        pytest.param(
            ValueError("\n\n  first line\nsecond line\n"),
            "ValueError: first line",
            id="of several lines the first with text",
        ),
        pytest.param(RuntimeError(), "RuntimeError", id="no message"),
        pytest.param(RuntimeError(" \n "), "RuntimeError", id="blank message"),
        pytest.param(KeyError("fare"), "KeyError: 'fare'", id="key"),
        pytest.param(
            RuntimeError("ValueError: bad fare [while running 'Write/Map']"),
            "ValueError: bad fare",
            id="Beam's step is left out",
        ),
        pytest.param(
            RuntimeError(CHAINED),
            "TrainingError: the label has one value only",
            id="of chained tracebacks the last",
        ),
        pytest.param(
            RuntimeError(
                "Traceback (most recent call last):\n"
                '  File "x.py", line 1, in f\n'
                "    assert rows\n"
                "AssertionError\n"
            ),
            "AssertionError",
            id="a raised error without a text",
        ),
        pytest.param(
            RuntimeError(
                "Traceback (most recent call last):\n"
                '  File "x.py", line 1, in f\n'
                "pyarrow.lib.ArrowInvalid: CSV conversion error [while running 'A']\n"
            ),
            "ArrowInvalid: CSV conversion error",
            id="a raised error whose name doesn't end in Error",
        ),
    ],
)
def test_cause_is_one_sentence(error: BaseException, sentence: str) -> None:
    """The cause is the type and the first line of what was really raised."""
    assert cause_of(error) == sentence


@pytest.mark.parametrize(
    ("letters", "cause"),
    [
        (288, "ValueError: " + "a" * 288),
        (289, "ValueError: " + "a" * 287 + "…"),
        (100_000, "ValueError: " + "a" * 287 + "…"),
    ],
)
def test_long_causes_are_cut_at_300_characters(letters: int, cause: str) -> None:
    """A cause of 300 characters is whole, a longer one is cut to 300."""
    assert cause_of(ValueError("a" * letters)) == cause


def test_cause_of_what_beam_really_raises() -> None:
    """The text of an error in a Beam worker is reduced to what the worker raised."""

    def convert(text: str) -> str:
        return str(pa.array([text]).cast(pa.int64()))

    with (
        pytest.raises(Exception) as raised,  # noqa: PT011 - Beam makes the type
        beam.Pipeline(argv=[IN_PROCESS_BEAM_RUNNER]) as pipeline,
    ):
        _ = pipeline | beam.Create(["many"]) | "Convert" >> beam.Map(convert)

    assert cause_of(raised.value) == (
        "ArrowInvalid: Failed to parse string: 'many' as a scalar of type int64"
    )
