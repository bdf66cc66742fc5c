"""Trials of networks with fewer features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_transform as tft

from models import features
from models.declared import RAW_COLUMNS
from models.hyperparameters import Hyperparameters
from models.trial import Trial, weights_by_column
from tests.project.models.conftest import Records, Row, transform_rows
from tests.project.models.test_trainer import arguments

HIDDEN = Hyperparameters(hidden_layers=(16,), embedding_width=4)


@pytest.fixture
def trial(transform: tft.TFTransformOutput, records: Records, tmp_path: Path) -> Trial:
    """A network that has learned for a few steps, without company and month."""
    return Trial(
        arguments(
            train_files=[records.train],
            eval_files=[records.evaluation],
            transform_graph_path=transform._transform_output_dir,
            model_run_dir=str(tmp_path / "logs"),
            custom_config={"hyperparameters": {"hidden_layers": [16]}},
            hyperparameters=None,
            base_model=None,
        ),
        without=(features.COMPANY, features.TRIP_START_MONTH),
    )


def test_a_trial_does_not_read_what_it_was_trained_without(
    trial: Trial, transform: tft.TFTransformOutput, trips: list[Row]
) -> None:
    """Its scores depend on the other columns, and on these not at all."""
    rows = trips[:20]
    other_company = [
        {**row, features.COMPANY: "Blue Cab", features.TRIP_START_MONTH: 1}
        for row in rows
    ]
    other_fare = [{**row, features.FARE: 99.0} for row in rows]

    scores, same, changed = (
        trial(_columns(transform_rows(transform, each)))
        for each in (rows, other_company, other_fare)
    )

    assert scores.shape == (20,)
    assert ((scores > 0) & (scores < 1)).all()
    assert scores.tolist() == same.tolist()
    assert scores.tolist() != changed.tolist()


def _columns(rows: list[Row]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_weights_are_those_of_a_column(transform: tft.TFTransformOutput) -> None:
    """An embedding and its rows of the first layer; the rest of it isn't a column's."""
    found = weights_by_column(transform, HIDDEN)

    # 77 areas, missing and unseen, 4 wide; then 4 inputs of 16 units, each with a
    # scale of each of 4 members.
    assert found[features.PICKUP_COMMUNITY_AREA] == 79 * 4 + 4 * (16 + 4)
    assert found[features.TRIP_START_HOUR] == 2 * (16 + 4)
    assert found.keys() == set(RAW_COLUMNS)
    wider = weights_by_column(transform, replace(HIDDEN, hidden_layers=(32,)))
    assert wider[features.TRIP_START_HOUR] == 2 * (32 + 4)
