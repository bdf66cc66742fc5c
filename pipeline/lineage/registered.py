"""Keeps the registry and the metadata store complete, each from the other.

The registry gets what the store has on a model: its run, data, code and metrics. The
store gets the promotions, rollbacks and deletions of the registry. Either may have
missed something, after a kill or while a server was down; calling this again completes
it.
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.caching.fingerprint import digest
from pipeline.errors import UsageError
from pipeline.lineage.answers import Data, ModelLineage
from pipeline.lineage.query import Lineage
from pipeline.quality import results
from pipeline.registry import history, recording, versions
from pipeline.registry.history import Facts, Registry


def synchronize(lineage: Lineage) -> None:
    """Adds to registry and metadata store what one of them lacks.

    Args:
        lineage: Names the pipeline, its serving directory and its store.
    """
    base = lineage.config.serving_directory
    if not base.is_dir():
        return
    registry = history.read(base)
    recording.record(lineage.graph.store, lineage.config.name, registry)
    missing = [n for n in registry.numbers if n not in registry.facts]
    found = {n: facts for n in missing if (facts := facts_of(lineage, registry, n))}
    if found:
        history.note_facts(base, found)


def facts_of(lineage: Lineage, registry: Registry, number: int) -> Facts:
    """Returns the run, data, code and metrics of a version's model.

    Returns:
        JSON values; empty if the model is not in this metadata store.
    """
    model = lineage_of(lineage, registry, number)
    return _facts(model) if model else {}


def lineage_of(
    lineage: Lineage, registry: Registry, number: int
) -> ModelLineage | None:
    """Returns the lineage of a version's model.

    Returns:
        `None` if the model is not in this metadata store.
    """
    origin = registry.added[number].origin
    model_id = origin.get(versions.MODEL_ID)
    if not isinstance(model_id, int):
        return None
    try:
        model = lineage.of_artifact(model_id)
    except UsageError:
        return None
    created = lineage.graph.artifacts[model_id].created
    there = versions.identity(model_id, model.uri, round(created * 1000))
    return model if versions.is_same_model(origin, there) else None


def _facts(model: ModelLineage) -> dict[str, Any]:
    metrics = model.metrics.get(results.CANDIDATE, {})
    return {
        "artifact": model.artifact,
        "run": model.run,
        "trained": model.trained,
        "data": [_data(each) for each in model.data],
        "schema": model.schema.revision if model.schema else "",
        "code": {
            node: digest(
                "\n".join(f"{name} {sha}" for name, sha in sorted(code.items()))
            )
            for node, code in sorted(model.code.items())
        },
        "packages": dict(model.packages),
        # JSON has no NaN, which is what an undefined metric is.
        "metrics": {n: v for n, v in metrics.items() if math.isfinite(v)},
        "blessed": next(
            (v.passed for v in reversed(model.verdicts) if v.about == "model"), None
        ),
    }


def _data(data: Data) -> Mapping[str, Any]:
    return {
        "spans": list(data.spans),
        "rows": dict(data.rows),
        "fingerprint": data.fingerprint,
        "files": [
            {"path": file.path, "bytes": file.bytes, "sha256": file.sha256}
            for file in data.files
        ],
    }
