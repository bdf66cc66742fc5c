"""The standard FileBasedExampleGen, with a second output for rows that don't fit.

The component is in its own module because all modules that the executor imports are
part of the node's cache key.
"""

from typing import Any

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import Artifact, Channel

from pipeline.components.ingestion import QUARANTINE_KEY, Executor, Settings
from pipeline.components.span_driver import SpanDriver


class Quarantine(Artifact):
    """Rows that don't fit: counts.json, and one line per row in rows-*.jsonl."""

    TYPE_NAME = "Quarantine"


class Ingestion(FileBasedExampleGen):
    """FileBasedExampleGen with a `quarantine` output; TFX sees the standard type."""

    DRIVER_CLASS = SpanDriver

    def __init__(self, settings: Settings, **standard: Any) -> None:
        """Creates the component.

        Args:
            settings: The settings of our executor.
            standard: Arguments of FileBasedExampleGen.
        """
        super().__init__(
            output_config=settings.output_config(),
            custom_config=settings.packed(),
            custom_executor_spec=BeamExecutorSpec(Executor),
            **standard,
        )
        # Added after the fact: the standard spec's OUTPUTS are fixed, and a spec of our
        # own would change the type that other tools look for.
        self.spec.outputs[QUARANTINE_KEY] = Channel(type=Quarantine).as_output_channel(
            self, QUARANTINE_KEY
        )

    @classmethod
    def get_class_type(cls) -> str:
        """Returns the standard component's type, for lineage and orchestrators."""
        return str(FileBasedExampleGen.get_class_type())
