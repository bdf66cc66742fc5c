"""Compares the pipeline's ingestion with TFX's CsvExampleGen on the same files.

    make bench-ingestion                               three turns, about an hour
    make bench-ingestion ARGS="--turns 1"              one turn
    make bench-ingestion ARGS="--rows 15002 --alone"   the sample alone, a minute

Each turn is a separate process that runs the node once, with its driver and a new
metadata store. Two times are reported: the executor's, and that of the whole process,
which includes the import of TFX. The rows are sampled from the taxi sample with a fixed
seed, and the written rows are counted. Ten million rows need 8 GB of disk.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pyarrow import parquet

from benchmarks import trips
from benchmarks.measure import measure
from pipeline.columnar.shards import SUFFIX
from pipeline.ingestion.tfrecord import read_records

ROWS = (15_002, 300_000, 1_000_000)
ALONE = (10_000_000,)
STOCK, OURS = "stock", "ours"
NODE = "ExampleGen"
SECONDS_FILE = "seconds"
_MEGABYTE = 1e6
# The CSV file, what is written, and what Beam may write between: measured with room.
_BYTES_ON_DISK = 6 * trips.BYTES_IN_ROW


class BenchmarkError(Exception):
    """A measurement failed, or its result is invalid."""


@dataclass(frozen=True)
class Turn:
    """The times and memory of one ingestion.

    Attributes:
        executor_seconds: From the executor's start to its end.
        process_seconds: From the process's start to its end.
        peak_megabytes: Peak memory of all its processes together.
    """

    executor_seconds: float
    process_seconds: float
    peak_megabytes: float


Results = dict[int, dict[str, list[Turn]]]


def ingest(which: str, data: Path, rows: int, place: Path) -> Turn:
    """Ingests a directory once, in a process and an output directory of its own.

    Args:
        which: `stock` or `ours`.
        data: Directory with one CSV file.
        rows: Number of its rows.
        place: Directory for the temporary output directory.

    Raises:
        BenchmarkError: It failed, or didn't write as many rows as it read.
    """
    with tempfile.TemporaryDirectory(dir=place) as directory:
        output = Path(directory)
        command = [sys.executable, "-m", "benchmarks.ingest_once", which]
        measured = measure([*command, str(data), str(output)], Path.cwd())
        if measured.exit_code:
            raise BenchmarkError(
                f"{which} ended with {measured.exit_code}; to see why, run: "
                f"{' '.join(command)} DATA OUTPUT"
            )
        # A fast ingestion that loses rows would win otherwise.
        written = sum(_records(output))
        if written != rows:
            raise BenchmarkError(f"{which} wrote {written} of {rows} rows")
        seconds = float((output / SECONDS_FILE).read_text())
    return Turn(round(seconds, 2), measured.seconds, measured.peak_megabytes)


def _records(output: Path) -> Iterator[int]:
    """Counts the records in each file that the node has written."""
    for split in (output / "artifacts" / NODE / "examples").glob("*/Split-*"):
        for path in split.iterdir():
            if path.suffix == SUFFIX:
                yield parquet.read_metadata(path).num_rows
            else:
                yield sum(1 for _ in read_records(path))


def table(results: Results) -> str:
    """Formats medians over the turns, and the medians of the turns' ratios."""
    lines = [
        (
            "| rows | CsvExampleGen, rows/s | Throughline, rows/s | times "
            "| CsvExampleGen, whole process | Throughline, whole process "
            "| CsvExampleGen, peak memory | Throughline, peak memory |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rows, turns in results.items():
        stock, ours = turns.get(STOCK, []), turns[OURS]
        pairs = list(zip(stock, ours, strict=False))
        times = [s.executor_seconds / o.executor_seconds for s, o in pairs]
        cells = [
            f"{rows:,}",
            *(_median([rows / t.executor_seconds for t in s]) for s in (stock, ours)),
            f"{statistics.median(times):.1f}" if times else "",
            *(_median([t.process_seconds for t in s], " s") for s in (stock, ours)),
            *(_median([t.peak_megabytes for t in s], " MB") for s in (stock, ours)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(values: Sequence[float], unit: str = "") -> str:
    return f"{statistics.median(values):,.0f}{unit}" if values else ""


@contextmanager
def _file_of(rows: int, seed: int, place: Path) -> Iterator[Path]:
    """Creates a temporary directory with one file of a number of rows.

    Raises:
        BenchmarkError: The disk has no room for the file and what is ingested from it.
    """
    # Before an hour of measuring ends at a full disk.
    free, needed = shutil.disk_usage(place).free, rows * _BYTES_ON_DISK
    if free < needed:
        raise BenchmarkError(
            f"{place} has {free / _MEGABYTE:,.0f} MB free and {rows:,} rows take up to "
            f"{needed / _MEGABYTE:,.0f}; give a roomier --directory, or fewer rows"
        )
    with tempfile.TemporaryDirectory(prefix="trips-", dir=place) as directory:
        trips.write(Path(directory) / "trips.csv", rows, seed)
        yield Path(directory)


def _flags(arguments: list[str]) -> argparse.Namespace:
    flags = argparse.ArgumentParser(
        prog="make bench-ingestion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--turns", type=int, default=3)
    flags.add_argument("--rows", type=int, nargs="*", default=ROWS, help="for both")
    flags.add_argument("--alone", type=int, nargs="*", default=ALONE, help="for ours")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="directory for temporary files",
    )
    return flags.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measures, prints each turn and the table; fails if a run failed."""
    flags = _flags(arguments)
    # A size that both ingest is in the first list already.
    alone = [rows for rows in flags.alone if rows not in flags.rows]
    sizes = dict.fromkeys(flags.rows, (STOCK, OURS)) | dict.fromkeys(alone, (OURS,))
    results: Results = {rows: {name: [] for name in sizes[rows]} for rows in sizes}
    try:
        for rows, names in sizes.items():
            with _file_of(rows, flags.seed, flags.directory) as data:
                for turn in range(flags.turns):
                    for name in names:
                        took = ingest(name, data, rows, flags.directory)
                        results[rows][name].append(took)
                        result = json.dumps(asdict(took))
                        print(f"{rows:,} rows, turn {turn + 1} {name}: {result}")
                        sys.stdout.flush()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(results))
    return 0
