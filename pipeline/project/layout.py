"""Lays a project out: the code and tests of this one, and its own files."""

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.project.generic_tests import generic_tests
from pipeline.project.settings_file import PROJECT

_CODE = (
    "pipeline",
    "models",
    "schema",
    "serving",
    "operations",
    "deploy",
    "environments",
    "docs",
    "notebooks",
    "bootstrap",
    "setup.py",
    "pyproject.toml",
    "requirements.lock",
    "requirements-run.txt",
    "run_local.py",
    "run_kubeflow.py",
    "Makefile",
    "Dockerfile",
    ".dockerignore",
    ".gitignore",
    "LICENSE",
    "CONTRIBUTING.md",
)
# Those of the sample and of this checkout, which a project of its own has no use for.
_SAMPLE = ("data", "demo", "tests", "benchmarks", "examples", "CHANGELOG.md")
_NAMES_OF_SAMPLE = (
    ("Dockerfile", "COPY data data\n", ""),
    ("pyproject.toml", '"models", "data", ', '"models", '),
    ("pyproject.toml", '"operations", "demo", ', '"operations", '),
    # pipeline/runners/sample.py imports it, where there is no data of one's own.
    ("pyproject.toml", '    "fairlearn.*",\n', '    "data.*",\n    "fairlearn.*",\n'),
)
"""Text about the sample's directory in files that are copied, and what replaces it."""
_TARGETS = ("demo", "bench", "bench-ingestion", "test-clusters", "test-containers")
"""Those of the Makefile for what is not copied."""


def write(directory: Path, own: Mapping[str, str]) -> list[str]:
    """Writes a project.

    Args:
        directory: Where to. In this project itself the sample's files are removed;
            elsewhere the code is copied.
        own: The project's own files, by path.

    Returns:
        The paths that were removed.

    Raises:
        UsageError: A file would be overwritten, or what would be removed is not
            committed.
    """
    here = directory.resolve() == PROJECT
    removed = _clear() if here else []
    if not here:
        _refuse_to_overwrite(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in _CODE:
            _copy(PROJECT / name, directory / name)
        for name in generic_tests(PROJECT):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, directory / name)
    for name, text in own.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    makefile = directory / "Makefile"
    if makefile.exists():
        makefile.write_text(_without_targets(makefile.read_text()))
    for name, old, new in _NAMES_OF_SAMPLE:
        path = directory / name
        if path.exists():
            path.write_text(path.read_text().replace(old, new))
    return removed


def _without_targets(makefile: str) -> str:
    for target in _TARGETS:
        rule = rf"^{re.escape(target)}:.*\n(?:\t.*\n)*\n?"
        makefile = re.sub(rule, "", makefile, flags=re.MULTILINE)
        makefile = re.sub(
            rf"(?m)^(\.PHONY:.*) {re.escape(target)}(?= |$)", r"\1", makefile
        )
    return makefile


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source,
            target,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    elif source.exists():
        shutil.copy2(source, target)


def _refuse_to_overwrite(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a directory for the project")
    if not (PROJECT / "bootstrap").is_file():
        raise UsageError(
            f"{PROJECT} is no checkout; run `throughline new` in one, which has the "
            "code of the project"
        )
    for name in (*_CODE, "tests", "throughline.toml", "README.md"):
        if (directory / name).exists():
            raise UsageError(
                f"{directory / name} exists already; name a new directory, or one that "
                "holds only the data"
            )


def _clear() -> list[str]:
    """Removes the sample's files from this project, which git must have."""
    there = [name for name in _SAMPLE if (PROJECT / name).exists()]
    changed = subprocess.run(
        # Not by its path: git may be anywhere.
        ["git", "-C", str(PROJECT), "status", "--porcelain", "--", *there, "models"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if changed.returncode or changed.stdout.strip():
        first = (changed.stdout.strip() or changed.stderr.strip()).splitlines()[:1]
        raise UsageError(
            "this project has changes that are not committed "
            f"({''.join(first).strip()}); commit them first, since the sample's files "
            "are replaced"
        )
    generic = {PROJECT / name for name in generic_tests(PROJECT)}
    for name in there:
        _remove(PROJECT / name, generic)
    return there


def _remove(path: Path, kept: Collection[Path]) -> None:
    """Removes a file or directory, but for some files in it."""
    if not path.is_dir():
        if path not in kept:
            path.unlink()
        return
    for inside in path.iterdir():
        _remove(inside, kept)
    if not any(path.iterdir()):
        path.rmdir()
