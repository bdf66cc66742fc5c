"""The pipeline: its definition, its components and the runners that run it.

    from pipeline import local, run

    found = run(replace(local(), train_steps=200))
    found.metrics()

`run` runs the pipeline on this machine and returns what `pipeline.artifacts` opens.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.config import Config, local

__all__ = ["Config", "create_pipeline", "local"]


_API = {
    "Config": "pipeline.config",
    "local": "pipeline.config",
    "run": "pipeline.runners.local.api",
}


def create_pipeline(config: "Config") -> "Pipeline":
    """Creates the pipeline; see `pipeline.pipeline.create_pipeline`.

    That module imports TFX, which takes seconds, so it is imported on the first call:
    a wrong flag is reported at once.
    """
    from pipeline import pipeline

    return pipeline.create_pipeline(config)


def __getattr__(name: str) -> Any:
    """Returns the Python API, and artifact types that Vertex AI's containers import."""
    # On demand: as imports they would load TFX with every command.
    if name in _API:
        return getattr(importlib.import_module(_API[name]), name)
    if name == "DataVerdict":
        from pipeline.components.data_gate import DataVerdict

        return DataVerdict
    if name == "Quarantine":
        from pipeline.components.example_gen import Quarantine

        return Quarantine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
