"""Declares the features and the label of the model.

Written by `throughline new` from the data; change it as you like. The kinds
of features and labels are in `models/declarations.py`.
"""

from models.declarations import (
    AnyLabel,
    Binary,
    Feature,
    Numeric,
    Timestamp,
)

FEATURES: tuple[Feature, ...] = (
    # 1,461 dates over 1,460 days, age too, for a trend
    Timestamp("date", parts=("weekday", "yearday"), age=True),
    # 0 to 55.9, with a long tail
    Numeric("precipitation", log=True),
    # -1.6 to 35.6
    Numeric("temp_max"),
    # -7.1 to 18.3
    Numeric("temp_min"),
    # 0.4 to 9.5
    Numeric("wind"),
)

# binary: 'rain' is yes, in 17.7% of the labelled rows
LABEL: AnyLabel = Binary(
    column="weather",
    positive=("rain",),
    negative=("drizzle", "fog", "snow", "sun"),
)

SLICE_COLUMNS: tuple[str, ...] = ()
"""Raw columns whose values are the slices of the evaluation."""
