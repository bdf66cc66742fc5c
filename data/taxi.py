"""Writes the Chicago taxi sample as CSV, from the copy in TFX's wheel."""

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

from pipeline.errors import DataRefusedError, UsageError

FILE_NAME = "taxi.csv"
# A changed sample would change every figure on the pages, and fail tests in ways that
# are hard to trace.
SHA256 = "cdaf0b5931442ef47693f408f25a37af710aca23fccb90a78f00930e89548805"

_PATH_IN_TFX = Path("examples/chicago_taxi_pipeline/data/simple/data.csv")


def write_sample(directory: Path) -> Path:
    """Writes the taxi sample to a directory that holds nothing else.

    ExampleGen reads every file in the directory, so a stray one would be ingested too.
    An existing copy is kept. If it was edited, it is rejected rather than replaced: the
    edit may be the user's work.

    Args:
        directory: Directory for taxi.csv; created if it does not exist.

    Returns:
        The path of taxi.csv.

    Raises:
        DataRefusedError: The copy in the directory, or the one in the wheel, is not
            the sample that this project was built with.
        UsageError: TFX is not installed, or the directory holds other files.
    """
    _refuse_other_files(directory)
    target = directory / FILE_NAME
    if target.exists():
        _refuse_edited(target)
        return target
    sample = read_sample()
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(target, sample)
    return target


def refuse_file(directory: Path) -> None:
    """Rejects a path that is a file instead of a directory.

    Raises:
        UsageError: The path is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a directory for the sample data")


def _refuse_other_files(directory: Path) -> None:
    refuse_file(directory)
    if not directory.is_dir():
        return
    others = sorted(
        entry.name
        for entry in directory.iterdir()
        if entry.name != FILE_NAME and not entry.name.startswith(".")
    )
    if others:
        raise UsageError(
            f"{directory} holds {', '.join(others[:3])}, which would be ingested with "
            f"the sample; empty it, or run on those files with --data {directory}"
        )


def _refuse_edited(target: Path) -> None:
    if _sha256(target.read_bytes()) != SHA256:
        raise DataRefusedError(
            f"{target} is not the sample any more (its checksum differs); delete it to "
            "get the sample back, or move it to a directory of its own and run on it "
            "with --data"
        )


def read_sample() -> bytes:
    """Reads the sample from the installed wheel.

    Raises:
        DataRefusedError: It is not the sample this project was built with.
        UsageError: TFX is not installed, or has no sample.
    """
    # Importing tfx takes seconds; finding it takes a millisecond.
    spec = importlib.util.find_spec("tfx")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "the sample data comes with TFX, which is not installed; run `make run`, "
            "or name your own data with --data"
        )
    source = Path(spec.submodule_search_locations[0]) / _PATH_IN_TFX
    if not source.is_file():
        raise UsageError(
            f"this TFX has no sample data at {source}; install tfx==1.21.0, or name "
            "your own data with --data"
        )
    sample = source.read_bytes()
    if _sha256(sample) != SHA256:
        raise DataRefusedError(
            f"{source} is not the sample this project was built with (its checksum "
            "differs); reinstall tfx==1.21.0, or name your own data with --data"
        )
    return sample


def write_atomically(target: Path, content: bytes) -> None:
    """Writes a file atomically."""
    # The temporary file is next to the directory, where ExampleGen does not look.
    handle, name = tempfile.mkstemp(
        prefix=f".{FILE_NAME}.", dir=target.parent.absolute().parent
    )
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)  # mkstemp makes files that only their owner can read
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
