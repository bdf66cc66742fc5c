"""Writes the taxi sample by quarter, one directory per span, for runs over time."""

from datetime import UTC, datetime
from pathlib import Path

from data import taxi
from pipeline.errors import DataRefusedError, UsageError

PATTERN = "span-{SPAN}/*.csv"
"""The `--pattern` that reads the spans."""

FLAGS = ("--pattern", PATTERN, "--window", "4", "--min-auc", "0.9")
"""The flags that train on a year of quarters. Its test split has 190 to 1,000 rows, on
which the 95 % interval of the AUC is 0.02 to 0.06 wide: a bound that is as near to what
is reached as 0.93, the whole sample's, would refuse a model by chance."""

_TIME = b"trip_start_timestamp"
_FIRST_YEAR = 2013
_QUARTERS = 4


def write_sample(directory: Path) -> list[Path]:
    """Writes the sample by quarter to a directory that holds nothing else.

    Each row is in the file of the quarter in which its trip began, byte for byte and in
    the sample's order, below the sample's header. Existing files are kept, missing ones
    are added, and an edited file is rejected rather than replaced.

    Args:
        directory: Directory for `span-1/2013-q1.csv` to `span-16/2016-q4.csv`; created
            if it does not exist.

    Returns:
        The files, oldest quarter first.

    Raises:
        DataRefusedError: A file was edited, or the sample in the wheel is not the one
            that this project was built with.
        UsageError: TFX is not installed, or the directory holds other files.
    """
    wanted = split(taxi.read_sample())
    contents = {directory / name: content for name, content in wanted.items()}
    _refuse_others(directory, set(contents))
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content:
            raise DataRefusedError(
                f"{path} is not that quarter of the sample; delete it to get the "
                "quarter back, or move it to a directory of its own"
            )
    for path, content in contents.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            taxi.write_atomically(path, content)
    return list(contents)


def split(sample: bytes) -> dict[str, bytes]:
    """Partitions the rows of the sample by the quarter in which a trip began.

    Args:
        sample: Contents of the CSV file; without quotes, so that each line is a row.

    Returns:
        Contents of the files by relative path, oldest quarter first.
    """
    # Bytes, not the csv module: rows must stay what they are, byte for byte.
    header, *rows = sample.splitlines(keepends=True)
    column = header.rstrip().split(b",").index(_TIME)
    quarters: dict[tuple[int, int], list[bytes]] = {}
    for row in rows:
        # UTC, because the column is Chicago's wall clock written as if it were UTC.
        began = datetime.fromtimestamp(int(row.split(b",")[column]), UTC)
        quarter = began.year, (began.month - 1) * _QUARTERS // 12 + 1
        quarters.setdefault(quarter, [header]).append(row)
    return {
        _name_of(*quarter): b"".join(quarters[quarter]) for quarter in sorted(quarters)
    }


def _name_of(year: int, quarter: int) -> str:
    span = (year - _FIRST_YEAR) * _QUARTERS + quarter
    return f"span-{span}/{year}-q{quarter}.csv"


def _refuse_others(directory: Path, wanted: set[Path]) -> None:
    taxi.refuse_file(directory)
    expected = wanted | {path.parent for path in wanted}
    others = sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path not in expected and not path.name.startswith(".")
    )
    if others:
        raise UsageError(
            f"{directory} holds {', '.join(others[:3])}, which is not of the sample by "
            "quarter; name an empty directory"
        )
