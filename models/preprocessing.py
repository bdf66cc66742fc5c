"""Converts raw columns to the model's inputs, in Transform and in serving.

The same graph transforms the training data and a serving request, so no feature may
depend on the label's column, which a request doesn't have.

Beam adds numbers in any order and in batches of any size, which changes the last bits
of a 32-bit result. So numbers are computed in 64 bits and rounded to 32 at the end: the
same data gives the same transformed rows.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.features import (
    FEATURES,
    FIRST_ID,
    MISSING_ID,
    UNSEEN_ID,
    Bucketized,
    Cyclic,
    IntegerCategory,
    Numeric,
    Vocabulary,
    missing_name,
    transformed_name,
)

Tensors = dict[str, tf.Tensor]
RawTensors = Mapping[str, tf.Tensor | tf.SparseTensor]

_CLIP = (
    5.0  # Standard deviations; larger values are errors, such as a trip of 1,710 miles.
)
_SENTINELS: dict[tf.DType, float | int | str] = {
    tf.float32: features.MISSING_FLOAT,
    tf.int64: features.MISSING_INTEGER,
    tf.string: features.MISSING_TEXT,
}


class Column(NamedTuple):
    """One raw column: values [N], zero or empty where `missing` [N] is true."""

    values: tf.Tensor
    missing: tf.Tensor


def preprocessing_fn(inputs: RawTensors, custom_config: Mapping[str, Any]) -> Tensors:
    """Transforms a batch of N raw rows; Transform's entry point.

    Args:
        inputs: Raw columns, each [N], [N, 1] or sparse [N, any] of which the first
            value of a row counts. An absent value is missing, and so are NaN, infinity,
            -1 in integers and the empty string.
        custom_config: "label_policy" holds a `features.LabelPolicy`.

    Returns:
        float32 [N] for each `Numeric` and its missing flag, float32 [N, 2] for each
        `Cyclic`, int64 [N] for each category, and the label and weight of
        `label_and_weight`, all by their transformed names.

    Raises:
        ValueError: The policy is unknown, or the data lacks a declared column.
    """
    outputs = label_and_weight(inputs, custom_config.get("label_policy", "all-trips"))
    outputs |= _scaled_numbers(inputs, [f for f in FEATURES if isinstance(f, Numeric)])
    for feature in FEATURES:
        match feature:
            case Numeric(flag_missing=True):
                flag = _column(inputs, feature.column, tf.float32).missing
                outputs[missing_name(feature)] = tf.cast(flag, tf.float32)
            case Bucketized():
                outputs[transformed_name(feature)] = _bucket_ids(inputs, feature)
            case Cyclic():
                outputs[transformed_name(feature)] = _circle_points(inputs, feature)
            case IntegerCategory():
                outputs[transformed_name(feature)] = _code_ids(inputs, feature)
            case Vocabulary():
                outputs[transformed_name(feature)] = _vocabulary_ids(inputs, feature)
    return outputs


def label_and_weight(inputs: RawTensors, policy: str) -> Tensors:
    """Computes the label and the weight of each row.

    Tip and fare are compared in whole cents. As 32-bit floats, 8 of the 165 trips in
    the sample that tip exactly 20 % would seem to tip more.

    Args:
        inputs: Raw columns, as for `preprocessing_fn`.
        policy: A `features.LabelPolicy`.

    Returns:
        `features.LABEL`, int64 [N], 0 where it is unknown; `features.WEIGHT`, float32
        [N], 0.0 where the tip or the fare is missing, or unknown under the policy.

    Raises:
        ValueError: The policy is unknown, or the data lacks a column.
    """
    if policy not in get_args(features.LabelPolicy):
        expected = " or ".join(repr(name) for name in get_args(features.LabelPolicy))
        msg = f"label_policy is {policy!r}; it must be {expected}"
        raise ValueError(msg)
    tips = _column(inputs, features.TIPS, tf.float64)
    fare = _column(inputs, features.FARE, tf.float64)
    known = ~(tips.missing | fare.missing)
    if policy == "card-trips":
        known &= _is_any_of(
            _column(inputs, features.PAYMENT_TYPE, tf.string).values,
            features.RECORDED_TIP_PAYMENT_TYPES,
        )
    big = _cents(tips) * 100 > _cents(fare) * features.BIG_TIP_PERCENT
    return {
        features.LABEL: tf.cast(known & big, tf.int64),
        features.WEIGHT: tf.cast(known, tf.float32),
    }


def _is_any_of(texts: tf.Tensor, wanted: tuple[str, ...]) -> tf.Tensor:
    return tf.reduce_any(texts[:, tf.newaxis] == tf.constant([wanted]), axis=1)


def _cents(dollars: Column) -> tf.Tensor:
    # Rounded: 2.3 dollars are 229.99999999999997 cents in binary.
    return tf.cast(tf.round(dollars.values * 100.0), tf.int64)


def _scaled_numbers(inputs: RawTensors, numbers: list[Numeric]) -> Tensors:
    if not numbers:
        return {}
    # One [N, numbers] tensor makes one analyzer; TFT's mean and variance skip NaN.
    stacked = tf.stack([_number(inputs, feature) for feature in numbers], axis=1)
    scaled = tft.scale_to_z_score(stacked, elementwise=True)
    clipped = tf.clip_by_value(tf.cast(scaled, tf.float32), -_CLIP, _CLIP)
    complete = tf.where(tf.math.is_nan(stacked), 0.0, clipped)
    columns = tf.unstack(complete, num=len(numbers), axis=1)
    names = [transformed_name(feature) for feature in numbers]
    return dict(zip(names, columns, strict=True))


def _number(inputs: RawTensors, feature: Numeric) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.float64)
    values = column.values
    if feature.log:
        # Negative quantities are errors, and a NaN of log1p would count as missing.
        values = tf.math.log1p(tf.maximum(values, tf.zeros_like(values)))
    return tf.where(
        column.missing, tf.constant(features.MISSING_FLOAT, tf.float64), values
    )


def _bucket_ids(inputs: RawTensors, feature: Bucketized) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.float32)
    # Not tft.apply_buckets, which is for boundaries that an analyzer computes.
    bucket = tf.raw_ops.Bucketize(
        input=column.values, boundaries=list(feature.boundaries)
    )
    ids = tf.cast(bucket, tf.int64) + FIRST_ID
    return tf.where(column.missing, tf.constant(MISSING_ID, tf.int64), ids)


def _circle_points(inputs: RawTensors, feature: Cyclic) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.float64)
    angle = column.values * (2.0 * math.pi / feature.period)
    points = tf.cast(tf.stack([tf.sin(angle), tf.cos(angle)], axis=1), tf.float32)
    # The centre of the circle is as far from every hour.
    return tf.where(column.missing[:, tf.newaxis], 0.0, points)


def _code_ids(inputs: RawTensors, feature: IntegerCategory) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.int64)
    codes = column.values
    seen = (codes >= feature.minimum) & (codes <= feature.maximum)
    unseen = tf.constant(UNSEEN_ID, tf.int64)
    ids = tf.where(seen, codes - feature.minimum + FIRST_ID, unseen)
    return tf.where(column.missing, tf.constant(MISSING_ID, tf.int64), ids)


def _vocabulary_ids(inputs: RawTensors, feature: Vocabulary) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.string)
    # A vocabulary never holds the empty string, so a missing value is not counted.
    position = tft.compute_and_apply_vocabulary(
        column.values,
        default_value=UNSEEN_ID - FIRST_ID,
        top_k=feature.max_size,
        frequency_threshold=feature.min_count,
        vocab_filename=transformed_name(feature),
    )
    ids = tf.cast(position, tf.int64) + FIRST_ID
    return tf.where(column.missing, tf.constant(MISSING_ID, tf.int64), ids)


def _column(inputs: RawTensors, name: str, dtype: tf.DType) -> Column:
    if name not in inputs:
        msg = f"column {name!r} is not in the data; it has {sorted(inputs)}"
        raise ValueError(msg)
    given = inputs[name]
    sparse = isinstance(given, tf.SparseTensor)
    values, missing = _first_values(sparse, given.dtype)(given)
    return Column(_cast(values, name, dtype), missing)


@functools.cache
def _first_values(sparse: bool, dtype: tf.DType) -> Any:  # noqa: FBT001 - a key
    """Returns the function that makes a `Column` of sparse or dense tensors.

    TFT traces `preprocessing_fn` five times, and each trace creates each operation
    anew. A function is traced once for all columns; its call is one operation.
    """
    spec = tf.SparseTensorSpec if sparse else tf.TensorSpec
    shape = [None, None] if sparse else None

    @tf.function(input_signature=[spec(shape, dtype)], autograph=False)
    def first_values(values: tf.Tensor | tf.SparseTensor) -> Column:
        if isinstance(values, tf.SparseTensor):
            one_each = tf.stack([values.dense_shape[0], 1])
            first = tf.sparse.slice(values, [0, 0], one_each)
            # Not the slice's own shape: rows without any value have no column.
            found = tf.SparseTensor(first.indices, first.values, one_each)
            values = tf.sparse.to_dense(found, _SENTINELS[dtype])
        values = tf.reshape(values, [-1])
        if dtype == tf.string:
            missing = values == features.MISSING_TEXT
        elif dtype.is_floating:
            missing = ~tf.math.is_finite(values)
        else:
            missing = values == features.MISSING_INTEGER
        return Column(tf.where(missing, tf.zeros_like(values), values), missing)

    return first_values


def _cast(values: tf.Tensor, name: str, dtype: tf.DType) -> tf.Tensor:
    if values.dtype == dtype:
        return values
    if dtype == tf.string:
        return tf.strings.as_string(values)
    if values.dtype == tf.string:
        msg = f"column {name!r} holds text in the schema; the model expects numbers"
        raise ValueError(msg)
    return tf.cast(values, dtype)
