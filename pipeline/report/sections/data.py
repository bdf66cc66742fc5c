"""The data: what each feature looks like in each split, and how far it has moved."""

from collections.abc import Iterator, Mapping, Sequence

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
from pipeline.store.artifact_files import local_path, read_statistics
from pipeline.trust.distributions import Bar, Feature, distance, features_of, rebinned

Features = Mapping[str, Mapping[str, Feature]]

_MOST_VALUES = 5
_SHOWN = 9
_HOW_DRAWN = (
    "Histograms are drawn from quantiles; their outermost bars also hold what lies "
    "beyond. Point at a chart, or open its numbers."
)


def section(run: Run) -> Section | None:
    """Shows rows, drift, and a chart for each feature."""
    if not run.has("ExampleStatistics"):
        return None
    splits = run.features()
    earlier = _earlier_training_split(run)
    return Section("Data", list(_blocks(splits, earlier)))


def _blocks(splits: Features, earlier: Mapping[str, Feature]) -> Iterator[Block]:
    rows = {name: next(iter(fs.values())).rows for name, fs in splits.items() if fs}
    yield Facts({f"rows in {name}": count for name, count in rows.items()})
    first = next(iter(splits.values()))
    yield Text(_HOW_DRAWN)
    charts = [chart for name in first if (chart := _chart(name, splits))]
    # The lower ones first: a tall one leaves a gap beside it.
    charts.sort(key=lambda chart: chart.kind == "bars")
    yield Grid(charts[:_SHOWN])
    if charts[_SHOWN:]:
        title = f"{len(charts) - _SHOWN} more features"
        yield Details(title, [Grid(charts[_SHOWN:])])
    if not charts:
        yield Text("No feature has values to draw.")
    since = ["since the data before"] if earlier else []
    others = [name for name in splits if name != next(iter(splits))]
    yield Table(
        [
            "feature",
            "kind",
            *(f"missing in {name}, %" for name in splits),
            *(f"distance to {name}" for name in others),
            *since,
        ],
        [_row(name, splits, others, earlier) for name in first],
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
    cells: list[Cell] = [name, first[name].kind.lower()]
    cells += [100 * features[name].share_missing for features in splits.values()]
    cells += [_rounded(distance(first[name], splits[other][name])) for other in others]
    if earlier:
        known = name in earlier
        cells.append(_rounded(distance(earlier[name], first[name])) if known else None)
    return cells


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _chart(name: str, splits: Features) -> Histogram | Bars | None:
    features = {split: found[name] for split, found in splits.items()}
    first, *_ = features.values()
    if first.bars and first.lowest != first.highest:
        bars = rebinned(list(features.values()))
        return Histogram(
            name,
            name,
            {
                split: [(b.lower, b.upper, b.rows / _total(shown)) for b in shown]
                for split, shown in zip(features, bars, strict=True)
                if shown
            },
        )
    if first.texts:
        shown_values = [value.value for value in first.texts[:_MOST_VALUES]]
        return Bars(
            name,
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
    """Finds the first split of the newest other data that came before this run's."""
    now = run.artifact("ExampleStatistics").id
    before = [
        artifact
        for artifact in run.lineage.graph.of_type("ExampleStatistics")
        if artifact.id < now
    ]
    path = local_path(before[-1].uri) if before else None
    splits = read_statistics(path) if path else {}
    if not splits:
        return {}
    first, *_ = splits.values()
    return {feature.name: feature for feature in features_of(first)}
