"""Workers of each form, which must all give the same results."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.columnar.engine import OnBeam, Runner, Workers
from pipeline.config import IN_PROCESS_BEAM_RUNNER


def make_pipeline() -> beam.Pipeline:
    """Makes a Beam pipeline that runs in this process."""
    return beam.Pipeline(options=PipelineOptions([IN_PROCESS_BEAM_RUNNER]))


@pytest.fixture(params=["threads", "beam"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """Returns another form than one local worker."""
    on_beam = OnBeam(make_pipeline, str(tmp_path / "scratch"))
    return Workers(3) if request.param == "threads" else on_beam
