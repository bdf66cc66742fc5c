"""The learning curves: the loss and the task's metric by training step."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Facts, Grid, Lines, Section
from pipeline.store.artifact_files import location, read_learning_curves

_TITLES = {"eval_auc": "AUC", "eval_accuracy": "accuracy", "eval_rmse": "RMSE"}


def section(run: Run) -> Section | None:
    """Draws the learning curves, with the step whose weights were kept."""
    path = location(run.artifact("ModelRun").uri) if run.has("ModelRun") else None
    curves = read_learning_curves(path) if path else {}
    if not curves:
        return None
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
    return Section("Training", [Facts(facts), Grid(charts)])
