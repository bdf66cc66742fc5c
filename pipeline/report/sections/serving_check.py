"""What ServingCheck found: the model in a process of its own."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Block, Note, Section, Table

_SHOWN = {
    "rows": "rows answered by each signature",
    "rows_as_trained": "rows compared with the Trainer's predictions",
    "rows_with_missing_values": "rows with missing values, answered",
    "malformed_requests": "malformed requests, each an error",
    "load_seconds": "seconds to load",
    "serving_default_median_ms": "ms for one row, serving_default, median",
    "serving_default_p95_ms": "ms for one row, serving_default, 95 % are below",
    "serving_raw_median_ms": "ms for one row, serving_raw, median",
    "serving_raw_p95_ms": "ms for one row, serving_raw, 95 % are below",
    "model_memory_mb": "MB of memory for the model and its answers",
    "memory_mb": "MB of memory of the process",
}


def section(run: Run) -> Section | None:
    """Tabulates what was counted and measured, and lists what is wrong."""
    found = run.serving_check()
    failures, figures = found["failures"], found["figures"]
    blocks: list[Block] = [Note(text, "bad") for text in failures]
    if figures:
        rows = [[t, round(figures[n], 2)] for n, t in _SHOWN.items() if n in figures]
        blocks.append(Table(["the model in a process of its own", ""], rows))
    return Section("Serving check", blocks) if blocks else None
