"""Declares the features and the label of the model.

Written by `throughline new` from the data; change it as you like. The kinds
of features and labels are in `models/declarations.py`.
"""

from models.declarations import (
    AnyLabel,
    Bucketized,
    Feature,
    FreeText,
    IntegerCategory,
    Numeric,
    Regression,
    Timestamp,
    Vocabulary,
)

FEATURES: tuple[Feature, ...] = (
    # 311 distinct texts, 2.5 words on average
    FreeText("Name", buckets=16),
    # 5 whole numbers, 3 to 8
    Numeric("Cylinders"),
    IntegerCategory("Cylinders", minimum=3, maximum=8),
    # 68 to 455, and its 8 quantiles
    Numeric("Displacement"),
    Bucketized(
        "Displacement",
        boundaries=(91.0, 105.0, 121.0, 151.0, 225.0, 302.0, 350.0),
    ),
    # 46 to 230, 1.5% missing, and its 8 quantiles
    Numeric("Horsepower", flag_missing=True),
    Bucketized("Horsepower", boundaries=(67.0, 75.0, 88.0, 95.0, 105.0, 130.0, 150.0)),
    # 1613 to 5140, and its 8 quantiles
    Numeric("Weight_in_lbs"),
    Bucketized(
        "Weight_in_lbs",
        boundaries=(2045.0, 2226.0, 2542.0, 2815.0, 3193.0, 3620.0, 4154.0),
    ),
    # 8 to 24.8, and its 8 quantiles
    Numeric("Acceleration"),
    Bucketized("Acceleration", boundaries=(12.5, 13.7, 14.5, 15.5, 16.2, 17.2, 19.0)),
    # 12 dates over 4,383 days, age too, for a trend
    Timestamp("Year", parts=(), age=True),
    # 3 distinct values
    Vocabulary("Origin", min_count=2),
)

# regression: 129 numbers, half of them up to 23, 9 to 46.6: learned by its loga...
LABEL: AnyLabel = Regression(column="Miles_per_Gallon", log=True, middle=23.0)

SLICE_COLUMNS: tuple[str, ...] = ("Origin",)
"""Raw columns whose values are the slices of the evaluation."""
