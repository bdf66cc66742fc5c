"""Searches hyperparameters: Tuner's entry point `tuner_fn`.

keras-tuner proposes the trials; each is a training as the Trainer does it, in a process
of its own. The same seed, data and settings give the same trials with the same scores,
whatever the number of processes. Finished trials are kept as files, so that a search
that was killed goes on where it stopped, and one with more trials trains only the
further ones.
"""

import copy
import hashlib
import itertools
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import RandomSearchOracle
from tfx.components.tuner.component import TunerFnResult

from models import search_space, tasks, trainer
from models.declared import LABEL
from models.hyperparameters import Hyperparameters
from models.search_space import Choice, Encoded, Space
from models.trainer import TrainingArguments
from models.tuning import SPACE
from pipeline.columnar import files, progress
from pipeline.columnar.engine import Workers
from pipeline.columnar.processes import Failed, forked
from pipeline.errors import ThroughlineError

_PROJECT = "search"


class TuningArguments(TrainingArguments, Protocol):
    """The attributes of TFX's `FnArgs` that `tuner_fn` reads.

    custom_config may hold, besides what the Trainer reads, "trials" (20), the most
    trials, and "max_trial_seconds" (0 for no limit).
    """

    working_dir: str
    """Directory that finished trials are kept in; searches of other data, code or
    settings of the training must have another one."""


@dataclass(frozen=True)
class Finished:
    """The result of a trial.

    Attributes:
        score: The task's metric on the eval split, at the step that was kept.
        step: That step.
        seconds: Duration of the training.
    """

    score: float
    step: int
    seconds: float


def tuner_fn(fn_args: TuningArguments) -> TunerFnResult:
    """Returns a tuner that searches `models.tuning.SPACE`.

    Args:
        fn_args: Files to read, the directory of finished trials, and settings.

    Raises:
        UsageError: The search space is wrong.
        ValueError: A setting cannot train.
    """
    return TunerFnResult(Search(fn_args, SPACE), {})


class Search(BaseTuner):
    """A random search whose trials are trained in local processes."""

    def __init__(self, arguments: TuningArguments, space: Space) -> None:
        """Prepares the search.

        Args:
            arguments: See `tuner_fn`.
            space: What is searched.

        Raises:
            UsageError: The search space is wrong.
            ValueError: A setting cannot train.
        """
        search_space.check(space)
        self._arguments = arguments
        self._settings = trainer.TrainingSettings.read(arguments)
        config = arguments.custom_config or {}
        self._trials: int = config.get("trials", 20)
        self._seconds = config.get("max_trial_seconds", 0) or math.inf
        measure = tasks.measure_of(LABEL)
        self._metric, self._title = measure.name, measure.title
        self._found: dict[str, Finished | Failed] = {}
        # Of keras-tuner's own records, which aren't written atomically.
        self._scratch = tempfile.TemporaryDirectory(prefix="throughline-")
        oracle = _Oracle(
            search_space.first_point(self._settings.hyperparameters, space),
            objective=keras_tuner.Objective(self._metric, measure.direction),
            hyperparameters=_parameters(space),
            max_trials=self._trials,
            # keras-tuner takes 0 for a random seed.
            seed=self._settings.seed + 1,
            # A combination that can't be trained says nothing of the others.
            max_consecutive_failed_trials=self._trials + 1,
        )
        oracle.verbose = 0
        super().__init__(
            oracle, directory=self._scratch.name, project_name=_PROJECT, overwrite=True
        )

    def search(self, **fit_kwargs: Any) -> None:
        """Runs all trials.

        Args:
            fit_kwargs: None; part of keras-tuner's interface.

        Raises:
            ThroughlineError: No trial could be trained; gives the first one's cause.
        """
        del fit_kwargs
        steps = self._settings.train_steps
        unit = progress.Unit("steps", "examples", self._settings.batch_size)
        task = progress.Task(self._trials * steps, unit=unit)
        counted: dict[str, int] = {}

        def count(trial: Trial, done: int) -> None:
            before = counted.get(trial.trial_id, 0)
            counted[trial.trial_id] = max(before, done)
            task.advance(max(0, done - before), self._state())

        with progress.running(task):
            for trial, found in forked(
                self._train,
                self._untrained(lambda trial: count(trial, steps)),
                Workers().at_once,
                seconds=self._seconds,
                heard=lambda trial, report: count(trial, report.done),
            ):
                self._end(trial, found)
                count(trial, steps)
        causes = [f.cause for f in self._found.values() if isinstance(f, Failed)]
        if len(causes) == len(self._found):
            raise ThroughlineError(
                f"none of the {len(causes)} trials could be trained; the first: "
                f"{causes[0]}"
            )
        progress.note(self._summary())

    def results(self) -> dict[str, Any]:
        """Returns the trials as JSON values.

        Returns:
            "metric", its title; "direction", "max" or "min"; "best", the number of the
            best trial; "trials", in order: number "trial", "values" of the searched
            hyperparameters, and "score", "step" and "seconds", or "error".
        """
        (best,) = self.oracle.get_best_trials()
        return {
            "metric": f"eval {self._title}",
            "direction": self.oracle.objective.direction,
            "best": int(best.trial_id),
            "trials": [
                {"trial": int(name), "values": self._values(name), **_plain(found)}
                for name, found in sorted(self._found.items(), key=lambda f: int(f[0]))
            ],
        }

    def _values(self, trial_id: str) -> dict[str, Any]:
        """Returns the searched hyperparameters of a trial by name, as JSON values."""
        point = self.oracle.get_trial(trial_id).hyperparameters.values
        whole = asdict(self._hyperparameters(point))
        return {name: whole[name] for name in point}

    def _hyperparameters(self, point: Mapping[str, Encoded]) -> Hyperparameters:
        return search_space.with_values(self._settings.hyperparameters, point)

    def _untrained(self, skipped: Any) -> Iterator[Trial]:
        """Yields the trials that aren't kept from before; ends those that are."""
        # A name for each: keras-tuner gives one tuner one trial at a time.
        for name in map(str, itertools.count()):
            trial = self.oracle.create_trial(name)
            if trial.status == TrialStatus.STOPPED:
                return
            if kept := self._kept(trial):
                self._end(trial, kept)
                skipped(trial)
            else:
                yield trial

    def _train(self, trial: Trial) -> Finished:
        """Trains a network with a trial's values, in a process of its own."""
        start = time.monotonic()
        chosen = self._hyperparameters(trial.hyperparameters.values)
        config = self._arguments.custom_config or {}
        arguments = copy.copy(self._arguments)
        arguments.custom_config = {**config, "hyperparameters": asdict(chosen)}
        with tempfile.TemporaryDirectory(prefix="throughline-") as logs:
            arguments.model_run_dir = logs
            curves = trainer.train(arguments).history
        best = min(range(len(curves["step"])), key=curves["eval_loss"].__getitem__)
        score = float(curves[f"eval_{self._metric}"][best])
        if not math.isfinite(score):
            raise ThroughlineError(f"its eval {self._title} is {score}")
        seconds = round(time.monotonic() - start, 2)
        return Finished(score, int(curves["step"][best]), seconds)

    def _end(self, trial: Trial, found: Finished | Failed) -> None:
        self._found[trial.trial_id] = found
        if isinstance(found, Failed):
            trial.status, trial.message = TrialStatus.FAILED, found.cause
        else:
            measured = {self._metric: found.score}
            self.oracle.update_trial(trial.trial_id, measured, step=found.step)
            trial.status = TrialStatus.COMPLETED
            # A failure is not kept: the machine may have more memory next time.
            files.write_text(self._file(trial), json.dumps(asdict(found)))
        self.oracle.end_trial(trial)

    def _kept(self, trial: Trial) -> Finished | None:
        path = self._file(trial)
        if not files.exists(path):
            return None
        return Finished(**json.loads(files.read_text(path)))

    def _file(self, trial: Trial) -> str:
        """Returns where a trial's result is kept: by all its hyperparameters."""
        chosen = self._hyperparameters(trial.hyperparameters.values)
        text = json.dumps(asdict(chosen), sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        return files.join(self._arguments.working_dir, f"{name}.json")

    def _scores(self) -> list[float]:
        found = self._found.values()
        return [each.score for each in found if isinstance(each, Finished)]

    def _state(self) -> str:
        """Returns how many trials are done, and the best score so far."""
        ended = f"{len(self._found)} of {self._trials} trials"
        if not (scores := self._scores()):
            return ended
        best = max(scores) if self.oracle.objective.direction == "max" else min(scores)
        return f"{ended}, best eval {self._title} {best:.4f}"

    def _summary(self) -> str:
        (best,) = self.oracle.get_best_trials()
        first = self._found["0".zfill(len(best.trial_id))]
        before = f"{first.score:.4f}" if isinstance(first, Finished) else "failed"
        chosen = ", ".join(f"{n} {v}" for n, v in self._values(best.trial_id).items())
        return (
            f"trial {int(best.trial_id)} of {len(self._found)} is the best: eval "
            f"{self._title} {best.score:.4f} (values in use: {before}) with {chosen}"
        )


class _Oracle(RandomSearchOracle):
    """A random search whose first trial is of given values."""

    def __init__(self, first: Mapping[str, Encoded], **settings: Any) -> None:
        self._first = dict(first)
        super().__init__(**settings)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the values of the next trial."""
        if not self.trials:
            return {"status": TrialStatus.RUNNING, "values": self._first}
        proposed: dict[str, Any] = super().populate_space(trial_id)
        values = proposed["values"] or {}
        # Not those in use, which stay as they are.
        sampled = {name: search_space.rounded(value) for name, value in values.items()}
        return {**proposed, "values": sampled}


def _parameters(space: Space) -> keras_tuner.HyperParameters:
    """Declares a search space to keras-tuner."""
    declared = keras_tuner.HyperParameters()
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            values = [search_space.encoded(value) for value in dimension.values]
            declared.Choice(name, values)
            continue
        whole = isinstance(getattr(Hyperparameters(), name), int)
        declare = declared.Int if whole else declared.Float
        sampling = "log" if dimension.log else "linear"
        declare(name, dimension.low, dimension.high, sampling=sampling)
    return declared


def _plain(found: Finished | Failed) -> dict[str, Any]:
    return asdict(found) if isinstance(found, Finished) else {"error": found.cause}
