"""Lays the sample data out: `python -m data DIRECTORY` (under a second).

`--by quarter` lays it out as 16 spans, from the first quarter of 2013 on.
"""

import sys
from pathlib import Path

from data import quarters, taxi
from pipeline.errors import UsageError, explained, printable

_USAGE = (
    "give the directory for the sample data: python -m data DIRECTORY [--by quarter]"
)


def main(arguments: list[str]) -> int:
    """Lays the sample data out in the one directory named, and says where it is."""
    try:
        _lay_out(arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends in a sentence
        ours = explained(error)
        print(printable(str(ours)), file=sys.stderr)
        return ours.exit_code
    return 0


def _lay_out(arguments: list[str]) -> None:
    match arguments:
        case [directory]:
            print(taxi.write_sample(Path(directory)))
        case [directory, "--by", "quarter"] | ["--by", "quarter", directory]:
            files = quarters.write_sample(Path(directory))
            print(f"{files[0]} to {files[-1].relative_to(directory)}")
            print(
                f"next: python run_local.py --data {directory} "
                f"--pattern '{quarters.PATTERN}' --window 4"
            )
        case _:
            raise UsageError(_USAGE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
