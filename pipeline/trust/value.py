"""A feature's mutual information with the label, and redundancy with others.

Values are put into bins, and everything follows from how often two bins come together:
no model is trained, and any kind of label will do. Estimates of a mutual information
from few rows are too high, so they are corrected by Miller and Madow (1955), as the
search for leaks is (`pipeline.trust.whole`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columnar import lists

BINS = 20
"""Bins with equal numbers of rows that numbers are put into."""

TEXTS = 50
"""Texts that are told apart, the most frequent ones."""

_LABEL_BINS = 10

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """What a feature is worth, as far as single features and pairs show it.

    Attributes:
        information: Mutual information with the label, in bits.
        explained: The same as a share of the label's entropy, 0 to 1.
        missing: Share of the rows without a value, 0 to 1.
        redundancy: Share of the feature's own entropy that another feature has, 0 to 1.
        redundant_with: Name of that feature; empty if there is no other.
    """

    information: float
    explained: float
    missing: float
    redundancy: float
    redundant_with: str


def values(
    batch: pa.RecordBatch, columns: Sequence[str], labels: npt.NDArray[np.float64]
) -> dict[str, Value]:
    """Describes features from a sample of rows.

    Args:
        batch: The rows, of scalar or list columns; of a list, the first value counts.
        columns: Names of the features.
        labels: The label of each row, NaN where it is unknown.
    """
    cells = {name: lists.unwrap(batch.column(name)) for name in columns}
    codes = {name: _codes(cell) for name, cell in cells.items()}
    known = np.isfinite(labels)
    label = _label_codes(labels[known])
    whole = _entropy(np.bincount(label)) if known.any() else 0.0
    found: dict[str, Value] = {}
    for name in columns:
        information = mutual_information(codes[name][known], label)
        share, other = _redundancy(name, codes)
        found[name] = Value(
            information,
            min(1.0, information / whole) if whole else 0.0,
            cells[name].null_count / max(1, len(cells[name])),
            share,
            other,
        )
    return found


def mutual_information(one: Codes, other: Codes) -> float:
    """Returns the mutual information of two codes in bits, corrected, at least 0.

    Args:
        one: int64 [rows], from 0 on.
        other: int64 [rows], from 0 on.
    """
    if not len(one):
        return 0.0
    width = int(other.max()) + 1
    both = np.bincount(one * width + other)
    first, second = np.bincount(one), np.bincount(other)
    raw = _entropy(first) + _entropy(second) - _entropy(both)
    # Of each entropy (outcomes - 1) / (2 rows ln 2) is missing on average.
    outcomes = [int((counts > 0).sum()) - 1 for counts in (first, second, both)]
    missing = (outcomes[0] + outcomes[1] - outcomes[2]) / (2 * len(one) * np.log(2))
    return max(0.0, float(raw + missing))


def _redundancy(name: str, codes: Mapping[str, Codes]) -> tuple[float, str]:
    """Returns the largest share of a feature's entropy that another one has."""
    own = _entropy(np.bincount(codes[name])) if len(codes[name]) else 0.0
    if not own:
        return 0.0, ""
    shares = {
        other: min(1.0, mutual_information(codes[name], theirs) / own)
        for other, theirs in codes.items()
        if other != name
    }
    most = max(shares, key=lambda other: shares[other], default="")
    return shares.get(most, 0.0), most


def _codes(column: pa.Array) -> Codes:
    """Puts the values of a column into bins; missing ones have a bin of their own."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    if pa.types.is_large_binary(lists.item_type(column.type)):
        return _text_codes(column)
    numbers = np.asarray(
        pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    )
    return _number_codes(numbers, BINS)


def _text_codes(column: pa.Array) -> Codes:
    encoded = column.dictionary_encode()
    places = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
    counts = np.bincount(places[places >= 0], minlength=len(encoded.dictionary))
    order = np.argsort(-counts, kind="stable")[:TEXTS]
    # 0 is missing, 1 is any of the rare ones.
    code = np.ones(len(counts) + 1, np.int64)
    code[order] = np.arange(len(order)) + 2
    code[-1] = 0
    return code[places]


def _number_codes(numbers: npt.NDArray[np.float64], bins: int) -> Codes:
    known = np.isfinite(numbers)
    if not known.any():
        return np.zeros(len(numbers), np.int64)
    wanted = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(numbers[known], wanted, method="lower"))
    place = np.searchsorted(edges, numbers, side="right") + 1
    return np.where(known, place, 0).astype(np.int64)


def _label_codes(labels: npt.NDArray[np.float64]) -> Codes:
    """Returns a code for each class; of a label of many values, for its tenths."""
    distinct, codes = np.unique(labels, return_inverse=True)
    if len(distinct) <= TEXTS:
        return codes.astype(np.int64)
    return _number_codes(labels, _LABEL_BINS)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
