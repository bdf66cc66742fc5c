"""The pipeline with its artifacts in a bucket, on a server that speaks S3."""

import sqlite3
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.columnar import files
from tests.e2e.places import FLAGS, SMALL_ROWS
from tests.e2e.runs import Finished, Rows, finished, raw_tensors, write_csv
from tests.e2e.warm import MOMENTS, WarmProcess

pytestmark = pytest.mark.e2e

COMPLETE, CACHED = 3, 6
_BEFORE, WRITING, _WRITTEN = MOMENTS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample_rows: Rows) -> Path:
    """A directory with data in it."""
    place = tmp_path_factory.mktemp("storage")
    write_csv(place / "data" / "trips.csv", sample_rows[:SMALL_ROWS])
    return place


@pytest.fixture(scope="module")
def flags(place: Path, bucket: str) -> tuple[object, ...]:
    """Everything but the output directory, which stays a local one."""
    return (*FLAGS, "--data", place / "data", "--artifacts", f"{bucket}/taxi")


@pytest.fixture(scope="module")
def first(place: Path, flags: tuple[object, ...], warm: WarmProcess) -> Finished:
    """A run to its end."""
    return finished(*warm.run(place / "out", *flags), place / "out")


def locations(output: Path) -> list[tuple[str, int]]:
    """URI of each artifact, and the state of the execution that wrote it."""
    with sqlite3.connect(f"file:{output}/metadata.db?mode=ro", uri=True) as store:
        return store.execute(
            "SELECT a.uri, x.last_known_state FROM Artifact a"
            " JOIN Event e ON e.artifact_id = a.id"
            " JOIN Execution x ON e.execution_id = x.id"
            " WHERE e.type = 4"
        ).fetchall()


def orphans(output: Path, root: str) -> list[str]:
    """Files in the bucket that belong to no artifact of a complete execution."""
    whole = [uri for uri, state in locations(output) if state in {COMPLETE, CACHED}]
    every = [files.join(root, name) for name in files.tree(root)]
    return [f for f in every if not any(f.startswith(f"{uri}/") for uri in whole)]


def test_artifacts_are_in_the_bucket(
    first: Finished, bucket: str, sample_rows: Rows
) -> None:
    """All artifacts are there and nowhere else; the pushed model is local and works."""
    assert first.exit_code == 0, first.text
    (version,) = first.versions
    model = tf.saved_model.load(str(version))
    signature = model.signatures["serving_raw"]
    answers = signature(**raw_tensors(signature, sample_rows[:3]))["probability"]
    uris = [uri for uri, _ in locations(first.output)]

    assert len(answers) == 3
    assert len(uris) > 10
    assert all(uri.startswith(f"{bucket}/taxi/") for uri in uris)
    assert all(files.tree(uri) for uri in uris)
    assert not (first.output / "artifacts").exists()
    assert orphans(first.output, f"{bucket}/taxi") == []


def test_second_run_is_cached(
    first: Finished, flags: tuple[object, ...], warm: WarmProcess
) -> None:
    """Of unchanged data and settings nothing is computed but comparisons."""
    code, text = warm.run(first.output, *flags, "--force")

    states = finished(code, text, first.output).states()
    assert code == 0, text
    # Not the gate and the Evaluator: the first run is the second one's baseline.
    assert {name for name, state in states.items() if state == "CACHED"} >= {
        "FileBasedExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "ImportSchemaGen",
        "ExampleValidator",
        "Transform",
        "Trainer",
    }


def test_lineage_and_report_read_the_bucket(first: Finished, warm: WarmProcess) -> None:
    """Questions and pages are answered from the artifacts, wherever they are."""
    report = (first.run / "report.html").read_text()
    done = subprocess.run(
        [warm.throughline, "lineage", "model", "--output", str(first.output)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "auc" in done.stdout
    assert "no anomalies in train, eval, test" in done.stdout
    assert "Calibration and thresholds" in report
    assert "Quarantine" in report
    assert "can't be shown" not in report


@pytest.mark.parametrize("node", ["ExampleGen", "Transform", "Trainer"])
def test_killed_upload_is_not_taken_as_whole(
    node: str,
    first: Finished,
    bucket: str,
    flags: tuple[object, ...],
    warm: WarmProcess,
) -> None:
    """What a killed node has uploaded is removed, and the node runs again."""
    output = first.output
    killed, _ = warm.run(
        output, *flags, "--only", node, "--no-cache", node, kill=f"{node} {WRITING}"
    )
    left = orphans(output, f"{bucket}/taxi")
    code, text = warm.run(output, "--resume")

    assert killed == -9
    assert left != []
    assert code == 0, text
    assert orphans(output, f"{bucket}/taxi") == []


def test_refused_data_leaves_nothing(
    first: Finished,
    bucket: str,
    flags: tuple[object, ...],
    warm: WarmProcess,
    sample_rows: Rows,
) -> None:
    """A node that fails leaves no file in the bucket."""
    bad = [{**row, "fare": "much"} for row in sample_rows[:100]]
    data = write_csv(first.output.parent / "bad" / "trips.csv", bad)

    code, text = warm.run(first.output, *flags, "--data", data)

    assert code == 3, text
    assert "100 of 100 rows don't fit" in text
    assert orphans(first.output, f"{bucket}/taxi") == []


def test_missing_bucket_is_one_sentence(
    place: Path, s3: str, warm: WarmProcess
) -> None:
    """A bucket that isn't there is named before anything runs."""
    assert s3
    flags = ("--data", place / "data", "--artifacts", "s3://no-such-bucket/x")

    code, text = warm.run(place / "none", *flags)

    assert code == 2
    (line,) = text.splitlines()
    assert "artifacts is s3://no-such-bucket/x, where nothing can be written" in line
    assert not (place / "none").exists()
