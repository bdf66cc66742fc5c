"""Selects where an executor runs: in this process, or on its Beam engine."""

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from pipeline.beam.engines import IN_PROCESS
from pipeline.columnar import files
from pipeline.columnar.engine import OnBeam, Runner, Workers

_SCRATCH = ".scratch"


def is_in_process(executor: BaseBeamExecutor) -> bool:
    """Whether an executor has no other engine than this process."""
    arguments = executor._beam_pipeline_args or []  # noqa: SLF001 - made for subclasses
    runners = [a for a in arguments if a.startswith("--runner=")]
    return not runners or runners[-1] == IN_PROCESS


def runner_of(executor: BaseBeamExecutor, output: str) -> Runner:
    """Returns local workers or the executor's Beam engine.

    Args:
        executor: Knows its engine.
        output: Directory of an output artifact, which an engine's workers reach; see
            `clear`.
    """
    if is_in_process(executor):
        return Workers()
    scratch = files.join(output, _SCRATCH)
    files.make_directory(scratch)
    return OnBeam(executor._make_beam_pipeline, scratch)  # noqa: SLF001 - the same


def clear(output: str) -> None:
    """Removes what `runner_of` created in an output."""
    files.remove_directory(files.join(output, _SCRATCH))
