"""The page of a model's monitoring: the newest observation, and those before it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

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
_NONE = "-"
_HOUR = 3600.0


def render(history: Sequence[Observation]) -> str:
    """Writes the page.

    Args:
        history: Observations of a model, oldest first; at least one.

    Returns:
        HTML that loads no other resource.
    """
    newest = history[-1]
    sections = [
        _verdict(newest),
        _traffic(newest),
        _features(newest),
        _quality(newest),
        *_over_time(history),
    ]
    return page.render(f"Monitoring of {newest.model}", sections, kind="index")


def _verdict(found: Observation) -> Section:
    blocks: list[Block] = [Note(str(alarm), "bad") for alarm in found.alarms] or [
        Note("No alarm.", "good")
    ]
    facts: dict[str, Cell] = {
        "live version": str(found.version),
        "window": f"{found.since[:16]} to {found.until[:16]} UTC",
        "rows": found.rows,
        "labels": f"{found.labelled:,} ({found.coverage:.0%})",
    }
    return Section("Verdict", [*blocks, Facts(facts), *map(Text, found.notes)])


def _traffic(found: Observation) -> Section:
    rows: list[list[Cell]] = [
        [f"version {version}", count, _share(count, found.rows)]
        for version, count in found.versions.items()
    ]
    failed = sum(found.failed.values())
    rows += [
        [f"failed: {status}", count, _share(count, found.rows + failed)]
        for status, count in found.failed.items()
    ]
    latency = {
        f"{name[1:]} % of the answers within": f"{value:.3g} ms"
        for name, value in found.latency_ms.items()
    }
    blocks: list[Block] = [Table(["", "count", "share"], rows)] if rows else []
    return Section("Traffic", [*blocks, *([Facts(latency)] if latency else [])])


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else _NONE


def _features(found: Observation) -> Section:
    if not found.comparisons:
        return Section("Features", [Text("Nothing was compared.")])
    ordered = sorted(found.comparisons, key=_excess, reverse=True)
    rows: list[list[Cell]] = [
        [
            each.column,
            each.measure.replace("_", " "),
            f"the {each.against} data",
            each.value,
            each.threshold,
            each.unchanged,
            "alarm" if each.value > each.threshold else "",
            each.moved,
        ]
        for each in ordered
    ]
    columns = ["column", "measure", "against", "value", "threshold"]
    return Section("Features", [Table([*columns, "unchanged", "", "moved most"], rows)])


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
    title, _ = titles.main(history[-1].metrics)
    found = [titles.main(each.metrics)[1] or Quality() for each in history]
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
                name = f"{compared.column}, {compared.measure.replace('_', ' ')}"
                by_name = lines.setdefault(compared.against, {})
                by_name.setdefault(name, []).append((hour, _excess(compared)))
    for against, series in lines.items():
        title = f"Distance from the {against} data, 1 is an alarm"
        yield Lines(title, x, "share of the threshold", _highest(series))


def _highest(series: Mapping[str, list[Point]]) -> dict[str, list[Point]]:
    names = sorted(series, key=lambda name: -max(y for _, y in series[name]))
    return {name: series[name] for name in names[:_SHOWN]}
