"""Writes CSV files of any number of rows, sampled from the taxi sample."""

from pathlib import Path

import numpy as np

from data import taxi

_ROWS_IN_BLOCK = 100_000
# Of the sample's rows, with line ends.
BYTES_IN_ROW = 129


def write(path: Path, rows: int, seed: int) -> None:
    """Writes a CSV file with the sample's header.

    Takes about three seconds for ten million rows, and the memory of one block.

    Args:
        path: The file.
        rows: Number of rows, sampled uniformly with replacement; the sample itself, in
            its order, if this is the number of its rows.
        seed: Seed of the random numbers; the same seed gives the same file.
    """
    header, *lines = taxi.read_sample().splitlines(keepends=True)
    sample = np.array(lines, dtype=object)
    numbers = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(header)
        # At the sample's size the figures are then those of the main job.
        if rows == len(sample):
            file.writelines(lines)
            return
        for start in range(0, rows, _ROWS_IN_BLOCK):
            count = min(_ROWS_IN_BLOCK, rows - start)
            file.writelines(sample[numbers.integers(len(sample), size=count)])
