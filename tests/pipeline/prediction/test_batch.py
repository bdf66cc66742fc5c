"""Files of rows with their scores: order, columns, quarantine, refusals."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.columnar import engine
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion import source
from pipeline.prediction.batch import Job, predict
from pipeline.prediction.raw_model import RawModel

HEADER = "id,hour,fare,payment\n"
LINES = '007,3,5.0,Card\n"a,b",13,,Cash\n"two\nlines",,2,\n'
SCORES = [3.5, 0.0, 0.2]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Predicts a CSV file of three rows to a CSV file."""
    (tmp_path / "rows.csv").write_text(HEADER + LINES)
    return Job(tmp_path / "rows.csv", tmp_path / "out" / "scores.csv")


def scores_in(out: Path) -> list[float]:
    """Reads the scores of a Parquet file."""
    found: list[float] = parquet.read_table(out)["probability"].to_pylist()
    return found


def test_csv_stays_as_it_is(job: Job, small: RawModel) -> None:
    """Each line is there byte for byte, in its order, with a score at its end."""
    tally = predict(job, small, {"version": 7})

    text = job.out.read_text()
    about = json.loads(Path(f"{job.out}.json").read_text())
    assert text == (
        "id,hour,fare,payment,probability\n"
        '007,3,5.0,Card,3.5\n"a,b",13,,Cash,0\n"two\nlines",,2,,0.2\n'
    )
    assert about == {
        "version": 7,
        "data": [str(job.data)],
        "rows": 3,
        "quarantined": 0,
    }
    assert tally.written.total() == 3
    assert {p.name for p in job.out.parent.iterdir()} == {
        "scores.csv",
        "scores.csv.json",
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_model_with_a_threshold_decides(
    job: Job, small: RawModel, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row has a decision too, in a column of its own."""
    monkeypatch.setattr(small, "threshold", 0.2)
    out = job.out.with_suffix(suffix)

    predict(replace(job, out=out), small, {})

    if suffix == ".csv":
        lines = out.read_text().splitlines()
        assert lines[0] == "id,hour,fare,payment,probability,decision"
        assert [line[-2:] for line in (lines[1], lines[2], lines[-1])] == [
            ",1",
            ",0",
            # 0.2 in 32 bits is above 0.2 in 64.
            ",1",
        ]
    else:
        assert parquet.read_table(out)["decision"].to_pylist() == [1, 0, 1]


def test_csv_to_parquet_keeps_the_text(job: Job, small: RawModel) -> None:
    """An id with zeros in front is a key, and no number."""
    job = replace(job, out=job.out.with_suffix(".parquet"))

    predict(job, small, {"version": 7})

    table = parquet.read_table(job.out)
    assert table["id"].to_pylist() == ["007", "a,b", "two\nlines"]
    assert table["fare"].to_pylist() == ["5.0", None, "2"]
    assert scores_in(job.out) == pytest.approx(SCORES)
    about = json.loads(parquet.read_metadata(job.out).metadata[b"throughline"])
    assert about["version"] == 7


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_parquet_keeps_its_types(suffix: str, job: Job, small: RawModel) -> None:
    """Columns that the model doesn't read are kept unconverted, whatever they are."""
    rows = pa.table(
        {
            "id": pa.array([7, 8, 9], pa.uint8()),
            "day": pa.array([1, 2, 3], pa.date32()),
            "hour": pa.array([3, 13, None], pa.int32()),
            "fare": pa.array([5.0, None, 2.0], pa.float64()),
            "payment": pa.array(["Card", "Cash", None]),
        }
    )
    data = job.data.with_suffix(".parquet")
    parquet.write_table(rows, data, row_group_size=2)
    job = Job(data, job.out.with_suffix(suffix))

    predict(job, small, {})

    if suffix == ".csv":
        first = job.out.read_text().splitlines()[1]
        assert first == '7,1970-01-02,3,5,"Card",3.5'
        return
    table = parquet.read_table(job.out)
    assert table.drop_columns("probability").equals(rows)
    assert scores_in(job.out) == pytest.approx(SCORES)


def test_files_of_a_directory_are_joined_in_order(
    job: Job, small: RawModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows of all files are scored in their order, section by section."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 300)
    monkeypatch.setattr(engine, "cores", lambda: 3)
    data = job.data.parent / "many"
    data.mkdir()
    fares = range(3_000)
    for number in range(3):
        part = fares[number * 1_000 : (number + 1) * 1_000]
        text = HEADER + "".join(f"{fare},13,{fare},Cash\n" for fare in part)
        if number == 1:
            (data / f"{number}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (data / f"{number}.csv").write_text(text)
    job = Job(data, job.out.with_suffix(".parquet"))

    predict(job, small, {})

    assert parquet.read_table(job.out)["id"].to_pylist() == [str(f) for f in fares]
    assert scores_in(job.out) == pytest.approx([fare / 10 for fare in fares])


def _bad_csv(job: Job) -> Job:
    rows = "1,3,cheap,Card\n2,3\n3,14,4,Cash\n"
    job.data.write_text(f"{HEADER}{rows}")
    return job


def _bad_parquet(job: Job) -> Job:
    rows = {"id": [1, 2, 3], "hour": [3, 3, 14], "fare": ["cheap", "x", "4"]}
    data = job.data.with_suffix(".parquet")
    parquet.write_table(pa.table({**rows, "payment": ["Card", "Card", "Cash"]}), data)
    return replace(job, data=data)


@pytest.mark.parametrize("arrange", [_bad_csv, _bad_parquet])
def test_bad_rows_go_to_quarantine(arrange: Any, job: Job, small: RawModel) -> None:
    """Rows that don't fit are named by file, line and reason; the others are scored."""
    job = replace(arrange(job), out=job.out.with_suffix(".parquet"))

    tally = predict(replace(job, max_quarantined=0.9), small, {})

    rejected = [json.loads(line) for line in job.quarantine.read_text().splitlines()]
    assert tally.quarantined.total() == len(rejected) == 2
    assert [row["file"] for row in rejected] == [str(job.data)] * 2
    assert rejected[0]["column"] == "fare"
    assert "cheap" in rejected[0]["text"]
    assert "Card" in rejected[0]["text"]
    assert scores_in(job.out) == pytest.approx([0.4])
    assert [str(i) for i in parquet.read_table(job.out)["id"].to_pylist()] == ["3"]


def test_too_many_bad_rows_write_nothing(job: Job, small: RawModel) -> None:
    """An earlier output stays, and the rows are named in the message."""
    job.out.parent.mkdir()
    job.out.write_text("earlier")

    with pytest.raises(DataRefusedError, match="2 of 3 rows don't fit") as refused:
        predict(_bad_csv(job), small, {})

    assert "with --max-quarantined" in str(refused.value)
    assert [p.name for p in job.out.parent.iterdir()] == ["scores.csv"]
    assert job.out.read_text() == "earlier"


def test_a_quarantine_of_an_earlier_call_goes(job: Job, small: RawModel) -> None:
    """The file of rejected rows is always that of the output beside it."""
    job.out.parent.mkdir()
    job.quarantine.write_text("{}\n")

    predict(job, small, {})

    assert not job.quarantine.exists()


def test_an_answer_gives_way_to_a_column_of_its_name(job: Job, small: RawModel) -> None:
    """The data's column stays as it is; the model's has another name."""
    head, *lines = job.data.read_text().splitlines()
    texts = [f"probability,{head}", *(f"x,{line}" for line in lines)]
    job.data.write_text("\n".join([*texts, ""]))

    predict(job, small, {})

    head, first, *_ = job.out.read_text().splitlines()
    assert head.split(",")[0] == "probability"
    assert "predicted_probability" in head.split(",")
    assert first.startswith("x,")


def _write(job: Job, text: str) -> Job:
    job.data.write_text(text)
    return job


@pytest.mark.parametrize(
    ("arrange", "error", "said"),
    [
        (
            lambda j: _write(j, "id,fare,payment\n1,2,Cash\n"),
            DataRefusedError,
            "column 'hour' missing",
        ),
        (lambda j: _write(j, HEADER), DataRefusedError, "has no rows"),
        (
            lambda j: _write(j, f"probability,predicted_probability,{HEADER}"),
            DataRefusedError,
            "has the columns 'probability' and 'predicted_probability'; rename one",
        ),
        (lambda j: replace(j, out=j.data), UsageError, "which is the data"),
        (
            lambda j: replace(j, data=j.data.parent, out=j.data.parent / "x.csv"),
            UsageError,
            "would be data the next time",
        ),
        (
            lambda j: replace(
                j, data=j.data.parent, pattern="*.txt", out=Path("/x.csv")
            ),
            DataRefusedError,
            "matches",
        ),
        (lambda j: replace(j, out=Path("x.json")), UsageError, "must end with"),
    ],
)
def test_what_cannot_be_predicted(
    arrange: Any, error: type[Exception], said: str, job: Job, small: RawModel
) -> None:
    """What is wrong is one sentence, and no output is left."""
    place = job.data.parent
    job = arrange(job)

    with pytest.raises(error, match=said):
        predict(job, small, {})

    assert [path.name for path in place.rglob("*") if path.is_file()] == ["rows.csv"]


def test_both_kinds_of_file_are_refused(job: Job, small: RawModel) -> None:
    """Their columns have different types, so one output can't hold both."""
    data = job.data.parent / "both"
    data.mkdir()
    (data / "a.csv").write_text(HEADER + LINES)
    columns: dict[str, list[Any]] = {"id": [1], "hour": [3], "fare": [1.0]}
    parquet.write_table(pa.table({**columns, "payment": ["x"]}), data / "b.parquet")

    with pytest.raises(DataRefusedError, match="both Parquet and CSV"):
        predict(replace(job, data=data), small, {})
