"""The configuration of the run, and the versions of the packages."""

from collections.abc import Mapping
from typing import Any

from pipeline.artifacts import Run
from pipeline.lineage.facts import flatten, short_name
from pipeline.report.blocks import Block, Cell, Facts, Section, Table
from pipeline.store import properties

# In the recorded key, what isn't a SHA-256 is the version of a package.
_DIGEST_LENGTH = 64


def section(run: Run) -> Section | None:
    """Lists all settings; for a run of another runner, all parameters of its nodes."""
    blocks: list[Block] = []
    versions = _versions(run)
    if versions:
        blocks.append(Facts(versions))
    # Runs of orchestrators have no record; the parameters of their nodes are what is
    # left of the settings.
    rows = _rows(run.settings) or _parameters(run)
    if rows:
        blocks.append(Table(["setting", "value"], rows))
    return Section("Configuration and versions", blocks) if blocks else None


def _rows(settings: Mapping[str, Any]) -> list[list[Cell]]:
    return [
        [name, "" if value == "null" else value]
        for name, value in flatten(settings).items()
    ]


def _parameters(run: Run) -> list[list[Cell]]:
    return [
        [f"{step.node}.{short_name(name)}", value]
        for step in run.executions
        for name, value in flatten(
            {
                k: v
                for k, v in step.parameters.items()
                if not k.startswith("throughline")
            }
        ).items()
    ]


def _versions(run: Run) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for step in run.executions:
        recorded = step.parameters.get(properties.KEY)
        if isinstance(recorded, dict):
            found |= {
                name: str(value)
                for name, value in recorded.items()
                if len(str(value)) != _DIGEST_LENGTH
            }
    for artifact in run.outputs():
        # Stock TFX stores only its own version, and as a property of each artifact.
        if artifact.properties.get("tfx_version"):
            found.setdefault("tfx", str(artifact.properties["tfx_version"]))
    return dict(sorted(found.items()))
