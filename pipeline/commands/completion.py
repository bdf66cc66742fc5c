"""`throughline completion`: completion scripts for bash and zsh."""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal

import tyro

from operations.settings import Operate
from pipeline import config as settings
from pipeline.commands import (
    cluster,
    features,
    gate,
    labels,
    lineage,
    models,
    monitor,
    new,
    predict,
    run,
    schema,
    serve,
    tuning,
    upkeep,
)
from pipeline.commands.flags import flags_class
from pipeline.errors import EXIT_DONE
from pipeline.runners import job
from pipeline.runners.local import runner


@dataclass(frozen=True)
class CompletionFlags:
    """The flags of `completion`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """The shell that loads the script."""


def completion(arguments: list[str]) -> int:
    """Print a script that completes commands, flags and their values in a shell."""
    flags = tyro.cli(CompletionFlags, prog="throughline completion", args=arguments)
    # tyro prints the script and raises SystemExit.
    tyro.extras.subcommand_cli_from_dict(
        flags_of_commands(),
        prog="throughline",
        args=["--tyro-print-completion", flags.shell],
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    return EXIT_DONE


def flags_of_commands() -> dict[str, Callable[..., Any]]:
    """Lists each command's flags as a dataclass, for completion only.

    A command may read them in another way: `compile` has other flags for each target.
    """
    from pipeline.runners import argo, kubeflow

    # tyro completes subcommands only of a union of types.
    of_schema = tuple(
        Annotated[kind, tyro.conf.subcommand(name)]
        for name, kind in schema.ACTIONS.items()
    )
    of_tuning = tuple(
        Annotated[kind, tyro.conf.subcommand(name)]
        for name, kind in tuning.ACTIONS.items()
    )
    # One set of flags, since without an action it shows the verdict.
    accept, _ = _choice(("accept", "coverage"))
    accepting = ("action", Annotated[accept, tyro.conf.Positional])
    texts = [(name, str, "") for name in ("feature", "until", "because")]
    gates: Any = make_dataclass(
        "gate",
        [accepting, *texts],
        bases=(gate.GateFlags,),
        frozen=True,
        kw_only=True,
    )
    actions = tuple(
        Annotated[kind, tyro.conf.subcommand(name)]
        for name, (kind, _) in models.ACTIONS.items()
    )
    preset = {"preset": _choice(tuple(settings.PRESETS))}
    targets = {"target": _choice(run.TARGETS)}
    config = settings.local()
    # All targets' flags at once: a shell completes a flag without knowing the target.
    every = [config, job.Options(), argo.Options(), kubeflow.Options()]
    return {
        "run": flags_class("run", [config, runner.Options()], preset),
        "new": new.NewFlags,
        "config": flags_class("config", [config], preset),
        "explain": upkeep.ExplainFlags,
        "gc": upkeep.GcFlags,
        "compile": flags_class("compile", every, preset | targets),
        "node": run.NodeFlags,
        "schema": make_dataclass("schema", [("action", _union(of_schema))]),
        "gate": gates,
        "features": features.FeaturesFlags,
        "tuning": make_dataclass("tuning", [("action", _union(of_tuning))]),
        "models": make_dataclass("models", [("action", _union(actions))]),
        "predict": predict.PredictFlags,
        "serve": serve.ServeFlags,
        "labels": make_dataclass(
            "labels",
            [("what", Annotated[labels.AddFlags, tyro.conf.subcommand("add")])],
        ),
        "monitor": monitor.MonitorFlags,
        "operate": flags_class("operate", [config, Operate()], preset),
        "lineage": lineage.LineageFlags,
        "report": lineage.ReportFlags,
        "export": make_dataclass(
            "export",
            [
                (
                    "what",
                    Annotated[lineage.ExportFlags, tyro.conf.subcommand("examples")],
                )
            ],
        ),
        "cluster": cluster.ClusterFlags,
        "doctor": make_dataclass("doctor", []),
        "completion": CompletionFlags,
    }


def _union(kinds: Sequence[Any]) -> Any:
    """Returns the type of one of several groups of flags."""
    return functools.reduce(operator.or_, kinds)


def _choice(values: Sequence[str]) -> tuple[Any, str]:
    """Returns the type of a flag with a few values, and the first of them."""
    # Literal takes a tuple for its values, and only mypy wants them spelled out.
    kind: Any = Literal
    return kind.__getitem__(tuple(values)), values[0]
