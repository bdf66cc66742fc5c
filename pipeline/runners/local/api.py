"""Runs the pipeline from Python: a notebook or a script."""

from pipeline import artifacts, create_pipeline
from pipeline.config import Config, environment, local, with_environment
from pipeline.errors import EXIT_DONE, EXIT_NOT_BLESSED, ThroughlineError
from pipeline.runners.local import runner


def run(
    config: Config | None = None, options: runner.Options | None = None
) -> artifacts.Run:
    """Runs the pipeline on this machine, as `throughline run` does.

    Args:
        config: What to run; the project's settings if not given.
        options: How to run it.

    Returns:
        The run, whose model may not have been blessed: `Run.outcome()` tells. If
        nothing has changed since the last run, that one.

    Raises:
        ThroughlineError: The run ended without a model.
    """
    config = with_environment(config or local(), environment())
    code = runner.run(config, options or runner.Options(), create_pipeline)
    if code not in {EXIT_DONE, EXIT_NOT_BLESSED}:
        raise ThroughlineError(
            f"the run ended with {code} and without a model; what it printed says why"
        )
    return artifacts.newest(output=config.output, metadata=config.metadata)
