"""Results of `make bench`: files in benchmarks/results/, and the README's table."""

import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
_TABLE = re.compile(r"(<!-- make bench -->\n).*?(<!-- end -->)", re.DOTALL)
_COLUMNS = (("seconds", "s"), ("peak_megabytes", "MB"))


def write(found: dict[str, Any]) -> Path:
    """Writes measurements to a file named by day and sizes; returns its path."""
    return save("", found, *dict.fromkeys(str(turn["rows"]) for turn in found["turns"]))


def save(folder: str, found: Mapping[str, Any], *names: str) -> Path:
    """Writes measurements to a file that is named by the day and what was measured.

    Args:
        folder: Of the benchmark, in the directory of results; empty for `make bench`.
        found: The measurements; "when" is the day.
        names: What the file's name has after the day.

    Returns:
        The file.
    """
    path = DIRECTORY / folder / f"{'-'.join([found['when'], *names])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def newest_turns() -> list[dict[str, Any]]:
    """Reads the newest turns of each size."""
    by_size: dict[int, list[dict[str, Any]]] = {}
    for path in sorted(DIRECTORY.glob("*.json")):
        turns = json.loads(path.read_text())["turns"]
        for rows in dict.fromkeys(turn["rows"] for turn in turns):
            by_size[rows] = [turn for turn in turns if turn["rows"] == rows]
    return [turn for _, turns in sorted(by_size.items()) for turn in turns]


def table(turns: Sequence[dict[str, Any]]) -> str:
    """Formats medians by size, and the medians of the turns' ratios."""
    lines = [
        (
            "| rows | turns | stock template | Throughline | plain script "
            "| wall / stock | memory / stock | wall / plain |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rows in dict.fromkeys(turn["rows"] for turn in turns):
        of = {
            name: [t for t in turns if t["rows"] == rows and t["candidate"] == name]
            for name in ("stock", "ours", "plain")
        }
        cells = [
            str(len(of["ours"])),
            *(_medians(of[name]) for name in of),
            _ratio(of["ours"], of["stock"], "seconds"),
            _ratio(of["ours"], of["stock"], "peak_megabytes"),
            _ratio(of["ours"], of["plain"], "seconds"),
        ]
        lines.append(f"| {rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _medians(turns: Sequence[dict[str, Any]]) -> str:
    if not turns:
        return ""
    parts = (
        f"{statistics.median(turn[name] for turn in turns):,.0f} {unit}"
        for name, unit in _COLUMNS
    )
    return ", ".join(parts)


def _ratio(
    above: Sequence[dict[str, Any]], below: Sequence[dict[str, Any]], name: str
) -> str:
    # Of the turns' pairs, not of the medians: both of a pair ran under the same load.
    ratios = [a[name] / b[name] for a, b in zip(above, below, strict=False)]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def with_table(text: str, turns: Sequence[dict[str, Any]]) -> str:
    """Returns a page with the table of some turns between its two marks.

    Raises:
        ValueError: The page lacks the marks, or there are no turns.
    """
    if not turns or not _TABLE.search(text):
        msg = (
            f"there must be results in {DIRECTORY} (`make bench` writes them), and the "
            f"lines <!-- make bench --> and <!-- end --> in {README}"
        )
        raise ValueError(msg)
    return _TABLE.sub(f"\\g<1>\n{table(turns)}\n\n\\g<2>", text)


def main(arguments: list[str]) -> int:
    """Replaces the README's table by that of the newest results."""
    if arguments:
        print("usage: python -m benchmarks readme", file=sys.stderr)
        return 2
    try:
        made = with_table(README.read_text(), newest_turns())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    README.write_text(made)
    return 0
