"""The lineage of the run's model."""

from pipeline.artifacts import Run
from pipeline.lineage.answers import ModelLineage
from pipeline.lineage.drawing import Appearance
from pipeline.lineage.views import to_svg
from pipeline.report.blocks import Cell, Details, Drawing, Facts, Section, Table


def section(run: Run) -> Section | None:
    """Shows the data, schema, code and executions behind the run's model."""
    if not run.has("Model"):
        return None
    # By id: a model that was cached is also that of an earlier run.
    model = run.lineage.model(str(run.artifact("Model").id))
    rows: list[list[Cell]] = [
        [file.path, file.span, file.bytes, file.sha256 or "not noted"]
        for source in model.data
        for file in source.files
    ]
    # Two drawings, and CSS shows the one that fits the screen: an SVG can't be
    # rearranged.
    drawing = to_svg(model, Appearance("", "lineage-arrow"))
    narrow = to_svg(model, Appearance("", "lineage-down", downwards=True))
    return Section(
        "Lineage",
        [
            Facts(_facts(model)),
            Table(["file", "span", "bytes", "SHA-256"], rows, caption="Trained on"),
            Details("Executions and artifacts", [Drawing(drawing, narrow)]),
            Details(
                "Code and files that it depends on",
                [Table(["node", "module or file", "SHA-256"], _code(model))],
            ),
        ],
    )


def _facts(model: ModelLineage) -> dict[str, Cell]:
    facts: dict[str, Cell] = {
        "model": model.artifact,
        "trained in run": model.run,
        "trained (UTC)": model.trained.replace("T", " ")[:19],
        "versions": ", ".join(model.versions) or "never pushed",
    }
    if model.base:
        facts["began with the weights of"] = model.base
    if model.schema:
        facts["schema"] = model.schema.revision[:12]
        facts["schema's columns"] = model.schema.columns
    return facts


def _code(model: ModelLineage) -> list[list[Cell]]:
    return [
        [node, name, value]
        for node, parts in model.code.items()
        for name, value in parts.items()
    ]
