"""Where data doesn't fit the reviewed schema, in words; and accepting it."""

import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.errors import UsageError
from pipeline.trust import fit
from pipeline.trust.distributions import features_of

REVIEWED = """
feature {
  name: "fare" type: FLOAT
  presence { min_fraction: 0.99 min_count: 1 } value_count { min: 1 max: 1 }
  float_domain { min: 0 max: 50 disallow_nan: true }
}
feature {
  name: "pay" type: BYTES
  presence { min_fraction: 1 min_count: 1 } value_count { min: 1 max: 1 }
  string_domain { value: "Card" value: "Cash" }
  distribution_constraints { min_domain_mass: 0.9 }
}
"""
FARE = """
  features {
    path { step: "fare" } type: FLOAT
    num_stats {
      common_stats {
        num_non_missing: 100 min_num_values: 1 max_num_values: 1 tot_num_values: 100
      }
      mean: 5 min: 1 median: 5 max: 40 histograms { num_nan: 0 }
    }
  }
"""
PAY = """
  features {
    path { step: "pay" } type: STRING
    string_stats {
      common_stats {
        num_non_missing: 100 min_num_values: 1 max_num_values: 1 tot_num_values: 100
      }
      unique: 2
      rank_histogram {
        buckets { label: "Card" sample_count: 60 }
        buckets { label: "Cash" sample_count: 40 }
      }
    }
  }
"""
VENDOR = FARE.replace("fare", "vendor")


def schema(text: str = REVIEWED) -> schema_pb2.Schema:
    """Parses a schema."""
    return text_format.Parse(text, schema_pb2.Schema())


def statistics(*columns: str) -> statistics_pb2.DatasetFeatureStatistics:
    """Returns the statistics of 100 rows."""
    return text_format.Parse(
        "num_examples: 100" + "".join(columns),
        statistics_pb2.DatasetFeatureStatistics(),
    )


def review(
    *splits: statistics_pb2.DatasetFeatureStatistics, text: str = REVIEWED
) -> dict[str, fit.Review]:
    """Compares splits with a schema."""
    observed = {
        str(number): {feature.name: feature for feature in features_of(split)}
        for number, split in enumerate(splits)
    }
    return fit.review(schema(text), observed, lambda *_: (3, 0))


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """Replaces parts of a text, each of which it must have."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_data_that_fits_is_said_with_its_rows() -> None:
    """Without a difference, nothing is listed."""
    found = review(statistics(FARE, PAY))

    assert found == {}
    assert fit.lines(found, {"train": 100, "test": 20}) == [
        "the data fits the reviewed schema: 120 rows (train 100, test 20)"
    ]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(
            [changed(FARE, ("min: 1 m", "min: -2.5 m")), PAY],
            "range grew: -2.5 to 40, the schema accepts 0 to 50; 3 rows (3 %) are "
            "below",
            id="range",
        ),
        pytest.param(
            [changed(FARE, ("num_nan: 0", "num_nan: 4")), PAY],
            "4 values are nan, which the schema refuses",
            id="nan",
        ),
        pytest.param(
            [
                changed(FARE, ("non_missing: 100", "non_missing: 95 num_missing: 5")),
                PAY,
            ],
            "presence fell: 95 % of the rows have a value (5 of 100 don't), the schema "
            "wants it in at least 99 %",
            id="presence",
        ),
        pytest.param(
            [changed(FARE, ("max_num_values: 1", "max_num_values: 3")), PAY],
            "rows have 1 to 3 values, the schema wants 1 to 1",
            id="values of a row",
        ),
        pytest.param(
            [PAY],
            "the data has no such column; the schema wants it in at least 99 %",
            id="no column",
        ),
        pytest.param(
            [
                FARE,
                changed(PAY, ('"Cash" sample_count: 40', '"Coin" sample_count: 40')),
            ],
            "1 new value in 40 of 100 rows (40 %): 'Coin' 40; the schema tolerates "
            "10 %",
            id="new value",
        ),
        pytest.param(
            [FARE, PAY, VENDOR],
            "new column of type FLOAT, in 100 % of the rows, 1 to 40",
            id="new number",
        ),
        pytest.param(
            [FARE, PAY, changed(PAY, ("pay", "vendor"))],
            "new column of type BYTES, in 100 % of the rows, 2 values: 'Card' 60, "
            "'Cash' 40",
            id="new text",
        ),
    ],
)
def test_what_differs_is_said_and_can_be_accepted(
    columns: list[str], expected: str
) -> None:
    """A sentence has counts and examples; TFDV accepts the data afterwards."""
    data = statistics(*columns)
    found = review(data)

    ((misfit,),) = [each.misfits for each in found.values()]
    wider = fit.widened(schema(), found, [])

    everything = statistics_pb2.DatasetFeatureStatisticsList(datasets=[data])
    assert misfit.text == expected
    assert tfdv.validate_statistics(everything, schema()).anomaly_info
    assert not tfdv.validate_statistics(everything, wider).anomaly_info


def test_the_worst_split_decides() -> None:
    """Counts are of all splits; what is accepted is what the worst of them needs."""
    half = changed(FARE, ("non_missing: 100", "non_missing: 50 num_missing: 50"))
    found = review(statistics(FARE, PAY), statistics(half, PAY))

    wider = fit.widened(schema(), found, ["fare"])

    (misfit,) = found["fare"].misfits
    assert "75 % of the rows" in misfit.text
    assert wider.feature[0].presence.min_fraction == 0.5


def test_tolerated_values_are_shown_too() -> None:
    """A new value below the schema's tolerance doesn't break it, and is listed."""
    few = changed(PAY, ('"Cash" sample_count: 40', '"Coin" sample_count: 4'))

    (misfit,) = review(statistics(FARE, few))["pay"].misfits

    assert not misfit.breaks
    assert "'Coin' 4" in misfit.text


def test_columns_of_serving_alone_are_not_expected() -> None:
    """A run reads data of the environment TRAINING."""
    text = REVIEWED + 'feature { name: "device" presence { min_count: 1 } '
    text += 'not_in_environment: "TRAINING" } default_environment: "TRAINING"'

    assert review(statistics(FARE, PAY), text=text) == {}


def test_only_named_columns_are_accepted() -> None:
    """The others stay as they were reviewed."""
    found = review(statistics(changed(FARE, ("max: 40", "max: 60")), PAY, VENDOR))

    wider = fit.widened(schema(), found, ["fare"])

    assert list(found) == ["fare", "vendor"]
    assert [feature.name for feature in wider.feature] == ["fare", "pay"]
    assert wider.feature[0].float_domain.max == 60


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("pay", "pay fits the reviewed schema already"),
        ("far", r"'far' is neither in the data nor .*did you mean fare\?"),
    ],
)
def test_nothing_to_accept_is_an_error(column: str, said: str) -> None:
    """A mistyped column must not look accepted."""
    with pytest.raises(UsageError, match=said):
        fit.widened(schema(), review(statistics(FARE, PAY)), [column])


def test_another_type_is_changed_by_hand() -> None:
    """Its range is the old type's, so a person has to write a new one."""
    found = review(statistics(changed(FARE, ("type: FLOAT", "type: INT")), PAY))

    with pytest.raises(UsageError, match="fare can't be accepted: the type is INT"):
        fit.widened(schema(), found, [])


def test_bounds_are_rounded_outwards() -> None:
    """The proto has 32 bits: the accepted range must hold the data's 64-bit ends."""
    wide = changed(FARE, ("max: 40", "max: 60.1"), ("min: 1 m", "min: -60.1 m"))

    domain = fit.widened(schema(), review(statistics(wide, PAY)), []).feature[0]

    assert domain.float_domain.min <= -60.1
    assert domain.float_domain.max >= 60.1
