"""The standard FileBasedExampleGen, with an output for the rows that don't fit.

It is apart from the executor, whose imports are part of the node's cache key.
"""

from typing import Any

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import Artifact, Channel

from pipeline.components.ingestion import QUARANTINE_KEY, Executor, Settings
from pipeline.components.span_driver import SpanDriver


class Quarantine(Artifact):
    """Rows that don't fit: counts.json, and each row a line in rows-*.jsonl."""

    TYPE_NAME = "Quarantine"


class Ingestion(FileBasedExampleGen):
    """The standard component with a second output; to TFX it is the standard one."""

    DRIVER_CLASS = SpanDriver

    def __init__(self, settings: Settings, **standard: Any) -> None:
        """Wires it.

        Args:
            settings: What only our executor knows.
            standard: What a FileBasedExampleGen takes too.
        """
        super().__init__(
            output_config=settings.output_config(),
            custom_config=settings.packed(),
            custom_executor_spec=BeamExecutorSpec(Executor),
            **standard,
        )
        self.spec.outputs[QUARANTINE_KEY] = Channel(type=Quarantine).as_output_channel(
            self, QUARANTINE_KEY
        )

    @classmethod
    def get_class_type(cls) -> str:
        """Names the type that lineage and orchestrators know."""
        return str(FileBasedExampleGen.get_class_type())
