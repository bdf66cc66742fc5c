"""What features say about the label and about each other."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.trust.value import mutual_information, values

ROWS = 4000


@pytest.fixture
def chance() -> np.random.Generator:
    """Random numbers that are the same in each run."""
    return np.random.default_rng(1)


def test_a_feature_that_is_the_label_explains_it(chance: np.random.Generator) -> None:
    """One bit of a label of one bit; random numbers and random texts explain none."""
    label = chance.integers(0, 2, ROWS)
    batch = pa.RecordBatch.from_pydict(
        {
            "same": label,
            "text": [b"yes" if each else b"no" for each in label],
            "number": chance.normal(size=ROWS),
            "id": [f"id {n}".encode() for n in chance.integers(0, 900, ROWS)],
        }
    )

    found = values(batch, batch.schema.names, label.astype(np.float64))

    assert found["same"].information == pytest.approx(1, abs=0.001)
    assert found["same"].explained == pytest.approx(1, abs=0.001)
    assert found["text"].information == found["same"].information
    assert found["number"].information < 0.003
    assert found["id"].information < 0.003


def test_missing_values_are_a_value(chance: np.random.Generator) -> None:
    """That a value is missing may say more than the value."""
    label = chance.integers(0, 2, ROWS)
    fares = pa.array(chance.normal(size=ROWS), mask=label == 1)

    (found,) = values(
        pa.RecordBatch.from_pydict({"fare": fares}), ["fare"], label.astype(np.float64)
    ).values()

    assert found.missing == pytest.approx(0.5, abs=0.05)
    assert found.explained > 0.99
    assert (found.redundancy, found.redundant_with) == (0.0, "")


def test_redundancy_has_a_direction(chance: np.random.Generator) -> None:
    """An area has all that its district says; the district half of the area's bits."""
    area = chance.integers(0, 16, ROWS)
    batch = pa.RecordBatch.from_pydict(
        {"area": area, "district": area // 4, "other": chance.integers(0, 9, ROWS)}
    )

    found = values(batch, batch.schema.names, chance.normal(size=ROWS))

    assert found["district"].redundant_with == "area"
    assert found["district"].redundancy == pytest.approx(1, abs=0.01)
    assert found["area"].redundant_with == "district"
    assert found["area"].redundancy == pytest.approx(0.5, abs=0.01)
    assert found["other"].redundancy < 0.02


def test_numbers_are_labels_too(chance: np.random.Generator) -> None:
    """A label of many values is described by its tenths; unknown ones don't count."""
    number = chance.normal(size=ROWS)
    batch = pa.RecordBatch.from_pydict({"same": number, "empty": pa.nulls(ROWS)})
    unknown = np.where(np.arange(ROWS) % 2, number, np.nan)

    found = values(batch, ["same", "empty"], unknown)

    assert found["same"].explained > 0.95
    assert (found["empty"].information, found["empty"].missing) == (0.0, 1.0)


def test_mutual_information_of_a_table() -> None:
    """By hand: 0.75 bits less are known of two fair bits that agree in 3 of 4 rows."""
    one = np.array([0, 0, 0, 0, 1, 1, 1, 1] * 1000)
    other = np.array([0, 0, 0, 1, 1, 1, 1, 0] * 1000)

    # 1 - H(1/4) = 1 - 0.8112781.
    assert mutual_information(one, other) == pytest.approx(0.1887219, abs=0.0002)
