"""Output files: both formats, complete or not there."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.errors import UsageError
from pipeline.prediction.output import CsvOutput, ParquetOutput, csv_of, is_parquet

BATCH = pa.RecordBatch.from_pydict({"a": ["x", 'y,"z"', None], "b": [1.5, 2.0, None]})


def test_the_name_chooses_the_format(tmp_path: Path) -> None:
    """A name of another format is refused with those that there are."""
    assert is_parquet(tmp_path / "a.parquet")
    assert not is_parquet(tmp_path / "a.csv")
    with pytest.raises(UsageError, match=r"must end with \.parquet or \.csv"):
        is_parquet(tmp_path / "a.json")


def test_parquet_has_its_origin_inside(tmp_path: Path) -> None:
    """The file appears when it is finished, with what made it in its metadata."""
    out = tmp_path / "a.parquet"
    output = ParquetOutput(out, BATCH.schema)

    output.write(BATCH)
    before = out.exists()
    output.finish({"version": 7})

    file = parquet.ParquetFile(out)
    assert not before
    assert file.read().to_pydict() == BATCH.to_pydict()
    assert json.loads(file.metadata.metadata[b"throughline"]) == {"version": 7}
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_csv_has_its_origin_beside_it(tmp_path: Path) -> None:
    """A header whose names need quotes has them; the JSON is next to the file."""
    output = CsvOutput(tmp_path / "a.csv", ["a", 'b,"c"'])

    output.write(csv_of(BATCH))
    output.finish({"version": 7})

    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines == ['a,"b,""c"""', '"x",1.5', '"y,""z""",2', ","]
    assert json.loads((tmp_path / "a.csv.json").read_text()) == {"version": 7}


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    """A failure keeps an earlier file as it was."""
    (tmp_path / "a.csv").write_text("earlier")
    for output in (
        CsvOutput(tmp_path / "a.csv", ["a"]),
        ParquetOutput(tmp_path / "b.parquet", BATCH.schema),
    ):
        output.abandon()

    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "earlier"


def test_lists_have_no_csv() -> None:
    """A column of lists is refused, with the format that has a form for them."""
    with pytest.raises(UsageError, match=r"ends with \.parquet"):
        csv_of(pa.RecordBatch.from_pydict({"a": [[1, 2]]}))
