"""Training by its behaviour."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models import decision, kept_predictions, kept_scores, network, trainer
from models.declarations import WEIGHT
from models.declared import FEATURES, LABEL
from models.hyperparameters import Hyperparameters
from models.input import Table, evaluation_dataset, training_dataset
from models.model import LabelScale
from pipeline.columnar.progress import Progress
from tests.project.models.conftest import Records, RunTrainer, TrainedModel

SETTINGS = trainer.TrainingSettings(
    hyperparameters=Hyperparameters(
        hidden_layers=(16,), learning_rate=0.02, steps_per_evaluation=1, patience=2
    ),
    batch_size=64,
    seed=1,
    train_steps=12,
    eval_rows=-1,
)


def _plan(transform: tft.TFTransformOutput, **changes: Any) -> network.Plan:
    settings = dataclasses.replace(SETTINGS, **changes)
    sizes = trainer.vocabulary_sizes(transform)
    return settings.plan(sizes, LabelScale(), FEATURES)


def arguments(**changes: object) -> SimpleNamespace:
    """Arguments that train, but for the changes."""
    usual = {
        "train_steps": 10,
        "eval_steps": None,
        "custom_config": None,
        "hyperparameters": None,
    }
    return SimpleNamespace(**usual | changes)


def weights_of(model_directory: str) -> dict[str, np.ndarray]:
    """All weights of a saved model by name."""
    reader = tf.train.load_checkpoint(f"{model_directory}/variables/variables")
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}


def test_predictions_are_kept_for_a_check_of_the_export(trained: TrainedModel) -> None:
    """The export answers the rows of which the Trainer kept predictions as it did."""
    kept = kept_predictions.read(Path(trained.directory))

    assert len(kept["rows"]) == kept_predictions.ROWS
    scores = kept["answers"]["probability"]
    assert len(scores) == kept_predictions.ROWS
    assert all(0 < score < 1 for score in scores)
    assert set(kept["columns"]).isdisjoint({LABEL.name, WEIGHT})


def test_the_distribution_of_the_answers_is_kept(trained: TrainedModel) -> None:
    """Of each row of the eval split with a label; later data is compared with it."""
    (name, kept), *others = kept_scores.read(Path(trained.directory)).items()

    assert (name, others) == ("probability", [])
    values, rows = zip(*kept, strict=True)
    assert list(values) == sorted(values)
    assert 0 < values[0] < values[-1] < 1
    chosen_on = decision.read(Path(trained.directory))["chosen_on"]
    assert sum(rows) == chosen_on["rows"]


def test_the_pipelines_settings_are_read() -> None:
    """custom_config, steps and eval steps reach the training."""
    config = {"hyperparameters": {"dropout": 0.5}, "batch_size": 50, "seed": 7}

    settings = trainer.TrainingSettings.read(
        arguments(custom_config=config, eval_steps=3)
    )

    assert settings.hyperparameters == Hyperparameters(dropout=0.5)
    assert (settings.batch_size, settings.seed) == (50, 7)
    assert (settings.train_steps, settings.eval_rows) == (10, 150)


def test_what_a_tuner_found_replaces_the_settings() -> None:
    """Those that it has searched; the others stay as the pipeline has them."""
    config = {"hyperparameters": {"dropout": 0.5, "l2": 0.25}}
    tuned = {"space": [], "values": {"l2": 0.00012345, "hidden_layers": "[7, 6]"}}

    settings = trainer.TrainingSettings.read(
        arguments(custom_config=config, hyperparameters=tuned)
    )

    assert settings.hyperparameters == Hyperparameters(
        dropout=0.5, l2=0.00012345, hidden_layers=(7, 6)
    )


@pytest.mark.parametrize("eval_steps", [None, 0, -1])
def test_no_eval_steps_mean_the_whole_split(eval_steps: int | None) -> None:
    """None, 0 and less set no limit."""
    settings = trainer.TrainingSettings.read(arguments(eval_steps=eval_steps))

    assert settings.eval_rows == -1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_steps": 0}, "train_steps is 0; it must be at least 1"),
        ({"train_steps": None}, "train_steps is None; it must be at least 1"),
        ({"custom_config": {"batch_size": -5}}, "batch_size is -5; it must be"),
    ],
)
def test_settings_that_cannot_train_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """The error names the setting and its value."""
    with pytest.raises(ValueError, match=message):
        trainer.TrainingSettings.read(arguments(**changes))


def test_a_step_moves_every_weight(
    transform: tft.TFTransformOutput, records: Records, tmp_path: Path
) -> None:
    """No layer is left out of the training."""
    plan = _plan(transform, train_steps=1)
    train = training_dataset(Table.of([records.train], transform), 64, seed=1)
    evaluation = evaluation_dataset(Table.of([records.evaluation], transform), -1)
    model = network.built(plan, train, evaluation)
    before = [weights.copy() for weights in model.get_weights()]

    trainer.fit(model, train, evaluation, plan, str(tmp_path), batch_size=64)

    unmoved = [
        variable.path
        for variable, old in zip(model.weights, before, strict=True)
        if (variable.numpy() == old).all() and "seed_generator" not in variable.path
    ]
    assert unmoved == []


def test_training_stops_early_and_keeps_the_best_weights(
    transform: tft.TFTransformOutput, records: Records, tmp_path: Path
) -> None:
    """When the eval split contradicts the training, the first weights are the best."""
    plan = _plan(transform)
    contrary = evaluation_dataset(Table.of([records.evaluation], transform), -1).map(
        lambda columns, label, weight: (columns, 1 - label, weight)
    )
    training = training_dataset(Table.of([records.train], transform), 64, seed=1)

    model = network.built(plan, training, contrary)

    history = trainer.fit(model, training, contrary, plan, str(tmp_path), batch_size=64)

    best = int(np.argmin(history["eval_loss"]))
    assert len(history["step"]) == best + 1 + SETTINGS.hyperparameters.patience
    assert len(history["step"]) < SETTINGS.train_steps
    kept = model.evaluate(contrary, verbose=0, return_dict=True)["loss"]
    assert kept == pytest.approx(history["eval_loss"][best])
    assert kept < history["eval_loss"][-1]


def test_it_learns(trained: TrainedModel) -> None:
    """The rule behind the trips is found from examples."""
    assert max(trained.history["eval_auc"]) > 0.95
    assert trained.history["loss"][-1] < 0.7 * trained.history["loss"][0]


def test_progress_is_in_steps_and_examples(trained: TrainedModel) -> None:
    """The runner gets steps, examples a second, losses and AUC, and what was kept."""
    *_, steps, kept = trained.reports

    assert isinstance(steps, Progress)
    assert (steps.done, steps.total) == (trained.history["step"][-1], 100)
    assert steps.speed.endswith(" examples/s")
    assert re.fullmatch(r"loss 0\.\d+, eval AUC [01]\.\d+", steps.detail)
    assert str(kept).startswith("kept step ")


def test_learning_curves_are_written_for_each_evaluation(
    trained: TrainedModel,
) -> None:
    """history.json holds lists of equal length by name."""
    assert trained.history["step"][:3] == [10, 20, 30]
    assert {len(curve) for curve in trained.history.values()} == {
        len(trained.history["step"])
    }
    assert set(trained.history) == {"step", "loss", "eval_loss", "eval_auc"}


def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    run_trainer: RunTrainer,
) -> None:
    """Two runs differ in nothing, two seeds do."""
    first, second, other = (
        weights_of(run_trainer(seed=seed, train_steps=20).serving_model_dir)
        for seed in (3, 3, 4)
    )

    assert len(first) > 8
    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
