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
        "alcohol": 14.23,
        "malic_acid": 1.71,
        "ash": 2.43,
        "alcalinity_of_ash": 15.6,
        "magnesium": 127.0,
        "total_phenols": 2.8,
        "flavanoids": 3.06,
        "nonflavanoid_phenols": 0.28,
        "proanthocyanins": 2.29,
        "color_intensity": 5.64,
        "hue": 1.04,
        "od280/od315_of_diluted_wines": 3.92,
        "proline": 1065.0,
        "target": 0,
    },
    {
        "alcohol": 13.2,
        "malic_acid": 1.78,
        "ash": 2.14,
        "alcalinity_of_ash": 11.2,
        "magnesium": 100.0,
        "total_phenols": 2.65,
        "flavanoids": 2.76,
        "nonflavanoid_phenols": 0.26,
        "proanthocyanins": 1.28,
        "color_intensity": 4.38,
        "hue": 1.05,
        "od280/od315_of_diluted_wines": 3.4,
        "proline": 1050.0,
        "target": 0,
    },
    {
        "alcohol": 13.16,
        "malic_acid": 2.36,
        "ash": 2.67,
        "alcalinity_of_ash": 18.6,
        "magnesium": 101.0,
        "total_phenols": 2.8,
        "flavanoids": 3.24,
        "nonflavanoid_phenols": 0.3,
        "proanthocyanins": 2.81,
        "color_intensity": 5.68,
        "hue": 1.03,
        "od280/od315_of_diluted_wines": 3.17,
        "proline": 1185.0,
        "target": 0,
    },
]
LABELS: list[Any] = [0, 0, 0]
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
