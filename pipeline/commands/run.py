"""Commands that run the pipeline or a node, or compile it for an orchestrator."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

from pipeline import config as settings
from pipeline import create_pipeline
from pipeline.commands.flags import parse
from pipeline.runners import job, logs
from pipeline.runners.local import runner
from pipeline.runners.local.console import quiet

TARGETS = ("kubeflow", "vertex", "argo", *job.TARGETS)


def parse_run(
    program: str, arguments: Sequence[str]
) -> tuple[settings.Config, runner.Options]:
    """Parses flags into a configuration and the local runner's options; see `parse`."""
    return parse(program, arguments, runner.Options())


def run(arguments: list[str]) -> int:
    """Run the pipeline on this machine; the same as run_local.py."""
    config, options = parse_run("throughline run", arguments)
    return runner.run(config, options, create_pipeline)


@contextmanager
def _compiling(config: settings.Config) -> Iterator[None]:
    """Validates the reviewed schema, and hides TensorFlow's messages in the block."""
    from pipeline.trust import schema_review

    schema_review.check(
        config.schema,
        config.quality.columns,
        config.gate.key_columns,
        config.gate.crosses,
    )
    # TensorFlow and absl write to the C level's standard error on import, which no
    # logging setting reaches.
    with quiet():
        yield


def compile_for_kubeflow(program: str, arguments: Sequence[str]) -> int:
    """Compiles for Kubeflow Pipelines or Vertex AI, and submits with --submit."""
    from pipeline.runners import kubeflow

    config, options = parse(program, arguments, kubeflow.Options(), "kubeflow")
    with _compiling(config):
        return kubeflow.run(config, options, create_pipeline)


def _compile_for_argo(program: str, arguments: Sequence[str]) -> int:
    from pipeline.runners import argo

    config, options = parse(program, arguments, argo.Options(), "kubeflow")
    with _compiling(config):
        return argo.run(config, options, create_pipeline)


def compile_pipeline(arguments: list[str]) -> int:
    """Compile for an orchestrator (--target); without one, ir.json and dag.json."""
    targets = argparse.ArgumentParser(
        prog="throughline compile", add_help=False, allow_abbrev=False
    )
    targets.add_argument("--target", choices=TARGETS)
    # The target first, since each has a set of flags of its own.
    chosen, rest = targets.parse_known_args(arguments)
    program = f"throughline compile [--target {{{','.join(TARGETS)}}}]"
    if chosen.target in {"kubeflow", "vertex"}:
        # Its own parser has --target as well, because run_kubeflow.py uses it.
        return compile_for_kubeflow(program, ["--target", chosen.target, *rest])
    if chosen.target == "argo":
        return _compile_for_argo(program, rest)
    config, options = parse(program, rest, job.Options())
    with _compiling(config):
        return job.compile_job(config, options, chosen.target, create_pipeline)


@dataclass(frozen=True)
class NodeFlags:
    """The flags of `node`."""

    ir: Path
    """The compiled pipeline, ir.json of `throughline compile`."""
    node: str
    """Id of the node."""
    run_id: str
    """Name of the run, the same for all its nodes; new for a changed pipeline."""
    metadata: str | None = None
    """URL of the metadata store; metadata.db next to the artifacts if not given."""
    log_level: logs.LogLevel = "info"
    """The least severe messages on standard error."""


def node(arguments: list[str]) -> int:
    """Run one node of a compiled pipeline; orchestrators call this."""
    flags = tyro.cli(NodeFlags, prog="throughline node", args=arguments)
    # A process per node: without garbage collection its imports take half as long.
    with runner.gc_frozen():
        from pipeline.runners.node import run_command

    logs.start_log(flags.log_level)
    url = flags.metadata or settings.environment().get(settings.METADATA_VARIABLE)
    return run_command(flags.ir, flags.node, flags.run_id, url)
