"""The summary at the end of a run: metrics, verdict, paths, failures."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.table import Table

from pipeline.columnar import files
from pipeline.config import DATA_NODE, PROPOSAL_NODE, SERVING_NODE, Config
from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_NOT_BLESSED,
    EXIT_USAGE,
)
from pipeline.lineage import splits
from pipeline.quality import results, titles
from pipeline.registry import versions
from pipeline.runners.local.console import RunConsole, shown
from pipeline.store import properties, windows
from pipeline.store.artifact_files import (
    SCHEMA_FILE,
    location,
    read_serving_check,
)
from pipeline.store.graph import Graph, Outputs
from pipeline.store.run_files import Outcome, Run
from pipeline.store.url import METADATA_FILE, redact

_NO_REASON = "the model server didn't load the model; the node's log says why"

if TYPE_CHECKING:
    from pipeline.runners.local.scheduler import Failure


def print_failures(
    console: RunConsole,
    log_of: Callable[[str], Path],
    failures: Mapping[str, "Failure"],
) -> None:
    """Prints the cause and the log file of each failed node."""
    for node_id, failure in failures.items():
        refused = failure.exit_code == EXIT_DATA_REFUSED
        console.say(f"{node_id} {'refused the data' if refused else 'failed'}:", "red")
        console.say(failure.cause)
        console.say(f"The log is {shown(log_of(node_id))}", "dim")


def print_results(
    console: RunConsole, config: Config, connection: mlmd.ConnectionConfig, run: Run
) -> int:
    """Prints the metrics, the verdict and the paths of a run.

    Args:
        console: Where to print.
        config: The run's configuration.
        connection: The metadata store that the run wrote to.
        run: The run; all its nodes have succeeded.

    Returns:
        0 if the model was pushed or live already, or the run had no Pusher; 4 if it was
        not blessed, or was rolled back before.
    """
    graph = Graph(MetadataStore(connection))
    outputs = graph.outputs_of_run(run.run_id)
    blessed = True
    if "Pusher" in outputs:
        blessed = _print_verdict(console, outputs, run)
        if warning := splits.moved(graph, run.run_id):
            console.say(warning, "yellow")
        run.model = _print_model(console, config, outputs)
    else:
        console.say(f"Done: {', '.join(run.nodes)}", "green")
    _print_quarantine(console, outputs)
    if window := windows.of_run(graph.run(run.run_id)):
        for line in window.lines():
            console.say(f"window     {line}", "yellow")
    console.say(f"artifacts  {_place(config.artifact_root)}")
    _print_records(console, config, run)
    return EXIT_DONE if blessed else EXIT_NOT_BLESSED


def print_proposal(
    console: RunConsole, config: Config, connection: mlmd.ConnectionConfig, run: Run
) -> int:
    """Prints that the run stopped after proposing a schema, since none is reviewed.

    Args:
        console: Where to print.
        config: The run's configuration.
        connection: The metadata store that the run wrote to.
        run: The run; all its nodes have succeeded.

    Returns:
        2: a schema must be configured before anything can be trained.
    """
    outputs = Graph(MetadataStore(connection)).outputs_of_run(run.run_id)
    directory = outputs[PROPOSAL_NODE]["schema"][0].uri
    console.say(
        f"Stopped as planned: there is no reviewed schema at {config.schema}, so "
        f"nothing was trained. {PROPOSAL_NODE} has proposed one.",
        "yellow",
    )
    _print_quarantine(console, outputs)
    console.say(f"proposal   {_place(files.join(directory, SCHEMA_FILE))}")
    _print_records(console, config, run)
    return EXIT_USAGE


def _print_records(console: RunConsole, config: Config, run: Run) -> None:
    """Prints where the metadata store and the run's logs are."""
    console.say(f"metadata   {_metadata(config)}")
    console.say(f"logs       {shown(run.directory / 'logs')}")


def _print_quarantine(console: RunConsole, outputs: Mapping[str, Outputs]) -> None:
    """Prints the number of quarantined rows and their directory, if there are any."""
    for artifact in outputs.get(DATA_NODE, {}).get("quarantine", []):
        if count := artifact.properties.get(properties.ROWS_QUARANTINED):
            read = artifact.properties[properties.ROWS_READ]
            rows = f"{count:,} of {read:,} rows don't fit"
            console.say(f"quarantine {rows}: {_place(artifact.uri)}", "yellow")


def _print_verdict(
    console: RunConsole, outputs: Mapping[str, Outputs], run: Run
) -> bool:
    """Prints the metrics and the verdict; returns whether the model is live."""
    evaluated = outputs["Evaluator"]["evaluation"][0].uri
    pushed = outputs["Pusher"]["pushed_model"][0].properties
    console.rich.print(_metrics_table(evaluated))
    for line in _gates(evaluated):
        console.say(line)
    if pushed.get(properties.PUSHED):
        console.say("Blessed: the candidate reached every threshold.", "green")
        return True
    if note := pushed.get(properties.PUSH_NOTE):
        console.say(f"Blessed, but not pushed: {note}", "red")
        run.outcome = Outcome.NOT_PUSHED
        return False
    console.say("Not blessed, and so not pushed:", "red")
    for reason in [*results.read_reasons(evaluated), *_unservable(outputs)]:
        console.say(f"  {reason}")
    return False


def _unservable(outputs: Mapping[str, Outputs]) -> list[str]:
    """Returns why ServingCheck refused the model, if it did."""
    for blessing in outputs.get(SERVING_NODE, {}).get("blessing", []):
        if blessing.properties.get(properties.BLESSED):
            return []
        path = location(blessing.uri)
        found = read_serving_check(path)["failures"] if path else []
        return [f"{SERVING_NODE}: {text}" for text in found or [_NO_REASON]]
    return []


def _print_model(
    console: RunConsole, config: Config, outputs: Mapping[str, Outputs]
) -> str | None:
    """Prints the version of the run's model, and the live one if that is another.

    Returns:
        The directory of the version that holds the run's model, if it was pushed.
    """
    (pushed,) = outputs["Pusher"]["pushed_model"]
    own: str | None = pushed.properties.get(properties.PUSHED_DESTINATION)
    live = versions.live(config.serving_directory)
    if own:
        console.say(f"model      {shown(Path(own))}")
        if note := pushed.properties.get(properties.PUSH_NOTE):
            console.say(f"           {note}")
    if live and str(live.path) != own:
        # The run pushed no model, or another run has pushed since.
        console.say(f"live       {shown(live.path)}")
    return own


def _metrics_table(evaluated: files.Location) -> Table:
    models = results.read_metrics(evaluated)
    intervals = results.read_intervals(evaluated)
    table = Table(box=None, pad_edge=False)
    table.add_column("on the test split")
    for name in models:
        table.add_column(name, justify="right")
    # Of any slice: what is undefined overall is shown as that.
    names = {n for model in models.values() for found in model.values() for n in found}
    for metric, title in titles.SHOWN[titles.task_of(names)].items():
        cells = [
            _metric(model[results.OVERALL].get(metric), bounds.get(metric))
            for name, model in models.items()
            for bounds in [intervals.get(name, {}).get(results.OVERALL, {})]
        ]
        table.add_row(title, *cells)
    return table


def _gates(evaluated: files.Location) -> Iterator[str]:
    """Yields a binary model's decision threshold, and how many rules were kept."""
    found = results.read_gates(evaluated)
    if not found:
        return
    (overall,) = [m["metrics"] for m in found["metrics"] if not m["where"]] or [{}]
    shown = [
        f"{name} {_metric(value, (low, high) if low is not None else None)}"
        for name in ("precision", "recall")
        if name in overall
        for value, low, high in [overall[name]]
    ]
    if shown:
        # Two lines, since one is wider than a terminal of 80 columns.
        yield f"decided as positive above {found['threshold']:.4g}:"
        yield f"  {', '.join(shown)}"
    for each in found["findings"]:
        if each.get("doubt") and each["outcome"] == "passed":
            yield each["text"]
    counts = Counter(each["outcome"] for each in found["findings"])
    parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items())]
    undecided = " (too few rows)" if counts["undecided"] else ""
    yield f"rules in slices and overall: {', '.join(parts)}{undecided}"


def _metric(value: float | None, bounds: tuple[float, float] | None) -> str:
    """Shows a metric with its 95 % interval, if it has one."""
    shown = results.metric_text(value)
    return f"{shown} ({bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else shown


def _place(uri: str) -> str:
    return uri if files.is_remote(uri) else str(shown(Path(uri)))


def _metadata(config: Config) -> str:
    if config.metadata:
        return redact(config.metadata)
    return str(shown(config.output.absolute() / METADATA_FILE))
