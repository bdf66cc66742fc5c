"""The verdict on the run, and its reasons."""

from collections.abc import Iterator

from pipeline.artifacts import Run
from pipeline.lineage import splits
from pipeline.quality import results, titles
from pipeline.report.blocks import Block, Cell, Facts, Note, Section
from pipeline.store import artifact_files, properties, windows

_UNFINISHED = "The run is still in progress, or its process died."


def section(run: Run) -> Section:
    """Shows whether the model was blessed and pushed, or why the run failed."""
    return Section("Verdict", [*_notes(run), Facts(dict(_facts(run)))])


def _notes(run: Run) -> Iterator[Block]:
    failures = run.failures()
    refused = run.ending() == "data refused"
    for node, cause in failures.items():
        done = "refused the data" if refused else "failed"
        yield Note(f"{node} {done}: {cause}", "bad")
    found = run.outcome()
    if failures:
        return
    if run.ending() in {"running", "interrupted"}:
        yield Note(_UNFINISHED, "warn")
    elif found["blessed"] and found["version"]:
        yield Note(f"Blessed, and pushed as version {found['version']}.", "good")
    elif found["blessed"]:
        # Rolled back before, or a partial run that ended before the Pusher.
        note = run.artifact("PushedModel").properties if run.has("PushedModel") else {}
        why = str(note.get(properties.PUSH_NOTE, ""))
        text = f"Blessed, and not pushed: {why}" if why else "Blessed, and not pushed."
        yield Note(text, "warn" if why else "good")
    elif found["blessed"] is False:
        yield Note(
            "\n".join(["Not blessed, and so not pushed.", *_reasons(run)]), "bad"
        )
    else:
        yield Note("The run has evaluated no model.", "info")
    window = windows.of_run(run.executions)
    if window and window.refused:
        yield Note("\n".join(window.lines()), "warn")
    # After the verdict, which it qualifies: the comparison may have been unfair.
    if warning := splits.moved(run.lineage.graph, run.run_id):
        yield Note(warning, "warn")


def _reasons(run: Run) -> list[str]:
    path = artifact_files.location(run.artifact("ModelEvaluation").uri)
    missed = results.read_reasons(path) if path else []
    return [*missed, *run.serving_check()["failures"]]


def _facts(run: Run) -> Iterator[tuple[str, Cell]]:
    yield "outcome", run.ending()
    found = run.outcome()
    if run.has("ModelEvaluation"):
        # Its metrics are the numbers of an outcome, but for these.
        metrics = {n: v for n, v in found.items() if n not in {"version", "blessed"}}
        title, value = titles.main(metrics)
        shown = results.UNDEFINED if value is None else value
        yield f"{title} on the test split", shown
    if "example_count" in found:
        yield "rows in the test split", found["example_count"]
    if window := windows.of_run(run.executions):
        names = [*(span.name for span in window.accepted), window.newest]
        yield "spans", ", ".join(names)
    if found["version"]:
        yield "version", found["version"]
    seconds = [s for _, s in run.node_states().values() if s is not None]
    if seconds:
        yield "seconds in all nodes", round(sum(seconds), 1)
