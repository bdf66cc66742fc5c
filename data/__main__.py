"""Writes the sample data to a directory: `python -m data DIRECTORY` (under a second).

`--by quarter` writes it as 16 spans, one per quarter, from the first of 2013 on.
"""

import shlex
import sys
from pathlib import Path

from data import quarters, taxi
from pipeline.errors import UsageError, explained, printable

_USAGE = (
    "give the directory for the sample data: python -m data DIRECTORY [--by quarter]"
)


def main(arguments: list[str]) -> int:
    """Writes the sample data and prints its path; returns the exit code."""
    try:
        _write(arguments)
    except Exception as error:  # noqa: BLE001 - any error becomes one line
        ours = explained(error)
        print(printable(str(ours)), file=sys.stderr)
        return ours.exit_code
    return 0


def _write(arguments: list[str]) -> None:
    match arguments:
        case [directory]:
            print(taxi.write_sample(Path(directory)))
        case [directory, "--by", "quarter"] | ["--by", "quarter", directory]:
            files = quarters.write_sample(Path(directory))
            print(f"{files[0]} to {files[-1].relative_to(directory)}")
            print(
                f"next: python run_local.py --data {directory} "
                f"{shlex.join(quarters.FLAGS)}"
            )
        case _:
            raise UsageError(_USAGE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
