"""The writer of the request log: sampling, privacy, rotation, kills and full disks."""

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.errors import UsageError
from serving import request_log
from serving.journal import Entry, Journal, Privacy, Rotation, is_sampled
from tests.e2e.warm import WarmProcess
from tests.serving.conftest import MODEL, ROW, publish, start, wait_until

PROJECT = Path(__file__).parents[2]
FEATURES = {"fare": "FLOAT", "company": "BYTES"}
OFTEN = Rotation(flush_seconds=0.01)

# A server's side of the log, without the server: it appends until it is stopped.
WRITER = dedent(
    """\
    import resource, sys, time
    from pathlib import Path
    from serving.journal import Entry, Journal, Rotation
    directory, size = Path(sys.argv[1]), int(sys.argv[2])
    if size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    journal = Journal(directory, Rotation(flush_seconds=0.05))
    for number in range(int(sys.argv[3])):
        features = {"company": "BYTES"}
        journal.append(Entry(f"{number}", 0, 1, "s", features, [["x" * 50]], [0.5],
                             None, 1.0))
        print(number, flush=True)
        time.sleep(0.002)
    journal.close()
    print("counts", journal.counts.written, journal.counts.dropped, flush=True)
    """
)


def entry(request_id: str = "a", company: str | None = "Flash") -> Entry:
    """Returns an entry of one predicted row."""
    rows = [[9.5, company]]
    return Entry(request_id, 0, 7, "s", FEATURES, rows, [0.5], None, 1.0)


def start_writer(directory: Path, size: int, rows: int) -> "subprocess.Popen[str]":
    """Starts a process that writes to a log."""
    arguments = [str(directory), str(size), str(rows)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(directory: Path) -> list[dict[str, object]]:
    """Returns the rows of a log whose writers have ended."""
    request_log.close_journals(directory)
    return [r for b in request_log.read(directory) for r in b.to_pylist()]


def test_a_kill_loses_only_the_last_moment(tmp_path: Path) -> None:
    """After kill -9, all rows older than the flush time are there, each once."""
    writer = start_writer(tmp_path, 0, 100_000)
    assert writer.stdout
    seen = [(time.monotonic(), int(writer.stdout.readline())) for _ in range(150)]

    writer.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    writer.communicate()

    numbers = sorted(int(str(row["request_id"])) for row in rows_of(tmp_path))
    # Twenty flushes' time: other processes may have the cores meanwhile.
    old = [number for moment, number in seen if moment < killed - 1]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len(old)
    assert numbers


@pytest.mark.e2e
def test_an_answer_is_on_disk_within_a_second(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """By the server's default settings, which is what a `kill -9` loses at most."""
    publish(tmp_path, saved_model, 1)
    server = start(warm, tmp_path, "--log.segment-seconds", "60").wait()
    journals = request_log.directory_of(tmp_path, MODEL) / request_log.JOURNALS

    def is_written(name: str) -> bool:
        found = journals.glob(f"[!.]*{request_log.JOURNAL_SUFFIX}")
        return any(name.encode() in path.read_bytes() for path in found)

    waits = []
    # The first one is written at any time of a flush, the next ones at its beginning.
    for number in range(11):
        server.predict(ROW, x_request_id=f"asked-{number}")
        answered = time.monotonic()
        wait_until(functools.partial(is_written, f"asked-{number}"))
        waits.append(time.monotonic() - answered)
    server.stop()

    # Of ten the shortest: other processes may have the cores meanwhile.
    assert min(waits[1:]) <= 1


def test_a_full_disk_drops_rows_and_counts_them(tmp_path: Path) -> None:
    """What doesn't fit is counted and reported, and what fits stays readable."""
    writer = start_writer(tmp_path, 4_000, 200)
    printed, said = writer.communicate(timeout=60)

    _, written, dropped = printed.splitlines()[-1].split()
    assert int(written) + int(dropped) == 200
    assert int(dropped) > 100
    assert len(rows_of(tmp_path)) == int(written) > 0
    assert said.count("can't be written") == 1


def test_the_request_id_decides_the_sample() -> None:
    """About the share of the ids is sampled, and always the same ones."""
    ids = [f"request-{number}" for number in range(2_000)]

    sampled = [i for i in ids if is_sampled(i, 0.25)]

    assert 400 < len(sampled) < 600
    assert sampled == [i for i in ids if is_sampled(i, 0.25)]
    assert {i for i in ids if is_sampled(i, 0.1)} < set(sampled)
    assert not any(is_sampled(i, 0.0) for i in ids)


def test_private_features_never_reach_the_disk(tmp_path: Path) -> None:
    """A left-out value is null; a hashed one is the same for the same value only."""
    privacy = Privacy(leave_out=frozenset({"fare"}), hashed=frozenset({"company"}))
    journal = Journal(tmp_path, OFTEN, privacy)
    for name in ("Flash", "Flash", "Blue", None):
        journal.append(entry(company=name))
    journal.close()
    raw = b"".join(p.read_bytes() for p in (tmp_path / "journals").iterdir())

    rows = rows_of(tmp_path)

    assert b"Flash" not in raw
    assert b"9.5" not in raw
    one, same, other, missing = (row["features.company"] for row in rows)
    assert one == same != other
    assert missing is None
    assert {row["features.fare"] for row in rows} == {None}


def test_hashes_have_a_key_of_the_log(tmp_path: Path) -> None:
    """Writers of one log hash alike, another log differently; the key is secret."""
    privacy = Privacy(hashed=frozenset({"company"}))
    found = []
    for place in ("one", "one", "other"):
        journal = Journal(tmp_path / place, OFTEN, privacy)
        journal.append(entry())
        journal.close()
        found.append(rows_of(tmp_path / place)[-1]["features.company"])

    assert found[0] == found[1] != found[2]
    assert (tmp_path / "one" / "hash.key").stat().st_mode & 0o077 == 0


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    """A key file that isn't one stops the start, with what to do."""
    (tmp_path / "hash.key").write_text("no key")

    with pytest.raises(UsageError, match=r"hash\.key holds no hexadecimal key"):
        Journal(tmp_path, OFTEN, Privacy(hashed=frozenset({"company"})))


def test_a_journal_ends_by_size_and_time(tmp_path: Path) -> None:
    """Each flush beyond a bound begins another journal, without an append too."""
    tiny = Rotation(flush_seconds=0.01, segment_seconds=0.05)
    journal = Journal(tmp_path, tiny)
    journal.append(entry("a"))
    deadline = time.monotonic() + 20
    while not request_log.close_journals(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    journal.append(entry("b"))
    journal.close()

    assert [row["request_id"] for row in rows_of(tmp_path)] == ["a", "b"]
    assert len(request_log.segments(tmp_path)) == 2


def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path) -> None:
    """Rows beyond the bound are dropped and counted, and memory doesn't grow."""
    journal = Journal(tmp_path, Rotation(flush_seconds=60))
    large = entry(company="x" * 10_000_000)

    for _ in range(10):
        journal.append(large)
    journal.close()

    assert (journal.counts.written, journal.counts.dropped) == (6, 4)
