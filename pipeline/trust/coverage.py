"""Which conditions training covers: cells of chosen crosses of columns.

A cell is one value of each column of a cross, such as 3 o'clock in area 8. A model is
asked about cells that it has hardly or never been trained on, and averages don't show
it. Counted are rows by cell and split, in bounded space, batch by batch.
"""

import functools
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipeline.columnar import engine, lists, shards
from pipeline.columnar.engine import Runner
from pipeline.columnar.shards import Shard
from pipeline.trust.checks import Check, Severity
from pipeline.trust.policy import Finding, Policy, Value, one_line, table

CELLS = 20_000
"""Cells that are counted apart in each cross and split, the most frequent ones."""

SLICES = 20
"""Rare cells that become slices of the evaluation, those with most rows first."""

MISSING = "(missing)"
"""Stands for the value of a row that has none."""

_FEWEST_EVALUATED = 5
_SHOWN = 3
_LISTED = 8

Cross = tuple[str, ...]
Cell = tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    """Rows by cell of one cross.

    Attributes:
        rows: Number of rows by cell.
        other: Rows in cells that aren't counted apart.
    """

    rows: Mapping[Cell, int] = field(default_factory=dict)
    other: int = 0

    @property
    def total(self) -> int:
        """Number of rows."""
        return sum(self.rows.values()) + self.other


Counts = Mapping[Cross, Cells]
"""Rows by cell of each cross."""


@dataclass(frozen=True)
class Coverage:
    """How well training covers the cells of a cross.

    Attributes:
        cross: The columns.
        covered: Number of cells that training has enough rows of.
        barely: Cells with fewer, each with its rows in training and elsewhere.
        never: Cells that appear elsewhere and never in training, with their rows.
        asked: Number of rows elsewhere.
    """

    cross: Cross
    covered: int
    barely: Mapping[Cell, tuple[int, int]]
    never: Mapping[Cell, int]
    asked: int

    @property
    def uncovered(self) -> float:
        """Share of the rows elsewhere in cells that training never has, 0 to 1."""
        return sum(self.never.values()) / self.asked if self.asked else 0.0


def parse(crosses: Iterable[str]) -> tuple[Cross, ...]:
    """Reads crosses of the form "hour*area"; a single column is one, too."""
    return tuple(tuple(cross.split("*")) for cross in crosses)


def name_of(cross: Cross) -> str:
    """Returns a cross as the setting has it."""
    return "*".join(cross)


def count(found: Sequence[Shard], crosses: Sequence[Cross], runner: Runner) -> Counts:
    """Counts the rows of a split by cell.

    Args:
        found: Its shards; crosses with a column that they don't have are left out.
        crosses: Names of columns.
        runner: Who does the work.
    """
    known = set(shards.schema_of(found).names)
    wanted = tuple(cross for cross in crosses if known.issuperset(cross))
    pieces = [piece for piece in shards.split_up(found) if piece.rows]
    counting = functools.partial(_of_piece, wanted)
    total = engine.aggregate(counting, merged, pieces, runner) if wanted else {}
    return total or {cross: Cells() for cross in wanted}


def merged(counts: Sequence[Counts]) -> dict[Cross, Cells]:
    """Returns the rows of several counts together."""
    crosses = dict.fromkeys(cross for each in counts for cross in each)
    found = {}
    for cross in crosses:
        total: Counter[Cell] = Counter()
        parts = [each[cross] for each in counts if cross in each]
        for part in parts:
            total.update(part.rows)
        found[cross] = _bounded(total, sum(part.other for part in parts))
    return found


def to_bytes(splits: Mapping[str, Counts]) -> bytes:
    """Writes counts by split as a Parquet file."""
    rows = [
        (split, json.dumps(cross), json.dumps(cell), number)
        for split, counts in splits.items()
        for cross, cells in counts.items()
        # The rest is a cell without values.
        for cell, number in [*cells.rows.items(), ((), cells.other)]
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA.names)
    sink = io.BytesIO()
    table = pa.table(list(map(list, columns)), schema=_SCHEMA)
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_bytes(written: bytes) -> dict[str, dict[Cross, Cells]]:
    """Reads what `to_bytes` wrote."""
    table = parquet.read_table(io.BytesIO(written))
    cells: dict[tuple[str, Cross], dict[Cell, int]] = {}
    for split, cross, cell, number in zip(
        *(table[name].to_pylist() for name in _SCHEMA.names), strict=True
    ):
        columns = tuple(json.loads(cross))
        cells.setdefault((split, columns), {})[tuple(json.loads(cell))] = number
    found: dict[str, dict[Cross, Cells]] = {}
    for (split, cross), rows in cells.items():
        other = rows.pop((), 0)
        found.setdefault(split, {})[cross] = Cells(rows, other)
    return found


def coverage(train: Counts, elsewhere: Counts, min_rows: int) -> dict[Cross, Coverage]:
    """Compares the cells that a model is asked about with those that it learned from.

    Args:
        train: Rows of the training split.
        elsewhere: Rows of evaluation or serving.
        min_rows: Cells with fewer rows in training are barely covered.
    """
    found = {}
    for cross, learned in train.items():
        asked = elsewhere.get(cross, Cells())
        barely = {
            cell: (rows, asked.rows.get(cell, 0))
            for cell, rows in learned.rows.items()
            if rows < min_rows
        }
        # Where rare cells of training weren't kept, nobody knows which are absent.
        never = (
            {}
            if learned.other
            else {c: rows for c, rows in asked.rows.items() if c not in learned.rows}
        )
        covered = len(learned.rows) - len(barely)
        found[cross] = Coverage(cross, covered, barely, never, asked.total)
    return found


def find_uncovered(
    train: Counts, elsewhere: Counts, policy: Policy, *, split: str, against: str = ""
) -> Iterator[Finding | Value]:
    """Measures the rows in cells that training never has.

    Args:
        train: Rows of the training split.
        elsewhere: Other rows.
        policy: Has the largest share of such rows, which counts unless the finding is
            ignored.
        split: Name of the split of the other rows; empty for all.
        against: Name of the baseline that the training rows are of, if it is one.
    """
    limit = policy.max_uncovered
    for cross, found in coverage(train, elsewhere, policy.min_rows_of_cell).items():
        name = name_of(cross)
        share = found.uncovered
        ignored = policy.severity(Check.UNCOVERED_CELLS, name) == Severity.IGNORE
        threshold = None if ignored else limit
        yield Value("uncovered_rows", share, threshold, name, split, against)
        if threshold is not None and share > threshold:
            data = f"the {against} data" if against else "training"
            most = sorted(found.never.items(), key=lambda pair: -pair[1])[:_SHOWN]
            shown = ", ".join(f"{' * '.join(cell)} ({n} rows)" for cell, n in most)
            text = (
                f"{share:.1%} of the rows are in {len(found.never):,} cells that "
                f"{data} never has, such as {shown}; gate.max-uncovered is {limit:.1%}"
            )
            yield Finding(Check.UNCOVERED_CELLS, text, name, split)


def rare_slices(
    train: Counts, evaluated: Counts, min_rows: int
) -> list[dict[str, str]]:
    """Returns the rare cells that the evaluation should have slices of.

    Args:
        train: Rows of the training split.
        evaluated: Rows of the split that models are evaluated on.
        min_rows: Cells with fewer rows in training are rare.

    Returns:
        Values by column of at most `SLICES` cells, those with most evaluated rows
        first. A row without a value is in no slice, and neither are these cells.
    """
    rows: list[tuple[int, Cross, Cell]] = []
    for cross, found in coverage(train, evaluated, min_rows).items():
        asked = {cell: elsewhere for cell, (_, elsewhere) in found.barely.items()}
        rows += [
            (number, cross, cell)
            for cell, number in {**asked, **found.never}.items()
            if number >= _FEWEST_EVALUATED and MISSING not in cell
        ]
    rows.sort(key=lambda each: (-each[0], each[1], each[2]))
    return [dict(zip(cross, cell, strict=True)) for _, cross, cell in rows[:SLICES]]


def lines(splits: Mapping[str, Counts], train: str, min_rows: int) -> Iterator[str]:
    """Formats what `throughline gate coverage` prints.

    Args:
        splits: Rows by cell of each cross, by split.
        train: Name of the training split.
        min_rows: Cells with fewer rows in training are barely covered.
    """
    elsewhere = merged([counts for name, counts in splits.items() if name != train])
    found = coverage(splits.get(train, {}), elsewhere, min_rows)
    for number, each in enumerate(found.values()):
        if number:
            yield ""
        yield (
            f"{name_of(each.cross)}: {each.covered:,} cells covered (at least "
            f"{min_rows} training rows), {len(each.barely):,} barely, "
            f"{len(each.never):,} never, which have {each.uncovered:.2%} of the other "
            f"{each.asked:,} rows"
        )
        asked = {cell: ("never", 0, rows) for cell, rows in each.never.items()}
        asked |= {cell: ("barely", *rows) for cell, rows in each.barely.items()}
        most = sorted(asked.items(), key=lambda pair: (-pair[1][2], pair[0]))
        if most:
            yield from table(
                ("  cell", "", "training rows", "other rows"),
                [
                    (f"  {one_line(' * '.join(cell))}", how, f"{rows:,}", f"{other:,}")
                    for cell, (how, rows, other) in most[:_LISTED]
                ],
            )
        if len(most) > _LISTED:
            yield f"  … and {len(most) - _LISTED:,} more cells with fewer other rows"


_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "cross": pa.string(),
        "cell": pa.string(),
        "rows": pa.int64(),
    }
)


def _of_piece(crosses: Sequence[Cross], piece: Shard) -> dict[Cross, Cells]:
    columns = list(dict.fromkeys(name for cross in crosses for name in cross))
    return merged(
        [
            {cross: _of_batch(batch, cross) for cross in crosses}
            for batch in shards.read_batches(piece, columns=columns)
        ]
    )


def _of_batch(batch: pa.RecordBatch, cross: Cross) -> Cells:
    codes, texts = [], []
    for name in cross:
        encoded = lists.unwrap(batch.column(name)).dictionary_encode()
        known = encoded.dictionary.to_pylist()
        # The last code is that of a missing value.
        codes.append(np.asarray(pc.fill_null(encoded.indices, len(known)), np.int64))
        texts.append([*map(_text, known), MISSING])
    shape = tuple(map(len, texts))
    cells, rows = np.unique(np.ravel_multi_index(codes, shape), return_counts=True)
    places = zip(*np.unravel_index(cells, shape), strict=True)
    named = (
        tuple(values[at] for values, at in zip(texts, place, strict=True))
        for place in places
    )
    return _bounded(Counter(dict(zip(named, rows.tolist(), strict=True))), 0)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bounded(total: Counter[Cell], other: int) -> Cells:
    if len(total) <= CELLS:
        return Cells(dict(sorted(total.items())), other)
    # By rows, then by name, so that the same cells are kept everywhere.
    order = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    dropped = sum(rows for _, rows in order[CELLS:])
    return Cells(dict(sorted(order[:CELLS])), other + dropped)
