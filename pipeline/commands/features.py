"""`throughline features`: which features earn their place in the live model."""

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE, UsageError, nearest

if TYPE_CHECKING:
    from pipeline.lineage.query import Lineage
    from pipeline.quality.importance import Importance, Judge
    from pipeline.store.graph import Execution
    from pipeline.trust.value import Value


@dataclass(frozen=True)
class FeaturesFlags(StoreFlags):
    """Which model, and on how many rows its features are measured."""

    model: str = ""
    """A version, or the name of a run; the live model if not given."""
    rows: int = 20_000
    """Most rows of the test split that are read, a random sample of them."""
    tolerance: float = 0.002
    """Share of the metric, 0 to 1, that may be lost without the features that are said
    to add nothing."""
    train: Annotated[bool, tyro.conf.arg(name="try")] = False
    """Train once more without the features that add nothing, and compare."""
    without: tuple[str, ...] = ()
    """Columns to train without in place of those."""
    json: bool = False
    """Answer in JSON."""


@dataclass(frozen=True)
class _Model:
    """A model, how it was trained, and how it was evaluated.

    Attributes:
        version: Its version, or the name of its run if it was never pushed.
        directory: Of the SavedModel.
        config: The EvalConfig of its evaluation, as JSON has it.
        splits: Directories of the splits that it was evaluated on.
        trainer: The parameters of its Trainer.
        tuned: What a Tuner found for it, as the Trainer got it; `None` without one.
        graph: Directory of the transform graph.
        examples: Directories of the transformed examples.
    """

    version: str
    directory: str
    config: Mapping[str, Any]
    splits: tuple[str, ...]
    trainer: Mapping[str, Any]
    tuned: Mapping[str, Any] | None
    graph: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class _Tried:
    """A model that was trained without some columns.

    Attributes:
        without: The columns.
        lost: What the metric loses compared with the live model.
        weights: Number of its weights.
    """

    without: tuple[str, ...]
    lost: float
    weights: int


@dataclass(frozen=True)
class _Answer:
    """The result: a row per feature, and the trial without some of them."""

    model: str
    rows: int
    importance: "Importance"
    worth: Mapping[str, "Value"]
    weights: Mapping[str, int]
    tried: _Tried | None


def features(arguments: list[str]) -> int:
    """Show what each feature of the live model is worth, and which add nothing."""
    flags = tyro.cli(
        FeaturesFlags,
        prog="throughline features",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    _check(flags)
    from pipeline.runners.local.console import quiet

    # TensorFlow greets on the C level's standard error, which no logging setting
    # reaches.
    with quiet():
        answer = _answer(flags)
    if flags.json:
        sys.stdout.write(f"{json.dumps(asdict(answer), indent=1)}\n")
    else:
        say("\n".join(_lines(answer, flags.tolerance)))
    return EXIT_DONE


def _answer(flags: FeaturesFlags) -> _Answer:
    from models import declared
    from pipeline.lineage.query import open_lineage
    from pipeline.quality.importance import importance
    from pipeline.trust.value import values

    model = _model(open_lineage(flags.config()), flags.model)
    judge = _judge(model, flags.rows)
    columns = declared.RAW_COLUMNS
    found = importance(judge, columns, flags.tolerance)
    without = flags.without or found.useless
    tried = None
    if (flags.train or flags.without) and without:
        tried = _tried(model, judge, without)
    return _Answer(
        model.version,
        judge.batch.num_rows,
        found,
        values(judge.batch, columns, judge.labels),
        _weights(model),
        tried,
    )


def _check(flags: FeaturesFlags) -> None:
    if flags.rows < 1:
        raise UsageError(f"rows is {flags.rows}; it must be at least 1")
    if not 0 <= flags.tolerance <= 1:
        raise UsageError(f"tolerance is {flags.tolerance}; it must be from 0 to 1")
    from models.declared import RAW_COLUMNS

    for name in flags.without:
        if name not in RAW_COLUMNS:
            raise UsageError(
                f"without names {name!r}, which is no column of a feature; "
                f"{nearest(name, RAW_COLUMNS)}"
            )
    if set(flags.without) == set(RAW_COLUMNS):
        raise UsageError("without names every feature; leave at least one of them")


def _model(lineage: "Lineage", asked: str) -> _Model:
    """Finds a model's files, and the rows that it was evaluated on.

    Raises:
        UsageError: There is no such model, it was never evaluated, or files are gone.
    """
    from pipeline.columnar import files

    model = lineage.model(asked or None)
    graph = lineage.graph
    name = model.versions[-1] if model.versions else model.run
    evaluators = [
        step
        for step in graph.users([model.artifact])
        if model.artifact in step.inputs.get("model", ()) and _evaluates(step)
    ]
    trainers = graph.makers([model.artifact])
    if not evaluators or not trainers:
        raise UsageError(
            f"model {name} was never trained and evaluated here, so there are no test "
            "rows to measure its features on; `python run_local.py` makes one"
        )
    evaluator, trainer = evaluators[-1], trainers[-1]
    places = _Places(lineage, name)
    splits = evaluator.parameters.get("example_splits") or ["eval"]
    return _Model(
        name,
        files.join(*places.of([model.artifact]), "Format-Serving"),
        evaluator.parameters["eval_config"],
        tuple(
            files.join(each, f"Split-{split}")
            for each in places.of(evaluator.inputs["examples"])
            for split in splits
        ),
        trainer.parameters,
        _tuned(places, trainer),
        places.of(trainer.inputs["transform_graph"])[0],
        places.of(trainer.inputs["examples"]),
    )


@dataclass(frozen=True)
class _Places:
    """Where the files of artifacts are."""

    lineage: "Lineage"
    model: str

    def of(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Returns the directories of artifacts.

        Raises:
            UsageError: The files of one are gone.
        """
        from pipeline.store import artifact_files

        found = []
        for each in self.lineage.graph.by_id(ids):
            place = artifact_files.location(each.uri)
            if place is None:
                raise UsageError(
                    f"model {self.model} can't be measured: its {each.type} is gone "
                    f"from {each.uri}"
                )
            found.append(place)
        return tuple(found)


def _tuned(places: _Places, trainer: "Execution") -> Mapping[str, Any] | None:
    from pipeline.store import artifact_files

    found = places.of(trainer.inputs.get("hyperparameters", ()))
    return artifact_files.read_best_hyperparameters(found[0]) if found else None


def _evaluates(step: "Execution") -> bool:
    return step.succeeded and isinstance(step.parameters.get("eval_config"), dict)


def _judge(model: _Model, rows: int) -> "Judge":
    """Scores a sample of the rows with the model."""
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import config_pb2

    from pipeline.columnar import shards
    from pipeline.quality.importance import Judge

    found = [shard for split in model.splits for shard in shards.shards_of(split)]
    batch = shards.sample(found, rows)
    if not batch.num_rows:
        raise UsageError(
            f"model {model.version} was evaluated on {', '.join(model.splits)}, where "
            "no row is; its features can't be measured"
        )
    config = json_format.ParseDict(model.config, config_pb2.EvalConfig())
    return Judge(model.directory, config, batch)


def _weights(model: _Model) -> dict[str, int]:
    """Counts the weights that the network has because of each column."""
    import tensorflow_transform as tft

    from models import search_space, trial
    from models.hyperparameters import Hyperparameters
    from pipeline.columnar import files

    given = model.trainer["custom_config"].get("hyperparameters", {})
    chosen = search_space.with_values(
        Hyperparameters.from_json(given), (model.tuned or {}).get("values", {})
    )
    with files.local_copy(model.graph) as graph:
        transform = tft.TFTransformOutput(graph)
        return trial.weights_by_column(transform, chosen)


def _tried(model: _Model, judge: "Judge", without: tuple[str, ...]) -> _Tried:
    """Trains without columns, as the model was trained otherwise."""
    from models.trial import Trial
    from pipeline.columnar import files

    steps = {each: model.trainer.get(f"{each}_args", {}) for each in ("train", "eval")}
    with files.local_copy(model.graph) as graph, tempfile.TemporaryDirectory() as logs:
        arguments = SimpleNamespace(
            train_files=_globs(model.examples, steps["train"].get("splits", ["train"])),
            eval_files=_globs(model.examples, steps["eval"].get("splits", ["eval"])),
            transform_graph_path=graph,
            train_steps=steps["train"]["num_steps"],
            eval_steps=steps["eval"].get("num_steps", 0),
            serving_model_dir="",
            model_run_dir=logs,
            custom_config=model.trainer["custom_config"],
            hyperparameters=model.tuned,
            base_model=None,
        )
        trial = Trial(arguments, without)
        lost = judge.loss_of(trial(judge.answers.features))
    return _Tried(without, lost, trial.weights)


def _globs(directories: Iterable[str], splits: Iterable[str]) -> list[str]:
    from pipeline.columnar import files

    return [
        files.join(each, f"Split-{split}", "*")
        for each in directories
        for split in splits
    ]


def _lines(answer: _Answer, tolerance: float) -> Iterable[str]:
    from pipeline.quality.titles import TITLES
    from pipeline.trust.policy import one_line, table

    found, worth = answer.importance, answer.worth
    metric = TITLES.get(found.metric, found.metric)
    yield f"model {answer.model}: {metric} {found.value:.4f} on {answer.rows:,} rows"
    yield ""
    order = sorted(found.losses, key=lambda name: -found.losses[name].mean)
    yield from table(
        (
            "feature",
            f"{metric} lost",
            "+-",
            "bits of the label",
            "missing",
            "weights",
            "also in another feature",
        ),
        [
            (
                one_line(name),
                f"{found.losses[name].mean:.4f}",
                f"{found.losses[name].spread:.4f}",
                f"{worth[name].information:.4f} ({worth[name].explained:.0%})",
                f"{worth[name].missing:.1%}",
                f"{answer.weights[name]:,}",
                _redundant(worth[name]),
            )
            for name in order
        ],
    )
    yield ""
    allowed = f"{tolerance:.1%} of it is allowed"
    if not found.useless:
        yield f"Without each feature the {metric} loses more ({allowed})."
    else:
        yield (
            f"Shuffled together, these cost {found.together:.4f} of the {metric} "
            f"({allowed}), so they add nothing: {', '.join(sorted(found.useless))}"
        )
    if answer.tried:
        yield (
            f"Trained without {', '.join(sorted(answer.tried.without))}: {metric} "
            f"{found.value - answer.tried.lost:.4f}, with {answer.tried.weights:,} "
            "weights. To keep it so, take them out of FEATURES in models/features.py"
        )
    elif found.useless:
        yield "`throughline features --try` trains without them"


def _redundant(value: "Value") -> str:
    if not value.redundant_with:
        return "-"
    return f"{value.redundancy:.0%} in {value.redundant_with}"
