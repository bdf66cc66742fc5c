"""The local runner: parallel, resumable, cached and quiet.

It locks the output directory, recovers crashed runs, runs the nodes through the
scheduler, and prints a summary. A run can be resumed after a failure, Ctrl-C or a kill.
"""

import gc
import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import tyro

from pipeline.config import (
    METADATA_VARIABLE,
    PRESETS,
    PROPOSAL_NODE,
    TUNER_NODE,
    Config,
    check_places,
    local,
)
from pipeline.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_BLESSED,
    DataRefusedError,
    ThroughlineError,
    UsageError,
    cause_of,
    is_one_line,
    printable,
)
from pipeline.ingestion import spans
from pipeline.quality import prober
from pipeline.runners import sample
from pipeline.runners.local import run_record
from pipeline.runners.local.console import RunConsole, State, own_console, shown
from pipeline.runners.logs import LogLevel, start_log
from pipeline.store import locks
from pipeline.store.names import run_name
from pipeline.store.run_files import Outcome, Run, read_run, read_runs
from pipeline.store.url import redact
from pipeline.trust import schema_review

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.store.upkeep import Store

_LOG = logging.getLogger(__name__)
_STORE_SETTINGS = ("name", "output", "schema")
_OUTCOMES = {
    EXIT_DONE: Outcome.DONE,
    EXIT_NOT_BLESSED: Outcome.NOT_BLESSED,
    EXIT_INTERRUPTED: Outcome.INTERRUPTED,
}

_ENDED = (
    Outcome.DONE,
    Outcome.NOT_BLESSED,
    Outcome.NOT_PUSHED,
    Outcome.PROPOSED,
)

Build = Callable[[Config], "Pipeline"]


@dataclass(frozen=True)
class Options:
    """How to run the pipeline; `Config` is what to run."""

    workers: int = os.cpu_count() or 1
    """Maximum number of nodes that run at once, and of workers within each node."""
    resume: tuple[str, ...] | None = None
    """Continue a run where it stopped; the newest stopped run if none is named."""
    first: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Run this node and the nodes that depend on it, on the newest outputs."""
    last: Annotated[str | None, tyro.conf.arg(name="to")] = None
    """Run this node and the nodes it depends on, and no others."""
    only: str | None = None
    """Run this node alone, on the newest outputs."""
    no_cache: tuple[str, ...] | None = None
    """Ignore the cache for these nodes; for all if none is named."""
    force: bool = False
    """Run even if nothing has changed since the last run."""
    log_level: LogLevel = "info"
    """Lowest level of the messages in the nodes' logs."""

    def __post_init__(self) -> None:
        """Rejects flags that contradict each other."""
        if self.workers < 1:
            raise UsageError(f"workers is {self.workers}; it must be at least 1")
        if self.only and (self.first or self.last):
            raise UsageError("--only replaces --from and --to; give it alone")
        for name in self.resume or ():
            run_name(name, "resume")
        alone = not self.is_part and self.no_cache is None
        if self.resume is not None and (len(self.resume) > 1 or not alone):
            raise UsageError(
                "--resume takes one run at most, and runs the nodes of that run; leave "
                "out --from, --to, --only and --no-cache"
            )

    @property
    def is_part(self) -> bool:
        """Whether only a part of the pipeline is requested."""
        return bool(self.first or self.last or self.only)

    @property
    def skips_unchanged_check(self) -> bool:
        """Whether to run without checking that something has changed."""
        asked = self.resume is not None or self.no_cache is not None
        return self.force or asked or self.is_part


def run(config: Config, options: Options, build: Build, name: str = "") -> int:
    """Runs the pipeline, and prints progress and a summary.

    Args:
        config: What to run.
        options: How to run it.
        build: Creates the pipeline; called late, because that imports TFX.
        name: Name of a new run; by its time and its settings if empty.

    Returns:
        The exit code: 0 done, 1 a node failed, 2 a schema was proposed and must be
        reviewed, 3 the data was rejected, 4 the candidate was not blessed, or was
        rolled back before, 130 interrupted.

    Raises:
        UsageError: The configuration names something that does not exist.
        DataRefusedError: No data file matches, or one has an unusable name.
    """
    if options.resume is not None:
        config = _config_to_resume(config, options)
    check_places(config)
    schema_review.check(
        config.schema,
        config.quality.columns,
        config.gate.key_columns,
        config.gate.crosses,
    )
    _provide_data(config)
    last = None if options.skips_unchanged_check else run_record.unchanged_since(config)
    if last:
        _print_unchanged(last)
        return EXIT_DONE
    with (
        run_record.output_directory_held(config),
        locks.in_use(config.artifact_root),
    ):
        run = _new_or_resumed_run(config, options, name)
        with run_record.held(run), own_console(run.log_of("runner")) as console:
            return _recorded(config, options, build, run, console)


def _recorded(
    config: Config, options: Options, build: Build, run: Run, console: RunConsole
) -> int:
    """Runs the pipeline, and records the outcome whatever happens."""
    run.outcome, run.exit_code = Outcome.RUNNING, None
    run.save()
    code = EXIT_FAILED
    try:
        with _terminated_like_interrupted():
            code = _run(config, options, build, run, console)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        console.say("Interrupted.", "yellow")
    except ThroughlineError as error:
        code = error.exit_code
        raise
    except Exception as error:
        _LOG.exception("The runner failed")
        msg = f"{cause_of(error)}\nThe log is {run.log_of('runner')}"
        raise ThroughlineError(msg) from error
    finally:
        if run.outcome is Outcome.RUNNING:
            run.outcome = _OUTCOMES.get(code, Outcome.FAILED)
        run.exit_code, run.live = code, run_record.live_version(config)
        run.save()
        if run.nodes:
            _print_next_step(config, run, console)
    return code


def _print_next_step(config: Config, run: Run, console: RunConsole) -> None:
    """Writes the run's report, and prints its path and the next command."""
    from pipeline.report import write_report

    report = write_report(config, run.run_id)
    if report.is_file():
        console.say(f"report     {shown(report)}")
    console.say(f"next       {_next_step(config, run)}")


def _next_step(config: Config, run: Run) -> str:
    if run.outcome is Outcome.NOT_BLESSED:
        return "python run_local.py --help lists thresholds and training settings"
    if run.outcome is Outcome.NOT_PUSHED:
        models = command_for(config, "throughline models", "name", "output")
        return f"{models} lists what was live when, and why"
    if run.outcome is Outcome.PROPOSED:
        accept = command_for(config, "throughline schema accept", *_STORE_SETTINGS)
        return f"{accept}, when you have read the proposal"
    if run.outcome is not Outcome.DONE:
        resume = command_for(config, "python run_local.py --resume", "output")
        return f"{resume} continues once the cause is fixed"
    return _next_step_after_success(config, run)


def _next_step_after_success(config: Config, run: Run) -> str:
    if config.tune.enabled and run.last in {None, "Pusher", TUNER_NODE}:
        accept = command_for(config, "throughline tuning accept", "name", "output")
        return f"{accept} makes the best hyperparameters the project's"
    if run.last and run.last != "Pusher":
        return "python run_local.py runs the rest; what is done comes from the cache"
    if config.data is not None:
        # A server needs no metadata store.
        plain = replace(config, metadata="")
        serve = command_for(plain, "throughline serve", "name", "output", "schema")
        return f"{serve} answers requests with it: docs/serving.md"
    return "python run_local.py --train-steps 2000, or your own data: README.md"


def command_for(config: Config, command: str, *settings: str) -> str:
    """Appends the flags to a command that make it use a configuration.

    Args:
        config: The configuration.
        command: The command, with its own flags.
        settings: Names of the settings that the command accepts. The metadata store's
            URL is always added; one with a password is replaced by the name of the
            environment variable.

    Returns:
        The command, for the user to type.
    """
    # What throughline.toml says holds for the command too.
    default, given = local(), []
    for setting in settings:
        if (value := getattr(config, setting)) != getattr(default, setting):
            given += [f"--{setting}", shlex.quote(str(value))]
    where = ""
    if config.metadata and redact(config.metadata) == config.metadata:
        given += ["--metadata", shlex.quote(config.metadata)]
    elif config.metadata:
        where = f" (with the store's URL in {METADATA_VARIABLE})"
    return f"{' '.join([command, *given])}{where}"


def _run(
    config: Config, options: Options, build: Build, run: Run, console: RunConsole
) -> int:
    console.say(f"Throughline: pipeline {config.name}, run {run.run_id}")
    for line in _selection(config).lines():
        console.say(f"ExampleGen {line}")
    console.say("Loading TFX and TensorFlow, about ten seconds …", style="dim")
    with ExitStack() as stack:
        # TFX's imports take seconds and print to the screen, so only now that the
        # output is redirected.
        with gc_frozen():
            stack.enter_context(prober.at_hand())
            definition = build(config)
        return _run_nodes(config, options, definition, run, console)


def _run_nodes(
    config: Config,
    options: Options,
    definition: "Pipeline",
    run: Run,
    console: RunConsole,
) -> int:
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    from pipeline.runners import compiler
    from pipeline.runners.local import parts, summary
    from pipeline.runners.local.scheduler import Job, Scheduler
    from pipeline.store import upkeep
    from pipeline.store.connection import open_store
    from pipeline.store.graph import Graph

    start_log()
    connection = open_store(config.metadata_url)
    store = upkeep.Store(connection, config.artifact_root)
    _recover_crashed_runs(config, store, run)
    pipeline = compiler.compile_pipeline(definition)
    compiler.write(pipeline, run.directory)
    parts.uncache(pipeline, run.uncached)
    upstream = parts.select(
        pipeline, run.run_id, connection, first=run.first, last=run.last
    )
    graph = Graph(MetadataStore(connection))
    finished = graph.outputs_of_run(run.run_id).keys() & upstream.keys()
    for node_id in finished:
        run.nodes.setdefault(node_id, {"state": State.DONE, "seconds": None})
    upstream = parts.without(upstream, finished)

    def note() -> None:
        run.nodes |= _states(console)
        run.save()

    try:
        # Forked nodes end without atexit handlers, so TensorFlow's autograph would
        # leave a temporary file for each function that it translates.
        with tempfile.TemporaryDirectory(
            prefix="throughline-", ignore_cleanup_errors=True
        ) as temporary:
            job = Job(
                pipeline,
                run.run_id,
                connection,
                run.log_of,
                options.log_level,
                temporary,
            )
            scheduler = Scheduler(job, console, note)
            with console.table(upstream):
                failures = scheduler.run(upstream, options.workers)
    except KeyboardInterrupt:
        store.end_unfinished(run.run_id, canceled=True)
        raise
    store.end_unfinished(run.run_id)
    if failures:
        summary.print_failures(console, run.log_of, failures)
        return max(failure.exit_code for failure in failures.values())
    if not config.schema.exists():
        run.outcome = Outcome.PROPOSED
        return summary.print_proposal(console, config, connection, run)
    return summary.print_results(console, config, connection, run)


def _new_or_resumed_run(config: Config, options: Options, name: str) -> Run:
    """Returns the run to resume, or a new one.

    If code or data has changed, resuming starts a new run of the same nodes: under the
    old name, finished nodes would count as done although their inputs have changed.
    """
    new = run_record.new_run(config, name)
    new.first = options.only or options.first
    new.last = options.only or options.last
    new.uncached = None if options.no_cache is None else list(options.no_cache)
    if not config.schema.exists():
        new.first, new.last = None, PROPOSAL_NODE
    if options.resume is None:
        return new
    old = _run_to_resume(config, options)
    if old.definition == new.definition and old.data == new.data:
        return old
    new.first, new.last, new.uncached = old.first, old.last, old.uncached
    return new


def _run_to_resume(config: Config, options: Options) -> Run:
    if options.resume:
        return read_run(config.runs_directory / options.resume[0])
    runs = read_runs(config.runs_directory)
    stopped = [run for run in runs if run.outcome not in _ENDED]
    if not stopped:
        raise UsageError(
            f"No run in {config.runs_directory} has stopped before its end; "
            "`python run_local.py` starts a new one"
        )
    after = runs[runs.index(stopped[-1]) + 1 :]
    if newer := [run for run in after if not run.is_part]:
        raise UsageError(
            f"Run {newer[-1].run_id} has ended since run {stopped[-1].run_id} stopped, "
            "which is therefore out of date; `python run_local.py` starts a new one, "
            f"and `--resume {stopped[-1].run_id}` goes back to the old one all the same"
        )
    return stopped[-1]


def _config_to_resume(config: Config, options: Options) -> Config:
    """Returns a stopped run's settings; only its location may be given as flags.

    Raises:
        UsageError: Other flags differ from the run's settings.
    """
    run = _run_to_resume(config, options)
    given = [
        run_record.from_json(run.config),
        *(preset() for preset in PRESETS.values()),
    ]
    stored, *presets = (
        replace(c, output=config.output, metadata=config.metadata) for c in given
    )
    if config not in (stored, *presets):
        raise UsageError(
            f"--resume uses the settings of run {run.run_id}; leave the other flags "
            "out, or start a new run, which takes from the cache what still fits"
        )
    return stored


def _provide_data(config: Config) -> None:
    sample.provide(config)
    if config.data is not None and not config.data.is_dir():
        raise UsageError(
            f"data is {config.data}, which is not a directory; give one of CSV files"
        )
    selection = _selection(config)
    for span in selection.taken:
        for path in spans.files_of(config.data_directory, span.pattern):
            if not is_one_line(name := str(path.relative_to(config.data_directory))):
                raise DataRefusedError(
                    f"{config.data_directory} has a file named {name!r}; rename it: "
                    "control characters, line ends and bytes that are not UTF-8 are "
                    "not allowed in names"
                )


def _selection(config: Config) -> spans.Selection:
    return spans.select(config.data_directory, config.pattern, config.wanted_spans)


def _recover_crashed_runs(config: Config, store: "Store", run: Run) -> None:
    """Ends what runs that were killed have left unfinished, this one's too."""
    for other in read_runs(config.runs_directory):
        if other.run_id == run.run_id:
            store.end_unfinished(other.run_id)
        elif other.outcome is Outcome.RUNNING and not other.is_alive():
            store.end_unfinished(other.run_id)
            other.outcome = Outcome.FAILED
            other.save()


def _states(console: RunConsole) -> dict[str, dict[str, Any]]:
    return {
        node_id: {
            "state": status.state,
            "seconds": status.seconds,
            "cause": status.note if status.state is State.FAILED else None,
        }
        for node_id, status in console.nodes.items()
        if status.state is not State.WAITING
    }


def _print_unchanged(last: Run) -> None:
    text = (
        f"Nothing has changed since run {last.run_id}: data, configuration, code and "
        f"versions are the same.\nmodel      {last.live}\n"
        "next       --force runs anyway\n"
    )
    sys.stdout.write(printable(text))


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Disables garbage collection during the block, and exempts its objects for good.

    Importing TFX creates a million permanent objects; scanning them takes 1.6 of the
    7.4 seconds, and would again in every forked node.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Handles SIGTERM, which systems send to stop a job, like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
