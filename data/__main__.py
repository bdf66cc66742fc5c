"""Lays the sample data out: `python -m data DIRECTORY` (under a second)."""

import sys
from pathlib import Path

from data.taxi import lay_out
from pipeline.errors import ThroughlineError, UsageError

_USAGE = "give the directory for the sample data: python -m data DIRECTORY"


def main(arguments: list[str]) -> int:
    """Lays the sample data out in the one directory named, and says where it is."""
    try:
        if len(arguments) != 1:
            raise UsageError(_USAGE)
        print(lay_out(Path(arguments[0])))
    except ThroughlineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
