"""Progress in a line: as much as fits, and never more."""

import pytest

from pipeline.columnar.progress import Progress, Unit
from pipeline.runners.local.progress_text import fitted

ANALYSIS = Progress(
    done=198_612,
    total=300_000,
    rate=152_311,
    phase="analysis",
    detail="loss 0.300",
    seconds_left=2,
)
TRAINING = Progress(
    done=600,
    total=1_000,
    rate=40_123,
    unit=Unit("steps", "examples", 200),
    detail="loss 0.300, eval AUC 0.940",
    seconds_left=2,
)
IN_FULL = "analysis  198,612 of 300,000 rows  66 %  152,000 rows/s  2 s left"


@pytest.mark.parametrize(
    ("report", "room", "line"),
    [
        (ANALYSIS, 106, f"━━━━━━━━━────── {IN_FULL}  loss 0.300"),
        (ANALYSIS, 85, f"━━━━━━━───── {IN_FULL}"),
        # In 80 columns, beside the longest of the usual names.
        (ANALYSIS, 46, "━━━─── 198,612 rows  152,000 rows/s  2 s left"),
        (ANALYSIS, 42, "━━━─── 198,612 rows  152,000/s  2 s left"),
        (ANALYSIS, 30, "━━━─── 198,612 rows  2 s left"),
        (ANALYSIS, 15, "198,612 rows"),
        (TRAINING, 46, "━━━─── 600 steps  40,100 examples/s  2 s left"),
        (Progress(198_612, rate=99.7), 46, "198,612 rows  100 rows/s"),
    ],
)
def test_what_matters_least_is_left_out_first(
    report: Progress, room: int, line: str
) -> None:
    """Count, rate and time left stay in 80 columns; 140 have room for everything."""
    assert fitted(report, room).plain == line


@pytest.mark.parametrize("report", [ANALYSIS, TRAINING])
def test_nothing_is_wider_than_its_room(report: Progress) -> None:
    """From a narrow terminal to a wide one, a line fits."""
    rooms = range(12, 160)

    assert [room for room in rooms if fitted(report, room).cell_len > room] == []


@pytest.mark.parametrize(("done", "full"), [(0, 0), (150, 10), (299, 19), (300, 20)])
def test_bar_is_full_when_all_is_done(done: int, full: int) -> None:
    """The bar keeps its length, and its last step is the last row."""
    bar = fitted(Progress(done, 300), 140).plain.partition(" ")[0]

    assert bar == "━" * full + "─" * (20 - full)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """A bar that came out as question marks would say nothing."""
    line = fitted(ANALYSIS, 30, ascii_only=True).plain

    assert line == "###... 198,612 rows  2 s left"
