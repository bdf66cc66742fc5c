"""Names and paths that come in from outside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import local
from pipeline.errors import UsageError
from pipeline.store.names import (
    is_run_name,
    is_span_run,
    local_path,
    run_name,
    span_run,
)


@pytest.mark.parametrize(
    "name",
    [
        "20261123-152153-27a263a5",
        "monday",
        "manual__2026-01-31T03:00:00.123456+00:00-abcd1234",
        "9b0d6d1e-6f0e-4a53-9f0c-0d6f6c1d7d55",
        "a" * 200,
    ],
)
def test_names_that_orchestrators_give(name: str) -> None:
    """What our runner, Airflow, Argo and Kubeflow call their runs is a name."""
    assert run_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../../evilrun",
        "/etc/x",
        "a/b",
        "a\\b",
        "-rf",
        ".hidden",
        "javascript:alert(1)",
        "{{$.pipeline_job_uuid}}",
        "a b",
        "a\nb",
        "monday\n",
        "montag-ä",
        "a" * 201,
    ],
)
def test_names_that_are_refused(name: str) -> None:
    """What could leave a directory, or is no part of a link, is named and refused."""
    with pytest.raises(UsageError) as refused:
        run_name(name, "run-id")

    assert not is_run_name(name)
    assert str(refused.value).startswith(f"run-id is {name!r}; the name of a run must")


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "file", "abfss"])
def test_uris_are_no_paths(scheme: str) -> None:
    """A URI, of which `Path` makes a relative directory, is refused as it was given."""
    uri = f"{scheme}://bucket/out"

    with pytest.raises(UsageError) as refused:
        local_path(Path(uri), "output")

    assert str(refused.value).startswith(f"output is {uri}; it must be a path.")


@pytest.mark.parametrize("path", ["/gcs/b", "out", "a:b", "../x", "C:", "spans/2026:1"])
def test_paths_are_paths(path: str) -> None:
    """What is no URI passes, colons and all."""
    assert local_path(Path(path), "output") == Path(path)


@pytest.mark.parametrize("setting", ["output", "data", "schema"])
def test_configurations_refuse_uris(setting: str) -> None:
    """Neither data nor output nor schema can be in an object store."""
    changed: dict[str, Any] = {setting: Path("gs://b/x")}

    with pytest.raises(UsageError, match=f"{setting} is gs://b/x; it must be a path"):
        replace(local(), **changed)


def test_parts_of_runs_have_names_that_no_run_can_have() -> None:
    """A span that a run takes in is told from a run by its name."""
    part = span_run("monday", 7)

    assert part == "monday/span-7"
    assert is_span_run(part)
    assert is_span_run(part, "monday")
    assert not is_span_run(part, "mon")
    assert not is_span_run("span-7")
    assert not is_run_name(part)
