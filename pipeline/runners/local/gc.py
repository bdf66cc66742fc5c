"""`throughline gc`: deletes a pipeline's old artifacts, versions and run directories.

Nothing that a run could still need is deleted, and an interrupted call is completed by
the next one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.registry import changes, versions
from pipeline.registry.versions import Version
from pipeline.store import retention
from pipeline.store.retention import Pipeline, Unused
from pipeline.store.run_files import Run, read_runs
from pipeline.store.upkeep import size_of

VERSIONS = "serving versions"
WORKING = "working directories"
RUNS = "run directories"


@dataclass(frozen=True)
class Plan:
    """What can be deleted.

    Attributes:
        artifacts: Artifacts that nothing in use depends on.
        versions: Old versions in the model's serving directory.
        working: What failed nodes of old runs left outside of their outputs.
        runs: Old runs, with their records, logs and reports.
        buckets: Where else artifacts are; nothing is deleted there.
    """

    artifacts: list[Unused]
    versions: list[Version]
    working: list[Path]
    runs: list[Run]
    buckets: tuple[str, ...] = ()

    def sizes(self) -> Mapping[str, list[int]]:
        """Sizes in bytes of what can be deleted, by artifact type or other kind."""
        found: dict[str, list[int]] = {}
        for unused in self.artifacts:
            found.setdefault(unused.artifact.type, []).append(unused.size)
        found = dict(sorted(found.items()))
        for kind, paths in (
            (VERSIONS, [version.path for version in self.versions]),
            (WORKING, self.working),
            (RUNS, [run.directory for run in self.runs]),
        ):
            if paths:
                found[kind] = [size_of(path)[1] for path in paths]
        return found


def find(config: Config, keep: int, keep_versions: int) -> Plan:
    """Finds what can be deleted; the caller holds `locks.unused` until it is.

    Args:
        config: Names the pipeline, its metadata store and its output directory.
        keep: Number of newest runs to keep whole, at least 1.
        keep_versions: Number of newest versions to keep, including the live one; the
            one that a rollback restores is kept too.

    Raises:
        UsageError: One of the numbers is less than 1.
    """
    if keep_versions < 1:
        raise UsageError(
            f"keep-versions is {keep_versions}; the live version must stay: 1 or more"
        )
    base = config.serving_directory
    old = changes.disposable(base, keep_versions)
    gone = {version.number for version in old}
    stay = [n for n in versions.versions(base) if n not in gone]
    origins = [versions.origin_of(base, number) for number in stay]
    served = {
        (origin[versions.MODEL_URI], origin[versions.MODEL_ID])
        for origin in origins
        if versions.MODEL_ID in origin and versions.MODEL_URI in origin
    }
    pipeline = _pipeline_of(config)
    return Plan(
        artifacts=retention.find(pipeline, keep, served),
        versions=old,
        working=retention.working_directories(pipeline, keep),
        runs=list(_old_runs(config, keep, {str(base / str(n)) for n in stay})),
        buckets=retention.buckets(pipeline),
    )


def free(config: Config, plan: Plan) -> list[str]:
    """Deletes what `find` returned, and updates the index of runs.

    Returns:
        A message for each thing that couldn't be deleted; the next call tries again.
    """
    problems = retention.free(_pipeline_of(config), plan.artifacts)
    changes.free(config.serving_directory, plan.versions)
    directories = [*plan.working, *(run.directory for run in plan.runs)]
    problems += [why for path in directories if (why := retention.remove(path))]
    if plan.runs:
        from pipeline import report

        report.index_runs(config)
    return problems


def lines(plan: Plan, *, dry_run: bool) -> list[str]:
    """Formats a plan: one line per kind with count and size, and the total."""
    sizes = plan.sizes()
    found = [
        f"{kind:20} {len(each):6} {_megabytes(each):>12}"
        for kind, each in sizes.items()
    ]
    verb = "would be freed" if dry_run else "freed"
    total = _megabytes(size for each in sizes.values() for size in each)
    summed = f"{len(plan.artifacts)} artifacts, {total} in all {verb}"
    stay = [
        f"artifacts in {bucket} are not deleted, since no lock there shows that a node "
        "is reading; nor may the bucket expire them by age: the live model's may be old"
        for bucket in plan.buckets
    ]
    return [*found, summed, *stay]


def _old_runs(config: Config, keep: int, served: set[str]) -> Iterator[Run]:
    """Yields runs that are not among the newest, not alive, and whose model is gone."""
    ours = [
        run
        for run in read_runs(config.runs_directory)
        if run.config.get("name") == config.name
    ]
    for run in ours[:-keep]:
        is_elsewhere = run.directory.is_symlink()
        if not (is_elsewhere or run.is_alive() or run.model in served):
            yield run


def _pipeline_of(config: Config) -> Pipeline:
    return Pipeline(config.name, config.metadata_url, Path(config.artifact_root))


def _megabytes(sizes: Iterable[int]) -> str:
    return f"{sum(sizes) / 1e6:.1f} MB"
