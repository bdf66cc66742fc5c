"""DataGate, and the input that makes standard components wait for it."""

import pytest
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.transform.component import Transform
from tfx.types import Channel
from tfx.types.standard_artifacts import ExampleAnomalies, Examples

from pipeline.components.data_gate import DataGate, DataVerdict, require_verdict
from pipeline.components.example_gen import Quarantine
from pipeline.trust.policy import Policy


def _inputs() -> dict[str, Channel]:
    schema = ImportSchemaGen(schema_file="schema.pbtxt").outputs["schema"]
    return {
        "examples": Channel(type=Examples),
        "anomalies": Channel(type=ExampleAnomalies),
        "schema": schema,
        "quarantine": Channel(type=Quarantine),
    }


def test_baselines_may_be_left_out() -> None:
    """Without baselines the gate is a component that judges data by itself."""
    gate = DataGate(Policy(min_rows=7), "all-trips", **_inputs())

    assert set(gate.inputs) == {"examples", "anomalies", "schema", "quarantine"}
    assert gate.outputs["verdict"].type == DataVerdict
    assert Policy.from_json(gate.exec_properties["policy"]) == Policy(min_rows=7)


@pytest.mark.parametrize("name", ["examples", "anomalies", "schema", "quarantine"])
def test_everything_else_must_be_given(name: str) -> None:
    """A gate that is not given what it judges by is an error when it is wired."""
    inputs = _inputs()
    del inputs[name]

    with pytest.raises(ValueError, match=name):
        DataGate(Policy(), "all-trips", **inputs)


def test_a_verdict_becomes_a_required_input() -> None:
    """The component keeps the standard type, and others of its class are as before."""
    given = _inputs()
    transform, other = (
        Transform(given["examples"], given["schema"], preprocessing_fn="a.b").with_id(i)
        for i in ("one", "other")
    )

    require_verdict(transform, DataGate(Policy(), "x", **given).outputs["verdict"])

    assert transform.type == "tfx.components.transform.component.Transform"
    assert "verdict" in transform.inputs
    assert not transform.spec.is_optional_input("examples")
    assert not transform.spec.INPUTS["verdict"].optional
    assert "verdict" not in other.inputs
    assert "verdict" not in other.spec.INPUTS
