"""Progress of a node in one line of the live table, as much as the terminal holds."""

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.text import Text

from pipeline.columnar.progress import Progress

_GAP = "  "
_LONGEST_BAR, _SHORTEST_BAR = 20, 6


def fitted(progress: Progress, room: int, *, ascii_only: bool = False) -> Text:
    """Draws progress: a bar if the total is known, then figures.

    Args:
        progress: What to draw.
        room: Columns to fill at most. What matters least is left out first.
        ascii_only: Whether the terminal shows no other characters.
    """
    bar = _bar(progress.share, room, ascii_only=ascii_only)
    left = room - bar.cell_len
    for text in _choices(progress):
        if cell_len(text) <= left:
            return bar + Text(text, style="dim")
    return Text(progress.count, style="dim")


def _choices(progress: Progress) -> Iterator[str]:
    """Yields what to write beside the bar, the longest first."""
    count, speed, left = progress.count, progress.speed, progress.time_left
    whole = (progress.count_of_total, progress.percent, speed, left)
    yield _joined((progress.phase, *whole, progress.detail))
    yield _joined((progress.phase, *whole))
    yield _joined(whole)
    yield _joined((count, speed, left))
    if progress.unit.name == progress.unit.rate_name:
        speed = speed.replace(f" {progress.unit.rate_name}", "")
    yield _joined((count, speed, left))
    yield _joined((count, left))
    yield count


def _joined(parts: Iterable[str]) -> str:
    return _GAP.join(filter(None, parts))


def _bar(share: float | None, room: int, *, ascii_only: bool) -> Text:
    if share is None:
        return Text()
    # Of one length during a run: a bar that jumps to and fro is hard to read.
    width = min(_LONGEST_BAR, max(_SHORTEST_BAR, room // 7))
    full = int(width * share)
    done, rest = "#." if ascii_only else "━─"
    return Text.assemble((done * full, "cyan"), (rest * (width - full), "dim"), " ")
