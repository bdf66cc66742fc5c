"""Facts for lineage queries from single artifacts and executions; model differences."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.ingestion import digests, walk
from pipeline.ingestion.spans import Pattern, in_words, parts_of
from pipeline.ingestion.walk import What
from pipeline.lineage.answers import Change, Data, File, ModelDiff, ModelLineage, Schema
from pipeline.quality import results
from pipeline.store import artifact_files, properties
from pipeline.store.graph import Artifact, Execution
from pipeline.store.windows import Window
from pipeline.trust import schema_review

# What stock ExampleGen stores as `input_fingerprint`: totals of all files of a split,
# and nothing about a single one.
_TFX_TOTALS = re.compile(
    r"num_files:(\d+),total_bytes:(\d+),xor_checksum:(\d+),sum_checksum:(\d+)"
)
_PLACEHOLDER = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::(\d+))?\}")


def span_of(source: Artifact) -> int | None:
    """Returns the newest span of ingested examples; `None` if it is not recorded."""
    span = source.properties.get("span")
    return int(span) if span not in {None, ""} else None


def spans_of(source: Artifact) -> tuple[int, ...]:
    """Returns all spans of ingested examples, oldest first."""
    noted = source.properties.get(properties.SPANS)
    if isinstance(noted, list):
        return tuple(int(entry["span"]) for entry in noted)
    newest = span_of(source)
    return () if newest is None else (newest,)


def notes_of(window: Window | None) -> tuple[str, ...]:
    """Describes the spans that a run skipped, missed, or kept out of its window."""
    if window is None:
        return ()
    said = {"skipped": window.skipped, "missing": window.missing}
    return (
        *(f"{name}: {text}" for name, text in said.items() if text),
        *window.lines(),
    )


def files_of(source: Artifact, maker: Execution | None) -> Iterator[File]:
    """Yields the files that examples were ingested from.

    Our ingestion records the digest of each file. For stock TFX, these are the files
    that match its patterns today, compared with the totals in TFX's fingerprint.

    Args:
        source: The Examples artifact.
        maker: The execution that wrote it, if known.
    """
    recorded = source.properties.get(properties.FILES)
    if isinstance(recorded, list):
        base = str(maker.parameters.get("input_base", "")) if maker else ""
        yield from (_recorded_file(entry, source, base) for entry in recorded)
    # Not a record of what was read then, only what the patterns match today.
    elif maker:
        paths = _matching_files(source, maker)
        same = _totals_match(str(source.properties.get("input_fingerprint")), paths)
        for path in paths:
            yield File(str(path), path.stat().st_size, "", same)


def _recorded_file(entry: Mapping[str, Any], source: Artifact, base: str) -> File:
    path = Path(entry["path"])
    same = None
    if path.is_file():
        # The size first: most changed files have another one, and a digest reads it
        # all.
        same = path.stat().st_size == entry["bytes"]
        # Digests are cached, because the report at the end of each run needs them too.
        memory = digests.memory_beside(source.uri)
        same = same and digests.sha256_of([path], memory)[path] == entry["sha256"]
    span = _span_of_file(path, source, base)
    return File(str(path), entry["bytes"], entry["sha256"], same, span)


def _span_of_file(path: Path, source: Artifact, base: str) -> int | None:
    noted = source.properties.get(properties.SPANS)
    if isinstance(noted, list) and path.is_relative_to(base):
        relative = path.relative_to(base).as_posix()
        for entry in noted:
            if Pattern(entry["pattern"]).tokens_of(relative) is not None:
                return int(entry["span"])
    return span_of(source)


def _matching_files(source: Artifact, maker: Execution) -> list[Path]:
    """Returns the files that an ingestion's patterns match today."""
    # An empty text would be the working directory; there is no directory named "-".
    place = str(maker.parameters.get("input_base") or "-").removeprefix("file://")
    settings = maker.parameters.get("input_config")
    if not Path(place).is_dir() or not isinstance(settings, dict):
        return []
    found: set[Path] = set()
    for split in settings.get("splits", []):
        pattern = _PLACEHOLDER.sub(
            lambda match: _placeholder(source, match), split.get("pattern", "*")
        )
        entries = walk.walk(Path(place), parts_of(pattern))
        found |= {entry.path for entry in entries if entry.what is What.FILE}
    return sorted(found)


def _placeholder(source: Artifact, match: re.Match[str]) -> str:
    value = source.properties.get(match[1].lower())
    # YYYY, MM and DD are not stored: TFX keeps the date as one span number.
    if value is None:
        return "*"
    return str(value).zfill(int(match[2] or 0))


def _totals_match(fingerprint: str, paths: Iterable[Path]) -> bool | None:
    """Compares the totals in TFX's fingerprint with the current files.

    TFX stores count, size, and the xor and sum of the times of modification (seconds).

    Returns:
        Whether they are equal; `None` if the fingerprint has several splits, or is not
        of this form.
    """
    found = _TFX_TOTALS.findall(fingerprint)
    # With several splits, which file belongs to which total isn't known.
    if len(found) != 1:
        return None
    xor = total = size = count = 0
    for path in paths:
        status = path.stat()
        changed = int(status.st_mtime)
        count, size = count + 1, size + status.st_size
        xor, total = xor ^ changed, total + changed
    return tuple(map(int, found[0])) == (count, size, xor, total)


def verdict_of(artifact: Artifact) -> tuple[str, bool | None, str] | None:
    """Reads an artifact as a verdict; `None` if its type is not one of a verdict.

    Returns:
        `about`, `passed` and `text` of a `Verdict`.
    """
    path = artifact_files.location(artifact.uri)
    blessed = bool(artifact.properties.get("blessed"))
    verdict: tuple[str, bool | None, str] | None = None
    match artifact.type:
        case "ExampleAnomalies":
            verdict = _anomalies_verdict(path)
        case "DataVerdict":
            # A gate that rejects the data fails, and a failed execution has no outputs:
            # every verdict in the store let the data pass.
            verdict = "data", True, _findings(path)
        case "ModelBlessing":
            verdict = "model", blessed, _baseline_text(artifact)
        case "ModelEvaluation" if path and (missed := results.read_reasons(path)):
            verdict = "model", False, "; ".join(missed)
        case "InfraBlessing":
            verdict = "serving", blessed, _serving(path, blessed=blessed)
        case "PushedModel":
            pushed = bool(artifact.properties.get("pushed"))
            place = str(artifact.properties.get(properties.PUSHED_DESTINATION, ""))
            verdict = "push", pushed, place or "not pushed"
    return verdict


def _serving(path: str | None, *, blessed: bool) -> str:
    if blessed:
        return "it loads and answers"
    found = artifact_files.read_serving_check(path)["failures"] if path else []
    return "; ".join(found) or "it doesn't load or answer"


def _anomalies_verdict(path: str | None) -> tuple[str, bool | None, str]:
    if path is None:
        return "data", None, "the anomalies' files are gone"
    found = artifact_files.read_anomalies(path)
    columns = {
        name: info.short_description
        for anomalies in found.values()
        for name, info in sorted(anomalies.anomaly_info.items())
    }
    if not columns:
        return "data", True, f"no anomalies in {', '.join(found)}"
    text = "; ".join(f"{name}: {what}" for name, what in columns.items())
    return "data", False, f"{len(columns)} anomalies: {text}"


def _findings(path: str | None) -> str:
    found = artifact_files.read_findings(path) if path else None
    if found is None:
        return "the data may be trained on"
    return f"{len(found) or 'no'} findings, none that blocks"


def _baseline_text(artifact: Artifact) -> str:
    baseline = artifact.properties.get("baseline_model_id")
    return f"compared with model {baseline}" if baseline else "no baseline to beat"


def overall_metrics(evaluations: Sequence[Artifact]) -> dict[str, dict[str, float]]:
    """Reads the overall metrics of the newest evaluation, by model and metric."""
    path = artifact_files.location(evaluations[-1].uri) if evaluations else None
    if path is None:
        return {}
    models = results.read_metrics(path)
    return {
        name: dict(sorted(slices.get(results.OVERALL, {}).items()))
        for name, slices in models.items()
    }


def parameters_of(step: Execution) -> dict[str, Any]:
    """Returns the parameters of an execution, without ours and without empty ones."""
    return {
        name: value
        for name, value in step.parameters.items()
        if not name.startswith(properties.OURS)
        # TFX stores a parameter that isn't set in any of these forms, by component.
        and value not in (None, "", "null", [], {})
    }


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flattens nested settings: {"a": {"b": [1]}} becomes {"a.b": "[1]"}."""
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= flatten(inner, f"{prefix}.{name}" if prefix else str(name))
        return found
    # A list of plain values is one setting; one of mappings is several.
    if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        return flatten({str(i): v for i, v in enumerate(value)}, prefix)
    return {prefix: value if isinstance(value, str) else json.dumps(value)}


def short_name(name: str) -> str:
    """Removes the names of TFX's wrappers from a setting's dotted name."""
    return name.replace("custom_config.", "")


def _merged_code(code: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Merges the modules and files of all nodes, by name.

    Files are keyed by base name: a checkout at another path makes no difference.
    """
    merged: dict[str, str] = {}
    for node, parts in code.items():
        for name, value in parts.items():
            if name.startswith("/"):
                merged[Path(name).name] = value
            else:
                # A name with a dot is a module, the same for all nodes; one without is
                # a parameter such as module_file, which each node has its own of.
                merged[name if "." in name else f"{node}: {name}"] = value
    return merged


def compare(before: ModelLineage, after: ModelLineage) -> ModelDiff:
    """Compares two models."""
    old, new = flatten(before.parameters), flatten(after.parameters)
    return ModelDiff(
        before=before.name,
        after=after.name,
        data=tuple(_changes(_data_facts(before.data), _data_facts(after.data))),
        schema=tuple(_schema_changes(before.schema, after.schema)),
        code=tuple(_changes(_merged_code(before.code), _merged_code(after.code))),
        parameters=tuple(_changes(old, new, short_name)),
        packages=tuple(_changes(before.packages, after.packages)),
        verdicts=tuple(_changes(_verdict_facts(before), _verdict_facts(after))),
        metrics=tuple(_metric_changes(before.metrics, after.metrics)),
    )


def _changes(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    rename: Callable[[str], str] = str,
) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            yield Change(rename(name), str(old), str(new))


def _data_facts(data: Iterable[Data]) -> dict[str, str]:
    facts: dict[str, str] = {}
    rows: dict[str, int] = {}
    for source in data:
        for file in source.files:
            # Of stock TFX's files only the size is known.
            facts[file.path] = file.sha256 or f"{file.bytes} bytes"
        if not source.files:
            facts[f"examples {source.artifact}"] = source.fingerprint
        for split, count in source.rows.items():
            rows[split] = rows.get(split, 0) + count
    spans = sorted({span for source in data for span in source.spans})
    facts["spans"] = in_words(spans)
    return facts | {f"rows in {split}": str(count) for split, count in rows.items()}


def _schema_changes(before: Schema | None, after: Schema | None) -> Iterator[Change]:
    # Equal revisions are equal in every column, without reading the two files.
    if before is None or after is None or before.revision == after.revision:
        return
    paths = [artifact_files.location(s.uri) for s in (before, after)]
    old, new = (artifact_files.read_schema(path) if path else None for path in paths)
    if old is None or new is None:
        yield Change("revision", before.revision, after.revision)
        return
    for found in schema_review.diff(old, new):
        yield Change(f"{found.column}: {found.aspect}", found.reviewed, found.proposed)


def _verdict_facts(model: ModelLineage) -> dict[str, str]:
    words = {True: "passed", False: "refused", None: "unknown"}
    return {
        f"{v.by} on the {v.about}": words[v.passed]
        for v in model.verdicts
        # Its text is the directory of a version, which always differs.
        if v.about != "push"
    }


def _metric_changes(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> Iterator[Change]:
    old = before.get(results.CANDIDATE, {})
    new = after.get(results.CANDIDATE, {})
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(name, _number(old.get(name)), _number(new.get(name)))


def _number(value: float | None) -> str:
    return results.metric_text(value)
