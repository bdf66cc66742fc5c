"""The project's sample, for runs without data of their own."""

from pipeline.config import Config
from pipeline.errors import UsageError


def provide(config: Config) -> None:
    """Writes the sample to the data directory, if no data is given.

    Raises:
        UsageError: The project has no sample.
    """
    if config.data is not None:
        return
    try:
        from data import sample
    # A project of one's own keeps no module of the sample's.
    except ImportError as error:
        raise UsageError(
            "data is not given, and this project has no sample; give --data DIRECTORY, "
            "or data in throughline.toml"
        ) from error
    sample.write(config.data_directory)
