"""Where an executor's work on shards runs, by the engine in its Beam arguments."""

from pathlib import Path

import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from pipeline.beam.executors import clear, is_in_process, runner_of
from pipeline.columnar.engine import OnBeam, Workers
from pipeline.config import Config

IN_PROCESS = Config().beam_pipeline_args
BEAM = ["--runner=BundleBasedDirectRunner"]


class Executor(BaseBeamExecutor):
    """Does nothing."""

    def Do(self, *arguments: object) -> None:  # noqa: N802 - TFX's name
        """Does nothing."""


def executor(arguments: list[str]) -> Executor:
    """Creates an executor as the launcher does."""
    return Executor(BaseBeamExecutor.Context(beam_pipeline_args=arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], True),
        (IN_PROCESS, True),
        (BEAM, False),
        # Beam takes the last one.
        ([*BEAM, *IN_PROCESS], True),
        ([*IN_PROCESS, *BEAM], False),
    ],
)
def test_the_engine_is_in_the_beam_arguments(
    arguments: list[str], *, expected: bool
) -> None:
    """Only an explicit other engine takes the work out of this process."""
    assert is_in_process(executor(arguments)) is expected


def test_local_work_has_no_scratch_files(tmp_path: Path) -> None:
    """Workers of this process need no directory in the output."""
    assert isinstance(runner_of(executor(IN_PROCESS), str(tmp_path)), Workers)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_has_a_scratch_directory_until_it_is_cleared(tmp_path: Path) -> None:
    """Workers elsewhere reach only the output, which holds nothing of them after."""
    assert isinstance(runner_of(executor(BEAM), str(tmp_path)), OnBeam)
    (scratch,) = tmp_path.iterdir()
    (scratch / "partial").write_text("of a worker")

    clear(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_clearing_an_output_without_scratch_files_is_no_error(tmp_path: Path) -> None:
    """An executor clears in any case."""
    clear(str(tmp_path))

    assert list(tmp_path.iterdir()) == []
