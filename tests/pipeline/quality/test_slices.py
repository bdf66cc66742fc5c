"""Rows are assigned to the same slices as in TFMA."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_model_analysis.slicer import slicer_lib

from pipeline.quality.slices import (
    SliceKey,
    SliceValueError,
    Spec,
    Values,
    members,
)

ROWS: dict[str, list[list[Any] | None]] = {
    "color": [[b"red"], [b"green"], None, [b"red"], [b"green", b"red", b"green"]],
    "hour": [[3], [3], [4], None, [4]],
    "speed": [[0.5], [1.5], [0.5], [0.5], None],
}
SPECS: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    ((), {}),
    (("color",), {}),
    (("hour", "color"), {}),
    (("color",), {"hour": "3"}),
    ((), {"speed": "0.5", "color": "red"}),
    ((), {"color": "pink"}),
    (("unheard_of",), {}),
)


def found(specs: Sequence[Spec], rows: dict[str, Any]) -> dict[SliceKey, list[int]]:
    """The rows of each slice."""
    columns = {name: Values.of(pa.array(column)) for name, column in rows.items()}
    inside = members(specs, columns, 5)
    by_slice: dict[SliceKey, list[int]] = {key: [] for key in inside.keys}
    for number, row in zip(inside.slices.tolist(), inside.rows.tolist(), strict=True):
        by_slice[inside.keys[number]].append(row)
    return by_slice


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_rows_are_in_the_slices_of_tfma(
    spec: tuple[tuple[str, ...], dict[str, str]],
) -> None:
    """Slices are TFMA's for values, lists, crosses, conditions and missing values."""
    columns, values = spec
    theirs: dict[Any, list[int]] = {}
    wanted = slicer_lib.SingleSliceSpec(columns, list(values.items()))
    for row in range(5):
        features = {
            name: np.array(column[row])
            for name, column in ROWS.items()
            if column[row] is not None
        }
        keys = slicer_lib.get_slices_for_features_dicts([], features, [wanted])
        for key in keys:
            theirs.setdefault(key, []).append(row)

    ours = found([Spec.of(columns, values)], ROWS)

    assert ours == theirs


def test_a_slice_of_two_specs_counts_once() -> None:
    """A row is in a slice once, even if two specs define it."""
    specs = [Spec.of(("color",), {}), Spec.of((), {"color": "red"}), Spec()]

    ours = found(specs, ROWS)

    assert ours[("color", "red"),] == [0, 3, 4]
    assert ours[()] == [0, 1, 2, 3, 4]


def test_many_columns_are_crossed() -> None:
    """A cross of ten columns of a thousand values each doesn't overflow."""
    rows = {f"c{at}": [[value] for value in range(at, at + 5)] for at in range(10)}
    vocabulary = list(range(1000))
    columns = {
        name: Values(np.arange(5), np.array(values).ravel(), vocabulary)
        for name, values in rows.items()
    }

    inside = members([Spec.of(rows, {})], columns, 5)

    assert [dict(key)["c9"] for key in inside.keys] == [9, 10, 11, 12, 13]
    assert inside.rows.tolist() == [0, 1, 2, 3, 4]


def test_transformed_columns_are_sliced_by() -> None:
    """Arrays [N] and [N, 2] of a model can be sliced by."""
    one = Values.of(np.array([1, 2, 1]))
    two = Values.of(np.array([[1.5, 1.5], [2.5, 1.5], [0.5, 0.5]]))

    single = members([Spec(("a",))], {"a": one}, 3)
    inside = members([Spec(("a",))], {"a": two}, 3)

    assert single.keys == ((("a", 1),), (("a", 2),))
    assert single.slices.tolist() == [0, 1, 0]
    assert inside.keys == ((("a", 1.5),), (("a", 2.5),), (("a", 0.5),))
    assert sorted(zip(inside.slices.tolist(), inside.rows.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 1),
        (2, 2),
    ]


def test_text_that_is_none_names_no_slice() -> None:
    """A value that is not UTF-8 is an error with the column and the value."""
    with pytest.raises(SliceValueError, match=r"column color holds b'\\xff'"):
        found([Spec(("color",))], {"color": [[b"\xff"], None, None, None, None]})


def test_a_column_in_both_places_is_refused() -> None:
    """A column in both feature_keys and feature_values is an error."""
    with pytest.raises(SliceValueError, match="color is in feature_keys and in"):
        Spec.of(("color",), {"color": "red"})
