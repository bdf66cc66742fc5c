"""`throughline features`: which features earn their place in the live model."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.lineage.query import Lineage
    from pipeline.quality.importance import Importance, Judge
    from pipeline.store.graph import Execution
    from pipeline.trust.value import Value


@dataclass(frozen=True)
class FeaturesFlags(StoreFlags):
    """Which model, and how exactly its features are measured."""

    model: str = ""
    """A version, or the name of a run; the live model if not given."""
    rows: int = 20_000
    """Most rows of the test split that are read, a random sample of them."""
    tolerance: float = 0.002
    """Share of the metric, 0 to 1, that may be lost without the features that are said
    to add nothing."""
    json: bool = False
    """Answer in JSON."""


@dataclass(frozen=True)
class _Evaluated:
    """A model, and how it was evaluated.

    Attributes:
        version: Its version, or the name of its run if it was never pushed.
        directory: Of the SavedModel.
        config: The EvalConfig of its evaluation, as JSON has it.
        splits: Directories of the splits that it was evaluated on.
    """

    version: str
    directory: str
    config: Mapping[str, Any]
    splits: tuple[str, ...]


def features(arguments: list[str]) -> int:
    """Show what each feature of the live model is worth, and which add nothing."""
    flags = tyro.cli(
        FeaturesFlags,
        prog="throughline features",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    _check(flags)
    from models import features as declared
    from pipeline.lineage.query import open_lineage
    from pipeline.quality.importance import importance
    from pipeline.trust.value import values

    model = _evaluated(open_lineage(flags.config()), flags.model)
    judge = _judge(model, flags.rows)
    columns = declared.RAW_COLUMNS
    worth = values(judge.batch, columns, judge.labels)
    found = importance(judge, columns, flags.tolerance)
    if flags.json:
        answer = {
            "model": model.version,
            "rows": judge.batch.num_rows,
            **asdict(found),
            "features": {name: asdict(each) for name, each in worth.items()},
        }
        sys.stdout.write(f"{json.dumps(answer, indent=1)}\n")
    else:
        rows = judge.batch.num_rows
        say("\n".join(_lines(model, rows, found, worth, flags.tolerance)))
    return EXIT_DONE


def _check(flags: FeaturesFlags) -> None:
    if flags.rows < 1:
        raise UsageError(f"rows is {flags.rows}; it must be at least 1")
    if not 0 <= flags.tolerance <= 1:
        raise UsageError(f"tolerance is {flags.tolerance}; it must be from 0 to 1")


def _evaluated(lineage: "Lineage", asked: str) -> _Evaluated:
    """Finds a model's files, and the rows that it was evaluated on.

    Raises:
        UsageError: There is no such model, it was never evaluated, or files are gone.
    """
    from pipeline.columnar import files
    from pipeline.store import artifact_files

    model = lineage.model(asked or None)
    name = model.versions[-1] if model.versions else model.run
    steps = [
        step
        for step in lineage.graph.users([model.artifact])
        if model.artifact in step.inputs.get("model", ()) and _evaluates(step)
    ]
    if not steps:
        raise UsageError(
            f"model {name} was never evaluated, so there are no test rows to measure "
            "its features on; `python run_local.py` trains and evaluates one"
        )
    place = artifact_files.location(model.uri)
    examples = [
        artifact_files.location(each.uri)
        for each in lineage.graph.by_id(steps[-1].inputs["examples"])
    ]
    if place is None or None in examples or not examples:
        gone = "its files" if place is None else "the rows that it was evaluated on"
        raise UsageError(f"model {name} can't be measured: {gone} are gone")
    parameters = steps[-1].parameters
    splits = parameters.get("example_splits") or ["eval"]
    return _Evaluated(
        name,
        files.join(place, "Format-Serving"),
        parameters["eval_config"],
        tuple(
            files.join(each, f"Split-{split}")
            for each in filter(None, examples)
            for split in splits
        ),
    )


def _evaluates(step: "Execution") -> bool:
    return step.succeeded and isinstance(step.parameters.get("eval_config"), dict)


def _judge(model: _Evaluated, rows: int) -> "Judge":
    """Scores a sample of the rows with the model."""
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import config_pb2

    from pipeline.columnar import shards
    from pipeline.quality.importance import Judge

    found = [shard for split in model.splits for shard in shards.shards_of(split)]
    batch: pa.RecordBatch = shards.sample(found, rows)
    config = json_format.ParseDict(model.config, config_pb2.EvalConfig())
    return Judge(model.directory, config, batch)


def _lines(
    model: _Evaluated,
    rows: int,
    found: "Importance",
    worth: Mapping[str, "Value"],
    tolerance: float,
) -> Iterable[str]:
    from pipeline.trust.policy import one_line, table

    yield (
        f"model {model.version}: {found.metric} {found.value:.4f} on {rows:,} test rows"
    )
    yield ""
    header = (
        "feature",
        f"{found.metric} lost",
        "+-",
        "bits of the label",
        "missing",
        "also in another feature",
    )
    order = sorted(found.losses, key=lambda name: -found.losses[name].mean)
    yield from table(
        header,
        [
            (
                one_line(name),
                f"{found.losses[name].mean:.4f}",
                f"{found.losses[name].spread:.4f}",
                f"{worth[name].information:.4f} ({worth[name].explained:.0%})",
                f"{worth[name].missing:.1%}",
                _redundant(worth[name]),
            )
            for name in order
        ],
    )
    yield ""
    yield from _advice(found, tolerance)


def _redundant(value: "Value") -> str:
    if not value.redundant_with:
        return "-"
    return f"{value.redundancy:.0%} in {value.redundant_with}"


def _advice(found: "Importance", tolerance: float) -> Iterable[str]:
    if not found.useless:
        yield f"Each feature is worth more than {tolerance:.1%} of the {found.metric}."
        return
    yield (
        f"Without these together the {found.metric} loses {found.together:.4f} "
        f"({tolerance:.1%} of it is allowed), so they add nothing to this model: "
        f"{', '.join(sorted(found.useless))}"
    )
