"""Comparing a proposed schema with the reviewed one, and accepting it."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.declarations import Classes
from pipeline.errors import UsageError
from pipeline.trust import schema_review
from pipeline.trust.schema_review import (
    Difference,
    accept,
    add_environments,
    check,
    diff,
    is_expected,
    read,
)
from schema import SCHEMA_PATH


def schema(text: str) -> schema_pb2.Schema:
    """Parses a schema."""
    return text_format.Parse(text, schema_pb2.Schema())


@pytest.mark.parametrize(
    ("reviewed", "proposed", "expected"),
    [
        pytest.param(
            'feature { name: "fare" type: FLOAT }',
            'feature { name: "miles" type: INT }',
            ["fare: column: FLOAT -> missing", "miles: column: missing -> INT"],
            id="columns",
        ),
        pytest.param(
            'feature { name: "fare" type: FLOAT }',
            'feature { name: "fare" type: INT }',
            ["fare: type: FLOAT -> INT"],
            id="type",
        ),
        pytest.param(
            'feature { name: "fare" presence { min_fraction: 0.99 min_count: 1 } }',
            'feature { name: "fare" presence { min_count: 1 } }',
            ["fare: presence: in 0.99 of the rows -> in 1 row at least"],
            id="presence",
        ),
        pytest.param(
            'feature { name: "fare" value_count { max: 1 } }',
            'feature { name: "fare" shape { dim { size: 1 } } }',
            ["fare: values a row: 0 to 1 -> exactly 1"],
            id="values a row",
        ),
        pytest.param(
            'feature { name: "fare" float_domain { min: 0 max: 41.6 } }',
            'feature { name: "fare" float_domain { min: -1.5 disallow_nan: true } }',
            ["fare: range: 0 to 41.6 -> -1.5 to any without nan"],
            id="float range",
        ),
        pytest.param(
            'feature { name: "time" int_domain { min: 1356998400 max: 4102444800 } }',
            'feature { name: "time" }',
            ["time: range: 1356998400 to 4102444800 -> none"],
            id="int range",
        ),
        pytest.param(
            'feature { name: "pay" string_domain { value: "Cash" value: "Coupon" } }',
            'feature { name: "pay" domain: "pay" }'
            'string_domain { name: "pay" value: "Barter" value: "Cash" }',
            [
                "pay: values removed: 'Coupon' -> none",
                "pay: values added: none -> 'Barter'",
            ],
            id="values",
        ),
        pytest.param(
            'feature { name: "pay" }',
            'feature { name: "pay" string_domain { value: "Cash" } }',
            ["pay: values: any -> 'Cash'"],
            id="first values",
        ),
        pytest.param(
            'feature { name: "pay" }',
            'feature { name: "pay" string_domain { '
            + " ".join(f'value: "{n}"' for n in range(10))
            + " } }",
            ["pay: values: any -> '0', '1', '2', '3', '4', '5', '6', '7' and 2 more"],
            id="many values",
        ),
        pytest.param(
            'feature { name: "pay" distribution_constraints { min_domain_mass: 0.99 } '
            'not_in_environment: "SERVING" '
            "drift_comparator { infinity_norm { threshold: 0.1 } } "
            "skew_comparator { jensen_shannon_divergence { threshold: 0.05 } } }",
            'feature { name: "pay" in_environment: "TRAINING" }',
            [
                "pay: unseen values: 0.01 of the rows -> none",
                "pay: environments: not in SERVING -> in TRAINING",
                "pay: drift: infinity norm 0.1 -> none",
                "pay: skew: jensen shannon divergence 0.05 -> none",
            ],
            id="what no proposal has",
        ),
        pytest.param(
            'default_environment: "TRAINING" default_environment: "SERVING"',
            "",
            ["(schema): environments: TRAINING, SERVING -> none"],
            id="environments",
        ),
    ],
)
def test_each_difference_is_one_line(
    reviewed: str, proposed: str, expected: list[str]
) -> None:
    """A difference has the column, the aspect and both values."""
    differences = diff(schema(reviewed), schema(proposed))

    assert [str(d) for d in differences] == expected


def test_differences_have_parts() -> None:
    """A difference is formatted as one line of its fields."""
    differences = diff(
        schema('feature { name: "fare" type: FLOAT }'),
        schema('feature { name: "fare" type: BYTES }'),
    )

    assert differences == [Difference("fare", "type", "FLOAT", "BYTES")]


def test_a_schema_does_not_differ_from_itself() -> None:
    """Equal schemas have no difference."""
    reviewed = read(SCHEMA_PATH)

    assert diff(reviewed, reviewed) == []


def test_the_order_of_columns_and_values_is_no_difference() -> None:
    """The order of columns is no difference."""
    reviewed = schema(
        'feature { name: "b" string_domain { value: "y" value: "x" } } '
        'feature { name: "a" }'
    )
    proposed = schema(
        'feature { name: "a" } feature { name: "b" domain: "b" } '
        'string_domain { name: "b" value: "x" value: "y" }'
    )

    assert diff(reviewed, proposed) == []


def test_an_accepted_proposal_is_the_schema(tmp_path: Path) -> None:
    """After `accept`, the schemas are equal."""
    proposal, reviewed = tmp_path / "proposal.pbtxt", tmp_path / "schema.pbtxt"
    proposal.write_text('feature { name: "é" type: INT } feature { name: "a" }\n')
    reviewed.write_text('# why\nfeature { name: "old" }\n')

    accept(proposal, reviewed)

    assert reviewed.read_text() == (
        'feature {\n  name: "é"\n  type: INT\n}\nfeature {\n  name: "a"\n}\n'
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "proposal.pbtxt",
        "schema.pbtxt",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("feature {", "FILE is not a schema: ", id="broken"),
        pytest.param("", "FILE is a schema without a single column", id="empty"),
        pytest.param(None, "the schema FILE cannot be read: No such file", id="gone"),
    ],
)
def test_a_bad_proposal_changes_nothing(
    tmp_path: Path, text: str | None, message: str
) -> None:
    """An invalid proposal is rejected, and the reviewed schema is unchanged."""
    proposal, reviewed = tmp_path / "proposal.pbtxt", tmp_path / "schema.pbtxt"
    if text is not None:
        proposal.write_text(text)
    reviewed.write_text('feature { name: "fare" }\n')

    with pytest.raises(UsageError) as refused:
        accept(proposal, reviewed)

    assert str(refused.value).replace(str(proposal), "FILE").startswith(message)
    assert reviewed.read_text() == 'feature { name: "fare" }\n'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new/s.pbtxt", r"new is not a directory; make it first"),
        ("file/s.pbtxt", r"file is not a directory; make it first"),
        ("directory", r"directory is a directory; give a file's name"),
    ],
)
def test_a_place_that_is_none_is_refused(name: str, said: str, tmp_path: Path) -> None:
    """`accept` rejects a missing directory and a path that is a directory."""
    proposal = tmp_path / "proposal.pbtxt"
    proposal.write_text('feature { name: "fare" type: FLOAT }')
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()

    with pytest.raises(UsageError, match=said):
        accept(proposal, tmp_path / name)

    assert not (tmp_path / "new").exists()


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    """A schema with a repeated column is rejected."""
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "a" } feature { name: "b" } feature { name: "a" }')

    with pytest.raises(UsageError, match=r"has the column 'a' more than once"):
        read(path)


def test_unknown_columns_to_slice_by_are_refused(tmp_path: Path) -> None:
    """An unknown slice column is an error with the most similar column."""
    path = tmp_path / "schema.pbtxt"
    path.write_text(SCHEMA_PATH.read_text())

    check(path, ["fare"])
    with pytest.raises(UsageError, match=r"names 'compny'.*did you mean company\?"):
        check(path, ["fare", "compny"])
    with pytest.raises(UsageError, match=r"gate.key-columns names 'trip', which is no"):
        check(path, [], ["trip"])
    with pytest.raises(UsageError, match=r"gate.crosses names 'hour', which is no"):
        check(path, [], [], ["company*hour"])


def test_fractions_are_not_crossed(tmp_path: Path) -> None:
    """Each row may have a fraction of its own, and a cell of its own then."""
    path = tmp_path / "schema.pbtxt"
    path.write_text(SCHEMA_PATH.read_text())

    check(path, ["fare"], [], ["fare"])
    with pytest.raises(UsageError, match=r"gate.crosses names 'fare', a column of"):
        check(path, [], [], ["company*fare"])


def test_declared_columns_that_the_schema_lacks_are_refused(tmp_path: Path) -> None:
    """A feature or a label's column that no data has is told before anything runs."""
    path = tmp_path / "schema.pbtxt"
    path.write_text(SCHEMA_PATH.read_text().replace('name: "tips"', 'name: "tip"'))

    with pytest.raises(
        UsageError, match=r"models/features.py names 'tips'.*did you mean tip\?"
    ):
        check(path, [])


def test_a_schema_that_is_not_there_yet_is_no_mistake(tmp_path: Path) -> None:
    """A missing schema is valid."""
    check(tmp_path / "schema.pbtxt", ["anything"])


def test_a_feature_that_requests_lack_is_refused(tmp_path: Path) -> None:
    """A model may learn only from what is in the environment SERVING."""
    path = tmp_path / "schema.pbtxt"
    path.write_text(
        'feature { name: "fare" } feature { name: "tips" } '
        'feature { name: "company" not_in_environment: "SERVING" } '
        'default_environment: "TRAINING" default_environment: "SERVING"'
    )

    with pytest.raises(UsageError, match=r"the feature 'company', which is not in"):
        check(path, [])


def test_environments_say_what_a_request_lacks() -> None:
    """A proposal has both environments; columns of the label are in one of them."""
    proposal = schema('feature { name: "fare" } feature { name: "tips" }')

    add_environments(proposal, {"tips"})

    expected = {
        (feature.name, environment)
        for feature in proposal.feature
        for environment in proposal.default_environment
        if is_expected(feature, proposal, environment)
    }
    assert expected == {
        ("fare", "TRAINING"),
        ("fare", "SERVING"),
        ("tips", "TRAINING"),
    }


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ('string_domain { value: "a" value: "c" }', "accepts the label 'c' in 'kind'"),
        ('domain: "kinds"', "accepts the label 'd' in 'kind'"),
        ('string_domain { value: "a" value: "b" }', ""),
        ("", ""),
    ],
)
def test_a_label_outside_its_task_is_told_before_anything_runs(
    domain: str, said: str
) -> None:
    """What the schema accepts as a label, the declaration must know."""
    agreed = text_format.Parse(
        f'feature {{ name: "kind" {domain} }} feature {{ name: "x" }}'
        'string_domain { name: "kinds" value: "a" value: "d" }',
        schema_pb2.Schema(),
    )
    label = Classes(column="kind", values=("a", "b"))

    if said:
        with pytest.raises(UsageError, match=said):
            schema_review._check_label(Path("s.pbtxt"), agreed, label)
    else:
        schema_review._check_label(Path("s.pbtxt"), agreed, label)
