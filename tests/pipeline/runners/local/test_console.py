"""What a person sees of a run, with and without a terminal."""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from pipeline.columnar.progress import Progress
from pipeline.runners.local.console import RunConsole, State
from tests import terminals
from tests.pipes import read_one_line

ROOT = Path(__file__).parents[4]


def _plain() -> tuple[RunConsole, io.StringIO]:
    screen = io.StringIO()
    return RunConsole(RichConsole(file=screen, width=100)), screen


def _terminal(width: int = 60) -> tuple[RunConsole, io.StringIO]:
    screen = io.StringIO()
    rich = RichConsole(
        file=screen,
        force_terminal=True,
        width=width,
        color_system=None,
        legacy_windows=False,
    )
    return RunConsole(rich), screen


def _lines(screen: io.StringIO) -> list[str]:
    """Returns what is on the screen of a terminal."""
    # As a terminal's driver does, which isn't between here and the console.
    printed = screen.getvalue().replace("\n", "\r\n")
    return [line for line in terminals.screen(printed) if line]


def test_without_a_terminal_each_event_is_a_line() -> None:
    """Without a terminal every event is one line: time, node, what happened."""
    console, screen = _plain()

    with console.table(["Trainer", "Pusher"]):
        console.started("Trainer")
        console.progress("Trainer", "step 5 of 20")
        console.ended("Trainer", State.FAILED, "no rows\nsecond line")
        console.not_run(["Pusher"])

    lines = re.sub(
        r"^\d\d:\d\d:\d\d", "hh:mm:ss", screen.getvalue(), flags=re.MULTILINE
    )
    assert re.sub(r"\d+\.\d s", "n s", lines).splitlines() == [
        "hh:mm:ss  Trainer           started",
        "hh:mm:ss  Trainer           step 5 of 20",
        "hh:mm:ss  Trainer           failed after n s: no rows",
        "          not run: Pusher",
    ]


def test_without_a_terminal_a_running_node_has_a_line_every_ten_seconds() -> None:
    """However often it reports; a node that reports nothing is still running."""
    console, screen = _plain()
    console.clock = lambda: now
    now = 1_000.0

    with console.table(["Transform", "Trainer"]):
        console.started("Transform")
        for seconds in range(25):
            if seconds == 4:
                console.started("Trainer")
            console.progress("Transform", Progress(1_000 * seconds, 30_000, rate=999))
            console.refresh()
            now += 1
        console.ended("Transform", State.DONE)

    assert [line[10:] for line in screen.getvalue().splitlines()] == [
        "Transform         started",
        "Trainer           started",
        "Transform         running for 10 s: 10,000 of 30,000 rows (33 %), 999 rows/s",
        "Trainer           running for 10 s",
        "Transform         running for 20 s: 20,000 of 30,000 rows (66 %), 999 rows/s",
        "Trainer           running for 20 s",
        "Transform         done after 25.0 s",
    ]


def test_long_lines_stay_lines_without_a_terminal() -> None:
    """Without a terminal a long text is not wrapped, so that a log can be searched."""
    console, screen = _plain()

    console.say("word " * 60)

    assert screen.getvalue().count("\n") == 1


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_progress_without_text_is_shown(text: str) -> None:
    """A node that reports nothing in particular does not end the run."""
    console, screen = _plain()

    with console.table(["Trainer"]):
        console.started("Trainer")
        console.progress("Trainer", text)

    assert screen.getvalue().splitlines()[1].endswith("  Trainer")


def test_text_in_brackets_is_not_markup() -> None:
    """What a node says is printed as it is, also if it looks like rich's markup."""
    console, screen = _plain()

    with console.table(["Trainer"]):
        console.started("Trainer")
        console.progress("Trainer", "shape [red] :smile: [/]")

    assert screen.getvalue().splitlines()[1].endswith("shape [red] :smile: [/]")


def test_in_a_terminal_a_table_is_left_standing() -> None:
    """In a terminal the last table shows every node, its state, time and note."""
    console, screen = _terminal()

    with console.table(["ExampleGen", "Trainer", "Pusher", "Evaluator"]):
        console.started("ExampleGen")
        console.ended("ExampleGen", State.CACHED)
        console.started("Trainer")
        console.progress("Trainer", "step 5 of 20")
        console.nodes["Trainer"].started -= 61.5
        console.ended("Trainer", State.FAILED, "no rows\nsecond line")
        console.not_run(["Pusher"])

    shown = re.sub(r"\x1b\[[0-9;?]*\w", "", screen.getvalue()).strip()
    # A slow machine takes more than a tenth of a second.
    shown = re.sub(r"(\d)\.\d", r"\1.n", shown)
    assert [" ".join(line.split()) for line in shown.splitlines()[-5:]] == [
        "node state seconds",
        "ExampleGen cached 0.n",
        "Trainer failed 61.n no rows",
        "Pusher not run",
        "Evaluator waiting",
    ]


def test_in_a_terminal_a_running_node_shows_its_time() -> None:
    """The table counts the seconds of a node that is still running."""
    console, screen = _terminal()

    with console.table(["Trainer"]):
        console.started("Trainer")
        console.nodes["Trainer"].started -= 12.0
        console.refresh()
        shown = screen.getvalue()

    assert re.search(r"Trainer +running +12\.\d", shown)


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_in_a_terminal_progress_fits(columns: int) -> None:
    """A table with bars is no wider than the terminal, and a full bar is left."""
    console, screen = _terminal(columns)
    rows = Progress(1_198_612, 3_000_000, 152_311, phase="analysis", seconds_left=95)

    with console.table(["ExampleValidator", "Transform", "Trainer"]):
        for node_id in ("Transform", "Trainer"):
            console.started(node_id)
            console.progress(node_id, rows)
        console.refresh()
        half = _lines(screen)
        console.progress("Transform", replace(rows, done=3_000_000, seconds_left=None))
        console.ended("Transform", State.DONE)
        console.progress("Trainer", "kept step 250")
        console.ended("Trainer", State.DONE)
    lines = _lines(screen)

    assert max(map(len, [*half, *lines])) <= columns
    assert len(lines) == len(half) == 4
    if columns == 40:
        return
    bar, _, figures = half[2].partition("━")[2].partition(" ")
    assert set(bar) == {"━", "─"}
    assert "1,198,612" in figures
    assert "152,000" in figures
    assert figures.endswith("2 min left")
    bar, _, figures = lines[2].partition("━")[2].partition(" ")
    assert set(bar) == {"━"}
    assert "3,000,000" in figures
    assert lines[3].endswith("kept step 250")


def test_in_a_terminal_reports_redraw_nothing_by_themselves() -> None:
    """The runner's pace is the screen's: many reports don't make it flicker."""
    console, screen = _terminal()

    with console.table(["Trainer"]):
        console.started("Trainer")
        before = len(screen.getvalue())
        console.progress("Trainer", Progress(1, 2))
        unchanged = len(screen.getvalue())
        console.refresh()
        redrawn = len(screen.getvalue())

    assert before == unchanged < redrawn


def test_after_an_interrupted_table_events_are_lines() -> None:
    """In a terminal whose table was interrupted, what follows is told in lines."""
    console, screen = _terminal()
    with contextlib.suppress(KeyboardInterrupt), console.table(["Trainer"]):
        raise KeyboardInterrupt
    before = len(screen.getvalue())

    console.not_run(["Trainer"])

    assert screen.getvalue()[before:] == "          not run: Trainer\n"


@pytest.mark.parametrize("columns", [80, 140])
def test_in_a_terminal_a_forked_node_prints_to_its_log(
    columns: int, tmp_path: Path
) -> None:
    """While the table stands, what a node prints in any way is in its log alone."""
    log = tmp_path / "node.log"
    program = f"""
import logging, os, sys
from pathlib import Path
from pipeline.runners.local.console import State, own_console, redirect_output
with own_console(Path({str(tmp_path / "runner.log")!r})) as console:
    with console.table(["ExampleValidator", "Trainer"]):
        console.started("ExampleValidator")
        if not os.fork():
            redirect_output(Path({str(log)!r}))
            logging.basicConfig(level=logging.INFO, force=True)
            logging.info("logged by a node")
            print("printed by a node")
            print("complained by a node", file=sys.stderr, flush=True)
            os.write(2, b"written by C++\\n")
            sys.stdout.flush()
            os._exit(0)
        os.wait()
        console.progress("ExampleValidator", "a note " * 30)
        console.ended("ExampleValidator", State.DONE)
"""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}

    code, text = terminals.run([sys.executable, "-c", program], columns, environment)

    lines = terminals.screen(text)
    assert code == 0, text
    assert "by a node" not in text
    assert [" ".join(line.split()[:2]) for line in lines if line] == [
        "node state",
        "ExampleValidator done",
        "Trainer waiting",
    ]
    assert max(map(len, lines)) <= columns
    assert sorted(log.read_text().splitlines()) == [
        "INFO:root:logged by a node",
        "complained by a node",
        "printed by a node",
        "written by C++",
    ]


def test_a_run_goes_on_when_nobody_reads(tmp_path: Path) -> None:
    """`run_local.py | head -1` closes the pipe after a line, and the run ends well."""
    program = f"""
from pathlib import Path
from pipeline.runners.local.console import own_console
with own_console(Path({str(tmp_path / "runner.log")!r})) as console:
    for number in range(20_000):
        console.say(f"line {{number}}")
Path({str(tmp_path / "done")!r}).touch()
"""
    assert read_one_line(program) == ("line 0\n", 0, "")
    assert (tmp_path / "done").exists()


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """A name in a message can neither move the cursor nor change colours."""
    console, screen = _terminal()

    console.say("trips\x1b[2J\r.csv")

    assert r"trips\x1b[2J\r.csv" in screen.getvalue()


def test_a_quiet_block_prints_through_python_alone(tmp_path: Path) -> None:
    """What libraries print is dropped when all goes well."""
    done = _run(
        """
        from pipeline.runners.local.console import quiet
        with quiet():
            print("the answer")
            print("a warning", file=sys.stderr)
            os.write(1, b"C on 1\\n")
            os.write(2, b"C on 2\\n")
        print("after")
        """,
        tmp_path / "unused.log",
        TMPDIR=str(tmp_path),
    )

    assert (done.stdout, done.stderr) == ("the answer\nafter\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_quiet_block_that_fails_keeps_the_log(tmp_path: Path) -> None:
    """What libraries said, and the traceback, are in the log that the error names."""
    done = _run(
        """
        from pipeline.errors import ThroughlineError
        from pipeline.runners.local.console import quiet
        try:
            with quiet():
                os.write(2, b"said before\\n")
                raise ZeroDivisionError("by nothing")
        except ThroughlineError as error:
            print(error)
        """,
        tmp_path / "unused.log",
        TMPDIR=str(tmp_path),
    )

    (log,) = tmp_path.iterdir()
    assert done.stdout == f"ZeroDivisionError: by nothing\nThe log is {log}\n"
    text = log.read_text()
    assert text.startswith("said before\nTraceback (most recent call last)")


def _run(body: str, log: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import os, sys
from pathlib import Path
from pipeline.runners.local.console import own_console
log = Path({str(log)!r})
{textwrap.dedent(body)}
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"LC_ALL": "C.UTF-8", **environment},
    )


def test_other_output_goes_to_the_log_and_back(tmp_path: Path) -> None:
    """Inside, only the console is seen; Python, C and child processes are logged."""
    log = tmp_path / "new" / "runner.log"

    done = _run(
        """
        print("before")
        with own_console(log) as console:
            print("print inside")
            print("print to stderr", file=sys.stderr)
            os.write(1, b"C on 1\\n")
            os.write(2, b"C on 2\\n")
            os.system("echo child")
            console.say("a person reads this …")
        print("after")
        os.write(2, b"error after\\n")
        """,
        log,
    )

    assert done.stdout == "before\na person reads this …\nafter\n"
    assert done.stderr == "error after\n"
    assert sorted(log.read_text().splitlines()) == [
        "C on 1",
        "C on 2",
        "child",
        "print inside",
        "print to stderr",
    ]


def test_output_comes_back_after_an_error(tmp_path: Path) -> None:
    """An error inside gives both descriptors back before it goes on."""
    done = _run(
        """
        try:
            with own_console(log):
                raise RuntimeError("broken")
        except RuntimeError as error:
            print("caught", error)
            print("on stderr", file=sys.stderr)
        """,
        tmp_path / "runner.log",
    )

    assert (done.stdout, done.stderr) == ("caught broken\n", "on stderr\n")
    assert (tmp_path / "runner.log").read_text() == ""


def test_a_log_is_added_to(tmp_path: Path) -> None:
    """A log that is there is kept, so that a second use loses nothing."""
    log = tmp_path / "runner.log"
    log.write_text("old\n")

    _run("with own_console(log): os.write(1, b'new\\n')", log)

    assert log.read_text() == "old\nnew\n"


def test_a_locale_without_our_characters_is_no_error(tmp_path: Path) -> None:
    """Where the locale has no "…", something else stands for it."""
    done = _run(
        "with own_console(log) as console: console.say('wait \\u2026')",
        tmp_path / "runner.log",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )

    assert (done.stdout, done.stderr) == ("wait ?\n", "")
