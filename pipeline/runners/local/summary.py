"""What a run prints when it is over: the verdict, the numbers, where things are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.table import Table

from pipeline.config import DATA_NODE, PROPOSAL_NODE, Config
from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_NOT_BLESSED,
    EXIT_USAGE,
)
from pipeline.lineage import splits
from pipeline.quality import eval_config, results
from pipeline.registry import versions
from pipeline.runners.local.console import RunConsole, shown
from pipeline.store import graph, properties
from pipeline.store.artifact_files import SCHEMA_FILE
from pipeline.store.run_files import Run
from pipeline.store.url import METADATA_FILE, redact

if TYPE_CHECKING:
    from pipeline.runners.local.scheduler import Failure


def print_failures(
    console: RunConsole,
    log_of: Callable[[str], Path],
    failures: Mapping[str, "Failure"],
) -> None:
    """Says for each failed node why it failed and where its log is."""
    for node_id, failure in failures.items():
        refused = failure.exit_code == EXIT_DATA_REFUSED
        console.say(f"{node_id} {'refused the data' if refused else 'failed'}:", "red")
        console.say(failure.cause)
        console.say(f"The log is {shown(log_of(node_id))}", "dim")


def print_results(
    console: RunConsole, config: Config, connection: mlmd.ConnectionConfig, run: Run
) -> int:
    """Prints the metrics, the verdict, the places and the next commands.

    Args:
        console: Where to print.
        config: What ran.
        connection: The metadata store that the run wrote to.
        run: The run, whose nodes have all ended well.

    Returns:
        0 when the model was blessed, or none was to be pushed; 4 when it was not.
    """
    outputs = graph.outputs_of_run(MetadataStore(connection), run.run_id)
    blessed = True
    if "Pusher" in outputs:
        blessed = _print_verdict(console, outputs)
        if warning := splits.moved(graph.Graph(MetadataStore(connection)), run.run_id):
            console.say(warning, "yellow")
        run.model = _print_model(console, config, outputs)
    else:
        console.say(f"Done: {', '.join(run.nodes)}", "green")
    _print_quarantine(console, outputs)
    console.say(f"artifacts  {shown(config.artifact_directory)}")
    console.say(f"metadata   {_metadata(config)}")
    console.say(f"logs       {shown(run.directory / 'logs')}")
    return EXIT_DONE if blessed else EXIT_NOT_BLESSED


def print_proposal(
    console: RunConsole, config: Config, connection: mlmd.ConnectionConfig, run: Run
) -> int:
    """Says that a run stopped as planned, since nobody has reviewed a schema yet.

    Args:
        console: Where to print.
        config: What ran.
        connection: The metadata store that the run wrote to.
        run: The run, whose nodes have all ended well.

    Returns:
        2: there is something to configure before anything can be trained.
    """
    outputs = graph.outputs_of_run(MetadataStore(connection), run.run_id)
    proposal = Path(outputs[PROPOSAL_NODE]["schema"][0].uri) / SCHEMA_FILE
    console.say(
        f"Stopped as planned: there is no reviewed schema at {config.schema}, so "
        f"nothing was trained. {PROPOSAL_NODE} has proposed one.",
        "yellow",
    )
    _print_quarantine(console, outputs)
    console.say(f"proposal   {shown(proposal)}")
    console.say(f"metadata   {_metadata(config)}")
    console.say(f"logs       {shown(run.directory / 'logs')}")
    return EXIT_USAGE


def _print_quarantine(console: RunConsole, outputs: graph.Outputs) -> None:
    """Says how many rows were set aside and where they are, if there are any."""
    for artifact in outputs.get(DATA_NODE, {}).get("quarantine", []):
        noted = artifact.custom_properties
        if count := noted[properties.ROWS_QUARANTINED].int_value:
            read = noted[properties.ROWS_READ].int_value
            rows = f"{count:,} of {read:,} rows don't fit"
            console.say(f"quarantine {rows}: {shown(Path(artifact.uri))}", "yellow")


def _print_verdict(console: RunConsole, outputs: graph.Outputs) -> bool:
    """Prints the metrics and what follows from them; returns whether all is well."""
    evaluated = Path(outputs["Evaluator"]["evaluation"][0].uri)
    pushed = outputs["Pusher"]["pushed_model"][0].custom_properties
    console.rich.print(_metrics_table(evaluated))
    if pushed[properties.PUSHED].int_value:
        console.say("Blessed: the candidate reached every threshold.", "green")
        return True
    console.say("Not blessed, and so not pushed:", "red")
    for reason in results.read_reasons(evaluated):
        console.say(f"  {reason}")
    return False


def _print_model(
    console: RunConsole, config: Config, outputs: graph.Outputs
) -> str | None:
    """Prints where the run's model is, and what is live if that is another one.

    Returns:
        The directory of the version that holds the run's model, if it was pushed.
    """
    (pushed,) = outputs["Pusher"]["pushed_model"]
    own = graph.text_of(pushed, properties.PUSHED_DESTINATION) or None
    live = versions.live(config.serving_directory)
    if own:
        console.say(f"model      {shown(Path(own))}")
        if note := graph.text_of(pushed, properties.PUSH_NOTE):
            console.say(f"           {note}")
    if live and str(live.path) != own:
        # Without a model of its own, or where another run has pushed since.
        console.say(f"live       {shown(live.path)}")
    return own


def _metrics_table(evaluated: Path) -> Table:
    models = results.read_metrics(evaluated)
    intervals = results.read_intervals(evaluated)
    table = Table(box=None, pad_edge=False)
    table.add_column("on the test split")
    for name in models:
        table.add_column(name, justify="right")
    for metric, title in eval_config.SHOWN_METRICS.items():
        cells = [
            _metric(model[results.OVERALL].get(metric), bounds.get(metric))
            for name, model in models.items()
            for bounds in [intervals.get(name, {}).get(results.OVERALL, {})]
        ]
        table.add_row(title, *cells)
    return table


def _metric(value: float | None, bounds: tuple[float, float] | None) -> str:
    """Shows a metric with its 95 % interval, if it has one."""
    shown = results.metric_text(value)
    return f"{shown} ({bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else shown


def _metadata(config: Config) -> str:
    if config.metadata:
        return redact(config.metadata)
    return str(shown(config.output.absolute() / METADATA_FILE))
