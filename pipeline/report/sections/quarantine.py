"""The quarantined rows: counts, reasons, and the first rows."""

import itertools
from collections.abc import Iterator

from pipeline.artifacts import Run
from pipeline.columnar import files
from pipeline.ingestion.quarantine import COUNTS_FILE, Tally, read_rows, read_tally
from pipeline.report.blocks import Block, Facts, Note, Section, Table
from pipeline.store.artifact_files import location

# A report is a file to send to others, and the rows may be many and long.
_SHOWN = 20
_LONGEST_TEXT = 200


def section(run: Run) -> Section | None:
    """Shows how many rows were read, written and quarantined, and why."""
    place = location(run.artifact("Quarantine").uri) if run.has("Quarantine") else None
    if place is None or not files.exists(files.join(place, COUNTS_FILE)):
        return None
    return Section("Quarantine", list(_blocks(place, read_tally(place))))


def _blocks(directory: str, tally: Tally) -> Iterator[Block]:
    count = tally.quarantined.total()
    if not count:
        # Said explicitly: a missing section could also mean a pipeline without a
        # quarantine.
        yield Note(f"All {tally.rows:,} rows that were read fit.", "good")
        return
    yield Note(
        f"{count:,} of {tally.rows:,} rows don't fit and are in quarantine.", "warn"
    )
    yield Facts(
        {
            "rows read": tally.rows,
            **{f"rows in {name}": rows for name, rows in tally.written.items()},
            "rows in quarantine": count,
            "share of the rows, %": 100 * tally.share,
        }
    )
    yield Table(
        ["what is wrong", "rows"],
        [[reason, rows] for reason, rows in tally.reasons.most_common()],
    )
    yield Table(
        ["file", "line", "column", "reason", "text"],
        [
            [
                row["file"],
                row["line"],
                row["column"],
                row["reason"],
                row["text"][:_LONGEST_TEXT],
            ]
            for row in itertools.islice(read_rows(directory), _SHOWN)
        ],
        caption=f"The first of them; all are in {directory}",
    )
