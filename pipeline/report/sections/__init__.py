"""The report's own sections, one a module, in the order they are shown.

Each is a function of a run that returns a `Section`, or none when the run has nothing
for it. A component of a pipeline adds a section without touching this; see
`pipeline.report.blocks`.
"""

from collections.abc import Callable, Sequence

from pipeline.artifacts import Run
from pipeline.report.blocks import Section
from pipeline.report.sections import (
    anomalies,
    data,
    graph,
    metrics,
    origin,
    quarantine,
    settings,
    slices,
    thresholds,
    training,
    verdict,
)

ALL: Sequence[Callable[[Run], Section | None]] = (
    verdict.section,
    graph.section,
    quarantine.section,
    data.section,
    anomalies.section,
    training.section,
    metrics.section,
    slices.section,
    thresholds.section,
    origin.section,
    settings.section,
)
