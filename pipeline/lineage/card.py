"""The model card of a version: Markdown made of artifacts and the registry alone.

What the artifacts don't have is left out or said to be unknown; nothing is written by
hand, so a card can't be out of date.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models import decision
from models.groups import GROUPS
from pipeline.errors import UsageError
from pipeline.lineage import registered
from pipeline.lineage.answers import ModelLineage
from pipeline.lineage.query import Lineage
from pipeline.quality import results, titles
from pipeline.registry import versions
from pipeline.registry.history import Registry
from pipeline.store import artifact_files, durable

DIRECTORY = "cards"
"""Next to the versions; model servers ignore it, since its name is no number."""

_SHOWN: Mapping[str, tuple[str, ...]] = {
    "binary": (
        "auc",
        "precision",
        "recall",
        "false_positive_rate",
        "false_negative_rate",
    ),
    "classes": ("accuracy", "accuracy_gain", "auc", "log_loss"),
    "regression": ("rmse", "mae", "mean_error", "r2"),
}
"""The metrics of slices, by the kind of task."""
_ABOUT_METRICS: Mapping[str, str] = {
    "binary": (
        "Accuracy and rates are those of decisions by the threshold. The AUC is that "
        "of the run's summary and report, from TFMA's bins of scores; gates and slices "
        "have that of the scores as they are, which may differ in the fourth digit."
    ),
    "classes": (
        "A row is predicted to be of its most probable class. The AUC is the mean of "
        "each class against the others, as in the run's summary and report; gates and "
        "slices have that of bins of the scores, which may differ in the fourth digit."
    ),
    "regression": "Errors are in the label's unit; R2 of predicting the mean is 0.",
}
_AUC = "auc"
_NO_THRESHOLD = (
    "- there is no decision threshold: the most probable class, or the number, is the "
    "answer"
)
_UNKNOWN = "unknown: the run's artifacts are gone, or it ran on another store"


def card_file(base: Path, number: int) -> Path:
    """Returns where the card of a version is stored."""
    return base / DIRECTORY / f"{number}.md"


def write_missing(lineage: Lineage, registry: Registry) -> None:
    """Writes the cards of versions that have none yet."""
    for number in registry.numbers:
        file = card_file(registry.base, number)
        if not file.exists() and registry.added[number].origin:
            file.parent.mkdir(exist_ok=True)
            part = file.with_name(f".{file.name}.part")
            text = markdown(lineage, registry, number)
            durable.stage(part, text, mode=0o644).replace(file)


def markdown(lineage: Lineage, registry: Registry, number: int) -> str:
    """Makes the card of a version.

    Args:
        lineage: The metadata store that the model was trained in.
        registry: The versions of the model.
        number: The version.
    """
    model = registered.lineage_of(lineage, registry, number)
    known = decision.read(versions.version_of(registry.base, number).path)
    place = _evaluation(lineage, model)
    gates = results.read_gates(place) if place else {}
    sections = {
        "Data": _data(model),
        "Label and decision": _label(model, known),
        "Metrics on the test split": _metrics(gates, model, place),
        "Groups and slices": _slices(gates),
        "Gates": _gates(gates, model),
        "Limits": _limits(gates, known),
        "Lineage": _lineage(model, number),
        "Live": _live(registry, number),
        "Roll back": _rollback(registry, number),
    }
    lines = [f"# Model {registry.base.name}, version {number}", ""]
    for title, found in sections.items():
        lines += [f"## {title}", "", *(list(found) or [f"- {_UNKNOWN}"]), ""]
    return "\n".join(lines)


def _data(model: ModelLineage | None) -> Iterator[str]:
    for data in model.data if model else ():
        rows = ", ".join(f"{count:,} {split}" for split, count in data.rows.items())
        spans = ", ".join(map(str, data.spans))
        yield f"- rows: {rows or 'unknown'}; spans: {spans or 'none'}"
        for file in data.files:
            yield f"- `{file.path}` {file.bytes:,} bytes, sha256 {file.sha256[:12]}"


def _label(model: ModelLineage | None, known: Mapping[str, Any]) -> Iterator[str]:
    if known:
        label, task = known.get("label", "unknown"), known.get("task", "unknown")
        column = known.get("column", label)
        of = f" of column `{column}`" if column != label else ""
        yield f"- predicts `{label}`{of}, a task of kind {task}"
    if model and (policy := model.parameters.get("DataGate", {}).get("label_policy")):
        yield f"- labels are used by the policy `{policy}`"
    if "threshold" in known:
        costs, chosen = known["costs"], known["chosen_on"]
        yield (
            f"- a row is decided as positive above {known['threshold']:.4g}: a false "
            f"positive costs {costs['false_positive']:g}, a false negative "
            f"{costs['false_negative']:g}, and {chosen['rows']:,} rows of the "
            f"{chosen['split']} split cost {chosen['cost']:.4g} each on average"
        )
    elif known.get("task") in {"classes", "regression"}:
        yield _NO_THRESHOLD


def _metrics(
    gates: Mapping[str, Any], model: ModelLineage | None, place: str | None
) -> Iterator[str]:
    overall = [each for each in gates.get("metrics", ()) if not each["where"]]
    if overall:
        measured = {**overall[0]["metrics"], **_auc(model, place)}
        yield from _table(
            ["metric", "value", "95 % interval"],
            [
                [name, f"{value:.4g}", _between(low, high)]
                for name, (value, low, high) in measured.items()
            ],
        )
        yield ""
        yield _ABOUT_METRICS[titles.task_of(overall[0]["metrics"])]
        return
    found = model.metrics.get(results.CANDIDATE, {}) if model else {}
    rows = [[name, results.metric_text(value)] for name, value in found.items()]
    yield from _table(["metric", "value"], rows) if rows else ()


def _auc(
    model: ModelLineage | None, place: str | None
) -> dict[str, tuple[float, float | None, float | None]]:
    """Returns the AUC that summary and report show, with its interval."""
    found = model.metrics.get(results.CANDIDATE, {}).get(_AUC) if model else None
    if found is None or place is None:
        return {}
    intervals = results.read_intervals(place).get(results.CANDIDATE, {})
    low, high = intervals.get(results.OVERALL, {}).get(_AUC, (None, None))
    return {_AUC: (found, low, high)}


def _slices(gates: Mapping[str, Any]) -> Iterator[str]:
    metrics = [each["metrics"] for each in gates.get("metrics", ())]
    shown = _SHOWN[titles.task_of({name for names in metrics for name in names})]
    rows = [
        [
            ", ".join(f"{column} {value}" for column, value in each["where"]),
            f"{each['rows']:,.0f}",
            *(_with_interval(each["metrics"].get(name)) for name in shown),
        ]
        for each in sorted(gates.get("metrics", ()), key=lambda each: -each["rows"])
        if each["where"]
    ]
    yield from _table(["slice", "rows", *shown], rows) if rows else ()


def _gates(gates: Mapping[str, Any], model: ModelLineage | None) -> Iterator[str]:
    for each in gates.get("findings", ()):
        if each["where"] == "overall" or each["outcome"] == "failed":
            yield f"- {each['outcome']}: `{each['rule']}`: {each['text']}"
    for verdict in model.verdicts if model else ():
        if verdict.about in {"data", "serving"}:
            passed = "passed" if verdict.passed else "refused"
            yield f"- {verdict.by} {passed}: {verdict.text}"


def _limits(gates: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    few = [e["text"] for e in gates.get("findings", ()) if e["outcome"] == "undecided"]
    if few:
        yield f"- not judged, for want of rows: {'; '.join(few)}"
    if inputs := known.get("inputs"):
        columns = ", ".join(f"`{column}`" for column in inputs.values())
        yield f"- reads {columns}; rows unlike the data above are a guess"
    if not GROUPS:
        yield "- no groups are declared in models/groups.py: none are compared"
    yield "- the metrics are of the test split named above, not of what is served today"


def _lineage(model: ModelLineage | None, number: int) -> Iterator[str]:
    if model is None:
        return
    yield (
        f"- trained by run `{model.run}`, {model.trained}: Model artifact "
        f"{model.artifact} in `{model.uri}`"
    )
    if model.base:
        yield f"- training began with the weights of {model.base}"
    if model.schema:
        yield f"- schema {model.schema.revision[:12]}, {model.schema.columns} columns"
    packages = ", ".join(f"{name} {v}" for name, v in sorted(model.packages.items()))
    yield f"- packages: {packages or 'unknown'}"
    yield f"- all of it: `throughline lineage model {number}`"


def _live(registry: Registry, number: int) -> Iterator[str]:
    event = registry.added[number]
    who = f" by {event.by}" if event.by else ""
    why = f": {event.because}" if event.because else ""
    yield f"- added {event.at[:19]} UTC as {event.action}{who}{why}"
    if event.replaced:
        yield f"- it replaced version {event.replaced}"


def _rollback(registry: Registry, number: int) -> Iterator[str]:
    event = registry.added[number]
    back = event.replaced if event.replaced in registry.numbers else None
    yield f"- `throughline models rollback{f' {back}' if back else ''} --because TEXT`"
    if back is None:
        yield "- no earlier version is there, so it can only be replaced by a new one"


def _evaluation(lineage: Lineage, model: ModelLineage | None) -> str | None:
    """Returns the newest evaluation in which a model was the candidate."""
    for step in reversed(model.steps if model else ()):
        if model and model.artifact in step.inputs.get("model", ()):
            for artifact in lineage.graph.by_id(step.outputs.get("evaluation", ())):
                return artifact_files.location(artifact.uri)
    return None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        # A bar in a value, such as a company's name, would end the cell.
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _between(low: float | None, high: float | None) -> str:
    return f"{low:.4g} to {high:.4g}" if low is not None and high is not None else "-"


def _with_interval(found: Sequence[float | None] | None) -> str:
    if not found or found[0] is None:
        return "-"
    value, low, high = found
    bounds = f" ({_between(low, high)})" if low is not None else ""
    return f"{value:.3g}{bounds}"


def stored(base: Path, number: int) -> str:
    """Reads the card that was stored when a version was pushed.

    Raises:
        UsageError: There is none.
    """
    file = card_file(base, number)
    if not file.is_file():
        raise UsageError(
            f"there is no card of version {number} in {file.parent}, and the metadata "
            "store can't be read to make it; give --metadata, or push the model again"
        )
    return file.read_text("utf-8")
