"""The page of a model's monitoring: the newest observation, and those before it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from models import declared
from operations.observation import Comparison, Observation, Quality
from pipeline.quality import titles
from pipeline.quality.titles import TITLES
from pipeline.report import page
from pipeline.report.blocks import (
    Block,
    Cell,
    Facts,
    Grid,
    Lines,
    Note,
    Point,
    Section,
    Table,
    Text,
)

# As many as the report's style has colours.
_SHOWN = 5
# Of the features' table, besides alarms: a column has two measures and two baselines.
_ROWS = 12
_MEASURES = {
    "jensen_shannon": "Jensen-Shannon",
    "l_infinity": "largest change of a share",
}
_NONE = "-"
_HOUR = 3600.0


@dataclass(frozen=True)
class Moment:
    """Something that happened.

    Attributes:
        at: When.
        what: A word or two, such as "push" or "run, drift".
        text: What it was and why.
    """

    at: datetime
    what: str
    text: str


def render(
    model: str, history: Sequence[Observation], moments: Sequence[Moment] = ()
) -> str:
    """Writes the page.

    Args:
        model: Name of the model.
        history: Its observations, oldest first.
        moments: What has happened to it, oldest first.

    Returns:
        HTML that loads no other resource.
    """
    sections = [*_observed(history), *_timeline(moments)]
    return page.render(f"Monitoring of {model}", sections, kind="index")


def _observed(history: Sequence[Observation]) -> Iterator[Section]:
    if not history:
        yield Section("Verdict", [Text("No window of the log has been observed yet.")])
        return
    newest = history[-1]
    yield _verdict(newest)
    yield _traffic(newest)
    yield _features(newest)
    yield _quality(newest)
    yield from _over_time(history)


def _timeline(moments: Sequence[Moment]) -> Iterator[Section]:
    if moments:
        rows: list[list[Cell]] = [
            [f"{each.at:%Y-%m-%d %H:%M:%S}", each.what, each.text]
            for each in reversed(moments)
        ]
        columns = ["time, UTC", "what", "which, and why"]
        yield Section("Decisions, runs and versions", [Table(columns, rows)])


def _verdict(found: Observation) -> Section:
    blocks: list[Block] = [
        *(Note(str(alarm), "bad") for alarm in found.alarms),
        *(
            Note(f"It looks like a broken client: {each}.", "warn")
            for each in found.broken
        ),
    ]
    blocks = blocks or [Note("No alarm.", "good")]
    facts: dict[str, Cell] = {
        "live version": str(found.version),
        "from": _moment(found.since),
        "until": _moment(found.until),
        "rows": found.rows,
        "labels": f"{found.labelled:,} ({found.coverage:.0%})",
    }
    return Section("Verdict", [*blocks, Facts(facts), *map(Text, found.notes)])


def _moment(text: str) -> str:
    return f"{text[:16].replace('T', ' ')} UTC"


def _traffic(found: Observation) -> Section:
    counts = {
        **{f"version {each}": count for each, count in found.versions.items()},
        **{f"failed: {each}": count for each, count in found.failed.items()},
    }
    total = sum(counts.values())
    rows: list[list[Cell]] = [
        [name, count, f"{count / total:.2%}"] for name, count in counts.items()
    ]
    latency = {
        f"{name[1:]} % of the answers within": f"{value:.3g} ms"
        for name, value in found.latency_ms.items()
    }
    table = [Table(["answered by", "count", "share"], rows)] if rows else []
    return Section("Traffic", [*table, *([Facts(latency)] if latency else [])])


def _features(found: Observation) -> Section:
    if not found.comparisons:
        return Section("Features", [Text("Nothing was compared.")])
    ordered = sorted(found.comparisons, key=_excess, reverse=True)
    shown = [
        each
        for place, each in enumerate(ordered)
        if each.value > each.threshold or (each.value > 0 and place < _ROWS)
    ]
    rows: list[list[Cell]] = [
        [
            each.column,
            _measure(each),
            f"the {each.against} data",
            each.value,
            each.threshold,
            each.unchanged,
            "yes" if each.value > each.threshold else "no",
            each.moved,
        ]
        for each in shown
    ]
    columns = ["column", "measure", "against", "value", "threshold"]
    blocks: list[Block] = [Table([*columns, "unchanged", "alarm", "moved most"], rows)]
    if rest := len(ordered) - len(shown):
        blocks.append(
            Text(
                f"{rest} more comparisons are further below their thresholds; the "
                "observation's JSON file has all."
            )
        )
    return Section("Features", blocks if rows else blocks[1:])


def _measure(each: Comparison) -> str:
    return _MEASURES.get(each.measure, each.measure.replace("_", " "))


def _excess(each: Comparison) -> float:
    return each.value / each.threshold if each.threshold else each.value


def _quality(found: Observation) -> Section:
    rows: list[list[Cell]] = [
        [
            TITLES.get(name, name),
            _with_bounds(each, "promised"),
            _with_bounds(each, "live"),
            _with_bounds(each, "expected"),
        ]
        for name, each in found.metrics.items()
    ]
    columns = [
        "metric",
        "promised by the evaluation",
        "live, by the labels that have come",
        "expected from the scores",
    ]
    blocks: list[Block] = [Table(columns, rows)] if rows else []
    if found.outside is not None:
        share = f"{found.outside:.1%} of the rows have scores that the test split lacks"
        blocks.append(Text(f"{share}; the expectation knows nothing of these."))
    return Section("Quality", blocks or [Text("There are no scores, and no labels.")])


def _with_bounds(each: Quality, source: str) -> str:
    value = getattr(each, source)
    if value is None:
        return _NONE
    low, high = (getattr(each, f"{source}_{end}", None) for end in ("low", "high"))
    if low is None:
        return f"{value:.4g}"
    return (
        f"{value:.4g} (from {low:.4g})"
        if high is None
        else (f"{value:.4g} ({low:.4g} to {high:.4g})")
    )


def _over_time(history: Sequence[Observation]) -> Iterator[Section]:
    if len(history) < 2:  # noqa: PLR2004 - a line needs two points
        return
    first = datetime.fromisoformat(history[0].until)
    hours = [
        (datetime.fromisoformat(each.until) - first).total_seconds() / _HOUR
        for each in history
    ]
    x = f"hours since {history[0].until[:16]} UTC"
    charts = [
        Lines(
            "Rows of a window",
            x,
            "rows",
            {"rows": _points(hours, [h.rows for h in history])},
            # From 0, or a change of 2 % looks like the end of all traffic.
            y_range=(0, max(1, *(each.rows for each in history))),
        ),
        *_quality_lines(history, hours, x),
        *_distance_lines(history, hours, x),
    ]
    yield Section("Over time", [Grid(charts)])


def _points(hours: Sequence[float], values: Sequence[float | None]) -> list[Point]:
    pairs = zip(hours, values, strict=True)
    return [(hour, value) for hour, value in pairs if value is not None]


def _quality_lines(
    history: Sequence[Observation], hours: Sequence[float], x: str
) -> Iterator[Lines]:
    title, _ = titles.main(history[-1].metrics, declared.TASK)
    found = [
        titles.main(each.metrics, declared.TASK)[1] or Quality() for each in history
    ]
    series = {
        name: _points(hours, [getattr(each, name) for each in found])
        for name in ("promised", "live", "expected")
    }
    shown = {name: points for name, points in series.items() if points}
    if shown:
        yield Lines(title, x, title, shown)


def _distance_lines(
    history: Sequence[Observation], hours: Sequence[float], x: str
) -> Iterator[Lines]:
    """Yields the share of the threshold that columns reach, of the highest ones."""
    lines: dict[str, dict[str, list[Point]]] = {}
    for hour, each in zip(hours, history, strict=True):
        for compared in each.comparisons:
            if compared.threshold:
                name = f"{compared.column}, {_measure(compared)}"
                by_name = lines.setdefault(compared.against, {})
                by_name.setdefault(name, []).append((hour, _excess(compared)))
    for against, series in lines.items():
        title = f"Distance from the {against} data, 1 is an alarm"
        drawn = _highest(series)
        top = max(1.0, *(y for points in drawn.values() for _, y in points))
        yield Lines(title, x, "share of the threshold", drawn, y_range=(0, top))


def _highest(series: Mapping[str, list[Point]]) -> dict[str, list[Point]]:
    names = sorted(series, key=lambda name: -max(y for _, y in series[name]))
    return {name: series[name] for name in names[:_SHOWN]}
