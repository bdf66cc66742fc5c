"""`python -m demo`: the whole day with real processes, on its own clock."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo import day
from demo.places import Places
from operations import facts, monitor_files, monitoring
from operations.decisions import Action
from operations.observation import Kind
from pipeline.config import METADATA_VARIABLE, Config
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.store import windows
from tests.e2e.runs import PROJECT

pytestmark = pytest.mark.e2e

# Enough for a blessing; the rest of the day takes what it takes.
STEPS = 300


def start(output: Path) -> "subprocess.Popen[str]":
    """Starts the demo on a free port."""
    flags = ["--output", str(output), "--port", "0", "--train-steps", str(STEPS)]
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *flags],
        cwd=PROJECT,
        # A store of the user's, which the demo has no business in.
        env={**os.environ, METADATA_VARIABLE: f"sqlite:///{output}.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, Places]]:
    """A day that is over: exit code, what was printed, and its directory."""
    output = tmp_path_factory.mktemp("demo") / "day"
    process = start(output)
    text, _ = process.communicate(timeout=900)
    yield process.returncode, text, Places(output)
    assert processes_of(output) == []


def config_of(places: Places) -> Config:
    """Returns the demo's settings."""
    return places.config(STEPS)


def processes_of(output: Path) -> list[str]:
    """Returns the command lines of processes that were started for a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(output) in word for word in words):
            found.append(" ".join(words))
    return found


Demo = tuple[int, str, Places]


def test_nothing_is_lost(demo: Demo) -> None:
    """The counts agree, and the exit code says so."""
    code, text, places = demo
    asked = len(day.HOURS) * day.ROWS_PER_HOUR

    assert code == 0, text
    assert f"sent {asked:,} = answered {asked:,} = logged {asked:,}" in text
    assert "joined 2,220 of 2,220 outcomes" in text
    assert "nothing was lost" in text
    assert not places.root.with_name("day.db").exists()
    assert "differs" not in text


def test_the_day_is_told_in_order(demo: Demo) -> None:
    """The page's address comes first; each event is a line with the time of day."""
    _, text, _ = demo
    lines = text.splitlines()
    story = [line for line in lines if re.match(r"\d\d:\d\d  ", line)]

    assert re.match(r"11:00  page      http://127.0.0.1:\d+/ ", lines[0])
    assert 30 <= len(lines) <= 60
    names = [line.split()[1] for line in story]
    for first, second in (("data", "run"), ("run", "server"), ("server", "traffic")):
        assert names.index(first) < names.index(second)
    assert "15:00  alarm     skew: trip_miles" in text
    assert "20:00  run       drift: pickup_community_area" in text


def test_kilometres_started_no_run(demo: Demo) -> None:
    """They were an alarm, and their span was kept out of the evening's training."""
    *_, places = demo
    config = config_of(places)
    decisions = facts.decisions_of(config).all()
    graph = open_lineage(config).graph

    evening = next(d for d in decisions if d.rule == "drift" and d.attempts)
    window = windows.of_run(graph.run(evening.attempts[0].run_id))

    skews = [d for d in decisions if d.action is Action.NOTE and d.rule == "skew"]
    assert "trip_miles" in skews[0].because
    assert skews[0].at.startswith("2026-03-02T15:00")
    assert evening.at.startswith("2026-03-02T20:00")
    assert window is not None
    assert [span.number for span in window.refused] == [3]
    assert "trip_miles" in window.refused[0].refused
    assert [span.number for span in window.accepted] == [1, 2]


def test_drift_led_to_one_version_and_poison_to_none(demo: Demo) -> None:
    """Three runs: two were pushed, and the gate stopped the third."""
    *_, places = demo
    config = config_of(places)
    decisions = facts.decisions_of(config).all()
    registry = history.read(config.serving_directory)

    runs = [(d.rule, a.exit_code) for d in decisions for a in d.attempts]
    assert runs == [("span", 0), ("drift", 0), ("span", 3)]
    assert len(registry.numbers) == 2
    poisoned = [d for d in decisions if d.rule == "span"][-1]
    record = facts.record_of(config, poisoned.attempts[0].run_id)
    assert record is not None
    assert "are the labels those of these rows?" in record.nodes["DataGate"]["cause"]


def test_alarms_are_those_that_were_planned(demo: Demo) -> None:
    """Kilometres for two hours, the fair for two; no other hour of the day."""
    *_, places = demo
    found = monitor_files.read(monitoring.directory_of(config_of(places)))

    alarms: dict[str, Counter[Kind]] = {}
    for each in found:
        hour = each.until[11:16]
        alarms.setdefault(hour, Counter()).update(a.kind for a in each.alarms)
    quiet = [hour for hour, kinds in alarms.items() if not kinds]
    assert set(alarms["15:00"]) == {Kind.SKEW} == set(alarms["16:00"])
    assert Kind.DRIFT in alarms["20:00"]
    assert {"13:00", "14:00", "17:00", "18:00", "19:00"} <= set(quiet)


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """Also a run that was begun; nothing is left behind."""
    output = tmp_path / "day"
    process = start(output)
    decisions = facts.decisions_of(Places(output).config(STEPS))
    wait_for(lambda: any(d.attempts for d in decisions.all()))

    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)

    assert process.returncode == 130, text
    assert "Traceback" not in text
    wait_for(lambda: processes_of(output) == [])


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    """Nothing of the user's is deleted."""
    (tmp_path / "thesis.txt").write_text("all of it")

    process = start(tmp_path)
    text, _ = process.communicate(timeout=120)

    assert process.returncode == 2
    assert "is not of an earlier demo" in text
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something holds."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError
