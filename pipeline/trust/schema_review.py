"""Reads, checks, compares and writes schemas.

The reviewed schema says what data is accepted; `pipeline.trust.fit` compares data with
it. SchemaGen's proposal says what one data set looks like: types, string values and the
presence of columns, but no ranges and no drift thresholds.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.declarations import AnyLabel, Binary, Classes
from models.declared import LABEL, RAW_COLUMNS
from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.errors import UsageError, nearest

WHOLE_SCHEMA = "(schema)"

TRAINING = "TRAINING"
"""Environment of data with labels: what a run reads."""

SERVING = "SERVING"
"""Environment of rows without a label: what a model is asked about."""

_NONE = "none"
_VALUES_SHOWN = 8
_DOMAIN_ASPECT = "values"


@dataclass(frozen=True)
class Difference:
    """One difference between the reviewed and the proposed schema."""

    column: str
    """The column's name, or WHOLE_SCHEMA."""
    aspect: str
    """What differs: "column", "type", "presence", "values", "range" and so on."""
    reviewed: str
    """The reviewed schema's value, formatted for display."""
    proposed: str
    """The proposal's value, formatted for display."""

    def __str__(self) -> str:
        """Returns the difference as one line."""
        return f"{self.column}: {self.aspect}: {self.reviewed} -> {self.proposed}"


def read(path: Location) -> schema_pb2.Schema:
    """Reads a schema from a text proto.

    Raises:
        UsageError: The file can't be read, is not a schema, or has no columns or one
            of them twice.
    """
    try:
        schema = text_format.Parse(files.read_text(path), schema_pb2.Schema())
    except OSError as error:
        # Arrow puts its own words, path and all, where Python has the system's.
        reason = os.strerror(error.errno) if error.errno else error
        raise UsageError(f"the schema {path} cannot be read: {reason}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a schema: {error}") from error
    if not schema.feature:
        raise UsageError(
            f"{path} is a schema without a single column; a schema lists them all"
        )
    # A lookup by name would silently use one of the two.
    counts = Counter(feature.name for feature in schema.feature)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UsageError(
            f"{path} has the column {twice[0]!r} more than once; keep one of them"
        )
    return schema


def check(
    path: Path,
    slice_columns: Sequence[str],
    key_columns: Sequence[str] = (),
    crosses: Sequence[str] = (),
) -> None:
    """Validates the reviewed schema, and what depends on it, before a run.

    Args:
        path: The reviewed schema; a missing file is valid.
        slice_columns: Columns that the evaluation is sliced by.
        key_columns: Columns that identify a row.
        crosses: Combinations of columns that training should cover, as "hour*area".

    Raises:
        UsageError: It is not a schema, lacks one of these columns, or has a feature
            that serving requests don't have.
    """
    # `exists` is false for a dangling link, which is a mistake and not a missing
    # schema.
    if not path.exists() and not path.is_symlink():
        return
    schema = read(path)
    for feature in schema.feature:
        if feature.name in RAW_COLUMNS and not is_expected(feature, schema, SERVING):
            raise UsageError(
                f"models/features.py declares the feature {feature.name!r}, which is "
                f"not in the environment {SERVING} of {path}: requests don't have it; "
                "leave one of the two out"
            )
    known = [feature.name for feature in schema.feature]
    crossed = [name for cross in crosses for name in cross.split("*")]
    named = {
        "models/features.py": (*RAW_COLUMNS, *LABEL.read),
        "quality.slice-columns, slice-crosses or rules": slice_columns,
        "gate.key-columns": key_columns,
        "gate.crosses": crossed,
    }
    for setting, names in named.items():
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{setting} names {name!r}, which is no column of {path}; "
                    f"{nearest(name, known)}"
                )
    _check_label(path, schema, LABEL)
    # Without CROSSES of its own a project has its slices, which it has asked for.
    _check_crossed(schema, {*crossed} - {*slice_columns})


def _check_label(path: Path, schema: schema_pb2.Schema, label: AnyLabel) -> None:
    """Rejects values of the label that were agreed on and that no task has."""
    match label:
        case Classes(values=values):
            known = {*values}
        case Binary(above=None, positive=positive, negative=negative):
            known = {*positive, *negative}
        case _:
            return
    domains = {domain.name: domain for domain in schema.string_domain}
    for feature in schema.feature:
        if feature.name != label.column:
            continue
        domain = domains.get(feature.domain, feature.string_domain)
        if unknown := [value for value in domain.value if value not in known]:
            raise UsageError(
                f"{path} accepts the label {unknown[0]!r} in {label.column!r}, which "
                "models/features.py doesn't declare; add it to the label's values, or "
                "take it out of the schema"
            )


def _check_crossed(schema: schema_pb2.Schema, columns: Collection[str]) -> None:
    """Rejects columns of fractions, of which each row may have one of its own."""
    for feature in schema.feature:
        if feature.name in columns and feature.type == schema_pb2.FLOAT:
            raise UsageError(
                f"gate.crosses names {feature.name!r}, a column of fractions, of which "
                "each row may have another one; cross texts and whole numbers"
            )


def add_environments(schema: schema_pb2.Schema, unknown: Collection[str]) -> None:
    """Adds the environments TRAINING and SERVING to a schema, in place.

    Args:
        schema: One without environments.
        unknown: Columns that serving requests don't have, such as the label's.
    """
    schema.default_environment[:] = [TRAINING, SERVING]
    for feature in schema.feature:
        if feature.name in unknown:
            feature.not_in_environment.append(SERVING)


def diff(reviewed: schema_pb2.Schema, proposed: schema_pb2.Schema) -> list[Difference]:
    """Compares two schemas column by column.

    Returns:
        The differences: columns in the reviewed order, new columns in the proposed
        order, then those of the whole schema. Empty if both accept the same data.
    """
    old = {feature.name: feature for feature in reviewed.feature}
    new = {feature.name: feature for feature in proposed.feature}
    differences: list[Difference] = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            kind = _type(old[name])
            differences.append(Difference(name, "column", kind, "missing"))
        elif name not in old:
            kind = _type(new[name])
            differences.append(Difference(name, "column", "missing", kind))
        else:
            before = _describe(old[name], reviewed)
            after = _describe(new[name], proposed)
            differences += _differences(name, before, after)
            # Values are compared as sets: whole lists would bury one added value.
            differences += _value_differences(
                name,
                _string_values(old[name], reviewed),
                _string_values(new[name], proposed),
            )
    return differences + _differences(
        WHOLE_SCHEMA, _describe_schema(reviewed), _describe_schema(proposed)
    )


def is_expected(
    feature: schema_pb2.Feature, schema: schema_pb2.Schema, environment: str
) -> bool:
    """Whether data of an environment has a column; TFDV's rule.

    Args:
        feature: The column.
        schema: Has the environments that columns are in by default.
        environment: Such as "SERVING".
    """
    if environment in feature.not_in_environment:
        return False
    if environment in feature.in_environment:
        return True
    return not schema.default_environment or environment in schema.default_environment


def accept(proposed_path: Location, schema_path: Path) -> None:
    """Makes a proposal the first reviewed schema.

    The columns stay in the proposal's order, so the same proposal always gives the same
    file.

    Args:
        proposed_path: The proposal.
        schema_path: The reviewed schema to write.

    Raises:
        UsageError: The proposal is not a schema with columns, or the reviewed schema's
            directory doesn't exist.
    """
    proposal = read(proposed_path)
    write(text_format.MessageToString(proposal, as_utf8=True), schema_path)


def write(text: str, schema_path: Path) -> None:
    """Replaces the reviewed schema, atomically.

    Args:
        text: Its new text.
        schema_path: The file.

    Raises:
        UsageError: The file's directory doesn't exist, or it is one itself.
    """
    if not schema_path.parent.is_dir():
        raise UsageError(
            f"{schema_path} can't be written: {schema_path.parent} is not a directory; "
            "make it first"
        )
    if schema_path.is_dir():
        raise UsageError(f"{schema_path} is a directory; give a file's name")
    # In the same directory, since a rename can't cross file systems. Not
    # `durable.write`, which makes files private: this one is under version control.
    handle, name = tempfile.mkstemp(
        prefix=f".{schema_path.name}.", dir=schema_path.parent
    )
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)  # mkstemp makes files that only their owner can read
        unfinished.replace(schema_path)
    finally:
        unfinished.unlink(missing_ok=True)


def _differences(
    column: str, before: dict[str, str], after: dict[str, str]
) -> list[Difference]:
    return [
        Difference(column, aspect, before[aspect], after[aspect])
        for aspect in before
        if before[aspect] != after[aspect]
    ]


def _value_differences(
    column: str, before: list[str] | None, after: list[str] | None
) -> list[Difference]:
    """Returns added and removed values, or the domain that was added or removed."""
    if before is None or after is None:
        if before is None and after is None:
            return []
        return [
            Difference(column, _DOMAIN_ASPECT, _any_or(before), _any_or(after)),
        ]
    removed = [value for value in before if value not in after]
    added = [value for value in after if value not in before]
    differences = []
    if removed:
        differences.append(
            Difference(column, f"{_DOMAIN_ASPECT} removed", _shown(removed), _NONE)
        )
    if added:
        differences.append(
            Difference(column, f"{_DOMAIN_ASPECT} added", _NONE, _shown(added))
        )
    return differences


def _describe(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> dict[str, str]:
    return {
        "type": _type(feature),
        "presence": _presence(feature),
        "values a row": _value_count(feature),
        "range": _range(feature, schema),
        "unseen values": _unseen_values(feature),
        "environments": _environments(feature),
        "drift": _comparator(feature.drift_comparator),
        "skew": _comparator(feature.skew_comparator),
    }


def _describe_schema(schema: schema_pb2.Schema) -> dict[str, str]:
    return {"environments": ", ".join(schema.default_environment) or _NONE}


def _type(feature: schema_pb2.Feature) -> str:
    return str(schema_pb2.FeatureType.Name(feature.type))


def _presence(feature: schema_pb2.Feature) -> str:
    fraction, count = feature.presence.min_fraction, feature.presence.min_count
    if fraction:
        return f"in {fraction:.4g} of the rows"
    if count:
        return f"in {count} {'row' if count == 1 else 'rows'} at least"
    return _NONE


def _value_count(feature: schema_pb2.Feature) -> str:
    kind = feature.WhichOneof("shape_type")
    if kind == "shape":
        sizes = [str(dim.size) for dim in feature.shape.dim]
        # A shape without dimensions is a scalar.
        return f"exactly {' x '.join(sizes) or '1'}"
    if kind == "value_count":
        return f"{feature.value_count.min} to {feature.value_count.max or 'any'}"
    return "any"


def _range(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> str:
    domain = number_domain(feature, schema)
    if domain is None:
        return _NONE
    low = f"{_number(domain.min)}" if domain.HasField("min") else "any"
    high = f"{_number(domain.max)}" if domain.HasField("max") else "any"
    not_allowed = [
        word
        for word, refused in (
            ("nan", getattr(domain, "disallow_nan", False)),
            ("inf", getattr(domain, "disallow_inf", False)),
        )
        if refused
    ]
    suffix = f" without {' and '.join(not_allowed)}" if not_allowed else ""
    return f"{low} to {high}{suffix}"


def _number(bound: Any) -> str:
    # The proto stores 32-bit floats: 41.6 is read as 41.599998474.
    return f"{bound:.7g}" if isinstance(bound, float) else str(bound)


def number_domain(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> Any:
    """Returns the IntDomain or FloatDomain of a column, in place; `None` without."""
    kind = feature.WhichOneof("domain_info")
    if kind in ("int_domain", "float_domain"):
        return getattr(feature, kind)
    # `domain` names one that several columns share, at the end of the schema.
    shared = [*schema.int_domain, *schema.float_domain]
    return next(
        (d for d in shared if kind == "domain" and d.name == feature.domain), None
    )


def string_domain(
    feature: schema_pb2.Feature, schema: schema_pb2.Schema
) -> schema_pb2.StringDomain | None:
    """Returns the values that a column accepts, in place; `None` if it accepts any."""
    kind = feature.WhichOneof("domain_info")
    if kind == "string_domain":
        return feature.string_domain
    if kind == "domain":
        for shared in schema.string_domain:
            if shared.name == feature.domain:
                return shared
    return None


def _string_values(
    feature: schema_pb2.Feature, schema: schema_pb2.Schema
) -> list[str] | None:
    domain = string_domain(feature, schema)
    return list(domain.value) if domain is not None else None


def share_outside(feature: schema_pb2.Feature) -> float:
    """Returns the share of a column's values, 0 to 1, that may be outside its domain.

    The proto has the share inside; a reviewer thinks of what is outside.
    """
    if not feature.HasField("distribution_constraints"):
        return 0.0
    return 1 - feature.distribution_constraints.min_domain_mass


def _unseen_values(feature: schema_pb2.Feature) -> str:
    if not feature.HasField("distribution_constraints"):
        return _NONE
    return f"{share_outside(feature):.4g} of the rows"


def _environments(feature: schema_pb2.Feature) -> str:
    only = [f"in {name}" for name in feature.in_environment]
    return (
        ", ".join(only + [f"not in {n}" for n in feature.not_in_environment]) or _NONE
    )


def _comparator(comparator: schema_pb2.FeatureComparator) -> str:
    thresholds = [
        f"{field.name.replace('_', ' ')} {value.threshold:.4g}"
        # Every kind of threshold that the proto has, also those of newer versions.
        for field, value in comparator.ListFields()
        if hasattr(value, "threshold")
    ]
    return ", ".join(thresholds) or _NONE


def _any_or(values: list[str] | None) -> str:
    return "any" if values is None else _shown(values)


def _shown(values: list[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:_VALUES_SHOWN])
    more = len(values) - _VALUES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
