"""Declares the columns, features and label of the model. Replace it with your own.

A team that brings its own data changes four things, top to bottom: the column names,
`FEATURES`, the label's columns and definition, and `SLICE_COLUMNS`. Preprocessing,
model and signatures follow the declarations; only a label of another kind also needs
`models.preprocessing.label_and_weight`.

The sample predicts whether a taxi trip in Chicago tips more than 20 % of its fare. Tips
are recorded only when they are paid by card: of the 9,909 cash trips in the sample 4
show a big tip, of the 4,975 card trips 68 % do. So the label of a cash trip is not
"no", it is unknown. `LabelPolicy` decides how that is treated:

* "all-trips" uses the records as they are, like TFX's own examples. The AUC is too
  optimistic: `payment_type` alone reaches 0.93.
* "card-trips" gives trips that were not paid by card the weight 0, which excludes them
  from training and evaluation. The AUC is lower (0.66) and meaningful.

Importing this module imports nothing but the standard library.
"""

from dataclasses import dataclass
from typing import Literal

FARE = "fare"
TIPS = "tips"
PAYMENT_TYPE = "payment_type"
COMPANY = "company"
TRIP_MILES = "trip_miles"
TRIP_SECONDS = "trip_seconds"
TRIP_START_MONTH = "trip_start_month"
TRIP_START_DAY = "trip_start_day"
TRIP_START_HOUR = "trip_start_hour"
PICKUP_LATITUDE = "pickup_latitude"
PICKUP_LONGITUDE = "pickup_longitude"
DROPOFF_LATITUDE = "dropoff_latitude"
DROPOFF_LONGITUDE = "dropoff_longitude"
PICKUP_COMMUNITY_AREA = "pickup_community_area"
DROPOFF_COMMUNITY_AREA = "dropoff_community_area"


@dataclass(frozen=True)
class Numeric:
    """A quantity, scaled to mean 0 and standard deviation 1, clipped to [-5, 5].

    A missing value becomes the mean, which is 0 after scaling.
    """

    column: str
    log: bool = False
    """Take log(1 + x) first, for quantities with a long tail; below 0 counts as 0."""
    flag_missing: bool = False
    """Add a second input that is 1.0 where the value is missing."""


@dataclass(frozen=True)
class Bucketized:
    """A quantity whose exact range matters; each bucket gets an embedding."""

    column: str
    boundaries: tuple[float, ...]
    """Rising lower ends of all buckets but the first, in the column's unit."""


@dataclass(frozen=True)
class Cyclic:
    """A periodic integer, encoded as a point on a circle: 23 h is next to 0 h."""

    column: str
    period: int
    """Steps after which it starts again: 24 for hours."""


@dataclass(frozen=True)
class IntegerCategory:
    """An integer code; each code gets an embedding."""

    column: str
    minimum: int
    maximum: int
    """Codes outside minimum..maximum share one embedding of "unseen"."""


@dataclass(frozen=True)
class Vocabulary:
    """A text whose vocabulary is learned; each value gets an embedding."""

    column: str
    min_count: int = 10
    """Values seen less often count as "unseen", which trains that embedding."""
    max_size: int = 1000
    """Most values to keep, the most frequent first."""


Category = Bucketized | IntegerCategory | Vocabulary
Feature = Numeric | Cyclic | Category

# Left out on purpose: pickup_census_tract has one value in 15,002 rows,
# dropoff_census_tract repeats the areas more finely than 3,500 card trips can teach,
# and trip_start_timestamp only grows: a model that uses it extrapolates from the first
# day in serving.
FEATURES: tuple[Feature, ...] = (
    Vocabulary(PAYMENT_TYPE),
    Numeric(FARE, log=True),
    # People tip round sums, so what share a tip is turns over within half dollars.
    Bucketized(FARE, boundaries=tuple(step / 2 for step in range(1, 80))),
    Vocabulary(COMPANY),
    Numeric(TRIP_MILES, log=True),
    Numeric(TRIP_SECONDS, log=True),
    Cyclic(TRIP_START_HOUR, period=24),
    Cyclic(TRIP_START_DAY, period=7),
    Cyclic(TRIP_START_MONTH, period=12),
    # Chicago has 77 community areas, numbered from 1.
    IntegerCategory(PICKUP_COMMUNITY_AREA, minimum=1, maximum=77),
    IntegerCategory(DROPOFF_COMMUNITY_AREA, minimum=1, maximum=77),
    Numeric(PICKUP_LATITUDE),
    Numeric(PICKUP_LONGITUDE),
    Numeric(DROPOFF_LATITUDE, flag_missing=True),
    Numeric(DROPOFF_LONGITUDE),
)

LabelPolicy = Literal["all-trips", "card-trips"]
"""Which labels are used: all, or only those of trips whose tips are recorded."""

LABEL_COLUMNS: tuple[str, ...] = (TIPS, FARE)
"""Raw columns that the label is computed from; reports mark them."""

LABEL = "big_tipper"
"""Transformed column, int64: 1 for a tip of more than `BIG_TIP_PERCENT`."""

WEIGHT = "label_weight"
"""Transformed column, float32: 0.0 where the label is unknown, else 1.0."""

BIG_TIP_PERCENT = 20
"""The tip must be more than this, in percent of the fare; exactly this is not big."""

RECORDED_TIP_PAYMENT_TYPES = ("Credit Card",)
"""Payment types whose tips are recorded; the others' are unknown under "card-trips"."""

SLICE_COLUMNS: tuple[str, ...] = (PAYMENT_TYPE, TRIP_START_HOUR)
"""Raw columns whose values are the slices of the evaluation."""

RAW_COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(f.column for f in FEATURES))
"""Raw columns that the model needs to serve, each once, in the order of `FEATURES`."""

MISSING_FLOAT = float("nan")
MISSING_INTEGER = -1
MISSING_TEXT = ""
"""Values that mean "missing" for a client that has to send every column."""

MISSING_ID = 0
UNSEEN_ID = 1
FIRST_ID = 2
"""Ids in front of a category's own: no value, and a value without an id of its own."""

_SUFFIXES: dict[type[Feature], str] = {
    Numeric: "scaled",
    Bucketized: "bucket",
    Cyclic: "cycle",
    IntegerCategory: "id",
    Vocabulary: "id",
}


def transformed_name(feature: Feature) -> str:
    """Returns the name of a feature's transformed column, such as "fare_bucket"."""
    return f"{feature.column}_{_SUFFIXES[type(feature)]}"


def missing_name(feature: Numeric) -> str:
    """Returns the name of the transformed column that `flag_missing` adds."""
    return f"{feature.column}_missing"
