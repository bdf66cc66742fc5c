"""The pipeline's graph: the state and duration of each node."""

from pipeline.artifacts import Run
from pipeline.lineage.drawing import Appearance, Box, draw
from pipeline.report.blocks import Details, Drawing, Section, Table

_COLUMNS = ["node", "state", "seconds", "waits for"]
_LABEL = "The nodes of the pipeline with their states; the table has the same data."


def section(run: Run) -> Section | None:
    """Draws the nodes, and lists them in a table with upstream nodes and seconds."""
    states = run.node_states()
    if not states:
        return None
    boxes = {name: _box(run, name, *state) for name, state in states.items()}
    upstream = run.upstream()
    wide, narrow = (
        draw(boxes, upstream, _LABEL, look)
        for look in (
            # Without a style of its own: the page's rules colour the states. CSS shows
            # one of the two drawings, by the width of the screen.
            Appearance("", "pipeline-arrow"),
            Appearance("", "pipeline-down", downwards=True),
        )
    )
    rows = [
        [
            name,
            state,
            None if seconds is None else round(seconds, 1),
            ", ".join(upstream[name]),
        ]
        for name, (state, seconds) in states.items()
    ]
    return Section(
        "Pipeline",
        [
            Drawing(wide, narrow),
            Details("The same as a table", [Table(_COLUMNS, rows)]),
        ],
    )


def _box(run: Run, name: str, state: str, seconds: float | None) -> Box:
    took = "" if seconds is None else f" · {seconds:.1f} s"
    log = f"./logs/{name}.log"
    return Box(
        [name, f"{state}{took}"],
        kind=state.replace(" ", "-"),
        title=f"{name}: {state}{took}",
        # Nodes of other runners log elsewhere.
        link=log if (run.directory / log).is_file() else "",
    )
