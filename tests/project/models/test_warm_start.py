"""Initial weights from an earlier model: what is taken, from where, and what isn't."""

import copy
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models import features, trainer, warm_start
from models.declarations import FIRST_ID, UNSEEN_ID
from models.declared import FEATURES
from models.hyperparameters import Hyperparameters
from models.model import build_model, input_widths
from models.names import HISTORY_FILE, WARM_START_FILE, WEIGHTS_FILE
from tests.project.models.conftest import RunTrainer, TrainedModel
from tests.project.models.test_trainer import weights_of

USUAL = Hyperparameters(hidden_layers=(16,))
COMPANY = "embedding_of_company_id/embeddings"


def network(
    transform: tft.TFTransformOutput,
    hyperparameters: Hyperparameters = USUAL,
    declared: Any = FEATURES,
    **sizes: int,
) -> tuple[keras.Model, dict[str, Any]]:
    """Returns a network with random weights, and what it is described as."""
    known = trainer.vocabulary_sizes(transform) | sizes
    model = build_model(hyperparameters, known, declared)
    about = warm_start.described(model, transform, hyperparameters, declared)
    return model, about


def values(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights by name."""
    return {weight.path: np.asarray(weight) for weight in model.trainable_variables}


def base(trained: TrainedModel) -> dict[str, np.ndarray]:
    """Weights of the earlier model by name."""
    text = Path(trained.directory, "assets.extra", WEIGHTS_FILE).read_text()
    saved = weights_of(trained.directory)
    return {
        name: saved[f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE"]
        for index, name in enumerate(json.loads(text)["weights"])
    }


def test_an_equal_network_gets_every_weight(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """It then is the earlier model."""
    model, about = network(transform)

    taken = warm_start.start(model, about, trained.directory)

    before, now = base(trained), values(model)
    assert now.keys() == before.keys() == set(taken.taken)
    assert all((now[name] == before[name]).all() for name in now)
    assert (taken.left, taken.new_rows) == ({}, {})
    assert (
        str(taken) == f"began with {len(now)} of {len(now)} weights of the live model"
    )


def test_rows_of_an_embedding_follow_their_token(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """A new token begins as one that was not seen; missing and unseen stay."""
    count = trainer.vocabulary_sizes(transform)["company_id"]
    model, about = network(transform, company_id=count + 1)
    tokens = about["tokens"]["company_id"]
    about["tokens"]["company_id"] = ["Red Cab", *reversed(tokens)]

    taken = warm_start.start(model, about, trained.directory)

    before, now = base(trained)[COMPANY], values(model)[COMPANY]
    assert count > 1
    assert (now[:FIRST_ID] == before[:FIRST_ID]).all()
    assert (now[FIRST_ID] == before[UNSEEN_ID]).all()
    assert (now[FIRST_ID + 1 :] == before[FIRST_ID:][::-1]).all()
    assert taken.new_rows == {COMPANY: f"1 of {count + 1} tokens are new"}
    assert COMPANY in taken.taken


def test_rows_of_the_first_layer_follow_their_input(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """In another order, without a feature, and with one that is random."""
    declared = tuple(each for each in FEATURES if each.column != features.TRIP_MILES)
    model, about = network(transform, declared=tuple(reversed(declared)))
    before_widths = input_widths(USUAL)
    random = values(model)["hidden_0/kernel"].copy()
    text = Path(trained.directory, "assets.extra", WEIGHTS_FILE).read_text()
    assert json.loads(text)["inputs"] == before_widths

    taken = warm_start.start(model, about, trained.directory)

    before, now = base(trained)["hidden_0/kernel"], values(model)["hidden_0/kernel"]
    ends = np.cumsum(list(before_widths.values()))
    starts = {
        name: int(end) - before_widths[name]
        for name, end in zip(before_widths, ends, strict=True)
    }
    at = 0
    for name, width in about["inputs"].items():
        start = starts[name]
        assert (now[at : at + width] == before[start : start + width]).all(), name
        at += width
    assert at == len(now) == len(random) < len(before)
    assert not taken.left
    scales = [each["members/scales"] for each in (base(trained), values(model))]
    place = starts["fare_scaled"], sum(widths_before(about["inputs"], "fare_scaled"))
    assert (scales[0][:, place[0]] == scales[1][:, place[1]]).all()
    turns = [each["sines/turns"] for each in (base(trained), values(model))]
    names = [
        [name for name in each if name.startswith("sines of ")]
        for each in (before_widths, about["inputs"])
    ]
    assert [len(each) for each in turns] == [len(each) for each in names]
    for row, name in enumerate(names[1]):
        assert (turns[1][row] == turns[0][names[0].index(name)]).all(), name


def widths_before(widths: dict[str, int], name: str) -> list[int]:
    """Widths of the inputs in front of one."""
    return list(widths.values())[: list(widths).index(name)]


def test_what_has_no_place_in_the_earlier_model_stays_random(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """A new input's rows, a layer of another width, a layer more."""
    wider = Hyperparameters(hidden_layers=(16, 8), embedding_width=4)
    model, about = network(transform, wider)
    random = copy.deepcopy(values(model))

    taken = warm_start.start(model, about, trained.directory)

    now = values(model)
    assert "its shape is (" in taken.left[COMPANY]
    assert taken.left["hidden_1/kernel"] == "the live model has none of that name"
    assert "its shape is (4, 16, 1)" in taken.left["probability/kernel"]
    assert all((now[name] == random[name]).all() for name in taken.left)
    assert "company_id" in taken.new_rows["hidden_0/kernel"]
    assert set(taken.taken) == {
        *("hidden_0/kernel", "hidden_0/bias", "probability/bias"),
        *("members/scales", "sines/turns", "sines/kernel", "sines/bias"),
    }
    assert "random embedding_of_company_id/embeddings: its shape is" in str(taken)


def test_a_model_of_something_else_gives_no_head(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """Its last layer means another label, or classes in another order."""
    model, about = network(transform)
    about["predicts"]["label"] = "small_tipper"

    taken = warm_start.start(model, about, trained.directory)

    why = "the live model predicts something else"
    assert taken.left == {"probability/kernel": why, "probability/bias": why}


def test_a_network_without_hidden_layers_takes_no_hidden_ones_rows(
    transform: tft.TFTransformOutput, trained: TrainedModel
) -> None:
    """The last layer reads inputs here, and hidden units there."""
    model, about = network(transform, Hyperparameters(hidden_layers=()))

    taken = warm_start.start(model, about, trained.directory)

    assert "its shape is (4, 16, 1)" in taken.left["probability/kernel"]


def test_without_an_earlier_model_all_is_random(
    transform: tft.TFTransformOutput, tmp_path: Path
) -> None:
    """No version is live yet, or it was saved before weights had names."""
    model, about = network(transform)
    random = copy.deepcopy(values(model))

    none = warm_start.start(model, about, None)
    old = warm_start.start(model, about, str(tmp_path))

    assert all((value == random[name]).all() for name, value in values(model).items())
    assert str(none) == "no model is live, so the initial weights were random"
    assert old.taken == []
    assert old.left[COMPANY] == "the live model was saved without its weights' names"


@pytest.fixture(scope="module")
def warmed(run_trainer: RunTrainer, trained: TrainedModel) -> list[Any]:
    """Two runs that begin with the trained model, alike in everything."""
    return [
        run_trainer(train_steps=10, base_model=trained.directory, warm_start=True)
        for _ in range(2)
    ]


def test_the_same_seed_and_base_give_the_same_weights(warmed: list[Any]) -> None:
    """Bit for bit."""
    one, other = (weights_of(each.serving_model_dir) for each in warmed)

    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_a_warm_start_begins_where_the_earlier_model_ended(
    warmed: list[Any], trained: TrainedModel
) -> None:
    """Not where that one began; what it took is stored with the run."""
    directory = Path(warmed[0].model_run_dir)
    history = json.loads((directory / HISTORY_FILE).read_text())

    first, best = trained.history["eval_loss"][0], min(trained.history["eval_loss"])
    assert history["eval_loss"][0] < (first + best) / 2
    taken = json.loads((directory / WARM_START_FILE).read_text())
    assert taken["found"]
    assert len(taken["taken"]) == len(base(trained))
    assert taken["left"] == {}


def test_without_the_setting_nothing_is_taken(
    run_trainer: RunTrainer, trained: TrainedModel
) -> None:
    """An ordinary run has no such file, and its model can be begun with."""
    assert tf.io.gfile.exists(f"{trained.directory}/assets.extra/{WEIGHTS_FILE}")
    arguments = run_trainer(train_steps=1, base_model=trained.directory)

    assert not Path(arguments.model_run_dir, WARM_START_FILE).exists()
