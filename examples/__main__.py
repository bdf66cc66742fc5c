"""Writes the files that an example was made of: `python -m examples cars DIRECTORY`.

The data comes from packages: scikit-learn's wine, and the cars and the weather of
Seattle from vega_datasets. Both are development dependencies.
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_wine
from vega_datasets import local_data

NAMES = ("wine", "cars", "weather")


def read(name: str) -> pd.DataFrame:
    """Returns the rows of an example."""
    if name == "wine":
        return load_wine(as_frame=True).frame
    return local_data.cars() if name == "cars" else local_data.seattle_weather()


def write(name: str, directory: Path) -> Path:
    """Writes the rows of an example as a CSV file; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.csv"
    read(name).to_csv(path, index=False)
    return path


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("directory", type=Path)
    given = parser.parse_args()
    print(write(given.name, given.directory))


if __name__ == "__main__":
    main()
