"""Detects that a model and its baseline were trained on different splits."""

from collections.abc import Mapping

from pipeline.ingestion.splitting import AppliedRule, differences
from pipeline.store import properties
from pipeline.store.graph import Artifact, Graph

_BASELINE, _EXAMPLES = "baseline_model", "examples"


def moved(graph: Graph, run: str) -> str:
    """Returns a warning if a run's split rule differs from its baseline's.

    Args:
        graph: The metadata store.
        run: The run's name.

    Returns:
        The difference and its consequence, in one or two sentences; empty if there is
        no difference, or the run has compared no models.
    """
    for step in graph.run(run):
        baseline = step.inputs.get(_BASELINE, ())
        now = _rule_of(graph.by_id(step.inputs.get(_EXAMPLES, ())))
        if baseline and now:
            return _in_words(_rule_behind(graph, baseline), now)
    return ""


def _rule_behind(graph: Graph, models: tuple[int, ...]) -> AppliedRule | None:
    """Returns the split rule of the examples upstream of models."""
    read = {i for step in graph.ancestors(models) for i in step.wrote()}
    return _rule_of([a for a in graph.by_id(read) if a.type == "Examples"])


def _rule_of(artifacts: list[Artifact]) -> AppliedRule | None:
    # Transform's examples are upstream too, and have no rule of their own.
    for artifact in reversed(artifacts):
        noted = artifact.properties.get(properties.SPLIT_RULE)
        if isinstance(noted, Mapping):
            return AppliedRule.from_mapping(noted)
    return None


def _in_words(before: AppliedRule | None, now: AppliedRule) -> str:
    if before is None:
        # Examples of stock TFX, or of a version before the rule was recorded.
        why = "the baseline's examples have no record of their split rule"
    elif changes := differences(before, now):
        why = "; ".join(changes)
    else:
        return ""
    return (
        f"The test split is not the baseline's ({why}). The baseline may have learned "
        "from rows that it is tested on here, which flatters it; "
        "--splits.hash-columns fixes the columns that decide."
    )
