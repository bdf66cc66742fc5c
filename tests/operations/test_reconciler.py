"""Ticks: from facts to runs, each trigger once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations import launching, reconciler, status, tick_lock
from operations.decisions import Action
from operations.facts import RUNNING_FILE, directory_of
from operations.requests import Log
from operations.requests import directory_of as log_of
from operations.settings import Inbox, Limits, Watch
from pipeline.config import Config
from pipeline.registry import history, shadow_order
from pipeline.store import locks
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.operations import live_models, request_logs
from tests.operations.request_logs import START
from tests.operations.ticks import Operated

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def operated(tmp_path: Path) -> Operated:
    """Data by span, nothing else yet."""
    (tmp_path / "data").mkdir()
    config = Config(
        name="taxi",
        output=tmp_path / "out",
        data=tmp_path / "data",
        pattern="span-{SPAN}/*.csv",
    )
    return Operated(config)


def test_a_span_is_one_run(operated: Operated) -> None:
    """However many ticks there are; the decision is in the store, with its reason."""
    operated.arrive(1)

    codes = [operated.tick() for _ in range(3)]

    store = MetadataStore(open_store(operated.config.metadata_url))
    found = {a.properties["action"]: a for a in Graph(store).of_type("OperateDecision")}
    assert codes == [0, 0, 0]
    assert operated.started == ["1..1"]
    assert [d.action for d in operated.decisions] == [Action.START, Action.RUN]
    assert found["run"].properties["because"] == "new: span 1; reads spans 1"
    assert operated.decisions[1].outcome.endswith("is done")
    assert operated.said[-1] == "nothing new"


def test_a_kill_after_the_decision_is_made_up_for(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next tick finds the decision, and starts its run."""
    operated.arrive(1)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise SystemExit

        patch.setattr(launching.Launcher, "attempt", killed)
        with pytest.raises(SystemExit):
            operated.tick()

    operated.tick()

    assert operated.started == ["1..1"]
    assert len(operated.decisions) == 2


def test_a_kill_between_file_and_store_is_made_up_for(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision is recorded by the next tick, as this directory's."""
    operated.arrive(1)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise SystemExit

        patch.setattr(reconciler._Tick, "_note", killed)
        with pytest.raises(SystemExit):
            operated.tick()

    operated.tick()

    assert operated.started == ["1..1"]


def process(operated: Operated) -> "subprocess.Popen[str]":
    """A tick in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from datetime import *\n"
        "from tests.operations.ticks import Operated\n"
        "from pipeline.config import Config\n"
        "out, data = map(Path, sys.argv[1:3])\n"
        "config = Config(name='taxi', output=out, data=data,"
        " pattern='span-{SPAN}/*.csv')\n"
        "o = Operated(config, now=datetime.now(timezone.utc))\n"
        "print(o.tick(), flush=True)\n"
    )
    config = operated.config
    return subprocess.Popen(
        [sys.executable, "-c", program, str(config.output), str(config.data)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(what: Callable[[], Any]) -> Any:
    """Waits until something is there; returns it."""
    for _ in range(1500):
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError


def test_a_run_outlives_the_process_that_started_it(operated: Operated) -> None:
    """After a kill -9 the run goes on; the next tick waits for it, then adopts it."""
    operated.arrive(1)
    hold = operated.put("wait")
    child = process(operated)
    wait_for(lambda: operated.started)
    child.send_signal(signal.SIGKILL)
    child.wait()
    # The process has the machine's clock.
    operated.now = datetime.now(UTC)

    operated.tick()
    waiting = operated.said[-1]
    hold.unlink()
    wait_for(lambda: not _is_running(operated))
    operated.tick()

    (attempt,) = operated.decisions[1].attempts
    assert waiting == f"run {attempt.run_id} is under way"
    assert attempt.exit_code == 0
    assert operated.started == ["1..1"]


def _is_running(operated: Operated) -> bool:
    try:
        with locks.exclusive(directory_of(operated.config) / RUNNING_FILE):
            return False
    except BlockingIOError:
        return True


def _killed_at(operated: Operated, moment: int) -> bool:
    """Ticks in a fork that dies before its n-th write; returns whether it has died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == signal.SIGKILL
    left = moment

    def dying(do: Callable[..., Any], *, is_start: bool = False) -> Callable[..., Any]:
        def done(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os._exit(signal.SIGKILL)
            result = do(*given, **named)
            # Also when a run has begun, and nothing of it is written yet.
            left -= is_start
            if not left:
                os._exit(signal.SIGKILL)
            return result

        return done

    # What reaches disk or store, or starts something, goes through one of these.
    os.link, os.replace = dying(os.link), dying(os.replace)
    subprocess.Popen = dying(subprocess.Popen, is_start=True)  # type: ignore[misc,assignment]
    MetadataStore.put_execution = dying(MetadataStore.put_execution)
    try:
        operated.tick()
    finally:
        os._exit(0)


def test_a_kill_at_any_moment_starts_nothing_twice(operated: Operated) -> None:
    """Before each write of a tick; the ticks after it end the one run."""
    moments = 0
    while True:
        moments += 1
        operated.arrive(moments)
        # After a kill the clock goes on, also where nobody looked at it.
        operated.now += timedelta(minutes=1)
        died = _killed_at(operated, moments)
        wait_for(lambda: not _is_running(operated))
        operated.tick()
        operated.tick()
        assert operated.started[-1] == f"{moments}..{moments}"
        assert len(operated.started) == moments
        if not died:
            break

    runs = [d for d in operated.decisions if d.action is Action.RUN]
    assert moments > 7
    assert [decision.facts["spans"] for decision in runs] == [
        [number] for number in range(1, moments + 1)
    ]
    assert not any(decision.is_open for decision in runs)


def test_two_ticks_at_once_start_one_run(operated: Operated) -> None:
    """The second is told who is at work, and does nothing."""
    operated.arrive(1)
    hold = operated.put("wait")
    first = process(operated)
    wait_for(lambda: operated.started)

    with pytest.raises(tick_lock.HeldError, match="operates this model"):
        operated.tick()
    hold.unlink()

    assert first.communicate()[0].strip() == "0"
    assert operated.started == ["1..1"]


def test_sigterm_ends_the_run_too(operated: Operated) -> None:
    """The run gets it, and what was started isn't left behind."""
    operated.arrive(1)
    operated.put("wait")
    child = process(operated)
    wait_for(lambda: operated.started)

    child.terminate()
    child.wait()

    (attempt,) = operated.decisions[1].attempts
    # The stand-in dies of it; the real runner ends with 130, and is resumed.
    assert attempt.exit_code == -signal.SIGTERM
    assert not _is_running(operated)


def test_failures_are_tried_again_and_then_it_stops(operated: Operated) -> None:
    """Each attempt has a name of its own; after --go-on it goes on."""
    operated.arrive(1)
    operated.put("code", "1")

    codes = [operated.tick(stop_after=2, backoff_minutes=0.5) for _ in range(3)]

    decision = operated.decisions[1]
    assert codes == [1, 1, 0]
    assert len({attempt.run_id for attempt in decision.attempts}) == 2
    assert operated.decisions[-1].action is Action.STOP
    assert "then `throughline operate --go-on" in operated.said[-1]
    operated.put("code", "0")
    operated.reconciler().go_on("the disk is empty again")
    assert operated.tick() == 0
    assert len(operated.decisions[1].attempts) == 3
    assert operated.decisions[1].outcome.endswith("is done")


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "was stopped by the data gate"), (4, "pushed nothing")],
)
def test_results_are_final(operated: Operated, code: int, said: str) -> None:
    """Refused data, or a model that isn't better, would only be so again."""
    operated.arrive(1)
    operated.put("code", str(code))

    codes = [operated.tick(), operated.tick()]

    assert codes == [code, 0]
    assert said in operated.decisions[1].outcome
    assert operated.started == ["1..1"]


def test_a_clock_that_was_set_back_starts_nothing(operated: Operated) -> None:
    """Times count from the newest decision, which is said."""
    operated.arrive(1)
    operated.tick(schedule="* * * * *", on=())
    operated.tick()
    before = len(operated.started)

    operated.tick(minutes=-600)

    assert len(operated.started) == before
    assert "minutes behind the newest decision" in operated.said[-1]


def test_another_installation_may_be_first(operated: Operated, tmp_path: Path) -> None:
    """Two output directories that share a store: one of them runs."""
    store = f"sqlite:///{tmp_path}/shared.db"
    ours = replace(operated.config, metadata=store)
    one = Operated(ours)
    other = Operated(replace(ours, output=tmp_path / "other"))
    one.arrive(1)

    one.tick()
    other.tick()

    assert (one.started, other.started) == (["1..1"], [])
    assert other.decisions[1].outcome == "decided by another installation"


def test_events_are_told_once(operated: Operated, tmp_path: Path) -> None:
    """Decision and result; what couldn't be told is told by the next tick."""
    operated.arrive(1)
    tell = tmp_path / "tell"

    operated.tick(notify_command=f"tee -a {tell}/events")
    tell.mkdir()
    operated.tick()
    operated.tick()

    texts = (tell / "events").read_text().replace("}{", "}\n{").splitlines()
    events = [json.loads(text) for text in texts]
    assert [event["text"] for event in events] == [
        f"{operated.config.name}: new: span 1; reads spans 1",
        f"{operated.config.name}: {operated.decisions[1].outcome}",
    ]
    assert any("notify-command ended with 1" in line for line in operated.said)


def test_a_failure_that_could_not_be_told_is_told_later(
    operated: Operated, tmp_path: Path
) -> None:
    """Although its decision is open until the run is tried again."""
    operated.arrive(1)
    operated.put("code", "1")
    tell = tmp_path / "tell"

    operated.tick(notify_command=f"tee -a {tell}/events", backoff_minutes=60)
    tell.mkdir()
    operated.tick()
    operated.tick()

    texts = (tell / "events").read_text().replace("}{", "}\n{").splitlines()
    told = [json.loads(text)["text"] for text in texts]
    assert len(told) == 2
    assert "failed with 1" in told[1]


def test_labels_from_an_inbox_are_a_trigger(operated: Operated, tmp_path: Path) -> None:
    """A file is added once; one that doesn't fit is noted once, and stays."""
    config = operated.config
    request_logs.write_ten(log_of(config))
    box = tmp_path / "inbox"
    box.mkdir()
    (box / "a.csv").write_text("request_id,tips\nr1,1\nr2,0\n")
    (box / "b.csv").write_text("request_id,tips\nr3,much\n")
    (box / ".c.csv").write_text("half a fi")
    operated.tick(inbox=Inbox(directory=box), new_labels=2)

    code = operated.tick()

    notes = [d for d in operated.decisions if d.action is Action.NOTE]
    assert code == 0
    assert operated.started == ["1..1"]
    assert "labels: 2 new labels, in span 1; reads spans 1" in operated.said
    assert len(notes) == 1
    assert "'much' is not a number" in notes[0].because


@pytest.fixture
def live(operated: Operated) -> Operated:
    """Two versions, the second pushed at `START`; a day of traffic for each."""
    config = operated.config
    trips = request_logs.trips(800)
    first = live_models.push(config, trips, run="monday")
    second = live_models.push(config, trips, run="tuesday")
    base = config.serving_directory
    file = base / history.REGISTRY_FILE
    text = json.loads(file.read_text())
    for event, days in zip(text["history"], (-2, 0), strict=True):
        event["at"] = (START + timedelta(days=days)).isoformat()
    file.write_text(json.dumps(text))
    day = timedelta(days=1)
    request_logs.write_trips(
        log_of(config), trips, START - day, START, version=first.version
    )
    operated.settings = replace(
        operated.settings, monitor=Limits(min_rows=50), on=(), watch=Watch(hours=48)
    )
    operated.now = START + day
    operated.put("second", str(second.version))
    return operated


def traffic(live: Operated, **values: Any) -> None:
    """Logs a day of the second version."""
    version = int((live.config.output / "second").read_text())
    since = START + timedelta(hours=1)
    request_logs.write_trips(
        log_of(live.config),
        request_logs.trips(800, seed=2),
        since,
        START + timedelta(days=1),
        version=version,
        **values,
    )


def test_a_good_version_stays(live: Operated) -> None:
    """As fast as the one before, without failures."""
    traffic(live)

    code = live.tick()

    assert code == 0
    assert [d.action for d in live.decisions] == [Action.START]
    assert any(line.startswith("no alarm for ") for line in live.said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"latency_ms": 5.0}, "answers 95 % within 5"),
        ({"status": ["INTERNAL"] * 100 + ["OK"] * 700}, "fails 12.50% of its requests"),
    ],
)
def test_a_worse_version_is_rolled_back(
    live: Operated, values: dict[str, Any], said: str
) -> None:
    """Once, with the reason; the version before is live again."""
    traffic(live, **values)
    before = history.read(live.config.serving_directory)

    code = live.tick()
    again = live.tick()

    registry = history.read(live.config.serving_directory)
    (decision,) = [d for d in live.decisions if d.action is Action.ROLLBACK]
    assert code == 5
    assert again in {0, 5}
    assert said in decision.because
    assert registry.added[max(registry.numbers)].restored == before.previous
    assert registry.events[-1].by == reconciler.AUTHOR
    assert len(registry.numbers) == 3
    store = MetadataStore(open_store(live.config.metadata_url))
    kinds = {kind.name for kind in store.get_execution_types()}
    assert "throughline.ModelRegistry" in kinds


def shadow_of(live: Operated, **values: Any) -> None:
    """Logs what the first version answered to the second one's requests."""
    since = START + timedelta(hours=1)
    request_logs.write_trips(
        Log(log_of(live.config)).shadow.directory,
        request_logs.trips(800, seed=2),
        since,
        START + timedelta(days=1),
        version=history.read(live.config.serving_directory).previous,
        **values,
    )


def test_servers_are_asked_for_shadow_answers(live: Operated) -> None:
    """While the version is watched, and no longer."""
    base = live.config.serving_directory
    registry = history.read(base)

    live.tick()
    during = shadow_order.read(base)
    live.tick(minutes=48 * 60)

    assert during
    assert (during.live, during.shadow) == (registry.live, registry.previous)
    assert during.until == START + timedelta(hours=48)
    assert shadow_order.read(base) is None


@pytest.mark.parametrize(
    ("values", "shadow", "said"),
    [
        ({}, {"latency_ms": 0.5}, "ms, and version"),
        (
            {"status": ["INVALID_ARGUMENT"] * 40 + ["OK"] * 760},
            {},
            "fails 40 of 800 requests that version",
        ),
    ],
)
def test_a_version_worse_than_its_shadow_is_rolled_back(
    live: Operated, values: dict[str, Any], shadow: dict[str, Any], said: str
) -> None:
    """On the same requests; the order for shadow answers is over then."""
    traffic(live, **values)
    shadow_of(live, **shadow)

    code = live.tick()

    (decision,) = [d for d in live.decisions if d.action is Action.ROLLBACK]
    assert code == 5
    assert said in decision.because
    assert shadow_order.read(live.config.serving_directory) is None


def watched(live: Operated) -> list[str]:
    """What the status has of the version that is watched."""
    said = [*status.lines(live.config, live.settings, live._time)]
    (first,) = [n for n, line in enumerate(said) if line.startswith("watched")]
    last = next(n for n, line in enumerate(said) if line.startswith("next"))
    return [line[11:] for line in said[first:last]]


def test_the_page_shows_what_was_decided(live: Operated) -> None:
    """After each tick; a page that can't be written stops no tick."""
    page = live.config.monitoring_page
    live.tick()
    shown = page.read_text()
    page.unlink()
    page.mkdir()

    code = live.tick()

    assert "start, start" in shown
    assert "Decisions, runs and versions" in shown
    assert code == 0
    assert live.said[-1].startswith(f"{page} can't be written: ")


def test_the_status_has_each_comparison(live: Operated) -> None:
    """Of the version that is watched, with what was found."""
    traffic(live)
    shadow_of(live)
    live.tick()

    first, shadow, failures, latency, agreement, auc = watched(live)

    registry = history.read(live.config.serving_directory)
    assert first.startswith(f"version {registry.live} until 2026-03-03 00:00 UTC")
    assert shadow.startswith("shadow answers: fine: on 800 requests, 0 failed only")
    assert failures.startswith("failures: fine: fails 0 of 800 requests")
    assert latency.startswith("latency: fine: answers 95 % within 1")
    assert agreement.startswith("agreement: fine: answers 0.0% of the examples other")
    assert auc.startswith("AUC: not decided: 0 predictions since the push have a lab")


def test_the_status_says_what_a_comparison_waits_for(live: Operated) -> None:
    """Too few rows, or no shadow answers, and why nothing is watched at all."""
    _, shadow, failures, latency, _ = watched(live)
    live.settings = replace(live.settings, watch=Watch(hours=0))
    (unwatched,) = watched(live)

    assert shadow.startswith("shadow answers: not decided: 0 requests in the log have")
    assert failures.startswith("failures: not decided: has answered 0 rows, and 800 w")
    assert latency.startswith("latency: not decided: has answered 0 rows")
    assert "is no longer watched, since 2026-03-01 00:00 UTC" in unwatched


def test_a_busier_machine_is_no_slower_version(live: Operated) -> None:
    """If the version before, as a shadow, is slower than it was too."""
    traffic(live, latency_ms=5.0)
    shadow_of(live, latency_ms=4.0)

    live.tick()

    assert [d.action for d in live.decisions] == [Action.START]
    (latency,) = [line for line in watched(live) if line.startswith("latency")]
    assert "takes 4 ms now, so the machine is busier than before" in latency


def test_versions_that_differ_too_much_are_told_once(live: Operated) -> None:
    """Before any label: both can't be as good as their evaluations promised."""
    numbers = np.random.default_rng(1).random(800)
    traffic(live, prediction=list(numbers))
    shadow_of(live, prediction=list(1 - numbers))

    codes = [live.tick(), live.tick()]

    (note,) = [d for d in live.decisions if d.action is Action.NOTE]
    assert codes == [5, 0]
    assert note.rule == "watch"
    assert "answers 100.0% of the examples otherwise than version" in note.because
    assert "errors on the test splits allow 21.9% together" in note.because


def test_requests_that_both_reject_are_no_reason(live: Operated) -> None:
    """A client that sends nonsense would else roll back each version."""
    rejected = {"status": ["INVALID_ARGUMENT"] * 100 + ["OK"] * 700}
    traffic(live, **rejected)
    shadow_of(live, **rejected)

    live.tick()

    assert [d.action for d in live.decisions] == [Action.START]


def test_a_rollback_that_was_cut_short_is_finished(
    live: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided, then killed: the next tick rolls back, and once only."""
    traffic(live, latency_ms=5.0)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise SystemExit

        patch.setattr(reconciler._Tick, "_roll_back", killed)
        with pytest.raises(SystemExit):
            live.tick()

    live.tick()

    registry = history.read(live.config.serving_directory)
    assert len(registry.numbers) == 3
    assert [d.action for d in live.decisions].count(Action.ROLLBACK) == 1


def test_a_newer_version_is_not_rolled_back_in_its_place(
    live: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone was faster between the decision and the rollback."""
    traffic(live, latency_ms=5.0)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise SystemExit

        patch.setattr(reconciler._Tick, "_roll_back", killed)
        with pytest.raises(SystemExit):
            live.tick()
    trips = request_logs.trips(800)
    newer = live_models.push(live.config, trips, run="wednesday")

    live.tick()

    registry = history.read(live.config.serving_directory)
    (decision,) = [d for d in live.decisions if d.action is Action.ROLLBACK]
    assert registry.live == newer.version
    assert decision.outcome.endswith("is no longer live")


def test_after_the_watch_nothing_is_rolled_back(live: Operated) -> None:
    """What is found later is a matter for monitoring."""
    traffic(live, latency_ms=5.0)

    live.tick(watch=Watch(hours=2))

    assert [d.action for d in live.decisions] == [Action.START]
    assert directory_of(live.config).is_dir()
