"""Files in, Parquet out: the same as the stock component reads, and in order."""

import csv
import gzip
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import tensorflow as tf
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from tfx.components.example_gen.csv_example_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from data import taxi
from pipeline.columnar import shards
from pipeline.columnar.progress import Progress
from pipeline.components.example_gen import Quarantine
from pipeline.components.ingestion import Executor, Settings
from pipeline.config import IN_PROCESS_BEAM_RUNNER, Config
from pipeline.errors import DataRefusedError
from pipeline.ingestion.quarantine import read_rows, read_tally
from pipeline.ingestion.splitting import SplitRule
from pipeline.store import properties
from schema import SCHEMA_PATH

Row = dict[str, list[Any]]
Splits = dict[str, list[Row]]
Parts = Mapping[str, int]
PARTS = {"train": 7, "eval": 1, "test": 2}
ALL = {"all": 1}

SCHEMA = """
feature { name: "fare" type: FLOAT }
feature { name: "miles" type: INT }
feature { name: "company" type: BYTES }
"""
AWKWARD = """\
id,fare,company,note
1,12.25,Blue Cab,plain
2,5,"Cab, Green","he said ""no"", twice"
-3,,Größe 日本 🚕,
4,1e3,,"two
lines"
5,.5,'single',  spaces around\u0020\u0020
6,-0.0,007,a;b\tc
"""


def _parse(record: bytes) -> Row:
    """Gives a tf.Example's columns; a column without a value isn't among them."""
    features = tf.train.Example.FromString(record).features.feature
    row: Row = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        if values:
            row[name] = values
    return row


def _records(directory: Path) -> list[bytes]:
    """Reads a split's records in the order of its files."""
    files = sorted(map(str, directory.iterdir()))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [record.numpy() for record in dataset]


def _rows(directory: Path) -> list[Row]:
    """Reads a split's rows; a column without a value isn't among a row's."""
    table = shards.read_table(shards.shards_of(directory))
    return [{n: v for n, v in row.items() if v} for row in table.to_pylist()]


def _write(directory: Path, files: Mapping[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8", newline="")
    return directory


def _ingest(
    data: Path,
    out: Path,
    parts: Parts = ALL,
    schema: Path | None = None,
    patterns: Mapping[str, str] | None = None,
    **settings: Any,
) -> standard_artifacts.Examples:
    """Runs the executor as the launcher does."""
    rule_settings = {
        name: settings.pop(name)
        for name in list(settings)
        if name in SplitRule.__dataclass_fields__
    }
    asked = Settings(
        SplitRule(parts, **rule_settings), str(schema) if schema else "", **settings
    )
    given = patterns or {"all": "*"}
    files = [
        example_gen_pb2.Input.Split(name=name, pattern=pattern)
        for name, pattern in given.items()
    ]
    properties = {
        "input_base": str(data),
        "input_config": example_gen_pb2.Input(splits=files),
        "output_config": asked.output_config(),
        "custom_config": asked.packed(),
    }
    examples, quarantine = standard_artifacts.Examples(), Quarantine()
    examples.uri, quarantine.uri = str(out), str(out.with_name(f"{out.name}-rejected"))
    context = Executor.Context(beam_pipeline_args=Config().beam_pipeline_args)
    Executor(context).Do(
        {},
        {"examples": [examples], "quarantine": [quarantine]},
        {
            name: value if isinstance(value, str) else proto_utils.proto_to_json(value)
            for name, value in properties.items()
        },
    )
    return examples


def _splits(examples: standard_artifacts.Examples) -> Splits:
    return {
        split: _rows(Path(artifact_utils.get_split_uri([examples], split)))
        for split in artifact_utils.decode_split_names(examples.split_names)
    }


IngestText = Callable[..., Splits]


@pytest.fixture
def ingest(tmp_path: Path) -> IngestText:
    """Ingests literal CSV files."""

    def run(
        files: Mapping[str, str],
        parts: Parts = ALL,
        schema: str | None = None,
        **settings: Any,
    ) -> Splits:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        data = _write(place / "data", files)
        reviewed = place / "schema.pbtxt"
        reviewed.write_text(schema or "")
        out = place / "out"
        return _splits(
            _ingest(data, out, parts, reviewed if schema else None, **settings)
        )

    return run


def _stock(directories: Iterable[Path]) -> list[list[Row]]:
    """Reads the same files with TFX's own executor, all in one Beam pipeline."""
    transform = stock.Executor().GetInputSourceToExamplePTransform()
    outs = {data: data.parent / f"{data.name}-stock" for data in directories}
    with beam.Pipeline(argv=[IN_PROCESS_BEAM_RUNNER]) as pipeline:
        for data, out in outs.items():
            name = data.name
            _ = (
                pipeline
                | f"Read {name}" >> transform({"input_base": str(data)}, "*.csv")
                | f"Encode {name}" >> beam.Map(lambda e: e.SerializeToString())
                | f"Write {name}"
                >> beam.io.WriteToTFRecord(str(out / "rows"), file_name_suffix=".gz")
            )
    return [[_parse(record) for record in _records(out)] for out in outs.values()]


def _counted(rows: list[Row]) -> Counter[str]:
    return Counter(repr(sorted(row.items())) for row in rows)


def test_literal_rows(tmp_path: Path) -> None:
    """Rows come out as they were written, in order, each column of its type."""
    data = _write(tmp_path / "data", {"trips.csv": AWKWARD})

    rows = _splits(_ingest(data, tmp_path / "out"))["all"]

    assert rows == [
        {"id": [1], "fare": [12.25], "company": [b"Blue Cab"], "note": [b"plain"]},
        {
            "id": [2],
            "fare": [5.0],
            "company": [b"Cab, Green"],
            "note": [b'he said "no", twice'],
        },
        {"id": [-3], "company": ["Größe 日本 🚕".encode()]},
        {"id": [4], "fare": [1000.0], "note": [b"two\nlines"]},
        {
            "id": [5],
            "fare": [0.5],
            "company": [b"'single'"],
            "note": [b"  spaces around  "],
        },
        {"id": [6], "fare": [0.0], "company": [b"007"], "note": [b"a;b\tc"]},
    ]
    assert [type(row["fare"][0]) for row in rows if "fare" in row] == [float] * 5


# What to compare with the stock component: each is one file.
TEXTS = {
    "awkward": AWKWARD,
    "windows line ends": AWKWARD.replace("\n", "\r\n"),
    "no last line end": AWKWARD.rstrip("\n"),
    "missing whole numbers": "a,b\n1,x\n,y\n3,\n",
    "a column without values": "a,b\n,x\n,y\n",
    "quoted numbers": 'a,b\n"",x\n"1",y\n',
    "spaces around numbers": "a,b,c\n 1,2.5 , x\n2 , 3,y\n",
    "blank line": "a,b\n1,x\n\n2,y\n",
    "whole and other numbers": "a\n1\n2.5\n",
    "numbers and a text": "a\n1\n2.5\nx\n",
    "int64": "a\n9223372036854775807\n-9223372036854775808\n",
    "more than int64": "a\n9223372036854775808\n1\n",
    "more than int64 and a fraction": "a\n-9223372036854775809\n1.5\n",
    "float32 rounding": "a\n0.1\n16777217.0\n1e-45\n3.4e38\n",
    "leading zeros": "a\n007\n08\n",
    "hexadecimal codes": "a\n0x1F\n0x2A\n",
    "truth values": "a\nTrue\nfalse\n",
    "dates": "a\n2024-01-31\n2024-02-01 10:00:00\n",
    "words for nothing": "a,b\nNULL,NA\nnan,null\nn/a,None\n",
    "awkward names": "a b,c.d/é\n1,2\n",
}


@pytest.fixture(scope="module")
def stock_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """What TFX's CsvExampleGen makes of each text."""
    root = tmp_path_factory.mktemp("stock")
    directories = [_write(root / n, {"1.csv": text}) for n, text in TEXTS.items()]
    return dict(zip(TEXTS, _stock(directories), strict=True))


@pytest.mark.parametrize("name", TEXTS)
def test_as_the_stock_component_reads(
    ingest: IngestText, stock_rows: dict[str, list[Row]], name: str
) -> None:
    """Without a schema, the same rows come out as of TFX's CsvExampleGen."""
    rows = ingest({"1.csv": TEXTS[name]})["all"]

    assert rows
    assert _counted(rows) == _counted(stock_rows[name])


def test_the_schema_gives_the_types(ingest: IngestText) -> None:
    """Under a schema a column has its type, whatever its values look like."""
    text = "fare,miles,company\n5,3,1\n7,,2\n,0,\n"

    rows = ingest({"trips.csv": text}, schema=SCHEMA)["all"]

    assert rows == [
        {"fare": [5.0], "miles": [3], "company": [b"1"]},
        {"fare": [7.0], "company": [b"2"]},
        {"miles": [0]},
    ]
    assert [type(row["fare"][0]) for row in rows if "fare" in row] == [float, float]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "many"], [b"1", b"many"]),
        (["true", "1"], [b"true", b"1"]),
        (["2024-01-31", "soon"], [b"2024-01-31", b"soon"]),
    ],
)
def test_columns_that_the_schema_does_not_know(
    ingest: IngestText, values: list[str], expected: list[Any]
) -> None:
    """A new column has the narrowest type that all values in all files fit."""
    first, second = (f"fare,miles,company,new\n5,3,x,{value}\n" for value in values)

    rows = ingest({"1.csv": first, "2.csv": second}, schema=SCHEMA)["all"]

    assert [row["new"] for row in rows] == [[value] for value in expected]
    assert [row["fare"] for row in rows] == [[5.0], [5.0]]


def test_a_column_without_a_type_in_the_schema(ingest: IngestText) -> None:
    """A column that the schema names without a type is looked at in the data."""
    rows = ingest({"1.csv": "a,b\n1,x\n"}, schema='feature { name: "a" }')["all"]

    assert rows == [{"a": [1], "b": [b"x"]}]


def test_types_hold_for_values_that_come_late(
    ingest: IngestText, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value late in the second file decides the type in the first file too."""
    monkeypatch.setattr("pipeline.ingestion.source.BLOCK_BYTES", 64)
    whole = "a,b\n" + "1,1\n" * 200
    late = whole + "2.5,x\n"

    rows = ingest({"1.csv": whole, "2.csv": late})["all"]

    assert Counter((type(r["a"][0]), r["b"][0]) for r in rows) == {
        (float, b"1"): 400,
        (float, b"x"): 1,
    }


OTHER = "n,x,t\n" + "".join(f"{n},{n / 8},Größe {n}\n" for n in range(200))
NUMBERED = "number,text\n" + "".join(f"{n},t{n}\n" for n in range(300))


def test_each_row_is_in_one_split(ingest: IngestText) -> None:
    """Every row is in exactly one split, in about the share that was asked for."""
    splits = ingest({"1.csv": NUMBERED}, PARTS)

    numbers = {name: [r["number"][0] for r in rows] for name, rows in splits.items()}
    assert list(numbers) == ["train", "eval", "test"]
    assert sorted(itertools.chain(*numbers.values())) == list(range(300))
    assert 180 < len(numbers["train"]) < 240
    assert 15 < len(numbers["eval"]) < 50
    assert 40 < len(numbers["test"]) < 85


def test_splits_are_the_same_everywhere(ingest: IngestText) -> None:
    """A row is in the same split on every machine, today and in a year."""
    splits = ingest({"1.csv": NUMBERED}, PARTS)

    assert [row["number"] for row in splits["eval"]][:4] == [[4], [53], [66], [75]]
    assert [row["number"] for row in splits["test"]][:4] == [[1], [5], [9], [10]]


def test_rows_keep_their_order(ingest: IngestText) -> None:
    """Within a split rows are in the order of the files' names, then of the lines."""
    header, *lines = NUMBERED.splitlines(keepends=True)
    files = {
        "b.csv": header + "".join(lines[:150]),
        "a.csv": header + "".join(lines[150:]),
    }

    splits = ingest(files, PARTS)

    for rows in splits.values():
        numbers = [row["number"][0] for row in rows]
        assert numbers == sorted(numbers, key=lambda n: (n < 150, n))


def test_equal_rows_stay_together(ingest: IngestText) -> None:
    """Rows that are equal are in one split, so that none is learned and tested."""
    splits = ingest({"1.csv": "a,b\n" + "1,x\n" * 50 + "2,y\n" * 50}, PARTS)

    split_of_value = {
        (row["a"][0], name) for name, rows in splits.items() for row in rows
    }
    assert len(split_of_value) == 2


@pytest.mark.parametrize("schema", [None, 'feature { name: "number" type: FLOAT }'])
def test_splits_depend_on_rows_only(
    ingest: IngestText, monkeypatch: pytest.MonkeyPatch, schema: str | None
) -> None:
    """How rows are spread over files, and how much is read at once, decides nothing."""
    header, *lines = NUMBERED.splitlines(keepends=True)
    first, second = "".join(lines[:100]), "".join(lines[100:])
    whole = ingest({"1.csv": NUMBERED}, PARTS, schema)

    parted = ingest({"1.csv": header + first, "2.csv": header + second}, PARTS, schema)
    swapped = ingest({"1.csv": header + second, "2.csv": header + first}, PARTS, schema)
    monkeypatch.setattr("pipeline.ingestion.source.BLOCK_BYTES", 100)
    in_blocks = ingest({"1.csv": NUMBERED}, PARTS, schema)

    counted = {name: _counted(rows) for name, rows in whole.items()}
    assert parted == whole
    assert {name: _counted(rows) for name, rows in swapped.items()} == counted
    assert in_blocks == whole


def test_values_across_blocks(
    ingest: IngestText, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value with line ends is whole where a block ends in the middle of it."""
    text = "a,b\n" + "".join(f'{n},"one\ntwo, {n}\n"\n' for n in range(50))
    monkeypatch.setattr("pipeline.ingestion.source.BLOCK_BYTES", 70)

    rows = ingest({"1.csv": text})["all"]

    assert rows == [{"a": [n], "b": [f"one\ntwo, {n}\n".encode()]} for n in range(50)]


def test_the_same_input_gives_the_same_output(tmp_path: Path) -> None:
    """The same files give the same records in the same order, a second time too."""
    files = {"1.csv": NUMBERED, "2.csv": NUMBERED.replace(",t1", ",u1")}
    data = _write(tmp_path / "data", files)

    first, second = (
        _splits(_ingest(data, tmp_path / name, PARTS)) for name in ("first", "second")
    )

    assert sum(map(len, first.values())) == 600
    assert first == second


def test_a_split_without_rows_can_be_read(tmp_path: Path) -> None:
    """A split that gets no row is a file that reads as no records."""
    data = _write(tmp_path / "data", {"1.csv": "a\n1\n"})

    examples = _ingest(data, tmp_path / "out", PARTS)

    splits = _splits(examples)
    assert sorted(map(len, splits.values())) == [0, 0, 1]
    for split in PARTS:
        files = list((tmp_path / "out" / f"Split-{split}").iterdir())
        assert [file.name for file in files] == ["data-00000-of-00001.parquet"]


def test_the_artifact_says_what_it_is(tmp_path: Path) -> None:
    """The artifact names its splits and formats; small files go into one together."""
    data = _write(tmp_path / "data", {"1.csv": NUMBERED, "2.csv": NUMBERED})

    examples = _ingest(data, tmp_path / "out", PARTS)

    assert artifact_utils.decode_split_names(examples.split_names) == [
        "train",
        "eval",
        "test",
    ]
    assert examples_utils.get_file_format(examples) == "FILE_FORMAT_PARQUET"
    assert examples_utils.get_payload_format(examples) == example_gen_pb2.FORMAT_PARQUET
    for split in PARTS:
        names = sorted(p.name for p in (tmp_path / "out" / f"Split-{split}").iterdir())
        assert names == ["data-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no file to read"),
        ({"1.csv": ""}, "is empty"),
        ({"1.csv": "fare,miles,company\n"}, "has a header and no rows"),
        (
            {"1.csv": "fare,miles,company\n5,x,y\n"},
            "line 2, column 'miles': 'x' is not",
        ),
    ],
)
def test_refused_files_leave_nothing(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    """When files are refused, nothing half-written stays."""
    data = _write(tmp_path / "data", files)
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(SCHEMA)

    with pytest.raises(DataRefusedError) as refused:
        _ingest(data, tmp_path / "out", PARTS, schema)

    assert said in str(refused.value)
    assert not [p for p in tmp_path.glob("out*/**/*") if p.is_file()]


@pytest.mark.parametrize("with_schema", [True, False])
def test_rows_are_reported(
    tmp_path: Path,
    reports: list[Progress | str],
    with_schema: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """All rows that are read count, once per pass; those that don't fit are noted."""
    rows = "5,1,x\n" * 300
    data = _write(tmp_path / "data", {"a.csv": f"fare,miles,company\n{rows}5\n"})
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(SCHEMA)

    _ingest(data, tmp_path / "out", PARTS, schema if with_schema else None)

    *_, note = reports
    last = {r.phase: (r.done, r.total) for r in reports if isinstance(r, Progress)}
    phases = [""] if with_schema else ["types", ""]
    assert last == dict.fromkeys(phases, (301, 301))
    assert note == "1 of 301 rows don't fit"


def test_rows_that_do_not_fit_go_to_quarantine(tmp_path: Path) -> None:
    """They are kept with place, reason and text, counted, and are no examples."""
    good = "5,1,x\n" * 300
    bad = "5,one,x\n5\n"
    text = f"fare,miles,company\n{good}{bad}"
    data = _write(tmp_path / "data", {"a.csv": text})
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(SCHEMA)

    splits = _splits(_ingest(data, tmp_path / "out", PARTS, schema))

    refuge = tmp_path / "out-rejected"
    assert sum(map(len, splits.values())) == 300
    assert list(read_rows(refuge)) == [
        {
            "file": str(data / "a.csv"),
            "line": 302,
            "column": "miles",
            "reason": (
                "'one' is not a whole number; correct it, or leave the field empty"
            ),
            "text": "5,one,x",
        },
        {
            "file": str(data / "a.csv"),
            "line": 303,
            "column": None,
            "reason": "1 field where the header has 3; add the missing commas",
            "text": "5",
        },
    ]
    tally = read_tally(refuge)
    assert (tally.rows, tally.quarantined.total()) == (302, 2)
    assert tally.reasons == {
        "miles: not a whole number": 1,
        "wrong number of fields": 1,
    }


def test_the_cap_holds(tmp_path: Path) -> None:
    """One row too many stops the run, with the first few and what to do."""
    text = "fare,miles,company\n" + "5,1,x\n" * 98 + "5,1\n" * 2
    data = _write(tmp_path / "data", {"a.csv": text})

    with pytest.raises(DataRefusedError) as refused:
        _ingest(data, tmp_path / "out", max_quarantined=0.019)
    _ingest(data, tmp_path / "out", max_quarantined=0.02)

    assert str(refused.value) == (
        "2 of 100 rows don't fit, and at most 0.019 of them may:\n"
        f"  {data}/a.csv, line 100: 2 fields where the header has 3; add the missing "
        "commas\n"
        f"  {data}/a.csv, line 101: 2 fields where the header has 3; add the missing "
        "commas\n"
        "Fix the data, or let more rows go to quarantine with --gate.max-quarantined."
    )


def test_many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file in many shards, by Beam, holds the same rows in the same order."""
    data = _write(tmp_path / "data", {"a.csv": NUMBERED})
    whole = _splits(_ingest(data, tmp_path / "whole", PARTS))
    monkeypatch.setattr("pipeline.ingestion.source.BLOCK_BYTES", 200)
    monkeypatch.setattr("pipeline.ingestion.plan.divide.__defaults__", (500,))

    parted = _splits(_ingest(data, tmp_path / "parted", PARTS))

    assert len(list((tmp_path / "parted" / "Split-train").iterdir())) > 3
    assert parted == whole


@pytest.mark.parametrize("name", ["trips.csv.gz", "trips.parquet", "latin.csv"])
def test_other_forms_of_the_same_rows(tmp_path: Path, name: str) -> None:
    """Gzip, Parquet and another encoding give what plain CSV gives, split by split."""
    plain = _write(tmp_path / "plain", {"trips.csv": OTHER})
    other = tmp_path / "other"
    other.mkdir()
    file = other / name
    settings: dict[str, Any] = {}
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(OTHER.encode()))
    elif name.endswith(".parquet"):
        parquet.write_table(arrow_csv.read_csv(plain / "trips.csv"), file)
    else:
        file.write_bytes(OTHER.encode("latin-1"))
        settings = {"encoding": "iso8859-1"}

    expected = _splits(_ingest(plain, tmp_path / "a", PARTS))
    found = _splits(_ingest(other, tmp_path / "b", PARTS, **settings))

    assert sum(map(len, found.values())) == 200
    assert found == expected


def test_a_byte_order_mark_is_stripped(ingest: IngestText) -> None:
    """It is no part of the first column's name."""
    rows = ingest({"1.csv": "\ufeffa,b\n1,x\n"})["all"]

    assert rows == [{"a": [1], "b": [b"x"]}]


LISTS = {
    "id": [1, 2, 3, 4, 5],
    "areas": pa.array([[8, 32], None, [], [8], [7, None]], pa.list_(pa.int32())),
    "tags": [["a", "b"], ["c"], None, ["", "d"], ["e"]],
    "point": pa.array([[0.5, 1.0]] * 5, pa.list_(pa.float64(), 2)),
}


def test_lists_of_parquet_stay_lists(tmp_path: Path) -> None:
    """A column of lists keeps all its values; a list with a hole is set aside."""
    (tmp_path / "data").mkdir()
    parquet.write_table(pa.table(LISTS), tmp_path / "data" / "trips.parquet")

    examples = _ingest(tmp_path / "data", tmp_path / "out", max_quarantined=0.5)

    point = [0.5, 1.0]
    assert _splits(examples)["all"] == [
        {"id": [1], "areas": [8, 32], "tags": [b"a", b"b"], "point": point},
        {"id": [2], "tags": [b"c"], "point": point},
        {"id": [3], "point": point},
        {"id": [4], "areas": [8], "tags": [b"", b"d"], "point": point},
    ]
    (rejected,) = read_rows(tmp_path / "out-rejected")
    assert (rejected["line"], rejected["column"]) == (5, "areas")
    assert "an item that is missing" in rejected["reason"]


def test_rows_of_equal_lists_are_in_one_split(tmp_path: Path) -> None:
    """Lists are hashed by their items and their order."""
    lists = [[n, n + 1] for n in range(200)] * 2 + [[n + 1, n] for n in range(200)]
    (tmp_path / "data").mkdir()
    table = pa.table({"areas": lists})
    parquet.write_table(table, tmp_path / "data" / "trips.parquet", row_group_size=37)

    splits = _splits(_ingest(tmp_path / "data", tmp_path / "out", PARTS))

    of = {n: {tuple(r["areas"]) for r in rows} for n, rows in splits.items()}
    assert not of["train"] & of["test"]
    assert all(of.values())
    assert of["train"] != {pair[::-1] for pair in of["train"]}


def test_splits_by_chosen_columns(ingest: IngestText) -> None:
    """Rows that agree in the chosen columns are in one split, whatever else differs."""
    text = "id,n\n" + "".join(f"{n % 20},{n}\n" for n in range(400))

    splits = ingest({"1.csv": text}, PARTS, hash_columns=("id",))

    ids = {name: {row["id"][0] for row in rows} for name, rows in splits.items()}
    assert sum(map(len, splits.values())) == 400
    assert sum(map(len, ids.values())) == 20
    assert len(ids["train"]) > 1


def test_a_new_column_moves_no_row(ingest: IngestText) -> None:
    """A constant column that the schema doesn't know leaves each row in its split."""
    rows = [(n / 4, n, f"cab {n}") for n in range(200)]
    before = "fare,miles,company\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    after = "note,fare,miles,company\n" + "".join(
        f"new,{a},{b},{c}\n" for a, b, c in rows
    )

    splits = [ingest({"1.csv": text}, PARTS, SCHEMA) for text in (before, after)]

    was, is_ = (
        {name: [row["miles"] for row in rows] for name, rows in found.items()}
        for found in splits
    )
    assert is_ == was


def test_the_artifact_keeps_the_rule(tmp_path: Path) -> None:
    """The examples name the columns that decide, whatever else the data has."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(SCHEMA)
    marks = []
    for name in ("a", "note"):
        text = f"fare,miles,company,{name}\n5.5,1,x,1\n"
        data = _write(tmp_path / f"data-{name}", {"1.csv": text})
        examples = _ingest(data, tmp_path / f"out-{name}", PARTS, schema)
        marks.append(examples.get_string_custom_property("split_fingerprint"))
        rule = json.loads(examples.get_string_custom_property("split_rule"))

        assert rule["hash_columns"] == ["company", "fare", "miles"]
        assert rule["kinds"] == {"company": "BYTES", "fare": "FLOAT", "miles": "INT"}

    assert marks[0] == marks[1]


@pytest.mark.parametrize(
    ("day", "eval_from", "test_from"),
    [
        (str, "7", "9"),
        (lambda n: f"2026-01-{n:02d}", "2026-01-07", "2026-01-09"),
        (lambda n: 86400 * (n - 1), "1970-01-07", "1970-01-09T00:00:00"),
    ],
)
def test_splits_by_time(
    ingest: IngestText, day: Callable[[int], object], eval_from: str, test_from: str
) -> None:
    """What is later is held out: eval from one time on, test from another."""
    text = "day,n\n" + "".join(f"{day(n)},{n}\n" for n in range(1, 11))

    splits = ingest(
        {"1.csv": text},
        PARTS,
        time_column="day",
        eval_from=eval_from,
        test_from=test_from,
    )

    assert {name: [row["n"][0] for row in rows] for name, rows in splits.items()} == {
        "train": [1, 2, 3, 4, 5, 6],
        "eval": [7, 8],
        "test": [9, 10],
    }


def test_a_row_without_a_time_has_no_split(tmp_path: Path) -> None:
    """It goes to quarantine, for a guess could teach the model the future."""
    text = "day,n\n2026-01-01,1\nsoon,2\n,3\n2026-03-01,4\n"
    data = _write(tmp_path / "data", {"1.csv": text})

    splits = _splits(
        _ingest(
            data,
            tmp_path / "out",
            PARTS,
            time_column="day",
            eval_from="2026-02-01",
            test_from="2026-03-01",
            max_quarantined=0.5,
        )
    )

    kept = {name: [row["n"][0] for row in rows] for name, rows in splits.items()}
    assert kept == {"train": [1], "eval": [], "test": [4]}
    rows = read_rows(tmp_path / "out-rejected")
    assert [(row["line"], row["column"]) for row in rows] == [(3, "day"), (4, "day")]


def test_spans_that_are_tested_on_have_no_test_split(tmp_path: Path) -> None:
    """A hash splits the rows into train and eval only: they are trained on later."""
    text = "n\n" + "".join(f"{n}\n" for n in range(60))
    data = _write(tmp_path / "data", {"1.csv": text})

    splits = _splits(_ingest(data, tmp_path / "out", PARTS, test_spans=2))

    assert list(splits) == ["train", "eval"]
    assert len(splits["train"]) > len(splits["eval"]) > 0
    assert sum(map(len, splits.values())) == 60


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the taxi sample."""
    return taxi.write_sample(tmp_path_factory.mktemp("sample") / "data").parent


def test_all_of_the_sample_is_in_splits(sample: Path, tmp_path: Path) -> None:
    """Under the reviewed schema all 15,002 trips are in splits, about 7 to 1 to 2."""
    splits = _splits(_ingest(sample, tmp_path / "out", PARTS, SCHEMA_PATH))

    shares = {name: len(rows) / 15_002 for name, rows in splits.items()}
    fares = sum(row["fare"][0] for rows in splits.values() for row in rows)
    with (sample / "taxi.csv").open() as file:
        expected = sum(float(row["fare"]) for row in csv.DictReader(file))
    assert sum(map(len, splits.values())) == 15_002
    assert shares == pytest.approx({"train": 0.7, "eval": 0.1, "test": 0.2}, abs=0.01)
    assert fares == pytest.approx(expected, rel=1e-6)


def test_the_sample_as_the_stock_component_reads_it(
    sample: Path, tmp_path: Path
) -> None:
    """All rows of the real sample are those that TFX's CsvExampleGen makes of it."""
    ours = _splits(_ingest(sample, tmp_path / "out"))["all"]

    (expected,) = _stock([sample])
    assert len(ours) == 15_002
    assert _counted(ours) == _counted(expected)


def test_many_files_are_noted_in_properties_that_any_store_takes(
    tmp_path: Path,
) -> None:
    """PostgreSQL rejects a text above 2,704 bytes, which 15 files' digests have."""
    files = {f"part-{n:03}.csv": f"fare\n{n}\n" for n in range(200)}
    data = _write(tmp_path / "data", files)

    examples = _ingest(data, tmp_path / "out")

    texts = {
        name: value.string_value
        for name, value in examples.mlmd_artifact.custom_properties.items()
    }
    noted = json.loads(properties.joined(texts)[properties.FILES])
    assert max(len(text.encode()) for text in texts.values()) <= properties.LONGEST
    assert [Path(each["path"]).name for each in noted] == sorted(files)
    assert len({each["sha256"] for each in noted}) == 200
