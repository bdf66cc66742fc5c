"""Formats the answers of lineage queries as a tree, JSON, DOT or SVG."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from pipeline.config import Config
from pipeline.errors import UsageError, printable
from pipeline.ingestion.spans import in_words
from pipeline.lineage.answers import (
    Change,
    Data,
    DataLineage,
    File,
    ModelDiff,
    ModelLineage,
    ModelUse,
    Step,
    Verdict,
    as_json,
)
from pipeline.lineage.drawing import Appearance, Box, draw
from pipeline.lineage.facts import flatten, short_name
from pipeline.lineage.query import open_lineage
from pipeline.quality.results import CANDIDATE, metric_text

_SHORT = 12
_LONGEST_VALUE = 100
# Parameters that TFX adds itself; the tree omits them, --json has them.
_HIDDEN = re.compile(
    r"^(input_fingerprint|input_config|range_config|output_data_format"
    r"|output_file_format|span|force_tf_compat_v1|push_destination|infer_feature_shape)\b"
    r"|metrics_specs|model_specs|@type|splits\.\d+\.name"
)
_WORDS = {
    True: ("passed", "green"),
    False: ("refused", "red"),
    None: ("can't tell about", "yellow"),
}


def tree(answer: ModelLineage | DataLineage | ModelDiff) -> RenderableType:
    """Formats an answer as a tree; a difference has one table per subject."""
    if isinstance(answer, ModelLineage):
        return _model_tree(answer)
    if isinstance(answer, DataLineage):
        return _data_tree(answer)
    return _diff_tree(answer)


def to_json(answer: ModelLineage | DataLineage | ModelDiff) -> str:
    """Formats an answer as JSON."""
    return json.dumps(as_json(answer), indent=1)


def to_dot(answer: ModelLineage | DataLineage) -> str:
    """Formats the executions and artifacts of an answer as DOT, for Graphviz."""
    boxes, upstream = _graph(answer.steps, answer.artifacts)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    for name, box in boxes.items():
        shape = "ellipse" if box.round else "box"
        # DOT's own escape for a line end: a backslash and an n in the text.
        label = "\\n".join(line.replace('"', '\\"') for line in box.lines)
        lines.append(f'  "{name}" [shape={shape}, label="{label}"];')
    lines += [f'  "{up}" -> "{n}";' for n, ups in upstream.items() for up in ups]
    return "\n".join([*lines, "}"])


def to_svg(answer: ModelLineage | DataLineage, look: Appearance | None = None) -> str:
    """Draws the executions and artifacts of an answer as SVG; see `drawing.draw`."""
    boxes, upstream = _graph(answer.steps, answer.artifacts)
    return draw(boxes, upstream, "Lineage: components and what they wrote", look)


def _graph(
    steps: Iterable[Step], artifacts: Mapping[int, str]
) -> tuple[dict[str, Box], dict[str, list[str]]]:
    boxes: dict[str, Box] = {}
    upstream: dict[str, list[str]] = {}
    for step in steps:
        name = f"step {step.execution}"
        boxes[name] = Box([step.node, step.run], "step", f"execution {step.execution}")
        # Executions and artifacts have ids of their own, so both names have a prefix.
        upstream[name] = [f"artifact {i}" for ids in step.inputs.values() for i in ids]
        for ids in step.outputs.values():
            for i in ids:
                upstream.setdefault(f"artifact {i}", []).append(name)
    for i, kind in sorted(artifacts.items()):
        boxes[f"artifact {i}"] = Box([f"{kind} {i}"], "artifact", round=True)
    return boxes, upstream


def _model_tree(model: ModelLineage) -> Tree:
    versions = ", ".join(model.versions)
    title = f"version {versions}" if versions else "never pushed"
    root = Tree(_line(f"{model.pipeline} {title}", " · live" * model.live))
    root.add(_line("model", f"{model.artifact} at {model.uri}"))
    root.add(_line("trained", f"{model.trained} in run {model.run or '?'}"))
    if model.base:
        root.add(_line("warm start", f"began with the weights of {model.base}"))
    _add_data(root, model.data)
    if model.schema:
        columns = f", {model.schema.columns} columns" if model.schema.columns else ""
        source = f" from {model.schema.source}" if model.schema.source else ""
        revision = model.schema.revision[:_SHORT] or "its file is gone"
        root.add(_line("schema", f"{revision}{columns}{source}"))
    _add_verdicts(root, model.verdicts)
    _add_metrics(root, model.metrics)
    _add_parameters(root, model.parameters)
    _add_code(root, model.code)
    if model.packages:
        versions = ", ".join(f"{n} {v}" for n, v in model.packages.items())
        root.add(_line("versions", versions))
    _add_steps(root, model.steps, model.artifacts)
    return root


def _data_tree(answer: DataLineage) -> Tree:
    learned = len(answer.models)
    models = f"{learned} {'model' if learned == 1 else 'models'}"
    root = Tree(_line(answer.asked, f" · {models} learned from it"))
    _add_data(root, answer.data)
    branch = root.add(_line("models", ""))
    for use in answer.models:
        branch.add(_use(use))
    return root


def _diff_tree(answer: ModelDiff) -> Tree:
    root = Tree(_line(f"{answer.before} → {answer.after}", ""))
    for subject, changes in answer.subjects().items():
        if changes:
            root.add(_line(subject, "")).add(_changes(changes))
        else:
            root.add(_line(subject, "the same"))
    return root


def _changes(changes: Sequence[Change]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for change in changes:
        before, after = _readable(change.before), _readable(change.after)
        table.add_row(change.what, before, Text("→", "dim"), after)
    return table


def _use(use: ModelUse) -> Text:
    version = f"version {', '.join(use.versions)}" if use.versions else "never pushed"
    title, value = use.metric
    metric = f", {title} {metric_text(value)}" if value is not None else ""
    return _line(
        f"model {use.artifact}",
        f"{version}, trained {use.trained}, run {use.run}{metric}",
    )


def _add_data(root: Tree, data: Iterable[Data]) -> None:
    for source in data:
        span = f"span {in_words(source.spans)}, " if source.spans else ""
        rows = ", ".join(f"{n} {split}" for split, n in source.rows.items())
        counted = f" ({rows} rows)" if rows else ""
        text = f"{span}examples {source.artifact}{counted}, ingested in {source.run}"
        branch = root.add(_line("data", text))
        for note in source.notes:
            branch.add(_line("spans", note))
        for file in source.files:
            branch.add(_file(file))
        if not source.files:
            branch.add(_line("files", source.fingerprint or "not known"))


def _file(file: File) -> Text:
    today = {True: "", False: " · changed since", None: " · no longer there"}
    # Without a digest `None` means that there is nothing to compare with.
    if file.unchanged is None and not file.sha256:
        today[None] = ""
    content = f"  sha256 {file.sha256[:_SHORT]}" if file.sha256 else ""
    return _line(file.path, f"{file.bytes:,} bytes{content}{today[file.unchanged]}")


def _add_verdicts(root: Tree, verdicts: Iterable[Verdict]) -> None:
    branch = root.add(_line("verdicts", ""))
    for verdict in verdicts:
        word, style = _WORDS[verdict.passed]
        said = f"{word} the {verdict.about}: {verdict.text}"
        if verdict.about == "push":
            said = f"pushed to {verdict.text}" if verdict.passed else verdict.text
        branch.add(Text.assemble((verdict.by, "bold"), " ", (said, style)))


def _add_metrics(root: Tree, metrics: Mapping[str, Mapping[str, float]]) -> None:
    if CANDIDATE not in metrics:
        return
    others = [name for name in metrics if name != CANDIDATE]
    table = Table(box=None, pad_edge=False, show_header=bool(others))
    table.add_column("")
    for name in ("this model", *others):
        table.add_column(name, justify="right")
    for metric, value in metrics[CANDIDATE].items():
        compared = [metrics[name].get(metric) for name in others]
        table.add_row(metric, *map(metric_text, (value, *compared)))
    root.add(_line("metrics", "")).add(table)


def _add_parameters(root: Tree, parameters: Mapping[str, Mapping[str, object]]) -> None:
    branch = root.add(_line("parameters", ""))
    for node, values in parameters.items():
        flat = flatten(values).items()
        shown = {short_name(k): v for k, v in flat if not _HIDDEN.search(k)}
        if shown:
            inner = branch.add(_line(node, ""))
            for name, value in shown.items():
                inner.add(_line(name, _readable(value)))


def _add_code(root: Tree, code: Mapping[str, Mapping[str, str]]) -> None:
    if not code:
        return
    branch = root.add(_line("code", ""))
    shown: set[tuple[str, str]] = set()
    for node, parts in code.items():
        # All nodes share most modules: each is listed with the first node that has it.
        # A name without a dot is a parameter of the node itself and is always listed.
        fresh = {n: v for n, v in parts.items() if (n, v) not in shown or "." not in n}
        shown |= set(parts.items())
        inner = branch.add(_line(node, "" if fresh else "as above"))
        for name, value in fresh.items():
            inner.add(_line(name, _readable(value)))


def _add_steps(root: Tree, steps: Iterable[Step], artifacts: Mapping[int, str]) -> None:
    branch = root.add(_line("steps", ""))
    for step in steps:
        read = _names(step.inputs, artifacts)
        wrote = _names(step.outputs, artifacts)
        text = f"{read or 'files'} → {wrote or 'nothing'}"
        branch.add(_line(step.node, f"{text}  ({step.seconds:.1f} s, run {step.run})"))


def _names(
    ids_by_name: Mapping[str, Iterable[int]], artifacts: Mapping[int, str]
) -> str:
    ids = sorted({i for ids in ids_by_name.values() for i in ids})
    return ", ".join(f"{artifacts.get(i, '?')} {i}" for i in ids)


def _readable(value: str) -> str:
    """Shortens digests and long texts; an empty text becomes "none"."""
    if len(value) == 64 and value.isalnum():  # noqa: PLR2004 - a SHA-256
        return value[:_SHORT]
    if len(value) > _LONGEST_VALUE:
        return value[: _LONGEST_VALUE - 1] + "…"
    return value or "none"


def _line(name: str, text: str) -> Text:
    # Paths in the store are absolute; relative ones fit on a line and can be copied.
    here = f"{Path.cwd()}/"
    joint = "" if not text or text.startswith(" ") else "  "
    shown = printable(text.replace(here, ""))
    return Text.assemble((printable(name), "bold"), joint, shown)


def show(config: Config, asked: Sequence[str], form: str) -> str:
    """Runs a query of `throughline lineage` and formats the answer.

    Args:
        config: Names the metadata store and the output directory.
        asked: "model" and optionally a version; "data" and a file or span; or "diff"
            and two versions.
        form: "tree", "json", "dot" or "svg".

    Returns:
        The text to print.

    Raises:
        UsageError: The query is malformed, or nothing matches it.
    """
    lineage = open_lineage(config)
    answer: ModelLineage | DataLineage | ModelDiff
    match list(asked):
        case ["model"]:
            answer = lineage.model()
        case ["model", version]:
            answer = lineage.model(version)
        case ["data", file_or_span]:
            answer = lineage.data(file_or_span)
        case ["diff", before, after]:
            answer = lineage.diff(before, after)
        case _:
            raise UsageError(_USAGE)
    if form == "json":
        return to_json(answer)
    if form == "tree":
        return _printed(tree(answer))
    if isinstance(answer, ModelDiff):
        raise UsageError(f"diff has no --{form}; leave it out, or give --json")
    return to_dot(answer) if form == "dot" else to_svg(answer)


_USAGE = (
    "lineage takes `model [VERSION]`, `data FILE|SPAN` or `diff VERSION VERSION`; "
    "--help lists the flags"
)
_WIDTH_WITHOUT_TERMINAL = 240


def _printed(shown: RenderableType) -> str:
    # Without highlighting: rich would colour numbers and paths within names.
    terminal = Console(highlight=False)
    # rich assumes 80 columns for a pipe and wraps paths, which breaks grep.
    if not terminal.is_terminal:
        terminal = Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
    with terminal.capture() as captured:
        terminal.print(shown)
    return captured.get().rstrip("\n")
