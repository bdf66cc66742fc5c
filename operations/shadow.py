"""Answers of an earlier version to the requests that the live one has answered.

Importing this imports TensorFlow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from models import declared
from models.names import PROBABILITY
from operations import ledger
from operations.joining import Status
from operations.ledger import Ledger
from operations.requests import PREDICTION, REQUEST_ID, ROW, VERSION
from operations.windows import Floats
from pipeline.columnar import files
from pipeline.ingestion.columns import Kinds
from pipeline.prediction.raw_model import RawModel
from pipeline.trust import labels

SHADOW = "shadow_prediction"
LABEL = "label"
_MOST_ROWS = 50_000
_REPLICATES = 200
_PERCENTILES = (2.5, 97.5)
_SEED = 20_261_129


@dataclass(frozen=True)
class Shadow:
    """The live version compared with an earlier one on the same labelled requests.

    Attributes:
        rows: Number of requests.
        live: AUC of the live version.
        earlier: AUC of the earlier version.
        low: Lower end of the 95 % interval of live minus earlier.
        high: Upper end.
    """

    rows: int
    live: float
    earlier: float
    low: float
    high: float


@dataclass(frozen=True)
class Asked:
    """What is compared.

    Attributes:
        version: Number of the live version.
        since: First moment of its requests.
        earlier: Directory of the earlier version.
        policy: Which labels count, the name of one of its policies.
    """

    version: int
    since: datetime
    earlier: Path
    policy: str


def compare(book: Ledger, kinds: Kinds, asked: Asked, log: Path) -> Shadow | None:
    """Has an earlier version answer labelled requests of the live one.

    The difference of the two AUCs has a paired bootstrap: each replicate has the same
    requests for both, so what both find hard cancels out.

    Args:
        book: The labels.
        kinds: Types of the training data's columns.
        asked: What is compared.
        log: The Parquet file for both answers, with request ids.

    Returns:
        The comparison; `None` if no AUC can be computed, for want of labels or because
        the label isn't yes or no.
    """
    # What is compared is an AUC.
    if declared.TASK != "binary":
        return None
    model = RawModel(asked.earlier)
    parts = list(_answered(book, kinds, asked, model))
    if not parts:
        return None
    table = pa.Table.from_batches(parts)
    with files.created(log) as stream:
        parquet.write_table(table, stream, compression="zstd")
    table = table.filter(pc.is_valid(table[LABEL]))
    truth, live, earlier = (
        np.asarray(table[name], np.float64) for name in (LABEL, PREDICTION, SHADOW)
    )
    if not truth.any() or truth.all():
        return None
    numbers = np.random.default_rng(_SEED)
    rows = len(truth)
    differences = []
    for _ in range(_REPLICATES):
        weights = numbers.poisson(1, rows).astype(np.float64)
        differences.append(auc(truth, live, weights) - auc(truth, earlier, weights))
    low, high = np.nanpercentile(differences, _PERCENTILES)
    ones = np.ones(rows)
    return Shadow(
        rows, auc(truth, live, ones), auc(truth, earlier, ones), float(low), float(high)
    )


def _answered(
    book: Ledger, kinds: Kinds, asked: Asked, model: RawModel
) -> Iterator[pa.RecordBatch]:
    """Yields ids, both predictions and the label, null where it is unknown."""
    names = [
        name
        for name in dict.fromkeys([*declared.RAW_COLUMNS, *declared.LABEL.read])
        if name in kinds
    ]
    fixed = [REQUEST_ID, ROW, VERSION, ledger.REQUEST_TIME, PREDICTION]
    data = [f"{ledger.DATA}{name}" for name in names]
    since = pa.scalar(asked.since, ledger.FIXED[ledger.REQUEST_TIME])
    left = _MOST_ROWS
    for batch in book.rows([Status.JOINED], [*fixed, *data]):
        mine = pc.and_(
            pc.equal(batch.column(VERSION), asked.version),
            pc.greater_equal(batch.column(ledger.REQUEST_TIME), since),
        )
        kept = batch.filter(pc.and_(mine, pc.is_valid(batch.column(PREDICTION))))
        # Enough for a difference of a thousandth, and the earlier model must answer it.
        kept = kept.slice(0, left)
        left -= kept.num_rows
        if not kept.num_rows:
            continue
        rows = pa.RecordBatch.from_arrays(kept.columns[len(fixed) :], names)
        known, values = labels.values_of(asked.policy, rows)
        yield pa.RecordBatch.from_arrays(
            [
                *(kept.column(name) for name in (REQUEST_ID, ROW, PREDICTION)),
                model(rows).column(PROBABILITY).cast(pa.float64()),
                pa.array(values, pa.float64(), mask=~known),
            ],
            [REQUEST_ID, ROW, PREDICTION, SHADOW, LABEL],
        )


def auc(labels: Floats, scores: Floats, weights: Floats) -> float:
    """Returns the area under the ROC curve of weighted rows; NaN for one class.

    Args:
        labels: float64 [N], 0 or 1.
        scores: float64 [N]; rows of equal score count half.
        weights: float64 [N].
    """
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * labels)
    negative = np.bincount(place, weights * (1 - labels))
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs)
