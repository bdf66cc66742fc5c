"""Editing a schema's text where the schema changes, and nowhere else."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import UsageError
from pipeline.trust.schema_text import rewrite
from schema import SCHEMA_PATH

Change = Callable[[schema_pb2.Schema], Any]

TEXT = """\
# A header.

# The fare, in dollars.
feature {
  name: "fare"  # as billed
  type: FLOAT
  presence { min_fraction: 0.99 min_count: 1 }
  float_domain { min: 0 max: 10 }
}

# How it was paid.
feature {
  name: "pay"
  domain: "pay"
}

string_domain {
  name: "pay"
  value: "Cash"
  value: "Card"  # any card
}

# The end.
"""


def schema(text: str) -> schema_pb2.Schema:
    """Parses a schema."""
    return text_format.Parse(text, schema_pb2.Schema())


def _lower_presence(wider: schema_pb2.Schema) -> None:
    wider.feature[0].presence.min_fraction = 0.5


def _drift(wider: schema_pb2.Schema) -> None:
    comparator = wider.feature[0].drift_comparator
    comparator.jensen_shannon_divergence.threshold = 0.25


def _no_maximum(wider: schema_pb2.Schema) -> None:
    wider.feature[0].float_domain.ClearField("max")


def _new_column(wider: schema_pb2.Schema) -> None:
    wider.feature.add(name="vendor", type=schema_pb2.INT)


def _drop_column(wider: schema_pb2.Schema) -> None:
    del wider.feature[0]


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        pytest.param(
            _lower_presence, "min_fraction: 0.99", "min_fraction: 0.5", id="number"
        ),
        pytest.param(_no_maximum, "min: 0 max: 10 ", "min: 0 ", id="field removed"),
        pytest.param(
            lambda wider: wider.string_domain[0].value.extend(["Barter", "Coin"]),
            '"Card"  # any card\n',
            '"Card"  # any card\n  value: "Barter"\n  value: "Coin"\n',
            id="values",
        ),
        pytest.param(
            lambda wider: wider.string_domain[0].value.remove("Cash"),
            '  value: "Cash"\n',
            "",
            id="value removed",
        ),
        pytest.param(
            _drift,
            "float_domain { min: 0 max: 10 }\n",
            "float_domain { min: 0 max: 10 }\n"
            "  drift_comparator { jensen_shannon_divergence { threshold: 0.25 } }\n",
            id="block",
        ),
        pytest.param(
            _new_column,
            '  domain: "pay"\n}\n',
            '  domain: "pay"\n}\n\nfeature {\n  name: "vendor"\n  type: INT\n}\n',
            id="column",
        ),
        pytest.param(
            _drop_column,
            TEXT[TEXT.index("# The fare") : TEXT.index("# How")],
            "",
            id="column removed, with its comment",
        ),
    ],
)
def test_only_what_changes_is_edited(change: Change, before: str, after: str) -> None:
    """The rest of the text, its comments included, is as it was."""
    wanted = schema(TEXT)
    change(wanted)

    text = rewrite(TEXT, wanted)

    assert text == TEXT.replace(before, after)
    assert schema(text) == wanted


def test_nothing_to_change_changes_nothing() -> None:
    """The project's own schema, with all its notation, is returned as it is."""
    text = SCHEMA_PATH.read_text()

    assert rewrite(text, schema(text)) == text


def test_a_notation_that_cannot_be_edited_is_refused() -> None:
    """Rather than a schema that says something else."""
    text = 'feature { name: "pay" string_domain { value: ["Cash", "Card"] } }'
    wanted = schema(text)
    wanted.feature[0].string_domain.value.append("Coin")

    with pytest.raises(UsageError, match="make the change by hand"):
        rewrite(text, wanted)
