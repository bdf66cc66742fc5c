"""DataGate: judges the data before anything is learned from it, or stops the run.

The verdict is an input of Transform and of the Trainer, so that lineage shows which
verdict let a model's data in, and no orchestrator can start them without one.
"""

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import Artifact, Channel
from tfx.types.channel import BaseChannel
from tfx.types.component_spec import (
    ChannelParameter,
    ComponentSpec,
    ExecutionParameter,
)
from tfx.types.standard_artifacts import ExampleAnomalies, Examples, Model, Schema

from pipeline.components import gate_executor as keys
from pipeline.components.example_gen import Quarantine
from pipeline.components.gate_executor import Executor
from pipeline.store.properties import VERDICT
from pipeline.trust.policy import Policy


class DataVerdict(Artifact):
    """What the gate found in accepted data, and the profile of its rows."""

    TYPE_NAME = "DataVerdict"


class DataGateSpec(ComponentSpec):
    """What a DataGate reads and writes."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads class attributes
        keys.POLICY: ExecutionParameter(type=str),
        keys.LABEL_POLICY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        keys.EXAMPLES: ChannelParameter(type=Examples),
        keys.ANOMALIES: ChannelParameter(type=ExampleAnomalies),
        keys.SCHEMA: ChannelParameter(type=Schema),
        keys.QUARANTINE: ChannelParameter(type=Quarantine),
        # Empty in the first run, and on Vertex AI, whose resolvers are TFX's own.
        keys.PREVIOUS: ChannelParameter(type=DataVerdict, optional=True),
        keys.LIVE: ChannelParameter(type=DataVerdict, optional=True),
        keys.LIVE_MODEL: ChannelParameter(type=Model, optional=True),
    }
    OUTPUTS = {VERDICT: ChannelParameter(type=DataVerdict)}  # noqa: RUF012


class DataGate(BaseBeamComponent):
    """The component; its executor runs on Beam's engine, as Transform's does."""

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self, policy: Policy, label_policy: str, **inputs: BaseChannel
    ) -> None:
        """Creates the component.

        Args:
            policy: Severities, limits and exceptions.
            label_policy: Name of one of the label's policies.
            **inputs: Channels by the names of `DataGateSpec`.
        """
        spec = DataGateSpec(
            policy=policy.to_json(),
            label_policy=label_policy,
            verdict=Channel(type=DataVerdict),
            **inputs,
        )
        super().__init__(spec=spec)


def require_verdict(component: BaseComponent, verdict: BaseChannel) -> None:
    """Gives a standard component one more input, which it can't run without.

    It is added to the component's own specification, so the type that TFX, lineage and
    orchestrators see is still the standard one.

    Args:
        component: Reads data, or what was made of it.
        verdict: DataGate's.
    """
    spec = component.spec
    spec.INPUTS = {**spec.INPUTS, VERDICT: ChannelParameter(type=DataVerdict)}
    spec.inputs[VERDICT] = verdict
