"""Writes what was decided as the files of a project."""

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.declarations import AnyLabel, Binary, Classes, Regression
from pipeline.project.decisions import Plan
from pipeline.project.survey import Column, Survey
from pipeline.trust import schema_review, whole

FEATURES, SCHEMA = "models/features.py", "schema/schema.pbtxt"
GROUPS = "models/groups.py"
SETTINGS, README = "throughline.toml", "README.md"
TESTS = "tests/project/test_project.py"

# Which groups may not be treated differently is nothing that data says.
_GROUPS = '''"""Declares the groups of rows whose errors are compared; none so far."""

from models.declarations import Group

GROUPS: tuple[Group, ...] = ()
"""Every grouping whose error rates are compared in the evaluation."""
'''
_WIDTH = 88
_LONGEST_DOMAIN = 100
# Rows in which a text must be on average for its values to be agreed on.
_ROWS_OF_A_VALUE = 20
_SMALL = 5_000
_TYPES = {"INT": schema_pb2.INT, "FLOAT": schema_pb2.FLOAT, "BYTES": schema_pb2.BYTES}
_RARE = 0.05
_LEAST_DUPLICATES, _LEAST_MISSING = 0.01, 0.01


def generated(found: Survey, plan: Plan, name: str, data: str) -> dict[str, str]:
    """Returns the project's own files by path.

    Args:
        found: The survey.
        plan: What was decided.
        name: Name of the project.
        data: Directory of the data, as throughline.toml has it.
    """
    return {
        FEATURES: _features(plan),
        GROUPS: _GROUPS,
        SCHEMA: _schema(found, plan.label),
        SETTINGS: _settings(found, plan, name, data),
        TESTS: _tests(found, plan),
        README: _readme(found, plan, name, data),
    }


def _features(plan: Plan) -> str:
    declared = [type(f).__name__ for f in plan.features]
    names = sorted({*declared, type(plan.label).__name__, "AnyLabel", "Feature"})
    lines = [
        '"""Declares the features and the label of the model.',
        "",
        "Written by `throughline new` from the data; change it as you like. The kinds",
        "of features and labels are in `models/declarations.py`.",
        '"""',
        "",
        "from models.declarations import (",
        *(f"    {each}," for each in names),
        ")",
        "",
    ]
    if left := [each for each in plan.decisions if not each.features]:
        lines += [f"# {_comment(f'{each.column}: {each.reason}')}" for each in left]
    lines += ["FEATURES: tuple[Feature, ...] = ("]
    for each in plan.decisions:
        if each.features:
            lines.append(f"    # {_comment(each.reason)}")
            lines += [f"{_call(feature, 4)}," for feature in each.features]
    lines += [")", "", f"# {_comment(plan.about_label)}"]
    lines += [_call(plan.label, 0, "LABEL: AnyLabel = "), ""]
    lines += [_assigned("SLICE_COLUMNS: tuple[str, ...] = ", plan.slices, 0)]
    lines += ['"""Raw columns whose values are the slices of the evaluation."""', ""]
    return "\n".join(lines)


def _comment(text: str) -> str:
    """Returns a text as a comment of one line: values may hold anything."""
    line = " ".join(text.split())
    return line if len(line) < _WIDTH - 6 else f"{line[: _WIDTH - 10]}..."


def _call(declared: Any, indent: int, head: str = "") -> str:
    """Formats a declaration as Python code, without what is the default."""
    given = []
    for each in fields(declared):
        value = getattr(declared, each.name)
        default = each.default
        if default is MISSING and each.default_factory is not MISSING:
            default = each.default_factory()
        if default is MISSING or value != default:
            keyword = "" if each.name == "column" and not each.kw_only else each.name
            given.append((f"{keyword}=" if keyword else "", value))
    name, space = f"{head}{type(declared).__name__}", " " * indent
    line = f"{space}{name}({', '.join(k + _value(v) for k, v in given)})"
    # A comma follows.
    if len(line) < _WIDTH:
        return line
    inner = [f"{_assigned(keyword, value, indent + 4)}," for keyword, value in given]
    return "\n".join([f"{space}{name}(", *inner, f"{space})"])


def _assigned(head: str, value: Any, indent: int) -> str:
    """Formats a value behind its name, a line per item if one line is too short."""
    space = " " * indent
    line = f"{space}{head}{_value(value)}"
    if len(line) < _WIDTH or not isinstance(value, tuple | list | dict):
        return line
    opened, closed = tuple(_value(type(value)()))
    pairs = value.items() if isinstance(value, dict) else (("", each) for each in value)
    inner = [
        _assigned(f"{_text(key)}: " if key else "", item, indent + 4)
        for key, item in pairs
    ]
    # A text of the data may be longer than any line.
    too_long = [len(each) >= _WIDTH and "\n" not in each for each in inner]
    inner = [
        f"{each},{'  # noqa: E501' if long else ''}"
        for each, long in zip(inner, too_long, strict=True)
    ]
    return "\n".join([f"{space}{head}{opened}", *inner, f"{space}{closed}"])


def _value(value: Any) -> str:
    match value:
        case dict():
            return (
                f"{{{', '.join(f'{_text(k)}: {_value(v)}' for k, v in value.items())}}}"
            )
        case tuple():
            inner = ", ".join(map(_value, value))
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _text(value)
    return repr(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _schema(found: Survey, label: AnyLabel) -> str:
    schema = schema_pb2.Schema(
        feature=[_feature(column, label) for column in found.columns.values()]
    )
    unknown = {*label.columns, *filter(None, [label.weight])}
    schema_review.add_environments(schema, unknown)
    return (
        "# The data that is accepted. Written by `throughline new`: types, gaps and\n"
        "# ranges are those of the data, the latter widened. Review and commit it.\n"
        f"{text_format.MessageToString(schema, as_utf8=True)}"
    )


def _feature(column: Column, label: AnyLabel) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=column.name, type=_TYPES[column.kind])
    there = 1 - column.share_missing
    # About half of what is there: enough to notice a source that is lost. Of a column
    # that is hardly there, a split or a day may have nothing.
    share = 1.0 if not column.missing else round(there / 2, 3)
    feature.presence.min_fraction = share if there >= _RARE else 0.0
    if feature.presence.min_fraction:
        feature.presence.min_count = 1
    if not column.is_list:
        feature.value_count.max = 1
    if column.name == label.column:
        _exact_domain(feature, column, label)
    elif column.is_number and column.values:
        _wide_domain(feature, column)
    elif _is_closed(column):
        feature.string_domain.value.extend(map(str, column.values))
    return feature


def _exact_domain(feature: schema_pb2.Feature, column: Column, label: AnyLabel) -> None:
    if isinstance(label, Regression):
        _wide_domain(feature, column)
    elif column.kind == "BYTES":
        feature.string_domain.value.extend(map(str, column.values))
    elif column.kind == "INT":
        feature.int_domain.min = int(column.values[0])
        feature.int_domain.max = int(column.values[-1])


def _wide_domain(feature: schema_pb2.Feature, column: Column) -> None:
    """Sets a range with half of what was seen on each side; not below 0 if nothing is.

    A wrong unit is outside, and next month's largest value isn't.
    """
    low, high = float(column.values[0]), float(column.values[-1])
    room = (high - low) / 2
    least, most = low - room, high + room
    least = max(least, 0.0) if low >= 0 else least
    if column.kind == "INT":
        feature.int_domain.min = math.floor(least)
        feature.int_domain.max = math.ceil(most)
    else:
        # Of 32 bits, and rounded away from the values.
        feature.float_domain.min = float(f"{least:.3g}") if least else 0.0
        feature.float_domain.max = float(f"{most:.3g}")
        feature.float_domain.min = min(feature.float_domain.min, low)
        feature.float_domain.max = max(feature.float_domain.max, high)


def _is_closed(column: Column) -> bool:
    """Whether a text's values are few and frequent enough to be agreed on."""
    few = 1 < len(column.values) <= _LONGEST_DOMAIN and column.complete
    return (
        few
        and not column.is_date
        and column.present >= _ROWS_OF_A_VALUE * len(column.values)
    )


def _settings(found: Survey, plan: Plan, name: str, data: str) -> str:
    lines = [
        "# Settings of this project; flags override them. `throughline config` shows",
        "# what holds, `python run_local.py --help-all` what there is.",
        f"name = {json.dumps(name)}",
        f"data = {json.dumps(data, ensure_ascii=False)}",
    ]
    if found.rows < _SMALL:
        lines += [
            f"# Of {found.rows:,} rows; larger steps would be few of them.",
            "batch-size = 32",
        ]
    lines += _gate(found, plan.label)
    if found.rows < _SMALL:
        lines += ["", "[model]", "# Few rows are learned by heart otherwise."]
        lines += ["learning-rate = 0.01", "dropout = 0.3", "patience = 20"]
    return "\n".join([*lines, ""])


def _gate(found: Survey, label: AnyLabel) -> Iterator[str]:
    """Yields settings of the gate that the data itself would not pass by default."""
    repeated = whole.duplicates(found.profile.hashes)
    missing = max(found.columns[name].share_missing for name in label.columns)
    lines = []
    if repeated > _LEAST_DUPLICATES / 2:
        lines += [
            f"# {repeated:.1%} of the rows repeat another row.",
            f"max-duplicates = {_above(repeated * 2)}",
        ]
    if missing > _LEAST_MISSING / 2:
        lines += [
            f"# {missing:.1%} of the rows have no label; they are not learned from.",
            f"max-missing-labels = {_above(missing)}",
        ]
    if lines:
        yield from ("", "[gate]", *lines)


def _above(share: float) -> float:
    """Returns a share with some room, of two digits."""
    return min(1.0, math.ceil(share * 120) / 100)


def _tests(found: Survey, plan: Plan) -> str:
    rows = _assigned(
        "ROWS: list[dict[str, Any]] = ", [dict(row) for row in found.first], 0
    )
    label, name = plan.label, plan.label.name
    expected = [_expected(label, row.get(label.column)) for row in found.first]
    return f'''"""The project's declarations, on the first rows of its data."""

from typing import Any

import tensorflow as tf

from models import preprocessing
from models.declarations import WEIGHT
from models.declared import FEATURES, LABEL, RAW_COLUMNS, SLICE_COLUMNS, problems
from pipeline.config import local
from pipeline.trust import schema_review
from schema import SCHEMA_PATH

{rows}
LABELS: list[Any] = {expected!r}
"""None where a row has no label."""


def column(name: str) -> tf.SparseTensor:
    """Makes a raw column of the rows."""
    cells = [row[name] for row in ROWS]
    lists = [c if isinstance(c, list) else [] if c is None else [c] for c in cells]
    return tf.ragged.constant(lists).to_sparse()


def test_labels_of_the_first_rows() -> None:
    """What is to be predicted is what the data says."""
    columns = {{name: column(name) for name in LABEL.read}}

    found = preprocessing.label_and_weight(columns, "")

    known = found[WEIGHT].numpy() > 0
    labels = found[{_text(name)}].numpy().tolist()
    assert [v if k else None for v, k in zip(labels, known, strict=True)] == [
        None if v is None else tf.constant(v, found[{_text(name)}].dtype).numpy()
        for v in LABELS
    ]


def test_declarations_agree_with_each_other_and_with_the_schema() -> None:
    """Every column that is declared is one that was agreed on."""
    schema = schema_review.read(SCHEMA_PATH)
    known = {{feature.name for feature in schema.feature}}

    assert problems(FEATURES, LABEL) == []
    assert known >= {{*RAW_COLUMNS, *LABEL.read, *SLICE_COLUMNS}}
    assert local().name
'''


def _expected(label: AnyLabel, value: Any) -> Any:
    """Returns the label of a value, by hand: positions, yes or no, or the number."""
    match label:
        case Binary():
            known = dict.fromkeys(label.negative, 0) | dict.fromkeys(label.positive, 1)
            return known.get(value)
        case Classes():
            return label.values.index(value) if value in label.values else None
        case Regression():
            return None if value is None else float(np.float32(value))


def _readme(found: Survey, plan: Plan, name: str, data: str) -> str:
    return f"""# {name}

A Throughline project: {plan.label.column} by {len(plan.features)} features, learned
from {found.rows:,} rows. {plan.about_label[:1].upper()}{plan.about_label[1:]}.

```sh
make run                  # environment, pipeline, and a model in output/serving/{name}/
make test                 # its tests
. .venv/bin/activate      # this project's throughline, not another's
throughline report        # what the run found
throughline predict --data {shlex.quote(data)} --out scored.parquet
throughline serve         # http://127.0.0.1:8501/
```

| file | what it is |
|---|---|
| `throughline.toml` | settings; the data is in `{data}` |
| `models/features.py` | features and label, each with its reason |
| `schema/schema.pbtxt` | the data that is accepted |
| `tests/project/` | tests with rows of the data; `tests/pipeline/` has the code's |

`docs/your-own-data.md` goes on from here.
"""


def relative(data: Path, directory: Path) -> str:
    """Returns a path as throughline.toml has it: relative if it is in the project."""
    here, there = directory.resolve(), data.resolve()
    if there.is_relative_to(here):
        return there.relative_to(here).as_posix()
    return str(there)


def table(plan: Plan) -> Sequence[tuple[str, str, str]]:
    """Returns what was decided: column, use and reason."""
    rows = [(plan.label.column, "label", plan.about_label)]
    for each in plan.decisions:
        kinds = ", ".join(type(f).__name__ for f in each.features) or "-"
        rows.append((each.column, kinds, each.reason))
    return rows
