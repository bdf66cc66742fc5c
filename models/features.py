"""Declares the features and the label of the model. Replace it with your own.

A team that brings its own data changes three things: `FEATURES`, `LABEL` and
`SLICE_COLUMNS`; `throughline new` writes all of them from data. Preprocessing, model,
metrics and signatures follow the declarations, whose kinds are in
`models.declarations`.

The sample predicts whether a taxi trip in Chicago tips more than 20 % of its fare. Tips
are recorded only when they are paid by card: of the 9,909 cash trips in the sample 4
show a big tip, of the 4,975 card trips 68 % do. So the label of a cash trip is not
"no", it is unknown. The label's policies decide how that is treated:

* "all-trips" uses the records as they are, like TFX's own examples. The AUC is too
  optimistic: `payment_type` alone reaches 0.93.
* "card-trips" gives trips that were not paid by card the weight 0, which excludes them
  from training and evaluation. The AUC is lower (0.66) and meaningful.

Importing this module imports nothing but the standard library.
"""

from models.declarations import (
    AnyLabel,
    Binary,
    Bucketized,
    Cyclic,
    Feature,
    IntegerCategory,
    Numeric,
    OneOf,
    Share,
    Vocabulary,
)

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

# No whole number of a trip is below 0, so clients may send -1 for one they don't know.
_UNKNOWN = -1

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
    Numeric(TRIP_SECONDS, log=True, missing_value=_UNKNOWN),
    Cyclic(TRIP_START_HOUR, period=24, missing_value=_UNKNOWN),
    Cyclic(TRIP_START_DAY, period=7, missing_value=_UNKNOWN),
    Cyclic(TRIP_START_MONTH, period=12, missing_value=_UNKNOWN),
    # Chicago has 77 community areas, numbered from 1.
    IntegerCategory(
        PICKUP_COMMUNITY_AREA, minimum=1, maximum=77, missing_value=_UNKNOWN
    ),
    IntegerCategory(
        DROPOFF_COMMUNITY_AREA, minimum=1, maximum=77, missing_value=_UNKNOWN
    ),
    Numeric(PICKUP_LATITUDE),
    Numeric(PICKUP_LONGITUDE),
    Numeric(DROPOFF_LATITUDE, flag_missing=True),
    Numeric(DROPOFF_LONGITUDE),
)

LABEL: AnyLabel = Binary(
    name="big_tipper",
    column=TIPS,
    above=Share(of=FARE, percent=20),
    # As 32-bit floats, 8 of the 165 trips that tip exactly 20 % would seem to tip more.
    unit=0.01,
    policies={"all-trips": None, "card-trips": OneOf(PAYMENT_TYPE, ("Credit Card",))},
)

CROSSES: tuple[tuple[str, ...], ...] = (
    (TRIP_START_HOUR, PICKUP_COMMUNITY_AREA),
    (COMPANY,),
    (PAYMENT_TYPE,),
)
"""Combinations of raw columns that training should cover; may be left out."""

SLICE_COLUMNS: tuple[str, ...] = (PAYMENT_TYPE, TRIP_START_HOUR)
"""Raw columns whose values are the slices of the evaluation."""
