"""The report's own sections, one module each, in display order.

Each module has `section(run)`, which returns a `Section`, or `None` if the run has no
data for it. Components add sections without registration here; see
`pipeline.report.blocks`.
"""

from collections.abc import Callable, Sequence

from pipeline.artifacts import Run
from pipeline.report.blocks import Section
from pipeline.report.sections import (
    anomalies,
    card,
    classes,
    data,
    fairness,
    gates,
    graph,
    metrics,
    origin,
    quarantine,
    serving_check,
    settings,
    slices,
    thresholds,
    training,
    trust,
    verdict,
)

# The question that brings a reader here first: did it work? What went in and what came
# out follow in the order of the pipeline, reference material last.
ALL: Sequence[Callable[[Run], Section | None]] = (
    verdict.section,
    graph.section,
    quarantine.section,
    data.section,
    trust.section,
    anomalies.section,
    training.section,
    metrics.section,
    gates.section,
    slices.section,
    fairness.section,
    thresholds.section,
    classes.section,
    serving_check.section,
    card.section,
    origin.section,
    settings.section,
)
