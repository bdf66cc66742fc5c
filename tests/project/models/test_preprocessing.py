"""Literal rows in, literal rows out."""

from typing import Any

import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.declarations import (
    WEIGHT,
    AnyLabel,
    Binary,
    Boolean,
    Classes,
    Feature,
    FreeText,
    Items,
    OneOf,
    Regression,
    Timestamp,
)
from models.preprocessing import label_and_weight
from models.preprocessing import transformed as transform_features
from tests.project.models.conftest import Analyze, Row, raw_spec, transform_rows

NAN = float("nan")


def transformed(transform: tft.TFTransformOutput, **row: Any) -> Row:
    """Transforms one row; columns not given are missing."""
    (result,) = transform_rows(transform, [row])
    return result


@pytest.mark.parametrize(
    ("column", "value", "name", "expected"),
    [
        ("pickup_latitude", 43.0, "pickup_latitude_scaled", 1.0),
        ("pickup_latitude", 40.0, "pickup_latitude_scaled", -2.0),
        ("pickup_latitude", 999.0, "pickup_latitude_scaled", 5.0),
        ("pickup_latitude", None, "pickup_latitude_scaled", 0.0),
        ("pickup_latitude", NAN, "pickup_latitude_scaled", 0.0),
        ("dropoff_latitude", 41.9, "dropoff_latitude_missing", 0.0),
        ("dropoff_latitude", None, "dropoff_latitude_missing", 1.0),
        ("fare", 0.49, "fare_bucket", 2),
        ("fare", 0.5, "fare_bucket", 3),
        ("fare", 7.25, "fare_bucket", 16),
        ("fare", 9999.0, "fare_bucket", 81),
        ("fare", -1.5, "fare_bucket", 2),
        ("fare", None, "fare_bucket", 0),
        ("trip_start_hour", 0, "trip_start_hour_cycle", [0.0, 1.0]),
        ("trip_start_hour", 6, "trip_start_hour_cycle", [1.0, 0.0]),
        ("trip_start_hour", 12, "trip_start_hour_cycle", [0.0, -1.0]),
        ("trip_start_hour", None, "trip_start_hour_cycle", [0.0, 0.0]),
        ("pickup_community_area", 1, "pickup_community_area_id", 2),
        ("pickup_community_area", 77, "pickup_community_area_id", 78),
        ("pickup_community_area", 78, "pickup_community_area_id", 1),
        ("pickup_community_area", 0, "pickup_community_area_id", 1),
        ("pickup_community_area", None, "pickup_community_area_id", 0),
        ("pickup_community_area", -1, "pickup_community_area_id", 1),
        ("company", "Blue Cab", "company_id", 2),
        ("company", "Green Cab", "company_id", 3),
        ("company", "Seen Once", "company_id", 1),
        ("company", "Never Seen", "company_id", 1),
        ("company", "", "company_id", 1),
        ("company", None, "company_id", 0),
    ],
)
def test_a_value_becomes_what_the_model_reads(
    transform: tft.TFTransformOutput, column: str, value: Any, name: str, expected: Any
) -> None:
    """Ordinary, missing and unseen values each have their own representation."""
    row = transformed(transform, **{column: value})

    assert row[name] == pytest.approx(expected, abs=1e-6)


def test_a_row_of_nothing_is_transformed(transform: tft.TFTransformOutput) -> None:
    """A row without any value gives finite features, and a label without weight."""
    row = transformed(transform)

    numbers = tf.nest.flatten(row)
    assert len(numbers) == 21
    assert tf.reduce_all(tf.math.is_finite(tf.cast(numbers, tf.float32)))
    assert (row[features.LABEL.name], row[WEIGHT]) == (0, 0.0)


def test_only_the_first_of_several_values_counts(
    transform: tft.TFTransformOutput,
) -> None:
    """A column that was agreed to hold one value is not refused for holding two."""
    row = transformed(transform, pickup_latitude=[43.0, 41.0])

    assert row["pickup_latitude_scaled"] == pytest.approx(1.0)


def test_other_numeric_types_and_dense_columns_are_understood(
    analyze: Analyze, trips: list[Row]
) -> None:
    """Whole-dollar fares and fractional hours give the same rows as the usual types."""
    spec = raw_spec()
    spec[features.FARE] = tf.io.FixedLenFeature([], tf.int64)
    spec[features.TRIP_START_HOUR] = tf.io.FixedLenFeature([1], tf.float32)
    rows = [
        trip
        | {
            features.FARE: int(trip[features.FARE]),
            features.TRIP_START_HOUR: [float(trip[features.TRIP_START_HOUR])],
        }
        for trip in trips[:60]
    ]

    graph = analyze(rows, spec)

    at_noon = transformed(graph, fare=7, trip_start_hour=12.0)
    assert at_noon["fare_bucket"] == 16
    assert at_noon["trip_start_hour_cycle"] == pytest.approx([0.0, -1.0], abs=1e-6)
    missing = transformed(graph, fare=-1, trip_start_hour=NAN)
    assert missing["fare_bucket"] == 2
    assert missing["trip_start_hour_cycle"] == [0.0, 0.0]


def test_the_transformed_rows_do_not_depend_on_how_beam_cuts_the_data(
    transform: tft.TFTransformOutput, analyze: Analyze, trips: list[Row]
) -> None:
    """Batches of 7 in another order give the same bits as one batch."""
    in_pieces = analyze(trips[::-1], raw_spec(), batch_rows=7)

    assert transform_rows(in_pieces, trips) == transform_rows(transform, trips)
    assert transform_rows(in_pieces, trips[:3]) == transform_rows(transform, trips)[:3]


@pytest.mark.parametrize(
    ("trip", "policy", "label", "weight"),
    [
        ((10.0, 2.01, "Credit Card"), "all-trips", 1, 1.0),
        ((10.0, 2.00, "Credit Card"), "all-trips", 0, 1.0),
        # In 32-bit floats 1.65 is more than 0.2 * 8.25.
        ((8.25, 1.65, "Credit Card"), "all-trips", 0, 1.0),
        ((0.0, 1.0, "Credit Card"), "all-trips", 1, 1.0),
        ((10.0, 0.0, "Cash"), "all-trips", 0, 1.0),
        ((10.0, 5.0, "Cash"), "all-trips", 1, 1.0),
        ((10.0, None, "Credit Card"), "all-trips", 0, 0.0),
        ((None, 5.0, "Credit Card"), "all-trips", 0, 0.0),
        ((10.0, 2.01, "Credit Card"), "card-trips", 1, 1.0),
        ((10.0, 2.00, "Credit Card"), "card-trips", 0, 1.0),
        ((10.0, 0.0, "Cash"), "card-trips", 0, 0.0),
        ((10.0, 5.0, "Cash"), "card-trips", 0, 0.0),
        ((10.0, 5.0, None), "card-trips", 0, 0.0),
        ((10.0, None, "Credit Card"), "card-trips", 0, 0.0),
    ],
)
def test_label_and_weight_follow_the_policy(
    trip: tuple[float | None, float | None, str | None],
    policy: str,
    label: int,
    weight: float,
) -> None:
    """More than 20 % is a big tip; an unknown tip has the weight 0."""
    fare, tips, payment_type = trip
    inputs = {
        features.FARE: tf.constant([NAN if fare is None else fare]),
        features.TIPS: tf.constant([[NAN if tips is None else tips]]),
        features.PAYMENT_TYPE: tf.sparse.from_dense([[payment_type or ""]]),
    }

    result = label_and_weight(inputs, policy)

    assert result[features.LABEL.name].numpy().tolist() == [label]
    assert result[WEIGHT].numpy().tolist() == [weight]


def test_an_unknown_policy_is_refused() -> None:
    """The error names the policy and the known ones."""
    with pytest.raises(ValueError, match=r"'cash'.*'all-trips' or 'card-trips'"):
        label_and_weight({}, "cash")


def test_a_column_that_the_data_lacks_is_named() -> None:
    """The error names the column and those that are there."""
    inputs = {features.FARE: tf.constant([1.0])}

    with pytest.raises(ValueError, match=r"'tips' is not in the data.*\['fare'\]"):
        label_and_weight(inputs, "all-trips")


def column_of(values: list[Any]) -> tf.SparseTensor:
    """Makes a raw column of one value, a list of values or None a row."""
    lists = [v if isinstance(v, list) else [] if v is None else [v] for v in values]
    return tf.ragged.constant(lists).to_sparse()


@pytest.mark.parametrize(
    ("feature", "values", "expected"),
    [
        (Boolean("a"), [1, 0, None, 2], [1.0, -1.0, 0.0, 1.0]),
        (Boolean("a"), ["True", "no", None, "Y"], [1.0, -1.0, 0.0, 1.0]),
        # Midnight of a Thursday, noon of a Friday, and what is no date.
        (
            Timestamp("a", parts=("hour",)),
            ["1970-01-01", "1970-01-02 12:00", None, "soon"],
            [[0.0, 1.0], [0.0, -1.0], [0.0, 0.0], [0.0, 0.0]],
        ),
        (
            Timestamp("a", parts=("hour",)),
            [0, 6 * 3600, None, 86_400],
            [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]],
        ),
    ],
)
def test_other_kinds_of_columns(
    feature: Feature, values: list[Any], expected: list[Any]
) -> None:
    """Yes or no, and times, from texts and from numbers."""
    (found,) = transform_features({"a": column_of(values)}, [feature]).values()

    assert tf.reduce_max(tf.abs(found - tf.constant(expected))) < 1e-6


def test_items_are_counted_in_any_order() -> None:
    """The same items give the same row, other ones another, none give zeros."""
    rows: list[Any] = [["x", "y"], ["y", "x"], ["x", "z"], None, ["x", "x", "y"]]

    (found,) = transform_features({"a": column_of(rows)}, [Items("a", 512)]).values()

    one, same, other, nothing, twice = found.numpy().tolist()
    assert one == same
    assert one != other
    assert set(nothing) == {0.0}
    assert sum(value > 0 for value in twice) == 2
    assert twice != one


def test_words_count_whatever_their_case_and_punctuation() -> None:
    """Single words and pairs of them are counted; their order makes other pairs."""
    rows = ["Good, fast ride", "good fast RIDE!", "fast good ride", None]

    (found,) = transform_features(
        {"a": column_of(rows)}, [FreeText("a", 4096)]
    ).values()

    one, same, other, nothing = found.numpy()
    assert (one == same).all()
    assert (one > 0).sum() == 5
    assert ((one > 0) & (other > 0)).sum() == 3
    assert not nothing.any()


@pytest.mark.parametrize(
    ("label", "values", "expected", "weights"),
    [
        (Binary(column="a"), [1, 0, None, -1], [1, 0, 0, 0], [1, 1, 0, 0]),
        (
            Binary(column="a", positive=("yes",), negative=("no",)),
            ["yes", "no", None, "maybe"],
            [1, 0, 0, 0],
            [1, 1, 0, 0],
        ),
        (
            Binary(column="a", above=1.5),
            [2.0, 1.5, None, 1.6],
            [1, 0, 0, 1],
            [1, 1, 0, 1],
        ),
        (
            Classes(column="a", values=("x", "y", "z")),
            ["z", "x", None, "other"],
            [2, 0, 0, 0],
            [1, 1, 0, 0],
        ),
        (
            Classes(column="a", values=(-1, 7)),
            [-1, 7, None, 3],
            [0, 1, 0, 0],
            [1, 1, 0, 0],
        ),
        (
            Regression(column="a"),
            [-1.0, 2.5, None, NAN],
            [-1.0, 2.5, 0, 0],
            [1, 1, 0, 0],
        ),
        (Regression(column="a"), [-1, 2, None, 0], [-1.0, 2.0, 0, 0], [1, 1, 0, 1]),
    ],
)
def test_every_kind_of_label(
    label: AnyLabel, values: list[Any], expected: list[float], weights: list[float]
) -> None:
    """-1 is a value; a label that is missing or not declared is unknown."""
    found = label_and_weight({"a": column_of(values)}, "", label)

    assert found["label"].numpy().tolist() == expected
    assert found[WEIGHT].numpy().tolist() == weights


def test_rows_have_the_weights_of_a_column() -> None:
    """A weight below 0, or none, is 0; so is that of an unknown label."""
    label = Regression(
        column="a", weight="w", policies={"some": OneOf("b", ("x",)), "all": None}
    )
    inputs = {
        "a": column_of([1.0, 1.0, 1.0, None, 1.0]),
        "b": column_of(["x", "x", "x", "x", "y"]),
        "w": column_of([2.5, -1.0, None, 3.0, 3.0]),
    }

    some, every = (label_and_weight(inputs, p, label)[WEIGHT] for p in ("", "all"))

    assert some.numpy().tolist() == [2.5, 0.0, 0.0, 0.0, 0.0]
    assert every.numpy().tolist() == [2.5, 0.0, 0.0, 0.0, 3.0]
