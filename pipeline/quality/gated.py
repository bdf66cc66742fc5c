"""Sums of a candidate's and its rivals' scores, by the slices that rules are about."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.declarations import Group
from models.groups import GROUPS
from pipeline.quality import gates
from pipeline.quality.aggregates import Partial, Scored, tabled
from pipeline.quality.comparisons import Comparison, Paired
from pipeline.quality.gates import Judged, Settings
from pipeline.quality.slices import Members, Spec, Values, members


@dataclass(frozen=True)
class Gated:
    """The rules and the models that they compare; small and picklable.

    Attributes:
        settings: The rules, as JSON of `gates.Settings`.
        thresholds: Decision threshold of the candidate and of each rival.
        rivals: Names of the rivals: `gates.LIVE` and `gates.BEST`, in this order, as
            far as there are any.
        best: Directory of the best recent live model, if it is a rival.
    """

    settings: str
    thresholds: tuple[float, ...]
    rivals: tuple[str, ...] = ()
    best: str = ""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """One per rival, or one of the candidate with itself."""
        first, *others = self.thresholds
        settings = _settings(self.settings)
        return tuple(settings.comparison((first, other)) for other in others or [first])

    @property
    def kinds(self) -> tuple[Paired, ...]:
        """The kinds of sums, those of the first rival first."""
        return tuple(kind for each in self.comparisons for kind in each.kinds)

    def summed(self, batch: pa.RecordBatch, scored: Sequence[Scored]) -> Partial:
        """Sums a batch.

        Args:
            batch: List columns.
            scored: The candidate's scores, and those of each rival.
        """
        settings = _settings(self.settings)
        specs = [Spec(by) for by in settings.columns]
        names = {name for by in settings.columns for name in by}
        columns = {
            name: values
            for name in sorted(names)
            for values in [_values(batch, name)]
            if values is not None
        }
        inside = members(specs, columns, batch.num_rows)
        candidate, *others = scored
        # Rows of weight 0 are in no metric, and would be cells without rows.
        counted = candidate.weights[inside.rows] > 0
        known = Members(inside.keys, inside.slices[counted], inside.rows[counted])
        tables = tuple(
            tabled(kind.width, kind.quantities(candidate, other), known)
            for each, other in zip(self.comparisons, others or [candidate], strict=True)
            for kind in each.kinds
        )
        return Partial(inside.keys, tables, rows=batch.num_rows)

    def judge(self, total: Partial) -> Judged:
        """Judges the candidate by the sums of all rows."""
        rivals = self.rivals or (gates.ITSELF,)
        return gates.judge(_settings(self.settings), total, rivals)


@functools.lru_cache(maxsize=4)
def _settings(text: str) -> Settings:
    return Settings.from_json(text)


def _values(batch: pa.RecordBatch, name: str) -> Values | None:
    """Returns the values of a column or grouping; None if the data has no such one."""
    group = next((group for group in GROUPS if group.name == name), None)
    column = group.column if group else name
    if column not in batch.schema.names:
        return None
    values = Values.of(batch.column(column))
    return grouped(values, group) if group else values


def grouped(values: Values, group: Group) -> Values:
    """Replaces a column's values by the groups that they are in."""
    names = list(group.values)
    code = {value: at for at, name in enumerate(names) for value in group.values[name]}
    texts = [
        v.decode(errors="replace") if isinstance(v, bytes) else v
        for v in values.vocabulary
    ]
    codes = np.array([code.get(text, -1) for text in texts], np.int64)[values.codes]
    inside = codes >= 0
    # A row of several values may be in one group twice.
    pairs = np.unique(values.rows[inside] * len(names) + codes[inside])
    return Values(pairs // len(names), pairs % len(names), names)
