"""What a run prints when it is over: the verdict, the numbers, where things are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.table import Table

from pipeline import evaluation, metadata
from pipeline.config import Config
from pipeline.console import RunConsole
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE, EXIT_NOT_BLESSED

if TYPE_CHECKING:
    from pipeline.runners.local import Failure


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
        console.say(f"The log is {_shown(log_of(node_id))}", "dim")


def print_results(
    console: RunConsole,
    config: Config,
    connection: mlmd.ConnectionConfig,
    run_id: str,
    directory: Path,
) -> int:
    """Prints the metrics, the verdict, the places and the next commands.

    Args:
        console: Where to print.
        config: What ran.
        connection: The metadata store that the run wrote to.
        run_id: Name of the run.
        directory: The run's own directory.

    Returns:
        0 when the model was blessed, 4 when it was not.
    """
    outputs = metadata.outputs_of_run(MetadataStore(connection), run_id)
    evaluated = Path(outputs["Evaluator"]["evaluation"][0].uri)
    pushed = outputs["Pusher"]["pushed_model"][0].custom_properties
    blessed = bool(pushed["pushed"].int_value)
    console.rich.print(_metrics_table(evaluated))
    if blessed:
        console.say("Blessed: the candidate reached every threshold.", "green")
        console.say(
            f"model      {_shown(Path(pushed['pushed_destination'].string_value))}"
        )
    else:
        console.say("Not blessed, and so not pushed:", "red")
        for reason in evaluation.reasons_against(evaluated):
            console.say(f"  {reason}")
    console.say(f"artifacts  {_shown(config.artifact_directory)}")
    console.say(f"metadata   {metadata.redact(_metadata(config))}")
    console.say(f"logs       {_shown(directory / 'logs')}")
    console.say(f"next       {_next_step(blessed)}")
    return EXIT_DONE if blessed else EXIT_NOT_BLESSED


def _metrics_table(evaluated: Path) -> Table:
    models = evaluation.read_metrics(evaluated)
    table = Table(box=None, pad_edge=False)
    table.add_column("on the test split")
    for name in models:
        table.add_column(name, justify="right")
    for metric, title in evaluation.SHOWN_METRICS.items():
        values = [model[evaluation.OVERALL].get(metric) for model in models.values()]
        table.add_row(title, *("" if v is None else f"{v:.4g}" for v in values))
    return table


def _next_step(blessed: bool) -> str:  # noqa: FBT001 - it is the whole question
    if blessed:
        return "python run_local.py --train-steps 2000, or your own data: README.md"
    return "python run_local.py --help lists the thresholds and the training settings"


def _metadata(config: Config) -> str:
    return config.metadata or str(_shown(config.output.absolute() / "metadata.db"))


def _shown(path: Path) -> Path:
    """Shortens a path below the current directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
