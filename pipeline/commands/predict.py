"""The command that scores files with a version of the model."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from pipeline import config as settings
from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE, UsageError
from pipeline.ingestion.source import UTF_8
from pipeline.ingestion.spans import EVERY_FILE
from pipeline.registry import history, versions
from pipeline.registry.history import Registry


@dataclass(frozen=True, kw_only=True)
class PredictFlags(StoreFlags):
    """What to score, by which version, and where to."""

    data: Path
    """A .csv, .csv.gz or .parquet file, or a directory of files of one kind."""
    out: Path
    """The file to write: .parquet or .csv, by its name."""
    model: str = "live"
    """Version of the model: its number, or live, or previous."""
    pattern: str = EVERY_FILE
    """Which files of a directory."""
    encoding: str = UTF_8
    """Encoding of text files, by Python's name."""
    max_quarantined: float = settings.Gate.max_quarantined
    """Share of the rows, 0 to 1, that may not fit before nothing is written."""

    def __post_init__(self) -> None:
        """Rejects a share outside 0-1."""
        # "not" rather than "or", because every comparison with NaN is false.
        if not 0 <= self.max_quarantined <= 1:
            raise UsageError(
                f"max-quarantined is {self.max_quarantined}; it must be 0 to 1"
            )


def predict(arguments: list[str]) -> int:
    """Write the rows of files with the model's score for each, to Parquet or CSV."""
    flags = tyro.cli(PredictFlags, prog="throughline predict", args=arguments)
    registry = history.read(flags.config().serving_directory)
    # Before TensorFlow is imported, which takes seconds.
    number = registry.number(flags.model)
    from pipeline.runners.local.console import quiet

    with quiet():
        from pipeline.prediction.batch import Job, predict
        from pipeline.prediction.raw_model import RawModel

        job = Job(
            flags.data, flags.out, flags.pattern, flags.encoding, flags.max_quarantined
        )
        model = RawModel(versions.version_of(registry.base, number).path)
        started = time.monotonic()
        about = _about(registry, number)
        if model.threshold is not None:
            about["threshold"] = model.threshold
        tally = predict(job, model, about)
        seconds = time.monotonic() - started
    rows = tally.written.total()
    say(f"{rows:,} rows scored by version {number} in {seconds:.1f} s: {flags.out}")
    if count := tally.quarantined.total():
        say(f"{count:,} of {tally.rows:,} rows don't fit: {job.quarantine}")
    return EXIT_DONE


def _about(registry: Registry, number: int) -> dict[str, Any]:
    """Returns what is stored with the scores: which model, trained by which run."""
    event = registry.added[number]
    facts = registry.facts.get(number, {})
    return {
        "model": registry.base.name,
        "version": number,
        "run": facts.get("run") or event.run,
        "trained": facts.get("trained", ""),
        "origin": dict(event.origin),
        "predicted": history.now(),
    }
