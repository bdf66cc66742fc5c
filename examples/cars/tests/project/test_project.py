"""The project's declarations, on the first rows of its data."""

from typing import Any

import tensorflow as tf

from models import preprocessing
from models.declarations import WEIGHT
from models.declared import FEATURES, LABEL, RAW_COLUMNS, SLICE_COLUMNS, problems
from pipeline.config import local
from pipeline.trust import schema_review
from schema import SCHEMA_PATH

ROWS: list[dict[str, Any]] = [
    {
        "Name": "chevrolet chevelle malibu",
        "Miles_per_Gallon": 18.0,
        "Cylinders": 8,
        "Displacement": 307.0,
        "Horsepower": 130.0,
        "Weight_in_lbs": 3504,
        "Acceleration": 12.0,
        "Year": "1970-01-01",
        "Origin": "USA",
    },
    {
        "Name": "buick skylark 320",
        "Miles_per_Gallon": 15.0,
        "Cylinders": 8,
        "Displacement": 350.0,
        "Horsepower": 165.0,
        "Weight_in_lbs": 3693,
        "Acceleration": 11.5,
        "Year": "1970-01-01",
        "Origin": "USA",
    },
    {
        "Name": "plymouth satellite",
        "Miles_per_Gallon": 18.0,
        "Cylinders": 8,
        "Displacement": 318.0,
        "Horsepower": 150.0,
        "Weight_in_lbs": 3436,
        "Acceleration": 11.0,
        "Year": "1970-01-01",
        "Origin": "USA",
    },
]
LABELS: list[Any] = [18.0, 15.0, 18.0]
"""None where a row has no label."""


def column(name: str) -> tf.SparseTensor:
    """Makes a raw column of the rows."""
    cells = [row[name] for row in ROWS]
    lists = [c if isinstance(c, list) else [] if c is None else [c] for c in cells]
    return tf.ragged.constant(lists).to_sparse()


def test_labels_of_the_first_rows() -> None:
    """What is to be predicted is what the data says."""
    columns = {name: column(name) for name in LABEL.read}

    found = preprocessing.label_and_weight(columns, "")

    known = found[WEIGHT].numpy() > 0
    labels = found["label"].numpy().tolist()
    assert [v if k else None for v, k in zip(labels, known, strict=True)] == [
        None if v is None else tf.constant(v, found["label"].dtype).numpy()
        for v in LABELS
    ]


def test_declarations_agree_with_each_other_and_with_the_schema() -> None:
    """Every column that is declared is one that was agreed on."""
    schema = schema_review.read(SCHEMA_PATH)
    known = {feature.name for feature in schema.feature}

    assert problems(FEATURES, LABEL) == []
    assert known >= {*RAW_COLUMNS, *LABEL.read, *SLICE_COLUMNS}
    assert local().name
