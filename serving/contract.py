"""What a version's signatures take, and the check of each row before the model sees it.

Names and types of the inputs are in the version's own SignatureDefs. The reviewed
schema adds what they don't have: which features a row must have, and which it may have
that the model doesn't read. Those are logged too: they may be the keys of labels.

A client that doesn't know a value sends null, or what `models.declarations` has for it,
which a model server without this check takes as well.
"""

import base64
import binascii
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from pipeline.errors import ThroughlineError, printable
from serving.rejections import invalid
from serving.request_log import LIST

Kind = Literal["INT", "FLOAT", "BYTES"]
ExtraColumns = Literal["ignore", "refuse"]

EXAMPLES = "examples"
"""The input that takes serialized tf.Examples, by TFX's convention."""
SERVING = "SERVING"
"""The schema's environment of requests."""

_NUMPY = {
    types_pb2.DT_FLOAT: "float32",
    types_pb2.DT_DOUBLE: "float64",
    types_pb2.DT_INT8: "int8",
    types_pb2.DT_UINT8: "uint8",
    types_pb2.DT_INT16: "int16",
    types_pb2.DT_INT32: "int32",
    types_pb2.DT_INT64: "int64",
    types_pb2.DT_STRING: "str",
}
_FLOATS = frozenset({"float32", "float64"})
_OF_SCHEMA: Mapping[int, Kind] = {
    schema_pb2.INT: "INT",
    schema_pb2.FLOAT: "FLOAT",
    schema_pb2.BYTES: "BYTES",
}
_OF_EXAMPLES: Mapping[str, Kind] = {
    "int64_list": "INT",
    "float_list": "FLOAT",
    "bytes_list": "BYTES",
}
_WIDEST: Mapping[Kind, str] = {"INT": "int64", "FLOAT": "float32", "BYTES": "str"}
_EXPECTED: Mapping[Kind, str] = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "BYTES": "text",
}
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


@dataclass(frozen=True)
class Bounds:
    """What a request may hold at most.

    Attributes:
        rows: Rows of a request.
        text_bytes: UTF-8 bytes of a text.
    """

    rows: int
    text_bytes: int


@dataclass(frozen=True)
class Column:
    """An input of a signature, or a feature of the schema.

    Attributes:
        name: Its name in requests for raw values.
        feature: Its name in the schema, in tf.Examples and in the log.
        kind: Its type.
        dtype: NumPy's name of the type, "str" for texts.
        shape: Sizes of a row's value, -1 if any; () for a single value.
        required: Whether each row must have a value.
    """

    name: str
    feature: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    required: bool = False

    @property
    def logged_as(self) -> str | None:
        """Its kind in the request log; `None` if a row's value has several axes."""
        names = (self.kind, f"{self.kind}{LIST}")
        return names[len(self.shape)] if len(self.shape) < len(names) else None


@dataclass(frozen=True)
class Job:
    """The checked rows of a request.

    Attributes:
        signature: The signature to call.
        columns: The values of each input, one per row.
        rows: Number of rows.
        logged: Per row the values as received, in the order of `Contract.features`.
        in_rows: Whether they came as rows, and are answered as such.
    """

    signature: str
    columns: Mapping[str, list[Any]]
    rows: int
    logged: Sequence[Sequence[Any]]
    in_rows: bool = True


class Contract:
    """What a version takes.

    Attributes:
        features: Kind of each raw feature by name, as the request log has them.
        definitions: The version's SignatureDefs.
    """

    def __init__(
        self,
        definitions: Mapping[str, meta_graph_pb2.SignatureDef],
        schema: schema_pb2.Schema | None,
        extra_columns: ExtraColumns,
        bounds: Bounds,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        """Combines signatures and schema.

        Args:
            definitions: The version's SignatureDefs, by name.
            schema: The reviewed schema; `None` if there is none.
            extra_columns: Whether features that nobody knows are ignored.
            bounds: What a request may hold at most.
            columns: The raw column behind each input that isn't named like it.

        Raises:
            ThroughlineError: An input has a type or shape that can't be served.
        """
        self.definitions = definitions
        self._bounds = bounds
        self._ignores = extra_columns == "ignore"
        reviewed = {column.feature: column for column in _of_schema(schema)}
        names = columns or {}
        self._inputs = {
            name: tuple(
                _input(key, info, names.get(key, key), reviewed)
                for key, info in sorted(definition.inputs.items())
            )
            for name, definition in definitions.items()
        }
        every = [c for inputs in self._inputs.values() for c in inputs]
        raw = {c.feature: c for c in every if c.name != EXAMPLES}
        self._by_feature = reviewed | raw
        self._known = {column.name: column for column in self._by_feature.values()}
        # The schema may require what the model doesn't read.
        required = raw or reviewed
        self._taken = (self._inputs, self._known)
        self._required = [name for name, c in required.items() if c.required]
        self._knows_all = schema is not None
        kinds = {name: c.logged_as for name, c in self._by_feature.items()}
        self.features = {name: kind for name, kind in kinds.items() if kind}
        self._logged_as = [
            (column.name, _number if column.kind == "FLOAT" else _plain)
            for column in map(self._by_feature.__getitem__, self.features)
        ]
        self._checks = {
            column.name: _check_of(column, bounds.text_bytes)
            for column in self._known.values()
        }

    def takes_the_same(self, other: "Contract") -> bool:
        """Whether the rows that one takes are those that the other takes."""
        return self._taken == other._taken  # noqa: SLF001 - of its own class

    def inputs(self, signature: str) -> tuple[Column, ...]:
        """Returns the inputs of a signature.

        Raises:
            RejectedError: There is no such signature.
        """
        if signature not in self._inputs:
            known = ", ".join(sorted(self._inputs)) or "none"
            raise invalid(
                f"there is no signature {_shown(signature)}; the model has {known}"
            )
        return self._inputs[signature]

    def takes_examples(self, signature: str) -> bool:
        """Whether the only input of a signature is serialized tf.Examples."""
        return [column.name for column in self.inputs(signature)] == [EXAMPLES]

    def feature(self, name: str) -> Column | None:
        """Returns a feature that a request may have, whether the model reads it or not.

        Args:
            name: Its name in requests.

        Returns:
            The feature; `None` if nobody knows it and such are ignored.

        Raises:
            RejectedError: Nobody knows it, and such are refused.
        """
        if name not in self._known and not self._ignores:
            raise self._unknown(name)
        return self._known.get(name)

    def of_rows(self, signature: str, rows: Sequence[Any]) -> Job:
        """Checks rows, the "instances" of REST.

        Args:
            signature: The signature's name.
            rows: An object per row, or the bare value if there is one input.

        Raises:
            RejectedError: A row doesn't fit; the message names row and feature.
        """
        inputs = self.inputs(signature)
        self._check_count(len(rows))
        if self.takes_examples(signature):
            return self._of_examples(signature, [_example_in(row) for row in rows])
        columns: dict[str, list[Any]] = {column.name: [] for column in inputs}
        logged = []
        for number, given in enumerate(rows):
            row = _named(given, inputs, number)
            known = self._checked(row, number)
            for name, values in columns.items():
                if name not in known:
                    raise _absent(name, number)
                values.append(known[name])
            logged.append(self._logged(row))
        return Job(signature, columns, len(rows), logged)

    def of_columns(self, signature: str, columns: Mapping[str, Sequence[Any]]) -> Job:
        """Checks columns, the "inputs" of REST and of gRPC.

        Args:
            signature: The signature's name.
            columns: The values of each input, one per row.

        Raises:
            RejectedError: A value doesn't fit; the message names row and feature.
        """
        self.inputs(signature)
        counts = {name: len(values) for name, values in columns.items()}
        if len(set(counts.values())) > 1:
            sizes = ", ".join(f"{_shown(n)} has {c}" for n, c in counts.items())
            raise invalid(f"each input must have the same number of rows; {sizes}")
        names = list(columns)
        rows = [
            dict(zip(names, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        return replace(self.of_rows(signature, rows), in_rows=False)

    def _check_count(self, rows: int) -> None:
        if not 1 <= rows <= self._bounds.rows:
            raise invalid(
                f"the request has {rows:,} rows; expected 1 to {self._bounds.rows:,}, "
                "so send fewer at once"
            )

    def _checked(self, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        """Returns the values of a row as the model takes them."""
        found = {}
        for name, value in row.items():
            check = self._checks.get(name)
            if check is not None:
                found[name] = check(value, number)
            elif not self._ignores:
                raise self._unknown(name, number)
        return found

    def _unknown(self, name: str, number: int | None = None) -> Exception:
        place = "" if number is None else f"row {number}: "
        known = ", ".join(sorted(self._known)) or "none"
        return invalid(f"{place}there is no feature {_shown(name)}; expected {known}")

    def _logged(self, row: Mapping[str, Any]) -> list[Any]:
        return [as_logged(row.get(name)) for name, as_logged in self._logged_as]

    def _of_examples(self, signature: str, examples: Sequence[bytes]) -> Job:
        logged = []
        for number, text in enumerate(examples):
            values = _parsed(text, number)
            row = {}
            for name, (kind, several) in values.items():
                if column := self._by_feature.get(name):
                    row[column.name] = self._of_example(column, kind, several, number)
                elif self._knows_all and not self._ignores:
                    raise self._unknown(name, number)
            for name in self._required:
                if name not in values:
                    raise _absent(name, number)
            logged.append(self._logged(row))
        return Job(signature, {EXAMPLES: list(examples)}, len(examples), logged)

    def _of_example(
        self, column: Column, kind: Kind, values: Sequence[Any], number: int
    ) -> Any:
        """Checks a feature of a tf.Example; returns its value or values."""
        if kind != column.kind:
            raise _wrong(column, values[0], number)
        if column.shape:
            for value in values:
                _check_text(column, value, number, self._bounds.text_bytes)
            return list(values)
        if len(values) > 1:
            raise invalid(
                f"row {number}: feature {_shown(column.name)} has {len(values)} "
                "values; expected one"
            )
        self._checks[column.name](values[0], number)
        return values[0]


def _of_schema(schema: schema_pb2.Schema | None) -> Iterable[Column]:
    """Yields the features that a request may have."""
    if schema is None:
        return
    for feature in schema.feature:
        within = feature.in_environment or schema.default_environment
        if feature.type in _OF_SCHEMA and (
            SERVING not in feature.not_in_environment
            and (SERVING in within or not within)
        ):
            kind = _OF_SCHEMA[feature.type]
            single = feature.value_count.max == 1 or feature.HasField("shape")
            yield Column(
                feature.name,
                feature.name,
                kind,
                _WIDEST[kind],
                () if single else (-1,),
                required=feature.presence.min_fraction >= 1,
            )


def _input(
    name: str, info: Any, feature: str, reviewed: Mapping[str, Column]
) -> Column:
    if info.dtype not in _NUMPY or not info.tensor_shape.dim:
        raise ThroughlineError(
            f"input {name!r} of the model is {types_pb2.DataType.Name(info.dtype)} "
            f"with {len(info.tensor_shape.dim)} dimensions; expected one per row at "
            f"least, of {', '.join(_NUMPY.values())}; export a signature for those"
        )
    dtype = _NUMPY[info.dtype]
    kind: Kind = "BYTES" if dtype == "str" else "FLOAT" if dtype in _FLOATS else "INT"
    shape = tuple(int(each.size) for each in info.tensor_shape.dim[1:])
    required = feature in reviewed and reviewed[feature].required
    return Column(name, feature, kind, dtype, shape, required)


def _named(given: Any, inputs: Sequence[Column], number: int) -> Mapping[str, Any]:
    """Returns a row as an object, also if it is the bare value of the only input."""
    if isinstance(given, dict) and given.keys() != {"b64"}:
        return given
    if len(inputs) == 1:
        return {inputs[0].name: given}
    raise invalid(
        f"row {number} is {_shown(given)}; expected an object with a key per feature"
    )


def _example_in(given: Any) -> bytes:
    """Returns the serialized tf.Example of a row."""
    if isinstance(given, dict) and given.keys() == {EXAMPLES}:
        given = given[EXAMPLES]
    text = _bytes_of(given)
    if text is None:
        raise invalid(
            f'a row is {_shown(given)}; expected {{"b64": TEXT}} with a serialized '
            "tf.Example"
        )
    return text


def _parsed(text: bytes, number: int) -> Mapping[str, tuple[Kind, Sequence[Any]]]:
    """Returns the values of the features that a tf.Example has values of."""
    try:
        example = example_pb2.Example.FromString(text)
    except DecodeError:
        raise invalid(
            f"row {number} is no serialized tf.Example ({len(text):,} bytes)"
        ) from None
    found: dict[str, tuple[Kind, Sequence[Any]]] = {}
    for name, feature in example.features.feature.items():
        which = feature.WhichOneof("kind")
        if which and (values := list(getattr(feature, which).value)):
            found[name] = (_OF_EXAMPLES[which], values)
    return found


Check = Callable[[Any, int], Any]


def _check_of(column: Column, text_bytes: int) -> Check:
    """Returns the check of a column's values: value and row in, model's value out."""
    single = _single(column, text_bytes)
    if not column.shape:
        return single

    def check(value: Any, number: int) -> Any:
        return _nested(column, single, value, number)

    return check


def _nested(column: Column, single: Check, value: Any, number: int) -> Any:
    """Checks a value with axes of its own, such as a vector."""

    def walked(each: Any, sizes: tuple[int, ...]) -> Any:
        if not sizes:
            return single(each, number)
        fits = isinstance(each, list) and sizes[0] in {-1, len(each)}
        if not fits:
            size = "any number of" if sizes[0] == -1 else str(sizes[0])
            raise invalid(
                f"row {number}: feature {_shown(column.name)} has {_shown(each)}; "
                f"expected a list of {size} values"
            )
        return [walked(one, sizes[1:]) for one in each]

    return walked(value, column.shape)


def _single(column: Column, text_bytes: int) -> Check:
    if column.kind == "BYTES":
        return _text_check(column, text_bytes)
    if column.kind == "INT":
        return _whole_check(column)
    return _number_check(column)


def _text_check(column: Column, text_bytes: int) -> Check:
    missing = None if column.required else MISSING_TEXT.encode()

    def check(value: Any, number: int) -> Any:
        if value is None and missing is not None:
            return missing
        text = _bytes_of(value)
        if text is None:
            raise _wrong(column, value, number)
        _check_text(column, text, number, text_bytes)
        return text

    return check


def _check_text(column: Column, value: Any, number: int, text_bytes: int) -> None:
    if isinstance(value, bytes) and len(value) > text_bytes:
        raise invalid(
            f"row {number}: feature {_shown(column.name)} is a text of "
            f"{len(value):,} bytes; expected at most {text_bytes:,}"
        )


def _whole_check(column: Column) -> Check:
    limits = np.iinfo(column.dtype)
    lowest, highest = int(limits.min), int(limits.max)
    # In a smaller type every number is a value.
    has_missing = lowest <= MISSING_INTEGER and not column.required
    missing = MISSING_INTEGER if has_missing else None

    def check(value: Any, number: int) -> Any:
        # Not isinstance: True is an int to Python.
        if type(value) is int and lowest <= value <= highest:
            return value
        if value is None and missing is not None:
            return missing
        raise _wrong(column, value, number)

    return check


def _number_check(column: Column) -> Check:
    missing = None if column.required else MISSING_FLOAT
    highest = float(np.finfo(column.dtype).max)

    def check(value: Any, number: int) -> Any:
        if type(value) is float or type(value) is int:
            # False for NaN and the infinities too.
            if -highest <= value <= highest:
                return value
            if missing is not None and value != value:  # noqa: PLR0124 - it is NaN
                return missing
        elif value is None and missing is not None:
            return missing
        raise _wrong(column, value, number)

    return check


def _wrong(column: Column, value: Any, number: int) -> Exception:
    expected = _EXPECTED[column.kind]
    if column.kind != "BYTES":
        expected += f" that fits into {column.dtype}"
    if value is None or value != value:  # noqa: PLR0124 - it is NaN
        expected += ", because the schema requires it in each row"
    return invalid(
        f"row {number}: feature {_shown(column.name)} is {_shown(value)}; expected "
        f"{expected}"
    )


def _absent(name: str, number: int) -> Exception:
    return invalid(
        f"row {number}: feature {_shown(name)} is absent; expected a value in each "
        "row, or null if the schema allows that"
    )


def _bytes_of(value: Any) -> bytes | None:
    """Returns a text's bytes; `None` if the value is no text."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            return None  # Half a surrogate pair.
    if isinstance(value, dict) and value.keys() == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            return None
    return None


def _plain(value: Any) -> Any:
    """Returns a value as the request log holds it."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        value = _bytes_of(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> Any:
    """Returns a number with a fraction, or a list of them, as the log holds it."""
    # A whole number of many digits is no double to Arrow.
    if isinstance(value, list):
        return [_number(each) for each in value]
    return float(value) if type(value) is int else _plain(value)


def _shown(value: Any) -> str:
    """Returns a client's value for a message: short, and on one line."""
    # Not repr: a list of a thousand levels is valid JSON.
    return printable(_repr.repr(value))
