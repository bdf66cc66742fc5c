"""Data trust: the gate's verdict, drift over runs, coverage, and the features."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.artifacts import Run
from pipeline.columnar import files
from pipeline.config import GATE_NODE, TRAINER_NODE
from pipeline.ingestion.splitting import TRAIN
from pipeline.report.blocks import (
    Bars,
    Block,
    Cell,
    Details,
    Facts,
    Grid,
    Heat,
    Lines,
    Note,
    Section,
    Table,
    Text,
)
from pipeline.store.artifact_files import VERDICT_FILE, location
from pipeline.trust import coverage, drift, past
from pipeline.trust.coverage import Coverage
from pipeline.trust.newest import verdict_of as read_verdict
from pipeline.trust.policy import Exhibit, Finding, Value, Verdict

_DRIFT = (drift.JENSEN_SHANNON, drift.L_INFINITY)
_RUNS = 24
_SHOWN = 9
_PLACES = 30
_CROSSED = 2


def section(run: Run) -> Section | None:
    """Shows what the gate found, and all that it measured."""
    verdict = verdict_of(run)
    if verdict is None:
        return None
    return Section("Data trust", list(_blocks(run, verdict)))


def verdict_of(run: Run) -> Verdict | None:
    """Returns the gate's verdict on a run's data, also one that stopped it."""
    for step in reversed(run.executions):
        if step.node == GATE_NODE:
            return read_verdict(run.config, run.lineage.graph, step)
    return None


def _blocks(run: Run, verdict: Verdict) -> Iterator[Block]:
    yield _note(verdict)
    yield Facts(_facts(verdict))
    if verdict.findings:
        yield Table(
            ["column", "severity", "finding", "split", "what was found"],
            list(_rows_of(verdict.findings)),
        )
    yield from _exhibits(verdict.exhibits)
    yield from _drift_over_runs(run, verdict)
    yield from _covered(run)
    yield from _features(verdict)
    yield from _policy(run)


def _note(verdict: Verdict) -> Note:
    count = len(verdict.findings)
    findings = "1 finding" if count == 1 else f"{count} findings"
    if verdict.blocking:
        return Note(f"The data was refused: {findings}.", "bad")
    if not count:
        return Note("The data was accepted: nothing was found.", "good")
    return Note(f"The data was accepted: {findings}, none of which blocks.", "warn")


def _facts(verdict: Verdict) -> dict[str, Cell]:
    facts: dict[str, Cell] = {}
    if verdict.spans:
        facts["spans"] = ", ".join(map(str, verdict.spans))
    for name, what in verdict.compared_with.items():
        facts[f"compared with the {name} data"] = what
    for name, why in verdict.without_baseline.items():
        facts[f"not compared with the {name} data"] = why
    if verdict.expired:
        facts["exceptions that ended"] = "; ".join(verdict.expired)
    return facts


def _rows_of(findings: Iterable[Finding]) -> Iterator[list[Cell]]:
    """Yields a row per finding; one that several splits have is one row."""
    splits: dict[tuple[str, str, str, str], list[str]] = {}
    for each in findings:
        severity = "accepted" if each.accepted else str(each.severity)
        text = f"{each.text} [{each.accepted}]" if each.accepted else each.text
        key = each.column or "all", severity, each.anomaly, text
        splits.setdefault(key, []).append(each.split or "all")
    for (column, severity, anomaly, text), names in splits.items():
        yield [column, severity, anomaly, ", ".join(names), text]


def _exhibits(exhibits: Sequence[Exhibit]) -> Iterator[Block]:
    charts = [
        Bars(
            f"{each.anomaly} in {each.column}",
            "share of the rows",
            {
                each.against: [(name, before) for name, before, _ in each.bins],
                "now": [(name, now) for name, _, now in each.bins],
            },
        )
        for each in exhibits
        if each.bins
    ]
    if charts:
        yield Grid(charts)
    for each in exhibits:
        if each.rows:
            columns = list(dict.fromkeys(name for row in each.rows for name in row))
            where = f" in {each.column}" if each.column else ""
            rows = [[row.get(name) for name in columns] for row in each.rows]
            title = f"{each.anomaly}{where}: rows that are examples"
            yield Details(title, [Table(columns, rows)])


def _drift_over_runs(run: Run, verdict: Verdict) -> Iterator[Block]:
    """Yields a small chart for each column: its drift in this and earlier data."""
    # The first data has nothing before it that it could be compared with.
    known = [each for each in (*_earlier(run), verdict) if each.compared_with]
    labels = [_label(each, number) for number, each in enumerate(known, 1)]
    values: dict[str, dict[int, Value]] = {}
    for place, each in enumerate(known):
        for value in each.measured:
            # Against the data before: the live model's changes only now and then.
            if value.measure in _DRIFT and value.against in each.compared_with:
                values.setdefault(value.column, {}).setdefault(place, value)
    charts = [
        _drift_chart(column, found, labels)
        for column, found in sorted(
            values.items(), key=lambda pair: -_nearness(list(pair[1].values())[-1])
        )
        if len(found) > 1
    ]
    if not charts:
        return
    yield Text(
        "Drift of each column against the data before it, and its threshold; the "
        "columns nearest to theirs first."
    )
    yield Grid(charts[:_SHOWN])
    if charts[_SHOWN:]:
        more = f"Drift of {len(charts) - _SHOWN} more columns"
        yield Details(more, [Grid(charts[_SHOWN:])])


def _earlier(run: Run) -> list[Verdict]:
    """Reads the verdicts about data that was accepted before this run's."""
    ours = {a.id for a in run.outputs() if a.type == "DataVerdict"}
    first = min((step.id for step in run.executions), default=0)
    graph = run.lineage.graph
    found = []
    for artifact in graph.of_type("DataVerdict"):
        makers = graph.makers([artifact.id])
        if artifact.id in ours or not makers or makers[0].id >= first:
            continue
        place = location(artifact.uri)
        file = files.join(place, VERDICT_FILE) if place else ""
        if file and files.exists(file):
            found.append(Verdict.from_json(files.read_text(file)))
    return found[-_RUNS:]


def _label(verdict: Verdict, number: int) -> str:
    if not verdict.spans:
        return f"data {number}"
    first, last = verdict.spans[0], verdict.spans[-1]
    return f"span {last}" if first == last else f"spans {first}-{last}"


def _nearness(value: Value) -> float:
    return value.value / value.threshold if value.threshold else 0.0


def _drift_chart(
    column: str, found: Mapping[int, Value], labels: Sequence[str]
) -> Lines:
    measure = next(iter(found.values())).measure.replace("_", " ")
    return Lines(
        column,
        "data",
        measure,
        {
            measure: [(place, value.value) for place, value in found.items()],
            "threshold": [
                (place, value.threshold or 0.0) for place, value in found.items()
            ],
        },
        # From 0 on: a line that fills its chart looks like drift.
        y_range=(0.0, max(_highest(value) for value in found.values()) * 1.05),
        x_labels=labels,
    )


def _highest(value: Value) -> float:
    return max(value.value, value.threshold or 0.0)


def _covered(run: Run) -> Iterator[Block]:
    """Yields a table of the crosses, and a heat map of each that has two columns."""
    trained = [step for step in run.executions if step.node == TRAINER_NODE]
    read = trained[-1].inputs.get("verdict", ()) if trained else ()
    graph = run.lineage.graph
    own = [each for each in run.outputs() if each.type == "DataVerdict"]
    verdicts = graph.by_id(read) or own
    known = past.covered_by(verdicts, run.run_id)
    if known is None:
        return
    train = known.splits.get(TRAIN, {})
    others = [counts for name, counts in known.splits.items() if name != TRAIN]
    found = coverage.coverage(train, coverage.merged(others), known.min_rows)
    yield Table(
        ["columns", "cells covered", "barely", "never", "other rows in those, %"],
        [
            [
                coverage.name_of(each.cross),
                each.covered,
                len(each.barely),
                len(each.never),
                100 * each.uncovered,
            ]
            for each in found.values()
        ],
        caption=(
            f"What training covers: cells with at least {known.min_rows} training "
            "rows, with fewer, and those that only other splits have."
        ),
    )
    for cross, each in found.items():
        if len(cross) == _CROSSED and train[cross].rows:
            yield _heat(each, train[cross].rows)


def _heat(found: Coverage, rows: Mapping[coverage.Cell, int]) -> Heat:
    totals: list[dict[str, int]] = [{}, {}]
    for cell, count in rows.items():
        for axis, value in zip(totals, cell, strict=True):
            axis[value] = axis.get(value, 0) + count
    # The axis with fewer values lies: a page scrolls down, not to the right.
    x, y = sorted((0, 1), key=lambda axis: len(totals[axis]))
    shown = [_most_frequent(totals[x]), _most_frequent(totals[y])]
    places = [{value: at for at, value in enumerate(axis)} for axis in shown]

    def placed(cells: Mapping[coverage.Cell, int]) -> list[tuple[float, float, float]]:
        return [
            (places[0][cell[x]], places[1][cell[y]], count)
            for cell, count in cells.items()
            if cell[x] in places[0] and cell[y] in places[1]
        ]

    less = f", the {_PLACES} most frequent" if len(totals[y]) > _PLACES else ""
    return Heat(
        f"Training rows by {found.cross[x]} and {found.cross[y]}{less}",
        found.cross[x],
        found.cross[y],
        shown[0],
        shown[1],
        {"training rows": placed(rows), "only in other splits": placed(found.never)},
    )


def _most_frequent(totals: Mapping[str, int]) -> list[str]:
    """Returns the values with most rows, in the order of numbers or of the alphabet."""
    kept = sorted(totals, key=lambda value: (-totals[value], value))[:_PLACES]
    return sorted(kept, key=lambda value: (_as_number(value), value))


def _as_number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")


def _features(verdict: Verdict) -> Iterator[Block]:
    """Yields a table of what was measured of each column."""
    named: dict[str, dict[str, Value]] = {}
    for value in verdict.measured:
        if value.column and not value.split:
            named.setdefault(value.column, {}).setdefault(value.measure, value)
    rows = [
        [column, *_measured(values)]
        for column, values in named.items()
        if values.keys() & {"explained_entropy", *_DRIFT}
    ]
    heads = ["column", "of the label, %", "drift", "threshold", "because", "missing"]
    # Without a baseline nothing was compared.
    kept = [at for at in range(len(heads)) if any(r[at] is not None for r in rows)]
    if rows:
        yield Table(
            [heads[at] for at in kept],
            [[row[at] for at in kept] for row in rows],
            caption=(
                "Share of the label's entropy that the column explains by itself; its "
                "drift against earlier data, the threshold and its reason; the change "
                "of its share of missing values. The command throughline features "
                "shows what the model makes of them."
            ),
        )


def _measured(values: Mapping[str, Value]) -> list[Cell]:
    explained, missing = values.get("explained_entropy"), values.get("missing_share")
    drifted = next((values[name] for name in _DRIFT if name in values), None)
    return [
        100 * explained.value if explained else None,
        drifted.value if drifted else None,
        drifted.threshold if drifted else None,
        drifted.because if drifted else None,
        missing.value if missing else None,
    ]


def _policy(run: Run) -> Iterator[Block]:
    for step in reversed(run.executions):
        policy: Any = step.parameters.get("policy")
        if step.node == GATE_NODE and isinstance(policy, dict):
            facts = {
                name.replace("_", " "): value
                if isinstance(value, int | float)
                else _listed(value)
                for name, value in sorted(policy.items())
            }
            yield Details("Policy", [Facts(facts)])
            return


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {v}" for name, v in value.items()) or "none"
    if isinstance(value, list):
        parts = (
            " ".join(str(v) for v in each.values() if v)
            if isinstance(each, dict)
            else str(each)
            for each in value
        )
        return ", ".join(parts) or "none"
    return str(value)
