"""The learning curves, by training step, and the trials of a search before that."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.artifacts import Run
from pipeline.report.blocks import Block, Cell, Facts, Grid, Lines, Section, Table, Text
from pipeline.store.artifact_files import (
    best_first,
    location,
    read_learning_curves,
    read_trials,
    read_warm_start,
)

_TITLES = {"eval_auc": "AUC", "eval_accuracy": "accuracy", "eval_rmse": "RMSE"}


def section(run: Run) -> Section | None:
    """Draws the learning curves, and lists the trials that a Tuner has made."""
    blocks = [*_curves(run), *_trials(run)]
    return Section("Training", blocks) if blocks else None


def _curves(run: Run) -> Iterator[Block]:
    """Yields the learning curves, with the step whose weights were kept."""
    path = location(run.artifact("ModelRun").uri) if run.has("ModelRun") else None
    curves = read_learning_curves(path) if path else {}
    if not curves:
        return
    steps = curves["step"]
    # As `EarlyStopping` chooses it: the first of the lowest eval losses.
    best = min(range(len(steps)), key=curves["eval_loss"].__getitem__)
    measured = {name: title for name, title in _TITLES.items() if name in curves}
    facts = {
        "weights kept of step": int(steps[best]),
        "last step": int(steps[-1]),
        "eval loss": curves["eval_loss"][best],
        **{f"eval {title}": curves[name][best] for name, title in measured.items()},
    }
    shown = [("Loss", "loss", {"loss": "train", "eval_loss": "eval"})]
    shown += [(t[:1].upper() + t[1:], t, {n: "eval"}) for n, t in measured.items()]
    charts = [
        Lines(
            title,
            "step",
            y,
            {of: list(zip(steps, curves[n], strict=True)) for n, of in lines.items()},
            mark_x=steps[best],
        )
        for title, y, lines in shown
    ]
    yield Facts(facts)
    yield Grid(charts)
    yield from _warm_start(read_warm_start(path or ""))


def _warm_start(found: Mapping[str, Any]) -> Iterator[Block]:
    """Yields what the initial weights were, if there was a warm start."""
    if not found:
        return
    if not found["found"]:
        yield Text(
            "A warm start, but no model was live: the initial weights were random."
        )
        return
    whole, new, left = found["taken"], found["new_rows"], found["left"]
    count = len(whole) + len(left)
    yield Text(
        f"A warm start: {len(whole)} of {count} weights began as the live model's"
        f"{'.' if len(whole) == count and not new else ', these with exceptions:'}"
    )
    rows: list[list[Cell]] = [[name, what] for name, what in new.items()]
    rows += [[name, f"random: {why}"] for name, why in left.items()]
    if rows:
        yield Table(["weights", "exception"], rows)


def _trials(run: Run) -> Iterator[Block]:
    """Yields a table of the trials, the best first."""
    if not run.has("TunerResults"):
        return
    path = location(run.artifact("TunerResults").uri)
    found = read_trials(path) if path else {}
    if not found:
        return
    trials = best_first(found)
    names = list(trials[0]["values"])
    head = ["trial", *(name.replace("_", "-") for name in names)]
    rows: list[list[Cell]] = [
        [
            each["trial"],
            *(_cell(each["values"][name]) for name in names),
            each.get("score"),
            each.get("step"),
            each.get("seconds"),
            each.get("error", ""),
        ]
        for each in trials
    ]
    yield Table(
        [*head, found["metric"], "step", "seconds", "failed"],
        rows,
        "Trials of the Tuner, the best first. Trial 0 is of the values in use before.",
    )


def _cell(value: Cell | list[int]) -> Cell:
    return " ".join(map(str, value)) if isinstance(value, list) else value
