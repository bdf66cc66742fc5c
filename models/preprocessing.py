"""Converts raw columns to the model's inputs, in Transform and in serving.

The same graph transforms the training data and a serving request, so no feature may
depend on the label's column, which a request doesn't have.

Beam adds numbers in any order and in batches of any size, which changes the last bits
of a 32-bit result. So numbers are computed in 64 bits and rounded to 32 at the end: the
same data gives the same transformed rows.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from models import times
from models.declarations import (
    FIRST_ID,
    MISSING_FLOAT,
    MISSING_ID,
    MISSING_TEXT,
    UNSEEN_ID,
    WEIGHT,
    AnyLabel,
    Binary,
    Boolean,
    Bucketized,
    Classes,
    Cyclic,
    Feature,
    FreeText,
    IntegerCategory,
    Items,
    Numeric,
    OneOf,
    Regression,
    Share,
    Timestamp,
    Vocabulary,
    age_name,
    missing_name,
    transformed_name,
)
from models.declared import FEATURES, LABEL

Tensors = dict[str, tf.Tensor]
RawTensors = Mapping[str, tf.Tensor | tf.SparseTensor]

_CLIP = 5.0  # Standard deviations; beyond are errors, such as a trip of 1,710 miles.
_TRUE = "(?i)true|t|yes|y|1"
_SEPARATORS = r"[^\pL\pN]+"


class Column(NamedTuple):
    """One raw column: values [N], zero or empty where `missing` [N] is true."""

    values: tf.Tensor
    missing: tf.Tensor


def preprocessing_fn(inputs: RawTensors, custom_config: Mapping[str, Any]) -> Tensors:
    """Transforms a batch of N raw rows; Transform's entry point.

    Args:
        inputs: Raw columns, each [N], [N, 1] or sparse [N, any], of which the first
            value of a row counts (all of `Items`). A row without a value is missing,
            and so are NaN and infinity, with which nothing can be computed. Whatever
            else the data holds is a value.
        custom_config: "label_policy" names one of the label's policies.

    Returns:
        The columns of `transformed`, and the label and weight of `label_and_weight`.

    Raises:
        ValueError: The policy is unknown, or the data lacks a declared column.
    """
    policy = custom_config.get("label_policy", "")
    return label_and_weight(inputs, policy) | transformed(inputs, FEATURES)


def transformed(inputs: RawTensors, features: Sequence[Feature]) -> Tensors:
    """Transforms the features of a batch.

    Args:
        inputs: Raw columns, as for `preprocessing_fn`.
        features: The declarations.

    Returns:
        By transformed name: float32 [N] for each `Numeric`, its missing flag, `Boolean`
        and age; float32 [N, 2] for each `Cyclic`, [N, 2 per part] for each `Timestamp`
        and [N, buckets] for `Items` and `FreeText`; int64 [N] for each category.

    Raises:
        ValueError: The data lacks a declared column.
    """
    outputs = _scaled_numbers(inputs, features)
    for feature in features:
        match feature:
            case Numeric(flag_missing=True):
                flag = _column(inputs, feature.column, tf.float32).missing
                outputs[missing_name(feature)] = tf.cast(flag, tf.float32)
            case Timestamp():
                if feature.parts:
                    outputs[transformed_name(feature)] = _time_points(inputs, feature)
            case Numeric():
                pass
            case _:
                one = _TRANSFORMATIONS[type(feature)]
                outputs[transformed_name(feature)] = one(inputs, feature)
    return outputs


def label_and_weight(
    inputs: RawTensors, policy: str, label: AnyLabel = LABEL
) -> Tensors:
    """Computes the label and the weight of each row.

    Args:
        inputs: Raw columns, as for `preprocessing_fn`.
        policy: Name of one of the label's policies; empty for the default.
        label: The declaration.

    Returns:
        The label by its name: int64 [N] for a binary one and for classes, float32 [N]
        for a number, 0 where it is unknown; and `WEIGHT`, float32 [N], 0.0 where a
        column of the label is missing, or the label is unknown under the policy.

    Raises:
        ValueError: The policy is unknown, or the data lacks a column.
    """
    condition = label.condition(policy)
    match label:
        case Binary(above=None):
            values, known = _position(inputs, label, (label.negative, label.positive))
        case Binary():
            values, known = _is_above(inputs, label)
        case Classes():
            values, known = _position(inputs, label, [(v,) for v in label.values])
        case Regression():
            number = _column(inputs, label.column, tf.float64)
            values, known = tf.cast(number.values, tf.float32), ~number.missing
    if condition:
        known &= _is_one_of(inputs, condition)
    weight = tf.cast(known, tf.float32)
    if label.weight:
        # The column's own zero where it is missing: such a row doesn't count either.
        given = _column(inputs, label.weight, tf.float32).values
        weight *= tf.maximum(given, 0.0)
    return {label.name: tf.where(known, values, tf.zeros_like(values)), WEIGHT: weight}


def _position(
    inputs: RawTensors, label: AnyLabel, groups: Sequence[tuple[str | int, ...]]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which group of values a row's is in, int64 [N], and if it is in one."""
    members = [
        _is_one_of(inputs, OneOf(label.column, tuple(values))) for values in groups
    ]
    matches = tf.stack(members, axis=1)
    return tf.argmax(tf.cast(matches, tf.int32), axis=1), tf.reduce_any(matches, axis=1)


def _is_above(inputs: RawTensors, label: Binary) -> tuple[tf.Tensor, tf.Tensor]:
    value = _column(inputs, label.column, tf.float64)
    if isinstance(label.above, Share):
        other = _column(inputs, label.above.of, tf.float64)
        # Both sides times 100, so that whole units are compared as whole numbers.
        limit = _in_units(other.values, label.unit) * label.above.percent
        above = _in_units(value.values, label.unit) * 100.0 > limit
        return tf.cast(above, tf.int64), ~(value.missing | other.missing)
    limit = _in_units(tf.constant(label.above, tf.float64), label.unit)
    above = _in_units(value.values, label.unit) > limit
    return tf.cast(above, tf.int64), ~value.missing


def _in_units(values: tf.Tensor, unit: float) -> tf.Tensor:
    # Rounded: 2.3 dollars are 229.99999999999997 cents in binary. Divided by the
    # inverse, since 0.01 itself is not exact either.
    return tf.round(values * round(1.0 / unit, 9)) if unit else values


def _is_one_of(inputs: RawTensors, condition: OneOf) -> tf.Tensor:
    numeric = all(isinstance(value, int) for value in condition.values)
    column = _column(inputs, condition.column, tf.float64 if numeric else tf.string)
    wanted = tf.constant([list(condition.values)], column.values.dtype)
    same = tf.reduce_any(column.values[:, tf.newaxis] == wanted, axis=1)
    return same & ~column.missing


def _scaled_numbers(inputs: RawTensors, features: Sequence[Feature]) -> Tensors:
    numbers: dict[str, tf.Tensor] = {}
    for feature in features:
        if isinstance(feature, Numeric):
            numbers[transformed_name(feature)] = _number(inputs, feature)
        elif isinstance(feature, Timestamp) and feature.age:
            numbers[age_name(feature)] = _with_nan(_seconds(inputs, feature))
    if not numbers:
        return {}
    # One [N, numbers] tensor makes one analyzer; TFT's mean and variance skip NaN.
    stacked = tf.stack(list(numbers.values()), axis=1)
    scaled = tft.scale_to_z_score(stacked, elementwise=True)
    clipped = tf.clip_by_value(tf.cast(scaled, tf.float32), -_CLIP, _CLIP)
    complete = tf.where(tf.math.is_nan(stacked), 0.0, clipped)
    columns = tf.unstack(complete, num=len(numbers), axis=1)
    return dict(zip(numbers, columns, strict=True))


def _number(inputs: RawTensors, feature: Numeric) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.float64)
    values = column.values
    if feature.log:
        # Negative quantities are errors, and a NaN of log1p would count as missing.
        values = tf.math.log1p(tf.maximum(values, tf.zeros_like(values)))
    return _with_nan(Column(values, column.missing))


def _with_nan(column: Column) -> tf.Tensor:
    nan = tf.constant(MISSING_FLOAT, tf.float64)
    return tf.where(column.missing, nan, column.values)


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
    return _points(column.values / feature.period, column.missing)


def _points(turns: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    angle = turns * (2.0 * math.pi)
    points = tf.cast(tf.stack([tf.sin(angle), tf.cos(angle)], axis=1), tf.float32)
    # The centre of the circle is as far from every hour.
    return tf.where(missing[:, tf.newaxis], 0.0, points)


def _time_points(inputs: RawTensors, feature: Timestamp) -> tf.Tensor:
    seconds = _seconds(inputs, feature)
    return tf.concat(
        [
            _points(times.turns(seconds.values, part), seconds.missing)
            for part in feature.parts
        ],
        axis=1,
    )


def _seconds(inputs: RawTensors, feature: Timestamp) -> Column:
    """Returns the seconds since 1970, float64 [N]."""
    given = _given(inputs, feature.column)
    if given.dtype != tf.string:
        return _column(inputs, feature.column, tf.float64)
    texts = _column(inputs, feature.column, tf.string)
    seconds, known = times.parsed(texts.values)
    return Column(seconds, texts.missing | ~known)


def _code_ids(inputs: RawTensors, feature: IntegerCategory) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.int64)
    codes = column.values
    seen = (codes >= feature.minimum) & (codes <= feature.maximum)
    unseen = tf.constant(UNSEEN_ID, tf.int64)
    ids = tf.where(seen, codes - feature.minimum + FIRST_ID, unseen)
    return tf.where(column.missing, tf.constant(MISSING_ID, tf.int64), ids)


def _vocabulary_ids(inputs: RawTensors, feature: Vocabulary) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.string)
    # A vocabulary never holds the empty string, so a missing value is not counted. As
    # digits, a missing number would be, as 0.
    texts = tf.where(column.missing, tf.constant(MISSING_TEXT), column.values)
    position = tft.compute_and_apply_vocabulary(
        texts,
        default_value=UNSEEN_ID - FIRST_ID,
        top_k=feature.max_size,
        frequency_threshold=feature.min_count,
        vocab_filename=transformed_name(feature),
    )
    ids = tf.cast(position, tf.int64) + FIRST_ID
    return tf.where(column.missing, tf.constant(MISSING_ID, tf.int64), ids)


def _flag(inputs: RawTensors, feature: Boolean) -> tf.Tensor:
    if _given(inputs, feature.column).dtype == tf.string:
        column = _column(inputs, feature.column, tf.string)
        is_true = tf.strings.regex_full_match(column.values, _TRUE)
    else:
        column = _column(inputs, feature.column, tf.float64)
        is_true = column.values != 0.0
    sign = tf.where(is_true, 1.0, -1.0)
    return tf.where(column.missing, tf.zeros_like(sign), sign)


def _item_counts(inputs: RawTensors, feature: Items) -> tf.Tensor:
    given = _given(inputs, feature.column)
    if not isinstance(given, tf.SparseTensor):
        given = tf.sparse.from_dense(tf.reshape(given, [tf.shape(given)[0], -1]))
    if given.dtype != tf.string:
        texts = tf.strings.as_string(given.values)
        given = tf.SparseTensor(given.indices, texts, given.dense_shape)
    return _hashed_counts(given, feature.buckets)


def _word_counts(inputs: RawTensors, feature: FreeText) -> tf.Tensor:
    column = _column(inputs, feature.column, tf.string)
    lower = tf.strings.lower(column.values, encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(lower, _SEPARATORS, " "))
    grams = tft.ngrams(words.to_sparse(), (1, feature.ngrams), separator=" ")
    return _hashed_counts(grams, feature.buckets)


def _hashed_counts(tokens: tf.SparseTensor, buckets: int) -> tf.Tensor:
    """Counts tokens by hash, float32 [N, buckets], as log(1 + count)."""
    hashed = tft.hash_strings(tokens.values, buckets)
    rows = tokens.dense_shape[0]
    # One flat sum over row and bucket: a sparse matrix would first have to be sorted.
    flat = tf.math.unsorted_segment_sum(
        tf.ones_like(hashed, tf.float32),
        tokens.indices[:, 0] * buckets + tf.cast(hashed, tf.int64),
        rows * buckets,
    )
    counts = tf.reshape(flat, tf.stack([rows, buckets]))
    # Transform stores dense columns only if it knows their width.
    return tf.math.log1p(tf.ensure_shape(counts, [None, buckets]))


_TRANSFORMATIONS: Mapping[type[Feature], Any] = {
    Bucketized: _bucket_ids,
    Cyclic: _circle_points,
    IntegerCategory: _code_ids,
    Vocabulary: _vocabulary_ids,
    Boolean: _flag,
    Items: _item_counts,
    FreeText: _word_counts,
}


def _given(inputs: RawTensors, name: str) -> tf.Tensor | tf.SparseTensor:
    if name not in inputs:
        msg = f"column {name!r} is not in the data; it has {sorted(inputs)}"
        raise ValueError(msg)
    return inputs[name]


def _column(inputs: RawTensors, name: str, dtype: tf.DType) -> Column:
    given = _given(inputs, name)
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
    def first_values(given: tf.Tensor | tf.SparseTensor) -> Column:
        if isinstance(given, tf.SparseTensor):
            rows = given.dense_shape[0]
            one_each = tf.stack([rows, 1])
            first = tf.sparse.slice(given, [0, 0], one_each)
            # Not the slice's own shape: rows without any value have no column.
            found = tf.SparseTensor(first.indices, first.values, one_each)
            values = tf.reshape(tf.sparse.to_dense(found), [-1])
            held = tf.ones_like(found.values, tf.int32)
            present = tf.SparseTensor(found.indices, held, one_each)
            missing = tf.reshape(tf.sparse.to_dense(present), [-1]) == 0
        else:
            values = tf.reshape(given, [-1])
            missing = tf.zeros_like(values, tf.bool)
        if dtype.is_floating:
            missing |= ~tf.math.is_finite(values)
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
