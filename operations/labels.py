"""Adds outcomes to the ledger, and what is new among them to the training data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import declared
from operations import joining, ledger, outcomes, requests, training_files
from operations.joining import Ints, Status
from operations.ledger import About, Entry, Ledger
from operations.outcomes import EVENT_TIME, LABEL_TIME, LINE, Roles
from operations.requests import (
    PREDICTION,
    REQUEST_ID,
    ROW,
    SCORES,
    TIME,
    VERSION,
    Log,
)
from operations.settings import Joining
from operations.training_files import Place
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion import digests
from pipeline.ingestion.columns import Kinds, kinds_of_schema
from pipeline.trust import schema_review

DIRECTORY = "labels"
"""Directory of the ledger, next to the request log's segments."""
ORPHANS = "earlier orphans"
"""Source of rows that had no request when they were added, and have one now."""

_DIGITS = 12


@dataclass(frozen=True)
class Job:
    """How outcomes are joined.

    Attributes:
        place: The training data.
        roles: Which columns of the file are no values of the training data.
        window: How long after its prediction a label counts.
        time_column: Column of the training data that gets the time of the request, in
            seconds since 1970; empty for none.
    """

    place: Place
    roles: Roles
    window: timedelta
    time_column: str = ""


@dataclass(frozen=True)
class Added:
    """The result of adding a file.

    Attributes:
        before: The entry of the file, if it was added earlier: nothing is added again.
        entries: The new entries: of the file, and of earlier orphans.
    """

    before: Entry | None
    entries: tuple[Entry, ...]


def job_of(joining: Joining, place: Place) -> Job:
    """Returns the job that joins outcomes to become training data of a place."""
    roles = Roles(joining.key, joining.time, joining.label_time)
    return Job(place, roles, timedelta(days=joining.window_days), joining.time_column)


def ledger_of(config: Config) -> Ledger:
    """Returns the ledger of a model's labels."""
    return Ledger(requests.directory_of(config) / DIRECTORY)


def add(config: Config, file: Path | None, job: Job, now: datetime) -> Added:
    """Joins an outcome file to the request log; joined rows become a new span.

    Outcomes that had no request when they were added are tried again, as long as the
    label window lasts. Adding the same contents again changes nothing. A process that
    is killed leaves a pending file, which the next call completes.

    Args:
        config: Names the model, its request log and the reviewed schema.
        file: The outcomes; `None` to try the earlier orphans only.
        job: How they are joined.
        now: The time for outcomes that don't say when they became known.

    Raises:
        UsageError: There is no such file, it lacks a column, or another process is
            adding labels.
        DataRefusedError: The file can't be read, or a row of it doesn't fit.
    """
    if file and not file.is_file():
        raise UsageError(f"there is no file {file}; give a file of outcomes")
    schema = schema_review.read(config.schema)
    kinds = kinds_of_schema(schema)
    book = ledger_of(config)
    with book.held():
        done = complete(book, job.place)
        log = Log(requests.directory_of(config))
        log.close()
        form = training_files.form_of(job.place, schema)
        join = _Join(book, log, job, kinds, form, now)
        digest = digests.sha256_of([file])[file][:_DIGITS] if file else ""
        before = book.find(digest) if file else None
        if file and not before:
            found = outcomes.read(file, kinds, job.roles, job.place.encoding)
            done += join.added(found, str(file.absolute()), digest)
        done += join.retried()
    return Added(before, tuple(done))


def complete(book: Ledger, place: Place) -> list[Entry]:
    """Writes the rows of pending files to the training data, and commits them.

    Args:
        book: The ledger; the caller holds it.
        place: Pattern and encoding of the training data.
    """
    pending = [entry for entry in book.entries() if entry.is_pending]
    return [book.commit(_written(book, entry, place)) for entry in pending]


def _written(book: Ledger, entry: Entry, place: Place) -> Entry:
    about = entry.about
    own = replace(place, directory=Path(about.data))
    # If it is there, the kill came after the rename that made it appear.
    if not about.joined or (own.directory / about.path).exists():
        return entry
    if any(span.number == about.span for span in own.spans()):
        # Someone else has delivered a span of this number since it was chosen.
        about = _numbered(about, own, "".join(Path(about.path).suffixes))
        entry = book.replaced(entry, about)
    training_files.write(own, about.path, _training_rows(entry.read()))
    return entry


def _training_rows(table: pa.Table) -> pa.Table:
    kept = table.filter(pc.equal(table[ledger.STATUS], Status.JOINED.value))
    kept = kept.sort_by(ledger.SPAN_ROW)
    names = [name for name in table.column_names if name.startswith(ledger.DATA)]
    plain = [name.removeprefix(ledger.DATA) for name in names]
    return kept.select(names).rename_columns(plain)


def _numbered(about: About, place: Place, ending: str) -> About:
    """Gives joined rows the number after that of the newest span."""
    number = place.next_span(datetime.fromisoformat(about.added).date())
    name = place.name_for(number, f"labels-{about.digest}", ending)
    directory = str(place.directory.absolute())
    return replace(about, data=directory, span=number, path=name)


@dataclass(frozen=True)
class _Join:
    """What joins outcomes; the ledger is held by the caller."""

    book: Ledger
    log: Log
    job: Job
    kinds: Kinds
    form: training_files.Form
    now: datetime

    def added(self, found: pa.Table, source: str, digest: str) -> list[Entry]:
        """Adds the outcomes of a file to the ledger."""
        return self._entered(self._judged(found), source, digest, self._notes(found))

    def retried(self) -> list[Entry]:
        """Adds those earlier orphans that have a request by now."""
        found = self._orphans()
        if not found.num_rows:
            return []
        judged = self._judged(found)
        # The others are in the ledger already.
        joined = judged.filter(pc.equal(judged[ledger.STATUS], Status.JOINED.value))
        if not joined.num_rows:
            return []
        ids = repr(joined.select([REQUEST_ID, ROW]).to_pydict()).encode()
        digest = hashlib.sha256(ids).hexdigest()[:_DIGITS]
        return self._entered(joined, ORPHANS, digest, ())

    def _entered(
        self, judged: pa.Table, source: str, digest: str, notes: tuple[str, ...]
    ) -> list[Entry]:
        about = About(
            source=source,
            digest=digest,
            added=self.now.isoformat(timespec="seconds"),
            counts=_counts(judged),
            notes=notes,
        )
        if about.joined:
            about = _numbered(about, self.job.place, self.form.ending)
        self.book.write_pending(judged, about)
        return complete(self.book, self.job.place)

    def _orphans(self) -> pa.Table:
        keys = self.job.roles.keys
        values = [f"{ledger.VALUE}{n}" for n in (*keys, *outcomes.label_columns())]
        named = [EVENT_TIME] if keys else [REQUEST_ID, ROW]
        names = [LINE, *named, LABEL_TIME, *values]
        parts = [
            batch
            for entry in self.book.entries()
            if self.now - datetime.fromisoformat(entry.about.added) <= self.job.window
            for batch in self.book.rows_of(
                entry, [Status.ORPHANED], [*names, *self._more(entry, values)]
            )
        ]
        tables = [pa.Table.from_batches([batch]) for batch in parts]
        if not tables:
            return pa.table({LINE: pa.array([], pa.int64())})
        table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        # A row of a file that was joined the other way has no id, or none of the keys.
        needed = [*named, *(f"{ledger.VALUE}{name}" for name in keys)]
        for name in needed:
            table = table.filter(pc.is_valid(table[name]))
        return table.rename_columns(
            [name.removeprefix(ledger.VALUE) for name in table.column_names]
        )

    def _more(self, entry: Entry, values: Sequence[str]) -> list[str]:
        """Returns the other columns of the training data that an entry has."""
        wanted = (f"{ledger.VALUE}{name}" for name in self.form.names)
        there = set(entry.names())
        return [name for name in wanted if name in there and name not in values]

    def _judged(self, found: pa.Table) -> pa.Table:
        """Returns the outcomes as the ledger has them."""
        asked = self._requests(found)
        keys = self.job.roles.keys
        match = (
            joining.match_by_key(found, asked, keys, self.job.window)
            if keys
            else joining.match_by_id(found, asked)
        )
        content = outcomes.contents(found)
        status = joining.judge(
            match,
            content,
            (_array(found, LABEL_TIME), _array(asked, TIME)),
            self._known(asked),
            (self.job.window, self.now),
        )
        return self._assembled(found, asked, match, (status, content))

    def _requests(self, found: pa.Table) -> pa.Table:
        """Reads the requests that outcomes may be about; no others stay in memory."""
        keys, since, until = self.job.roles.keys, None, None
        if keys:
            limits = pc.min_max(found[EVENT_TIME]).as_py()
            since = limits["min"] - self.job.window
            until = limits["max"] + timedelta(microseconds=1)
        name = keys[0] if keys else REQUEST_ID
        values = pc.unique(found[name])
        if not keys:
            since, until = self._period(values)
            if since is None:
                return requests.no_rows(self._feature_kinds())
        kinds = self._feature_kinds()
        parts = [
            batch.filter(pc.is_in(batch.column(name), values))
            for batch in self.log.batches(kinds, since, until)
        ]
        if not parts:
            return requests.no_rows(kinds)
        return pa.Table.from_batches(parts).sort_by(TIME).combine_chunks()

    def _feature_kinds(self) -> Kinds:
        return {n: self.kinds[n] for n in declared.RAW_COLUMNS if n in self.kinds}

    def _period(self, ids: pa.Array) -> tuple[datetime | None, datetime | None]:
        """Finds when requests of some ids were, so that others' features aren't read.

        A day's outcomes are about few days of a log of months.
        """
        first = last = None
        for batch in self.log.batches({}, fixed=(REQUEST_ID, TIME)):
            there = pc.is_in(batch.column(REQUEST_ID), ids)
            limits = pc.min_max(batch.column(TIME).filter(there)).as_py()
            if limits["min"] is not None:
                first = min(first or limits["min"], limits["min"])
                last = max(last or limits["max"], limits["max"])
        return first, last and last + timedelta(microseconds=1)

    def _known(self, asked: pa.Table) -> tuple[Ints, pa.Array]:
        """Finds the labels that requests have; see `joining.judge`."""
        ids = pc.unique(asked[REQUEST_ID])
        names = [REQUEST_ID, ROW, ledger.CONTENT]
        parts = [
            batch.filter(pc.is_in(batch.column(REQUEST_ID), ids))
            for batch in self.book.rows([Status.JOINED], names)
        ]
        schema = pa.schema([(name, ledger.FIXED[name]) for name in names])
        table = pa.Table.from_batches([p.cast(schema) for p in parts], schema)
        return joining.match_by_id(table, asked), _array(table, ledger.CONTENT)

    def _assembled(
        self,
        found: pa.Table,
        asked: pa.Table,
        match: Ints,
        judged: tuple[np.ndarray, pa.Array],
    ) -> pa.Table:
        status, content = judged
        place = pa.array(match, mask=match == joining.NO_REQUEST)
        joined = status == Status.JOINED.value
        number = np.cumsum(joined) - 1
        rows = found.num_rows
        by_id = REQUEST_ID in found.column_names
        made: dict[str, pa.Array] = {
            ledger.STATUS: pa.array(status, pa.string()),
            # An orphan's id is that of its own file, since no request has it.
            REQUEST_ID: _array(found, REQUEST_ID)
            if by_id
            else _array(asked, REQUEST_ID).take(place),
            ROW: _array(found, ROW) if by_id else _array(asked, ROW).take(place),
            ledger.REQUEST_TIME: _array(asked, TIME).take(place),
            VERSION: _array(asked, VERSION).take(place),
            PREDICTION: _array(asked, PREDICTION).take(place),
            SCORES: _array(asked, SCORES).take(place),
            LINE: _array(found, LINE),
            LABEL_TIME: _array(found, LABEL_TIME),
            EVENT_TIME: _array(found, EVENT_TIME)
            if not by_id
            else pa.nulls(rows, requests.TIME_TYPE),
            ledger.SPAN_ROW: pa.array(number, pa.int64(), mask=~joined),
            ledger.CONTENT: content,
        }
        for name in found.column_names:
            if name not in ledger.FIXED:
                made[f"{ledger.VALUE}{name}"] = _array(found, name)
        only_joined = pa.array(np.where(joined, match, 0), mask=~joined)
        mine = pa.array(np.arange(rows), mask=~joined)
        for name in self.form.names:
            values = self._training_column(name, found, asked, (mine, only_joined))
            made[f"{ledger.DATA}{name}"] = values
        return pa.table(made)

    def _training_column(
        self,
        name: str,
        found: pa.Table,
        asked: pa.Table,
        places: tuple[pa.Array, pa.Array],
    ) -> pa.Array:
        """Returns a column of the training data; null in rows that aren't joined."""
        mine, theirs = places
        kind = requests.TYPES[self.kinds.get(name, "BYTES")]
        # The model must learn from what it was asked, so the request's value counts.
        if name in declared.RAW_COLUMNS and name in asked.column_names:
            return _array(asked, name).take(theirs)
        if name in found.column_names and name not in ledger.FIXED:
            return _array(found, name).take(mine)
        if name == self.job.time_column:
            micros = _array(asked, TIME).take(theirs).cast(pa.int64())
            return pc.divide(micros, 1_000_000).cast(kind)
        return pa.nulls(len(mine), kind)

    def _notes(self, found: pa.Table) -> tuple[str, ...]:
        """Reports columns that are not used, and columns that stay empty."""
        there = set(found.column_names)
        asked = [
            name
            for name in self.form.names
            if name in there & set(declared.RAW_COLUMNS)
            and name not in self.job.roles.keys
        ]
        known = there | {*declared.RAW_COLUMNS, self.job.time_column}
        empty = [name for name in self.form.names if name not in known]
        said = {
            "taken from the requests, not from the file": asked,
            "left empty in the training data": empty,
        }
        return tuple(
            f"{', '.join(names)}: {why}" for why, names in said.items() if names
        )


def _array(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _counts(table: pa.Table) -> dict[str, int]:
    counted = pc.value_counts(_array(table, ledger.STATUS)).to_pylist()
    found = {each["values"]: each["counts"] for each in counted}
    return {status.value: found.get(status.value, 0) for status in Status}
