"""The learning curves: loss and AUC by training step."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Facts, Grid, Lines, Section
from pipeline.store.artifact_files import location, read_learning_curves

_TITLES = {"loss": "train", "eval_loss": "eval", "eval_auc": "eval"}


def section(run: Run) -> Section | None:
    """Draws the learning curves, with the step whose weights were kept."""
    path = location(run.artifact("ModelRun").uri) if run.has("ModelRun") else None
    curves = read_learning_curves(path) if path else {}
    if not curves:
        return None
    steps = curves["step"]
    # As `EarlyStopping` chooses it: the first of the lowest eval losses.
    best = min(range(len(steps)), key=curves["eval_loss"].__getitem__)
    facts = {
        "weights kept of step": int(steps[best]),
        "last step": int(steps[-1]),
        "eval loss": curves["eval_loss"][best],
        "eval AUC": curves["eval_auc"][best],
    }
    charts = [
        Lines(
            title,
            "step",
            y,
            {_TITLES[n]: list(zip(steps, curves[n], strict=True)) for n in names},
            mark_x=steps[best],
        )
        for title, y, names in (
            ("Loss", "log loss", ("loss", "eval_loss")),
            ("AUC", "AUC", ("eval_auc",)),
        )
    ]
    return Section("Training", [Facts(facts), Grid(charts)])
