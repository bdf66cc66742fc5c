"""The pipeline: its definition, its components and the runners that run it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.config import Config


def create_pipeline(config: "Config") -> "Pipeline":
    """Creates the pipeline; see `pipeline.pipeline.create_pipeline`.

    That module imports TFX, which takes seconds, so it is imported on the first call:
    a wrong flag is reported at once.
    """
    from pipeline import pipeline

    return pipeline.create_pipeline(config)


def __getattr__(name: str) -> Any:
    """Returns our artifact types, which Vertex AI's containers import from here."""
    # On demand: as imports they would load TFX with every command.
    if name == "DataVerdict":
        from pipeline.components.data_gate import DataVerdict

        return DataVerdict
    if name == "Quarantine":
        from pipeline.components.example_gen import Quarantine

        return Quarantine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
