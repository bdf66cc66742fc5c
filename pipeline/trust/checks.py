"""The gate's own checks by name, each with its default severity.

The configuration validates names against this module, so it imports nothing above the
standard library.
"""

from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """What a finding does to the run."""

    BLOCK = "block"
    WARN = "warn"
    IGNORE = "ignore"


class Check(StrEnum):
    """A check of ours, named as TFDV names its anomaly types."""

    EMPTY_SPLIT = "EMPTY_SPLIT"
    EMPTY_SCHEMA = "EMPTY_SCHEMA"
    FEW_ROWS = "FEW_ROWS"
    ROWS_LOST = "ROWS_LOST"
    ROWS_HALVED = "ROWS_HALVED"
    QUARANTINED_ROWS = "QUARANTINED_ROWS"
    MISSING_LABELS = "MISSING_LABELS"
    DRIFT = "DRIFT"
    UNSEEN_VALUES = "UNSEEN_VALUES"
    MISSING_SHARE = "MISSING_SHARE"
    LABEL_RATE = "LABEL_RATE"
    PREDICTION_DRIFT = "PREDICTION_DRIFT"
    LABEL_RELATION = "LABEL_RELATION"
    LEAKAGE = "LEAKAGE"
    DUPLICATE_ROWS = "DUPLICATE_ROWS"
    DUPLICATE_KEYS = "DUPLICATE_KEYS"
    MISSING_TOGETHER = "MISSING_TOGETHER"
    UNCOVERED_CELLS = "UNCOVERED_CELLS"
    SPLITS_OVERLAP = "SPLITS_OVERLAP"
    DELIVERED_AGAIN = "DELIVERED_AGAIN"
    STALE_MODEL = "STALE_MODEL"


NEW_COLUMN = "SCHEMA_NEW_COLUMN"
"""TFDV's anomaly type for a column that the reviewed schema doesn't have."""

NOT_BLOCKING = MappingProxyType(
    {
        # Training reads only the columns of the reviewed schema.
        NEW_COLUMN: Severity.WARN,
        # Seasons do this: the sample's last four quarters have a fifth of the rows.
        Check.ROWS_HALVED: Severity.WARN,
        # No defect by itself: if the data is why, DRIFT names the column, and blocks.
        Check.PREDICTION_DRIFT: Severity.WARN,
        # Only newer data makes a newer model: a block would keep the old one live.
        Check.STALE_MODEL: Severity.WARN,
        # A cross of many cells always has some that are new; who minds chooses which.
        Check.UNCOVERED_CELLS: Severity.IGNORE,
        # The values that are there are right; MISSING_SHARE blocks if there are fewer.
        Check.MISSING_TOGETHER: Severity.WARN,
        # A share above gate.max-quarantined has stopped the run at ingestion already.
        Check.QUARANTINED_ROWS: Severity.WARN,
    }
)
"""Default severity by finding; any other finding blocks."""
