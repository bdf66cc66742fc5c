"""Reports added labels, and records them in the metadata store for lineage.

Each entry of the ledger becomes an execution `throughline.LabelJoin` that writes an
artifact `LabelledRequests`: the ledger file, with the span that its rows became. Names
are unique in the store, so recording twice, or from two processes, has no effect.
"""

import sys
from collections.abc import Iterator

from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations.joining import Status
from operations.ledger import Entry, Ledger
from pipeline.config import Config
from pipeline.errors import ThroughlineError, cause_of, printable
from pipeline.store import properties, records
from pipeline.store.connection import existing_store

EXECUTION_TYPE = "throughline.LabelJoin"


def lines(entry: Entry) -> Iterator[str]:
    """Yields the lines that report an entry to the user."""
    about = entry.about
    counts = [f"{about.counts[s]:,} {s}" for s in Status if about.counts.get(s)]
    total = sum(about.counts.values())
    yield f"{about.source}: {total:,} outcomes: {', '.join(counts)}"
    if about.joined:
        yield f"span {about.span}: {about.joined:,} rows in {about.data}/{about.path}"
    else:
        yield "no row to learn from, so there is no new span"
    yield from about.notes
    yield f"ledger {entry.path}"


def record(store: MetadataStore, pipeline: str, book: Ledger) -> int:
    """Records the entries that the store doesn't have yet.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        book: The ledger.

    Returns:
        The number of entries recorded.
    """
    known = records.names_of(store, EXECUTION_TYPE)
    missing = [
        entry
        for entry in book.entries()
        if not entry.is_pending and _name(pipeline, entry) not in known
    ]
    for entry in missing:
        about = entry.about
        values: dict[str, str | int] = {
            properties.SPAN: about.span,
            properties.LABELS_FILE: about.path,
            "source": about.source,
            "added": about.added,
            **about.counts,
        }
        records.put(
            store,
            pipeline,
            records.Record(
                EXECUTION_TYPE,
                _name(pipeline, entry),
                values,
                output=("labels", properties.LABELS_TYPE, str(entry.path)),
                output_values=values,
            ),
        )
    return len(missing)


def record_if_possible(config: Config, book: Ledger) -> None:
    """Records entries; if the store can't be reached, the next call does so.

    What is not recorded is printed on standard error.
    """
    try:
        store = MetadataStore(existing_store(config.metadata_url))
        record(store, config.name, book)
    except (ThroughlineError, errors.StatusError, OSError) as error:
        sys.stderr.write(
            printable(
                "throughline: the labels are joined, and not yet recorded in the "
                f"metadata store; the next `labels add` does it. {cause_of(error)}\n"
            )
        )


def _name(pipeline: str, entry: Entry) -> str:
    return f"{pipeline}/labels/{entry.number:06d}-{entry.about.digest}"
