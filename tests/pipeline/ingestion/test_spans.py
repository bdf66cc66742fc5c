"""Patterns, spans, and what is read together."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from tfx.components.example_gen import utils
from tfx.proto import example_gen_pb2

from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion import spans
from pipeline.ingestion.spans import EVERY_SPAN, Between, Newest, Pattern, Span

NUMBERED = "span-{SPAN}/*.csv"
DATED = "{YYYY}-{MM}-{DD}/*.csv"
DENIED = os.strerror(errno.EACCES)
FIRST_OF_2026 = (date(2026, 1, 1) - date(1970, 1, 1)).days

Put = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be a path below the data directory"),
        ("/data/*.csv", "must be a path below the data directory"),
        ("../{SPAN}/*.csv", "must be a path below the data directory"),
        ("a**/*.csv", "** must stand alone"),
        ("a/**", "must end with the name of files"),
        ("a/", "must end with the name of files"),
        ("{SPAN}/{YYYY}/{MM}/{DD}/*", "either {SPAN} or a date, not both"),
        ("{SPAN}/{SPAN}.csv", "{SPAN} is in it more than once"),
        ("{SPAN}/{SPAN:2}.csv", "{SPAN} is in it more than once"),
        ("{YYYY}-{MM}/*.csv", "needs each of {YYYY}, {MM} and {DD}"),
        ("{YYYY}{MM}{DD}/{YYYY}.csv", "{YYYY} is in it more than once"),
        ("{VERSION}/*.csv", "{VERSION} needs {SPAN} or a date"),
        ("{SPAN}/{VERSION}/{VERSION}.csv", "{VERSION} is in it more than once"),
        ("{SPAN:x}/*.csv", "the width 'x' of {SPAN} is not a number above 0"),
        ("{SPAN:0}/*.csv", "the width '0' of {SPAN} is not a number above 0"),
        ("{SPAN:}/*.csv", "the width '' of {SPAN} is not a number above 0"),
        ("{YYYY:4}-{MM}-{DD}/*.csv", "{YYYY} takes no width"),
        ("{WEEK}/*.csv", "{WEEK} is none of the placeholders"),
        ("{SPAN/*.csv", "its braces don't match"),
    ],
)
def test_wrong_patterns_are_refused(text: str, fault: str) -> None:
    """A pattern that could not work is refused with its fault and an example."""
    with pytest.raises(UsageError) as refused:
        Pattern(text)

    message = str(refused.value)
    assert fault in message
    assert message.startswith(f"pattern is {text!r}: ")
    assert "span-{SPAN}/*.csv" in message


@pytest.mark.parametrize(
    "text",
    ["*.csv", NUMBERED, "{SPAN:3}/v{VERSION}/*", DATED, "{YYYY}{MM}{DD}.{VERSION:2}"],
)
def test_tfx_takes_our_patterns(text: str) -> None:
    """What we accept TFX accepts too, and sees the same placeholders in it."""
    pattern = Pattern(text)

    seen = utils.verify_split_pattern_specs(example_gen_pb2.Input.Split(pattern=text))

    has_version = "VERSION" in pattern.placeholders
    assert seen == ("SPAN" in pattern.placeholders, pattern.has_dates, has_version)


@pytest.mark.parametrize(
    ("text", "path", "tokens"),
    [
        (NUMBERED, "span-12/a.csv", {"SPAN": "12"}),
        (NUMBERED, "span-12/deep/a.csv", None),
        (NUMBERED, "other-12/a.csv", None),
        ("{SPAN:3}.csv", "007.csv", {"SPAN": "007"}),
        ("{SPAN:3}.csv", "07.csv", None),
        ("day{SPAN}*.csv", "day12.csv", {"SPAN": "12"}),
        ("{SPAN}-{VERSION}.csv", "12-3.csv", {"SPAN": "12", "VERSION": "3"}),
        ("**/{SPAN}.csv", "a/b/12.csv", {"SPAN": "12"}),
        ("**/{SPAN}.csv", "12.csv", {"SPAN": "12"}),
        ("[ab]{SPAN}.csv", "b12.csv", {"SPAN": "12"}),
        ("[!ab]{SPAN}.csv", "b12.csv", None),
        ("{SPAN}.?sv", "12.tsv", {"SPAN": "12"}),
        ("a+(b).{SPAN}", "a+(b).12", {"SPAN": "12"}),
        (
            "{YYYY}{MM}{DD}/*",
            "20260102/a.csv",
            {"YYYY": "2026", "MM": "01", "DD": "02"},
        ),
    ],
)
def test_tokens_are_read_from_a_path(
    text: str, path: str, tokens: dict[str, str] | None
) -> None:
    """What stands where the placeholders are is read from a path that matches."""
    assert Pattern(text).tokens_of(path) == tokens


@pytest.mark.parametrize(
    ("span", "window", "text", "wanted"),
    [
        ("newest", 1, "*.csv", None),
        ("newest", 1, NUMBERED, Newest(1)),
        ("newest", 4, NUMBERED, Newest(4)),
        ("newest", "all", NUMBERED, Newest(EVERY_SPAN)),
        ("7", 1, NUMBERED, Between(7, 7)),
        ("5..8", 1, NUMBERED, Between(5, 8)),
        ("20454", 1, DATED, Between(20454, 20454)),
        ("2026-01-01", 1, DATED, Between(FIRST_OF_2026, FIRST_OF_2026)),
        ("2026-01-01..2026-01-31", 1, DATED, Between(FIRST_OF_2026, 20484)),
    ],
)
def test_settings_say_what_is_wanted(
    span: str, window: int, text: str, wanted: spans.Wanted | None
) -> None:
    """Span and window become the spans that are wanted, by number."""
    assert spans.parse_wanted(span, window, Pattern(text)) == wanted


@pytest.mark.parametrize(
    ("span", "window", "text", "message"),
    [
        ("7", 1, "*.csv", "has no span placeholder"),
        ("newest", 2, "*.csv", "has no span placeholder"),
        ("newest", 0, NUMBERED, "window is 0; it must be at least 1, or all"),
        ("7", 2, NUMBERED, "a window counts from the newest"),
        ("8..5", 1, NUMBERED, "ends before it begins"),
        ("last", 1, NUMBERED, "span is 'last', expected newest, a number"),
        ("2026-01-01", 1, NUMBERED, "expected newest, a number"),
        ("2026-02-30", 1, DATED, "expected newest, a date such as 2026-01-31"),
        ("..5", 1, NUMBERED, "span is ''"),
        ("-1", 1, NUMBERED, "span is '-1'"),
        ("2147483648", 1, NUMBERED, "span is '2147483648'"),
    ],
)
def test_contradictions_are_refused(
    span: str, window: int, text: str, message: str
) -> None:
    """Settings that contradict each other or the pattern are refused at once."""
    with pytest.raises(UsageError) as refused:
        spans.parse_wanted(span, window, Pattern(text))

    assert message in str(refused.value)


def test_the_newest_by_number_is_taken(put: Put) -> None:
    """Span 10 is newer than span 9, and the ones passed over are named."""
    data = put("span-9/a.csv", "span-10/a.csv", "span-10/b.csv", "span-2/a.csv")

    found = spans.select(data, NUMBERED, Newest(1))

    assert found.taken == (Span(10, None, "span-10/*.csv"),)
    assert found.lines() == ["reads span 10, skips 2, 9"]


def test_a_window_takes_the_newest_that_are_there(put: Put) -> None:
    """A window counts the spans that are there, oldest first, and names the gaps."""
    data = put(*(f"span-{n}/a.csv" for n in (1, 2, 4, 8, 9)))

    found = spans.select(data, NUMBERED, Newest(4))

    assert [span.number for span in found.taken] == [2, 4, 8, 9]
    assert found.missing == ((3, 3), (5, 7))
    assert found.lines() == [
        "reads spans 2, 4, 8 to 9, skips 1",
        "Missing among them: 3, 5 to 7",
    ]


def test_a_window_may_be_wider_than_what_is_there(put: Put) -> None:
    """All spans are taken when there are fewer than the window holds."""
    data = put("span-1/a.csv", "span-2/a.csv")

    found = spans.select(data, NUMBERED, Newest(EVERY_SPAN))

    assert [span.number for span in found.taken] == [1, 2]
    assert found.lines() == ["reads spans 1 to 2"]


def test_a_range_names_what_is_missing_at_its_ends_too(put: Put) -> None:
    """A range that is not all there is taken as far as it is, and the rest named."""
    data = put("span-3/a.csv", "span-4/a.csv", "span-9/a.csv")

    found = spans.select(data, NUMBERED, Between(2, 6))

    assert [span.number for span in found.taken] == [3, 4]
    assert found.missing == ((2, 2), (5, 6))
    assert found.skipped == (9,)


def test_days_are_spans(put: Put) -> None:
    """A date's span is the days since 1970, and it is shown as a date."""
    days = ("2026-01-01", "2026-01-02", "2026-01-04", "2025-12-31")
    data = put(*(f"{day}/a.csv" for day in days))

    found = spans.select(data, DATED, Newest(3))

    first = FIRST_OF_2026
    assert [span.number for span in found.taken] == [first, first + 1, first + 3]
    assert found.taken[0].pattern == "2026-01-01/*.csv"
    assert found.lines() == [
        "reads spans 2026-01-01 to 2026-01-02, 2026-01-04, skips 2025-12-31",
        "Missing among them: 2026-01-03",
    ]


def test_weekly_dates_have_no_gaps(put: Put) -> None:
    """Where no two days follow each other, the days between are not missing."""
    data = put("2026-01-05/a.csv", "2026-01-12/a.csv", "2026-01-26/a.csv")

    found = spans.select(data, DATED, Newest(3))

    assert found.missing == ()


def test_the_newest_version_counts(put: Put) -> None:
    """Of several versions of a span the newest is read, by number."""
    data = put("1/v9/a.csv", "1/v10/a.csv", "2/v1/a.csv")

    found = spans.select(data, "{SPAN}/v{VERSION}/*.csv", Newest(2))

    assert found.taken == (Span(1, 10, "1/v10/*.csv"), Span(2, 1, "2/v1/*.csv"))


def test_leading_zeros_stay_in_the_pattern(put: Put) -> None:
    """The files are looked for as they are named, not as the number is written."""
    data = put("span-007/a.csv")

    (span,) = spans.select(data, NUMBERED, Newest(1)).taken

    assert span == Span(7, None, "span-007/*.csv")
    assert spans.files_of(data, span.pattern) == [data / "span-007" / "a.csv"]


def test_without_spans_all_files_are_read(put: Put) -> None:
    """A pattern without placeholders is span 0, and nothing is said about it."""
    data = put("a.csv", "b.csv")

    found = spans.select(data, "*.csv", None)

    assert found.taken == (Span(0, None, "*.csv"),)
    assert found.lines() == []


def test_files_of_systems_and_engines_are_no_data(put: Put) -> None:
    """Names that begin with a dot or an underscore are left out, files or not."""
    data = put(
        "a.csv",
        ".a.csv",
        "_SUCCESS.csv",
        "x/b.csv",
        "x/.ipynb_checkpoints/b-checkpoint.csv",
        "_temporary/0/c.csv",
    )

    assert spans.files_of(data, "*.csv") == [data / "a.csv"]
    assert spans.files_of(data, "**/*.csv") == [data / "a.csv", data / "x/b.csv"]
    assert spans.files_of(data, "*/*.csv") == [data / "x/b.csv"]
    assert spans.files_of(data, "_temporary/*/*") == [data / "_temporary/0/c.csv"]


def test_linked_directories_are_followed(put: Put, tmp_path: Path) -> None:
    """`**/` leads through links as `*/` does."""
    data = put("a.csv")
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "b.csv").write_text("b")
    (data / "linked").symlink_to(disk)

    assert spans.files_of(data, "**/*.csv") == [data / "a.csv", data / "linked/b.csv"]
    assert spans.files_of(data, "*/*.csv") == [data / "linked/b.csv"]
    assert spans.files_of(data, "linked/b.csv") == [data / "linked/b.csv"]


def _link(to: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(to)


@pytest.mark.parametrize(
    ("make", "name", "text", "said"),
    [
        pytest.param(
            _link("gone.csv"),
            "b.csv",
            "*",
            "b.csv is a link to gone.csv, which is not there; restore it, remove",
            id="dangling link",
        ),
        pytest.param(
            _link("/gone"),
            "b",
            "*/*.csv",
            "b is a link to /gone, which is not there; restore it, remove",
            id="link to an unmounted directory",
        ),
        pytest.param(
            _link("b.csv"),
            "b.csv",
            "*",
            "b.csv is a link that leads nowhere",
            id="loop",
        ),
        pytest.param(
            _link("."),
            "b",
            "**/*.csv",
            "b is a link to a directory that contains it; remove the link",
            id="link to the directory above",
        ),
        pytest.param(
            os.mkfifo, "b.csv", "*", "b.csv is a named pipe, and data is", id="pipe"
        ),
        pytest.param(
            Path.mkdir,
            "b.csv",
            "*",
            "b.csv is a directory with the name of a file; choose the files in it",
            id="directory with the name of a file",
        ),
        pytest.param(
            _link("a.csv"),
            "b.csv",
            "*",
            "a.csv and {data}/b.csv are the same file, which would be read twice",
            id="same file twice",
        ),
        pytest.param(
            _link("x"),
            "y",
            "*/*.csv",
            "x/c.csv and {data}/y/c.csv are the same file, which would be read twice",
            id="same directory twice",
        ),
        pytest.param(
            Path.touch,
            "b\ud8ff.csv",
            "*",
            "has bytes that are not UTF-8 in its name; rename",
            id="name that is not UTF-8",
        ),
        pytest.param(
            Path.touch,
            "b\n.csv",
            "*",
            "has a control character in its name; rename",
            id="name of two lines",
        ),
    ],
)
def test_what_can_not_be_read_is_refused(
    put: Put, make: Callable[[Path], object], name: str, text: str, said: str
) -> None:
    """Nothing that matches is left out or read twice: it is named, and what to do."""
    data = put("a.csv", "x/c.csv")
    make(data / name.replace("\ud8ff", os.fsdecode(b"\xff")))

    with pytest.raises(DataRefusedError) as refused:
        spans.select(data, text, None)

    assert said.replace("{data}", str(data)) in str(refused.value)
    assert str(data) in str(refused.value)
    str(refused.value).encode()


def test_hard_links_are_files_of_their_own(put: Put) -> None:
    """Snapshots share what hasn't changed; that is no mistake."""
    data = put("span-1/a.csv", "span-2/b.csv")
    (data / "span-2/a.csv").hardlink_to(data / "span-1/a.csv")

    found = spans.select(data, NUMBERED, Newest(2))

    assert len(found.taken) == 2


def test_directories_beside_the_files_are_named(put: Put) -> None:
    """A directory that the pattern doesn't lead into is said to be left out."""
    data = put("a.csv", "archive/b.csv")

    found = spans.select(data, "*", None)

    (line,) = found.lines()
    assert line == (
        "skips the files in archive, which '*' doesn't match; a --pattern such as "
        "'**/*' does"
    )
    assert spans.select(data, "**/*", None).lines() == []
    assert spans.select(data, "*.csv", None).lines() == []


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Root may read everything, so its tests do as another user."""
    was = os.geteuid()
    os.seteuid(65534 if was == 0 else was)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach, which tmp_path is not."""
    with tempfile.TemporaryDirectory(prefix="throughline-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("text", [NUMBERED, "span-{SPAN}/a.csv"])
def test_an_unreadable_span_is_refused(open_directory: Path, text: str) -> None:
    """A span whose directory can't be read is no span that is not there."""
    for number in (1, 2):
        (open_directory / f"span-{number}").mkdir()
        (open_directory / f"span-{number}/a.csv").write_text("a")
    (open_directory / "span-2").chmod(0)

    with _without_privileges(), pytest.raises(DataRefusedError) as refused:
        spans.select(open_directory, text, Newest(EVERY_SPAN))

    (open_directory / "span-2").chmod(0o755)
    assert str(refused.value) == f"{open_directory}/span-2 cannot be read: {DENIED}"


@pytest.mark.parametrize("place", ["span-3", "span-3/a.csv"])
def test_the_newest_span_is_not_replaced_by_an_older_one(put: Put, place: str) -> None:
    """Where the newest span is a link to a disk that isn't mounted, it is refused."""
    data = put("span-1/a.csv", "span-2/a.csv", "span-3/.keep")
    if place == "span-3":
        (data / "span-3/.keep").unlink()
        (data / "span-3").rmdir()
    (data / place).symlink_to("/unmounted/x")

    with pytest.raises(DataRefusedError, match="which is not there") as refused:
        spans.select(data, NUMBERED, Newest(1))
    earlier = spans.select(data, NUMBERED, Between(1, 2))

    assert str(data / place) in str(refused.value)
    assert [span.number for span in earlier.taken] == [1, 2]
    assert earlier.skipped == (3,)


def test_the_newest_version_is_not_replaced_by_an_older_one(put: Put) -> None:
    """A version that can't be read is refused if it is the newest, and only then."""
    data = put("1/v1/a.csv", "1/v3/a.csv")
    (data / "1/v2").symlink_to("/unmounted/x")
    text = "{SPAN}/v{VERSION}/*.csv"

    before = spans.select(data, text, Newest(1))
    (data / "1/v4").symlink_to("/unmounted/x")

    assert before.taken == (Span(1, 3, "1/v3/*.csv"),)
    with pytest.raises(DataRefusedError, match="which is not there"):
        spans.select(data, text, Newest(1))


def test_spans_without_files_are_named(put: Put) -> None:
    """The directory of a span that holds nothing to read is named."""
    data = put("span-1/a.csv", "span-2/notes.txt", "old/notes.txt")
    (data / "span-3").mkdir()

    found = spans.select(data, NUMBERED, Newest(1))

    assert [span.number for span in found.taken] == [1]
    assert found.lines() == [
        "reads span 1",
        "finds no file that matches in span-3, span-2",
    ]


@pytest.mark.parametrize(
    ("files", "text", "wanted", "message"),
    [
        ((), NUMBERED, Newest(1), "it holds no file at all"),
        (
            ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv"),
            NUMBERED,
            Newest(1),
            "it holds a.csv, b.csv, c.csv and 2 more",
        ),
        (("x.txt",), "*.csv", None, "matches '*.csv'; it holds x.txt"),
        (
            ("span-1/a.csv", "span-2/a.csv", "span-4/a.csv"),
            NUMBERED,
            Between(3, 3),
            "Span 3 asked for, but in {data} 'span-{SPAN}/*.csv' finds spans 1 to 2, 4",
        ),
        (
            ("span-1/a.csv",),
            NUMBERED,
            Between(3, 9),
            "Spans 3, 9 asked for, but in {data} 'span-{SPAN}/*.csv' finds span 1;",
        ),
        (
            ("span-1/a.csv", "span-old/a.csv"),
            NUMBERED,
            Newest(1),
            (
                "span-old/a.csv matches 'span-{SPAN}/*.csv', but 'old' is no number "
                "for {SPAN}; rename it, or move it out"
            ),
        ),
        (
            ("2026-02-30/a.csv",),
            DATED,
            Newest(1),
            "2026-02-30/a.csv matches '{YYYY}-{MM}-{DD}/*.csv', but has no date (day ",
        ),
        (
            ("span-1/a.csv", "span-01/a.csv"),
            NUMBERED,
            Newest(1),
            "span-01/*.csv and span-1/*.csv in {data} are both span 1; move one",
        ),
        (
            ("span-999/a.csv", "span-1000/a.csv"),
            "span-{SPAN:3}/*.csv",
            Newest(1),
            (
                "span-1000/a.csv has numbers of other lengths than "
                "'span-{SPAN:3}/*.csv' takes (3 digits for SPAN); rename it"
            ),
        ),
        (
            ("2026-01-05/a.csv", "2026-1-6/a.csv"),
            DATED,
            Newest(1),
            (
                "2026-1-6/a.csv has numbers of other lengths than "
                "'{YYYY}-{MM}-{DD}/*.csv' takes (4 digits for YYYY, 2 digits for MM, 2"
            ),
        ),
        (
            ("1/v-9/a.csv", "1/v-10/a.csv"),
            "{SPAN}/v-{VERSION:1}/*.csv",
            Newest(1),
            "1/v-10/a.csv has numbers of other lengths than",
        ),
        (
            ("span-1/a.csv", "span-99999999999999999999/a.csv"),
            NUMBERED,
            Newest(1),
            (
                "span-99999999999999999999/a.csv matches 'span-{SPAN}/*.csv', but "
                "99999999999999999999 is greater than 2147483647, the greatest number "
                "for {SPAN}; rename it"
            ),
        ),
    ],
)
def test_data_that_is_not_there_is_refused(
    put: Put,
    tmp_path: Path,
    *,
    files: tuple[str, ...],
    text: str,
    wanted: spans.Wanted | None,
    message: str,
) -> None:
    """What is not there, or not numbered, is refused with what is there instead."""
    data = put(*files) if files else tmp_path

    with pytest.raises(DataRefusedError) as refused:
        spans.select(data, text, wanted)

    assert message.replace("{data}", str(data)) in str(refused.value)
