"""What a run prints when it is over: the verdict, the numbers, where things are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.table import Table

from pipeline.config import DATA_NODE, Config
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE, EXIT_NOT_BLESSED
from pipeline.quality import eval_config, results
from pipeline.runners.local.console import RunConsole, shown
from pipeline.runners.local.run_record import Run
from pipeline.store import graph
from pipeline.store.url import redact

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
    else:
        console.say(f"Done: {', '.join(run.nodes)}", "green")
    _print_quarantine(console, outputs)
    console.say(f"artifacts  {shown(config.artifact_directory)}")
    console.say(f"metadata   {_metadata(config)}")
    console.say(f"logs       {shown(run.directory / 'logs')}")
    return EXIT_DONE if blessed else EXIT_NOT_BLESSED


def _print_quarantine(console: RunConsole, outputs: graph.Outputs) -> None:
    """Says how many rows were set aside and where they are, if there are any."""
    for artifact in outputs.get(DATA_NODE, {}).get("quarantine", []):
        noted = artifact.custom_properties
        if count := noted["rows_quarantined"].int_value:
            rows = f"{count:,} of {noted['rows_read'].int_value:,} rows don't fit"
            console.say(f"quarantine {rows}: {shown(Path(artifact.uri))}", "yellow")


def _print_verdict(console: RunConsole, outputs: graph.Outputs) -> bool:
    """Prints the metrics and what follows from them; returns whether all is well."""
    evaluated = Path(outputs["Evaluator"]["evaluation"][0].uri)
    pushed = outputs["Pusher"]["pushed_model"][0].custom_properties
    console.rich.print(_metrics_table(evaluated))
    if pushed["pushed"].int_value:
        console.say("Blessed: the candidate reached every threshold.", "green")
        version = Path(pushed["pushed_destination"].string_value)
        console.say(f"model      {shown(version)}")
        return True
    console.say("Not blessed, and so not pushed:", "red")
    for reason in results.read_reasons(evaluated):
        console.say(f"  {reason}")
    return False


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
    if value is None:
        return results.UNDEFINED
    # Counts are whole numbers, which people read in full.
    shown = f"{value:,.0f}" if value.is_integer() and value > 1 else f"{value:.4g}"
    return f"{shown} ({bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else shown


def _metadata(config: Config) -> str:
    if config.metadata:
        return redact(config.metadata)
    return str(shown(config.output.absolute() / "metadata.db"))
