"""From an exception to the sentence and the exit code that a person sees."""

import re
from pathlib import Path
from types import SimpleNamespace

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
    explained,
    is_one_line,
    printable,
    require,
    require_positive,
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
        pytest.param(
            RuntimeError(
                f"Cannot create node for {'name ' * 99}\nError when executing query: "
                "database or disk is full query: COMMIT;"
            ),
            "The metadata store can't be written: its disk is full",
            id="the store's disk is full",
        ),
        pytest.param(
            RuntimeError("Transaction already open."),
            "The metadata store can't be written: an earlier write was not finished, "
            "as on a full disk",
            id="what the store says after that",
        ),
        pytest.param(
            RuntimeError("query: attempt to write a readonly database query: INSERT"),
            "The metadata store can't be written: it is read-only",
            id="a read-only store",
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


def _raised_by_writing(path: str) -> OSError:
    with pytest.raises(OSError, match=path) as raised, Path(path).open("w") as file:
        file.write("x")
    # The write itself is flushed when the file is closed, and has no name then.
    raised.value.filename = path
    return raised.value


def _without_log(error: ThroughlineError) -> str:
    """Returns an error's sentence, and removes the log that it names."""
    sentence, named = str(error).splitlines()
    Path(named.removeprefix("The traceback is in ")).unlink()
    return sentence


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/dev/null/x", UsageError, "/dev/null/x can't be used: not a directory"),
        ("/proc", UsageError, "/proc can't be used: is a directory"),
        ("/nowhere/x", UsageError, "/nowhere/x can't be used: no such file or "),
    ],
)
def test_a_path_that_cannot_be_used_is_a_wrong_command(
    path: str, kind: type[ThroughlineError], said: str
) -> None:
    """What the system says of a path becomes a sentence that begins with the path."""
    ours = explained(_raised_by_writing(path))

    assert type(ours) is kind
    assert _without_log(ours).startswith(said)


def test_a_full_disk_is_a_failure_that_says_so() -> None:
    """Where there is no room, the sentence says so, and the command isn't wrong."""
    with pytest.raises(OSError, match="No space") as raised:
        Path("/dev/full").write_text("x")

    ours = explained(raised.value)

    assert ours.exit_code == 1
    assert "no space left on device; make room for it" in _without_log(ours)


def test_any_error_has_its_traceback_in_a_log() -> None:
    """What nobody foresaw is one sentence, and names a log with the traceback."""
    with pytest.raises(ZeroDivisionError) as raised:
        print(1 // 0)

    sentence, named = str(explained(raised.value)).splitlines()

    log = Path(named.removeprefix("The traceback is in "))
    assert sentence == "ZeroDivisionError: integer division or modulo by zero"
    assert "Traceback (most recent call last)" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    log.unlink()


def test_our_own_errors_stay_as_they_are() -> None:
    """An error that is a sentence already gets no log."""
    error = UsageError("a sentence")

    assert explained(error) is error


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2Jgone\r\x07", r"\x1b[2Jgone\r\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202edef", r"abc\u202edef"),
        ("a\u2028b", r"a\u2028b"),
        ("na\udcffme", r"na\udcffme"),
        ("Straße ü … 東京", "Straße ü … 東京"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    """Control characters are shown and not sent; letters of all languages stay."""
    assert printable(text) == shown
    assert re.fullmatch(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]*", printable(text))


@pytest.mark.parametrize(
    ("name", "can"),
    [("trips ü.csv", True), ("a\nBlessed.csv", False), ("\x1b[1A.csv", False)],
)
def test_names_of_more_than_a_line_are_noticed(name: str, *, can: bool) -> None:
    """A name that would end a line or steer a terminal is no name to print."""
    assert is_one_line(name) is can


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "group.some-rows is 0; it must be at least 1 and at most 9"),
        (10, "group.some-rows is 10; it must be at least 1 and at most 9"),
    ],
)
def test_a_setting_out_of_bounds_is_named_by_its_flag(
    value: float, expected: str
) -> None:
    """The sentence has the value and what was expected."""
    settings = SimpleNamespace(some_rows=value)

    with pytest.raises(UsageError) as failed:
        require(settings, "some_rows", at_least=1, at_most=9, group="group")

    assert str(failed.value) == expected


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_positive_setting_is_above_0_and_finite(value: float) -> None:
    """A limit of infinity would be none, and one of 0 would let nothing pass."""
    require_positive(SimpleNamespace(wait_ms=1e-9), "wait_ms")

    with pytest.raises(UsageError) as failed:
        require_positive(SimpleNamespace(wait_ms=value), "wait_ms", group="group")

    assert str(failed.value) == f"group.wait-ms is {value}; it must be above 0"


@pytest.mark.parametrize(("at_least", "at_most"), [(1, None), (None, 9)])
def test_no_bound_lets_nan_pass(at_least: int | None, at_most: int | None) -> None:
    """A number that is none is outside of either bound alone."""
    with pytest.raises(UsageError, match="rows is nan; it must be at"):
        require(
            SimpleNamespace(rows=float("nan")),
            "rows",
            at_least=at_least,
            at_most=at_most,
        )
