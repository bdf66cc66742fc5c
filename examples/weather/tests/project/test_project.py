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
        "date": "2012-01-01",
        "precipitation": 0.0,
        "temp_max": 12.8,
        "temp_min": 5.0,
        "wind": 4.7,
        "weather": "drizzle",
    },
    {
        "date": "2012-01-02",
        "precipitation": 10.9,
        "temp_max": 10.6,
        "temp_min": 2.8,
        "wind": 4.5,
        "weather": "rain",
    },
    {
        "date": "2012-01-03",
        "precipitation": 0.8,
        "temp_max": 11.7,
        "temp_min": 7.2,
        "wind": 2.3,
        "weather": "rain",
    },
]
LABELS: list[Any] = [0, 1, 1]
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
