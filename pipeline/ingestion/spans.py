"""Selects the files to read, by patterns and spans in TFX's notation.

A span is a numbered portion of the data: `span-{SPAN}/*.csv`, or a day as in
`{YYYY}-{MM}-{DD}/*.csv`, whose number is the days since 1970-01-01. `{VERSION}` next to
either distinguishes repeated deliveries of a span; the newest one is read. Importing
this module imports neither TFX nor TensorFlow.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion import walk
from pipeline.ingestion.walk import Entry, Part, What

EVERY_FILE = "*"
"""The default pattern: all files of the directory, without spans."""
NEWEST = "newest"
EVERY_SPAN = 2**31 - 1
"""The highest number in TFX's protos; as a count, it means all spans."""
TO = ".."

_PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_TOKEN = re.compile(
    r"\{(?P<name>\w+)(?::(?P<width>[0-9]+))?\}|(?P<deep>\*\*/)|(?P<any>\*)|(?P<one>\?)"
    r"|\[(?P<set>!?\]?[^\]]*)\]|(?P<text>.)",
    re.DOTALL,
)
_DEEP = "**"
_NOTHING = {"", "."}
_DATE_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}
_NUMBERS = ("SPAN", "VERSION")
_FIRST_DAY = date(1970, 1, 1)
_LISTED = 3
_LOOKED_AT = 1000

Tokens = Mapping[str, str]
Gap = tuple[int, int]


@dataclass(frozen=True)
class Pattern:
    """A pattern of paths below the data directory.

    Attributes:
        text: The pattern with its placeholders.
    """

    text: str

    def __post_init__(self) -> None:
        """Rejects patterns that TFX would reject, or that are ambiguous.

        Raises:
            UsageError: The pattern is invalid; the message names the fault.
        """
        for fault in _faults(self.text):
            raise UsageError(
                f"pattern is {self.text!r}: {fault}; give one such as "
                "span-{SPAN}/*.csv or {YYYY}-{MM}-{DD}/*.csv, with {VERSION} after "
                "either if a span comes more than once"
            )

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """Names of its placeholders."""
        return frozenset(name for name, _ in _PLACEHOLDER.findall(self.text))

    @property
    def has_spans(self) -> bool:
        """Whether it has placeholders of a span."""
        return bool(self.placeholders)

    @property
    def has_dates(self) -> bool:
        """Whether spans are days."""
        return "YYYY" in self.placeholders

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Its parts between slashes; they match the files of all spans."""
        return parts_of(self.text)

    @cached_property
    def depth_of_spans(self) -> int:
        """Number of parts up to the last directory with a placeholder, else 0."""
        above = [part.text for part in self.parts[:-1]]
        held = (n for n, text in enumerate(above, 1) if _PLACEHOLDER.search(text))
        return max(held, default=0)

    def filled(self, tokens: Tokens) -> str:
        """Returns the pattern with its placeholders replaced by tokens."""
        return _PLACEHOLDER.sub(lambda match: tokens[match[1]], self.text)

    def path_of(self, number: int, version: int = 1) -> str:
        """Returns the pattern with the placeholders of a span replaced.

        Args:
            number: The span's number; days since 1970-01-01 if spans are days.
            version: Its version, if the pattern has versions.
        """
        values = {"SPAN": str(number), "VERSION": str(version)}
        if self.has_dates:
            year, month, day = str(day_of(number)).split("-")
            values |= {"YYYY": year, "MM": month, "DD": day}
        return _PLACEHOLDER.sub(
            lambda match: values[match[1]].zfill(int(match[2] or 0)), self.text
        )

    def tokens_of(self, relative: str, depth: int | None = None) -> Tokens | None:
        """Returns the tokens of a path by placeholder; `None` if it doesn't match.

        Args:
            relative: Path below the data directory, with forward slashes.
            depth: Number of parts of the pattern to match; all if not given.
        """
        match = self._regex_to(depth).fullmatch(relative)
        return match.groupdict() if match else None

    @functools.lru_cache(maxsize=16)  # noqa: B019 - patterns are few, and small
    def _regex_to(self, depth: int | None) -> re.Pattern[str]:
        return _regex("/".join(part.text for part in self.parts[:depth]))

    def name_of(self, number: int) -> str:
        """Formats the number of a span for display: as a date if spans are days."""
        return str(day_of(number) if self.has_dates else number)


@dataclass(frozen=True)
class Newest:
    """The newest existing spans, up to a count."""

    count: int


@dataclass(frozen=True)
class Between:
    """The spans from one number to another, both included."""

    first: int
    last: int


Wanted = Newest | Between


@dataclass(frozen=True)
class Span:
    """A span that exists.

    Attributes:
        number: Its number as TFX counts; 0 if the pattern has no spans.
        version: Its newest version; `None` if the pattern has no versions.
        pattern: The pattern of its files, without placeholders.
        fault: Why it can't be read; empty if it can.
    """

    number: int
    version: int | None
    pattern: str
    fault: str = ""


@dataclass(frozen=True)
class Selection:
    """The spans to read, and what was found but is not read.

    Attributes:
        pattern: The pattern with its placeholders.
        taken: Spans to read, oldest first; a single one numbered 0 without spans.
        skipped: Numbers of the spans that exist and are skipped.
        missing: First and last number of each gap among the spans to read.
        empty: Directories of spans without a matching file.
        left_out: Directories that the pattern's last part matches; they are not read.
    """

    pattern: Pattern
    taken: tuple[Span, ...]
    skipped: tuple[int, ...] = ()
    missing: tuple[Gap, ...] = ()
    empty: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns sentences on what is read, skipped, missing and empty."""
        lines = []
        if self.pattern.has_spans:
            lines = [f"reads {_counted(self.pattern, [s.number for s in self.taken])}"]
            if self.skipped:
                lines[0] += f", skips {self.names_of_skipped()}"
        if self.missing:
            lines.append(f"Missing among them: {self.names_of_missing()}")
        if self.empty:
            lines.append(f"finds no file that matches in {_listed(self.empty)}")
        if self.left_out:
            named = _listed(self.left_out)
            lines.append(
                f"skips the files in {named}, which {self.pattern.text!r} doesn't "
                "match; a --pattern such as '**/*' does"
            )
        return lines

    def names_of_skipped(self) -> str:
        """Formats the skipped spans, such as `1 to 12, 14`."""
        return in_words(self.skipped, self.pattern.name_of)

    def names_of_missing(self) -> str:
        """Formats the missing spans, such as `7, 9 to 11`."""
        return _gaps_in_words(self.missing, self.pattern.name_of)


def day_of(number: int) -> date:
    """Returns the day of a span, if spans are days."""
    return _FIRST_DAY + timedelta(days=number)


def number_of(day: date) -> int:
    """Returns the number of the span of a day."""
    return (day - _FIRST_DAY).days


def parse_wanted(
    span: str, window: int | Literal["all"], pattern: Pattern
) -> Wanted | None:
    """Parses the settings that select spans.

    Args:
        span: `newest`, a span, or two with `..` between them; a span is a number or,
            if the pattern has dates, a date.
        window: Number of the newest spans, or "all".
        pattern: The pattern of the files.

    Returns:
        The requested spans; `None` if the pattern has no spans.

    Raises:
        UsageError: The settings contradict each other or the pattern.
    """
    if not pattern.has_spans:
        if span == NEWEST and window == 1:
            return None
        raise UsageError(
            f"span is {span} and window is {window}, but the pattern "
            f"{pattern.text!r} has no span placeholder; give one such as "
            "--pattern 'span-{SPAN}/*.csv'"
        )
    if window != "all" and window < 1:
        raise UsageError(f"window is {window}; it must be at least 1, or all")
    if span == NEWEST:
        return Newest(EVERY_SPAN if window == "all" else window)
    if window != 1:
        raise UsageError(
            f"window is {window} and span is {span}; a window counts from the newest "
            "span, so leave one of them out, or give span a range such as 5..8"
        )
    first, _, last = span.partition(TO)
    wanted = Between(_number(first, pattern), _number(last or first, pattern))
    if wanted.first > wanted.last:
        raise UsageError(f"span is {span}, which ends before it begins; swap the two")
    return wanted


def select(directory: Path, text: str, wanted: Wanted | None) -> Selection:
    """Finds the spans to read in a data directory.

    Args:
        directory: The data directory.
        text: The pattern.
        wanted: The requested spans; the newest one if not given.

    Returns:
        The spans to read, each with its own pattern, and what is not read.

    Raises:
        UsageError: The pattern is invalid.
        DataRefusedError: No file matches, no requested span exists, one of them can't
            be read, or the placeholder of a matching path holds no number or date.
    """
    pattern = Pattern(text)
    scan = _scan(directory, pattern)
    found = scan.spans
    if not found:
        raise DataRefusedError(
            f"No file in {directory} matches {text!r}; {_holds(directory)}"
        )
    if not pattern.has_spans:
        return Selection(pattern, tuple(found), left_out=scan.left_out)
    wanted = wanted or Newest(1)
    taken = found[-wanted.count :] if isinstance(wanted, Newest) else _in(found, wanted)
    if not taken:
        raise DataRefusedError(_not_there(directory, pattern, found, wanted))
    for span in taken:
        if span.fault:
            raise DataRefusedError(span.fault)
    if scan.has_links:
        _refuse_repeated(
            [path for span in taken for path in files_of(directory, span.pattern)]
        )
    numbers = [span.number for span in taken]
    return Selection(
        pattern,
        tuple(taken),
        tuple(span.number for span in found if span.number not in numbers),
        tuple(_missing(pattern, found, numbers, wanted)),
        scan.empty,
        scan.left_out,
    )


def available(directory: Path, pattern: Pattern) -> list[Span]:
    """Returns the existing spans, oldest first, each with its newest version.

    Raises:
        DataRefusedError: The placeholder of a matching path holds no number or date, or
            a path can't be read and its span can't be determined.
    """
    return _scan(directory, pattern).spans


def files_of(directory: Path, pattern: str) -> list[Path]:
    """Returns the files that match a pattern without placeholders, sorted.

    Names that begin with a dot or an underscore are skipped unless the pattern spells
    that character: editors and engines keep such files next to data.

    Raises:
        DataRefusedError: A match can't be read, or two paths lead to the same file.
    """
    return _readable(walk.walk(directory, parts_of(pattern)))


def parts_of(pattern: str) -> tuple[Part, ...]:
    """Splits a pattern at its slashes.

    Numbers of another width than the placeholder's match too, so that `select` rejects
    them instead of skipping them.
    """
    return tuple(_part_of(text) for text in pattern.split("/") if text not in _NOTHING)


def in_words(numbers: Sequence[int], name: Callable[[int], str] = str) -> str:
    """Formats numbers as ranges, such as `1 to 12, 14`.

    Args:
        numbers: The numbers, ascending.
        name: Formats one of them.
    """
    return _gaps_in_words(_runs(numbers), name)


def _faults(text: str) -> Iterator[str]:
    names = [name for name, _ in _PLACEHOLDER.findall(text)]
    parts = text.split("/")
    if not text or text.startswith("/") or ".." in parts:
        yield "it must be a path below the data directory"
    if any("**" in part and part != "**" for part in parts):
        yield "** must stand alone between slashes"
    if parts[-1] in {_DEEP, *_NOTHING}:
        yield "it must end with the name of files, such as **/*.csv"
    yield from _wrong_placeholders(text)
    for name in names:
        if names.count(name) > 1:
            yield f"{{{name}}} is in it more than once"
    dates = [name for name in _DATE_DIGITS if name in names]
    if dates and "SPAN" in names:
        yield "a span is either {SPAN} or a date, not both"
    if dates and len(dates) < len(_DATE_DIGITS):
        yield "a date needs each of {YYYY}, {MM} and {DD}"
    if "VERSION" in names and not dates and "SPAN" not in names:
        yield "{VERSION} needs {SPAN} or a date too"


def _wrong_placeholders(text: str) -> Iterator[str]:
    known = "{SPAN}, {VERSION}, {YYYY}, {MM} and {DD}"
    if re.search("[{}]", _PLACEHOLDER.sub("", text)):
        yield f"its braces don't match; placeholders are {known}"
    for placeholder in _PLACEHOLDER.finditer(text):
        name, width = placeholder[1], placeholder[2]
        if name not in (*_NUMBERS, *_DATE_DIGITS):
            yield f"{{{name}}} is none of the placeholders, which are {known}"
        if width is None:
            continue
        if name in _DATE_DIGITS:
            yield f"{{{name}}} takes no width"
        if not re.fullmatch("0*[1-9][0-9]*", width):
            yield f"the width {width!r} of {{{name}}} is not a number above 0"


@dataclass(frozen=True)
class _Scan:
    """The contents of a data directory, as a pattern sees them."""

    spans: list[Span]
    empty: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    has_links: bool = False


def _scan(directory: Path, pattern: Pattern) -> _Scan:
    """Walks a data directory once, and groups what it finds by spans."""
    # Once: on a network file system, listing is what selecting spans costs.
    entries = list(walk.walk(directory, pattern.parts))
    left_out = tuple(
        entry.path.relative_to(directory).as_posix()
        for entry in entries
        if entry.what is What.LEFT_OUT
    )
    if not pattern.has_spans:
        files = _readable(entries)
        return _Scan([Span(0, None, pattern.text)] if files else [], (), left_out)
    newest: dict[int, Span] = {}
    for entry in entries:
        if entry.what in {What.FILE, What.FAULTY}:
            span = _span_at(directory, pattern, entry)
            _note_newest(newest, span, directory, pattern)
    spans = [newest[number] for number in sorted(newest)]
    return _Scan(
        spans,
        tuple(_empty(directory, pattern, entries)),
        left_out,
        any(entry.is_linked for entry in entries),
    )


def _readable(entries: Iterable[Entry]) -> list[Path]:
    # With `**` twice in a pattern, `walk` may yield a file more than once.
    files: dict[str, Entry] = {}
    for entry in entries:
        if entry.what is What.FAULTY:
            raise DataRefusedError(entry.fault)
        if entry.what is What.FILE:
            files[str(entry.path)] = entry
    paths = sorted(entry.path for entry in files.values())
    if any(entry.is_linked for entry in files.values()):
        _refuse_repeated(paths)
    return paths


def _empty(
    directory: Path, pattern: Pattern, entries: Sequence[Entry]
) -> Iterator[str]:
    """Yields the directories of spans without a matching file, the last one first."""
    there = (entry for entry in entries if entry.what in {What.FILE, What.FAULTY})
    parents = {str(parent): parent for parent in (e.path.parent for e in there)}
    held = {path for parent in parents.values() for path in (parent, *parent.parents)}
    for entry in reversed(entries):
        is_span = entry.what is What.ENTERED and entry.depth == pattern.depth_of_spans
        if is_span and entry.path not in held:
            relative = entry.path.relative_to(directory).as_posix()
            tokens = pattern.tokens_of(relative, entry.depth)
            if tokens and all(token.isdecimal() for token in tokens.values()):
                yield relative


def _note_newest(
    newest: dict[int, Span], span: Span, directory: Path, pattern: Pattern
) -> None:
    """Records a span if it is the newest version so far, and its fault.

    Raises:
        DataRefusedError: Two different paths are the same version of the same span.
    """
    known = newest.setdefault(span.number, span)
    if (span.version or 0) > (known.version or 0):
        newest[span.number] = span
    elif span.version == known.version:
        if not (span.fault or known.fault) and span.pattern != known.pattern:
            raise DataRefusedError(
                f"{known.pattern} and {span.pattern} in {directory} are both span "
                f"{pattern.name_of(span.number)}; move one of them away"
            )
        if span.fault and not known.fault:
            newest[span.number] = span


def _span_at(directory: Path, pattern: Pattern, entry: Entry) -> Span:
    """Returns the span of an entry.

    Raises:
        DataRefusedError: The span can't be determined, or its token is not a number.
    """
    relative = _relative(entry.path, directory)
    tokens = pattern.tokens_of(relative, entry.depth)
    if tokens is None and entry.fault:
        raise DataRefusedError(entry.fault)
    if tokens is None:
        raise DataRefusedError(
            f"{relative} has numbers of other lengths than {pattern.text!r} takes "
            f"({_widths(pattern)}); rename it, or choose another --pattern"
        )
    if entry.fault and not tokens.keys() >= pattern.placeholders - {"VERSION"}:
        raise DataRefusedError(entry.fault)
    return _span_of(relative, pattern, tokens, entry.fault)


def _relative(path: Path, directory: Path) -> str:
    """Returns a path relative to a directory; `relative_to` takes ten times as long."""
    text, above = str(path), f"{directory}/"
    if text.startswith(above):
        return text[len(above) :]
    return path.relative_to(directory).as_posix()


def _widths(pattern: Pattern) -> str:
    widths = {
        name: _DATE_DIGITS.get(name) or int(width or 0)
        for name, width in _PLACEHOLDER.findall(pattern.text)
    }
    return ", ".join(
        f"{width} {'digit' if width == 1 else 'digits'} for {name}"
        for name, width in widths.items()
        if width
    )


def _refuse_repeated(files: Sequence[Path]) -> None:
    if twice := walk.repeated(files):
        raise DataRefusedError(
            f"{twice[0]} and {twice[1]} are the same file, which would be read twice; "
            "remove the link, or choose files with --pattern"
        )


def _part_of(text: str) -> Part:
    if text == _DEEP:
        return Part(text, None)
    is_literal = not re.search(r"[{*?\[]", text)
    return Part(text, _regex(text, loose=True), is_literal)


@functools.lru_cache(maxsize=1 << 10)
def _regex(text: str, *, loose: bool = False) -> re.Pattern[str]:
    say = functools.partial(_regex_of, loose=loose)
    return re.compile("".join(map(say, _TOKEN.finditer(text))))


def _regex_of(token: re.Match[str], *, loose: bool) -> str:
    name = token["name"]
    if name:
        digits = _DATE_DIGITS.get(name) or int(token["width"] or 0)
        exact = f"[^/]{{{digits}}}" + ("|[0-9]+" if loose else "")
        # Digits first: else `{SPAN}*` would match all that follows as the number.
        return f"(?P<{name}>{exact if digits else '[0-9]+|[^/]+'})"
    if token["set"] is not None:
        chosen = token["set"].replace("\\", "\\\\")
        return f"[^{chosen[1:]}]" if chosen.startswith("!") else f"[{chosen}]"
    if token["text"]:
        return re.escape(token["text"])
    return "(?:.*/)?" if token["deep"] else "[^/]*" if token["any"] else "[^/]"


def _span_of(relative: str, pattern: Pattern, tokens: Tokens, fault: str) -> Span:
    for name, token in tokens.items():
        if not (token.isascii() and token.isdecimal()):
            raise DataRefusedError(
                f"{relative} matches {pattern.text!r}, but {token!r} is no number for "
                f"{{{name}}}; rename it, or move it out of the data directory"
            )
        if int(token) > EVERY_SPAN:
            raise DataRefusedError(
                f"{relative} matches {pattern.text!r}, but {token} is greater than "
                f"{EVERY_SPAN}, the greatest number for {{{name}}}; rename it, or move "
                "it out of the data directory"
            )
    version = None
    if "VERSION" in pattern.placeholders:
        # A fault above the directories of versions hides which versions there are, so
        # it counts as the newest.
        version = int(tokens.get("VERSION", EVERY_SPAN))
    files = "" if fault else pattern.filled(tokens)
    if not pattern.has_dates:
        return Span(int(tokens["SPAN"]), version, files, fault)
    try:
        number = number_of(date(*(int(tokens[name]) for name in _DATE_DIGITS)))
    except ValueError as error:
        raise DataRefusedError(
            f"{relative} matches {pattern.text!r}, but has no date ({error}); rename "
            "it, or move it out of the data directory"
        ) from error
    return Span(number, version, files, fault)


def _number(text: str, pattern: Pattern) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= EVERY_SPAN:
        return int(text)
    expected = f"{NEWEST}, a number, or two with {TO} between them"
    if pattern.has_dates:
        try:
            return number_of(date.fromisoformat(text))
        except ValueError:
            expected = f"{NEWEST}, a date such as 2026-01-31, or two with {TO} between"
    raise UsageError(f"span is {text!r}, expected {expected}")


def _in(found: Iterable[Span], wanted: Between) -> list[Span]:
    return [span for span in found if wanted.first <= span.number <= wanted.last]


def _missing(
    pattern: Pattern, found: Sequence[Span], taken: Sequence[int], wanted: Wanted
) -> Iterator[Gap]:
    """Yields the gaps in what is read; for dates only if any two days are adjacent."""
    everything = [span.number for span in found]
    if pattern.has_dates and all(b - a > 1 for a, b in itertools.pairwise(everything)):
        return
    bounds = list(taken)
    if isinstance(wanted, Between):
        bounds = [wanted.first - 1, *taken, wanted.last + 1]
    for before, after in itertools.pairwise(bounds):
        if after - before > 1:
            yield before + 1, after - 1


def _runs(numbers: Sequence[int]) -> list[Gap]:
    """Groups ascending numbers into ranges of consecutive ones."""
    runs: list[Gap] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _gaps_in_words(gaps: Iterable[Gap], name: Callable[[int], str]) -> str:
    names = ([name(number) for number in dict.fromkeys(gap)] for gap in gaps)
    return ", ".join(" to ".join(pair) for pair in names)


def _counted(pattern: Pattern, numbers: Sequence[int]) -> str:
    plural = "" if len(numbers) == 1 else "s"
    return f"span{plural} {in_words(numbers, pattern.name_of)}"


def _not_there(
    directory: Path, pattern: Pattern, found: Sequence[Span], wanted: Wanted
) -> str:
    there = _counted(pattern, [span.number for span in found])
    asked = "none"
    if isinstance(wanted, Between):
        asked = _counted(pattern, list(dict.fromkeys((wanted.first, wanted.last))))
    return (
        f"{asked.capitalize()} asked for, but in {directory} {pattern.text!r} finds "
        f"{there}; give another --span, or --span {NEWEST}"
    )


def _holds(directory: Path) -> str:
    """Describes the files of a directory in which none matched."""
    below = itertools.islice(directory.rglob("*"), _LOOKED_AT)
    files = sorted(p.relative_to(directory).as_posix() for p in below if p.is_file())
    return f"it holds {_listed(files)}" if files else "it holds no file at all"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
