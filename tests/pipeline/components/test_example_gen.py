"""The component that ingests: the standard one with an output more."""

from pathlib import Path

from tfx.components.example_gen.component import FileBasedExampleGen

from pipeline.components.example_gen import Ingestion, Quarantine
from pipeline.components.ingestion import QUARANTINE_KEY, Executor
from pipeline.components.span_driver import SpanDriver
from pipeline.config import Config
from pipeline.pipeline import create_pipeline


def component(tmp_path: Path) -> Ingestion:
    """The component as the pipeline wires it."""
    built = create_pipeline(Config(data=tmp_path, output=tmp_path / "out"))
    (found,) = (c for c in built.components if isinstance(c, Ingestion))
    return found


def test_type_is_the_standard_one(tmp_path: Path) -> None:
    """Lineage and orchestrators see TFX's FileBasedExampleGen."""
    assert component(tmp_path).type == FileBasedExampleGen.get_class_type()


def test_rows_that_do_not_fit_are_a_second_output(tmp_path: Path) -> None:
    """Besides the examples there is an artifact of the type Quarantine."""
    outputs = component(tmp_path).outputs

    assert set(outputs) == {"examples", QUARANTINE_KEY}
    assert outputs[QUARANTINE_KEY].type is Quarantine
    assert outputs[QUARANTINE_KEY].type_name == "Quarantine"


def test_executor_and_driver_are_ours(tmp_path: Path) -> None:
    """Our executor reads the files that our driver has selected."""
    found = component(tmp_path)

    assert found.executor_spec.executor_class is Executor
    assert found.driver_class is SpanDriver
