"""Reads the request log in the types of the training data; missing is null.

`serving.request_log` has the columns and the files; this reads bounded batches of them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from models.declarations import MISSING_TEXT
from models.declared import missing_integers
from pipeline.columnar.lists import is_list
from pipeline.config import Config
from pipeline.errors import ThroughlineError
from pipeline.ingestion import columns
from pipeline.ingestion.columns import Kind, Kinds
from serving import request_log
from serving.request_log import (
    LATENCY,
    PREDICTION,
    REQUEST_ID,
    ROW,
    SCORES,
    STATUS,
    THRESHOLD,
    TIME,
    VERSION,
)

__all__ = (
    "LATENCY",
    "PREDICTION",
    "REQUEST_ID",
    "ROW",
    "SCORES",
    "STATUS",
    "THRESHOLD",
    "TIME",
    "TIME_TYPE",
    "VERSION",
    "Log",
)

TIME_TYPE = request_log.schema({}).field(TIME).type
TYPES: Mapping[Kind, pa.DataType] = {
    "INT": pa.int64(),
    "FLOAT": pa.float32(),
    "BYTES": pa.binary(),
}
"""Arrow types of features."""

_NAMES = (REQUEST_ID, ROW, TIME, VERSION, PREDICTION, SCORES, LATENCY, STATUS)
FIXED: Mapping[str, pa.DataType] = {
    name: request_log.schema({}).field(name).type for name in _NAMES
}
"""The other columns that are read, with their types."""
_MORE = (SCORES, THRESHOLD)
_TYPES: Mapping[str, pa.DataType] = {
    **FIXED,
    **{name: request_log.schema({}).field(name).type for name in _MORE},
}


def directory_of(config: Config) -> Path:
    """Returns the directory of a model's request log and labels."""
    return request_log.directory_of(config.output, config.name)


def no_rows(kinds: Kinds) -> pa.Table:
    """Returns a table without rows, with the columns that `Log.batches` yields."""
    types = {**FIXED, **{name: TYPES[kind] for name, kind in kinds.items()}}
    return pa.schema(list(types.items())).empty_table()


@dataclass(frozen=True)
class Log:
    """A request log.

    Attributes:
        directory: The directory that `directory_of` returns.
    """

    directory: Path

    @property
    def shadow(self) -> "Log":
        """The log of shadow answers, which has no features."""
        return Log(self.directory / request_log.SHADOW)

    def close(self) -> None:
        """Converts journals of servers that have exited to segments, shadows' too."""
        request_log.close_journals(self.directory)
        request_log.close_journals(self.shadow.directory)

    def batches(
        self,
        kinds: Kinds,
        since: datetime | None = None,
        until: datetime | None = None,
        fixed: Collection[str] = tuple(FIXED),
        *,
        failed: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Reads rows in bounded batches; memory does not depend on the log's size.

        Args:
            kinds: Types of the features to read, by name. A value that doesn't fit its
                type, and one that stands for "missing", is null.
            since: Rows from this time on.
            until: Rows before this time.
            fixed: The other columns to read, of `FIXED`, `SCORES` and `THRESHOLD`.
            failed: Whether to read failed requests too, as a row without features.

        Yields:
            The fixed columns, and each feature under its own name; null where the log
            lacks the column.

        Raises:
            ThroughlineError: A segment is damaged; the message names it.
        """
        there = self._columns(since, until)
        names = [*fixed, *(f"{request_log.FEATURE_PREFIX}{name}" for name in kinds)]
        wanted = [name for name in names if name in there]
        try:
            for batch in request_log.read(
                self.directory, since, until, columns=wanted, failed=failed
            ):
                if batch.num_rows:
                    yield _typed(batch, list(fixed), kinds)
        except (pa.ArrowInvalid, OSError) as error:
            raise ThroughlineError(
                f"A segment of the request log can't be read: {_line(error)}; move it "
                f"out of {self.directory}, which loses its rows"
            ) from error

    def _columns(self, since: datetime | None, until: datetime | None) -> set[str]:
        """Returns the names of all columns of a period's segments."""
        found: set[str] = set()
        for path in request_log.segments(self.directory, since, until):
            try:
                found.update(parquet.read_schema(path).names)
            except (pa.ArrowInvalid, OSError) as error:
                raise ThroughlineError(
                    f"{path} is damaged: {_line(error)}; move it out of the request "
                    "log, which loses its rows"
                ) from error
        return found


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _typed(
    batch: pa.RecordBatch, fixed: Collection[str], kinds: Kinds
) -> pa.RecordBatch:
    rows, there = batch.num_rows, batch.schema.names
    arrays = [batch.column(name).cast(_TYPES[name]) for name in fixed]
    for name, kind in kinds.items():
        column = f"{request_log.FEATURE_PREFIX}{name}"
        values = batch.column(column) if column in there else pa.nulls(rows)
        arrays.append(as_kind(values, kind, name))
    return pa.RecordBatch.from_arrays(arrays, [*fixed, *kinds])


def as_kind(column: pa.Array, kind: Kind, name: str) -> pa.Array:
    """Converts received values to what ingestion would have made of them.

    Training data is compared with them: a price of 12.05 must not be another number
    because it was rounded to 32 bits there.

    Args:
        column: Values as they were received, one per row.
        kind: Type of the feature.
        name: Name of the feature, which decides what stands for "missing".

    Returns:
        int64, float32 or binary; null where a value is missing, stands for "missing"
        or doesn't fit.
    """
    values, wrong = columns.converted(columns.plain(column), kind)
    unfit = np.zeros(len(values), bool)
    unfit[list(wrong)] = True
    # In a list nothing stands for "missing": a row without values has an empty one.
    if not is_list(values.type):
        unfit |= _stands_for_missing(values, kind, name)
    return pc.if_else(pa.array(~unfit), values, None) if unfit.any() else values


def _stands_for_missing(values: pa.Array, kind: Kind, name: str) -> np.ndarray:
    if pa.types.is_floating(values.type):
        return np.asarray(pc.fill_null(pc.is_nan(values), fill_value=False))
    missing: tuple[object, ...] = missing_integers(name)
    if kind == "BYTES":
        missing = (MISSING_TEXT.encode(),)
    return np.asarray(pc.is_in(values, pa.array(missing, values.type)))
