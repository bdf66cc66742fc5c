"""The data: distributions of the columns by split, and their drift."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.artifacts import Run
from pipeline.report.blocks import (
    Bars,
    Block,
    Cell,
    Details,
    Facts,
    Grid,
    Histogram,
    Section,
    Table,
    Text,
)
from pipeline.store.artifact_files import location, read_statistics
from pipeline.trust.distributions import Bar, Feature, distance, features_of, rebinned

Features = Mapping[str, Mapping[str, Feature]]
Roles = Callable[[str], str]

_FEATURE, _UNUSED = "feature", "unused"
_MOST_VALUES = 5
_SHOWN = 9
_HOW_DRAWN = (
    "Histograms are drawn from quantiles; their outermost bars include the values "
    "beyond. Point at a chart, or open its numbers."
)


def section(run: Run) -> Section | None:
    """Shows row counts, drift, a chart per column, and how the model uses it."""
    if not run.has("ExampleStatistics"):
        return None
    splits = run.features()
    earlier = _earlier_training_split(run)
    return Section("Data", list(_blocks(splits, earlier, run.column_roles())))


def _blocks(
    splits: Features, earlier: Mapping[str, Feature], role_of: Roles | None
) -> Iterator[Block]:
    rows = {name: next(iter(fs.values())).rows for name, fs in splits.items() if fs}
    yield Facts({f"rows in {name}": count for name, count in rows.items()})
    # The training split, see `artifact_files`: all distances are from it.
    first = next(iter(splits.values()))
    yield Text(_HOW_DRAWN)
    columns = {name: role_of(name) if role_of else "" for name in first}
    charts = [
        (role, chart)
        for name, role in columns.items()
        if (chart := _chart(name, splits, role))
    ]
    # Columns that the model uses come first. Bar charts come after histograms, which
    # are lower: a tall chart between low ones leaves a gap in the grid.
    charts.sort(key=lambda shown: (shown[0] == _UNUSED, shown[1].kind == "bars"))
    drawn = [chart for _, chart in charts]
    yield Grid(drawn[:_SHOWN])
    if drawn[_SHOWN:]:
        title = f"{len(drawn) - _SHOWN} more columns"
        yield Details(title, [Grid(drawn[_SHOWN:])])
    if not drawn:
        yield Text("No column has values to draw.")
    since = ["distance to earlier data"] if earlier else []
    others = [name for name in splits if name != next(iter(splits))]
    yield Table(
        [
            "column",
            *(["used as"] if role_of else []),
            "kind",
            *(f"missing in {name}, %" for name in splits),
            *(f"distance to {name}" for name in others),
            *since,
        ],
        [
            [name, *([role] if role else []), *_row(name, splits, others, earlier)]
            for name, role in columns.items()
        ],
        caption=(
            "Distance from the first split: 0 is equal, 1 is disjoint "
            "(Jensen-Shannon divergence of numbers, largest difference in share of "
            "texts)."
        ),
    )


def _row(
    name: str, splits: Features, others: list[str], earlier: Mapping[str, Feature]
) -> list[Cell]:
    first, *_ = splits.values()
    cells: list[Cell] = [first[name].kind.lower()]
    cells += [100 * features[name].share_missing for features in splits.values()]
    cells += [_rounded(distance(first[name], splits[other][name])) for other in others]
    if earlier:
        known = name in earlier
        cells.append(_rounded(distance(earlier[name], first[name])) if known else None)
    return cells


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _chart(name: str, splits: Features, role: str) -> Histogram | Bars | None:
    title = name if role in {"", _FEATURE} else f"{name} ({role})"
    features = {split: found[name] for split, found in splits.items()}
    first, *_ = features.values()
    if first.bars and first.lowest != first.highest:
        bars = rebinned(list(features.values()))
        return Histogram(
            title,
            name,
            {
                split: [(b.lower, b.upper, b.rows / _total(shown)) for b in shown]
                for split, shown in zip(features, bars, strict=True)
                if shown
            },
        )
    if first.texts:
        # The training split's most frequent values for all splits: each with its own
        # would not be comparable.
        shown_values = [value.value for value in first.texts[:_MOST_VALUES]]
        return Bars(
            title,
            "share of the rows",
            {
                split: [(value, _share(feature, value)) for value in shown_values]
                for split, feature in features.items()
            },
        )
    return None


def _total(bars: Sequence[Bar]) -> float:
    return sum(bar.rows for bar in bars) or 1.0


def _share(feature: Feature, value: str) -> float:
    rows = {found.value: found.rows for found in feature.texts}
    return rows.get(value, 0.0) / feature.rows if feature.rows else 0.0


def _earlier_training_split(run: Run) -> dict[str, Feature]:
    """Returns the first split of the newest statistics before this run's, if any."""
    now = run.artifact("ExampleStatistics").id
    before = [
        artifact
        for artifact in run.lineage.graph.of_type("ExampleStatistics")
        # Not the newest: the report of an old run compares with what was there before
        # it.
        if artifact.id < now
    ]
    path = location(before[-1].uri) if before else None
    splits = read_statistics(path) if path else {}
    if not splits:
        return {}
    first, *_ = splits.values()
    return {feature.name: feature for feature in features_of(first)}
