"""Bad files are refused in a sentence; bad rows are set aside, and all are counted."""

import codecs
import gzip
import json
import random
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from google.protobuf import text_format
from pyarrow import parquet
from tensorflow_metadata.proto.v0 import schema_pb2

from data.taxi import write_sample
from pipeline.errors import DataRefusedError
from pipeline.ingestion import (
    columns,
    plan,
    quarantine,
    reading,
    source,
    writing,
)
from pipeline.ingestion.quarantine import Tally
from pipeline.ingestion.splitting import SplitRule
from schema import SCHEMA_PATH

SCHEMA = text_format.Parse(
    """
    feature { name: "fare" type: FLOAT }
    feature { name: "hour" type: INT }
    feature { name: "company" type: BYTES }
    """,
    schema_pb2.Schema(),
)
GOOD = b"fare,hour,company\n5.5,12,Blue Cab\n"
ADVICE = "correct it, or leave the field empty"
STRAY = (
    "a quote in the middle of a field; put the whole field in quotes and double the "
    "quotes inside it"
)
OPEN = (
    "a quote is opened and never closed; close it, or double it if it belongs to the "
    "text"
)


def ingest(
    files: Sequence[Path],
    out: Path,
    schema: schema_pb2.Schema = SCHEMA,
    encoding: str = "utf-8",
) -> tuple[Tally, list[dict[str, object]]]:
    """Ingests files; returns the counts and what was set aside."""
    sources = [source.look_at(file, encoding) for file in files]
    source.check_headers(sources, schema)
    shards = plan.divide(sources)
    rule = SplitRule({"train": 7, "eval": 1, "test": 2})
    directories = {name: out / name for name in rule.names}
    job = writing.Job(rule, directories, out / "rejected", len(shards))
    kinds = columns.kinds_of_schema(schema)
    for numbered in enumerate(shards):
        writing.write_shard(numbered, kinds, job)
    tally = writing.added_up(job)
    return tally, list(quarantine.read_rows(job.quarantine))


def refusal(directory: Path, content: bytes, name: str = "trips.csv") -> str:
    """Returns the message about a file of that content, its path shown as FILE."""
    file = directory / name
    file.write_bytes(content)
    with pytest.raises(DataRefusedError) as refused:
        ingest([file], directory / "out")
    return str(refused.value).replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "trips.csv",
            b"",
            "FILE is empty; write a header and rows into it, or remove it",
            id="empty",
        ),
        pytest.param(
            "trips.csv",
            b"\nfare,hour,company\n5.5,12,x\n",
            "FILE, line 1: nothing, where the column names belong; add the header",
            id="blank first line",
        ),
        pytest.param(
            "trips.csv",
            codecs.BOM_UTF8,
            "FILE, line 1: nothing, where the column names belong; add the header",
            id="a byte order mark alone",
        ),
        pytest.param(
            "trips.csv",
            GOOD.decode().encode("utf-16"),
            "FILE is UTF-16; give --encoding utf-16, or convert it with: "
            "iconv -f UTF-16 -t UTF-8 FILE",
            id="UTF-16",
        ),
        pytest.param(
            "trips.csv",
            GOOD.decode().encode("utf-16-le"),
            "FILE is UTF-16-LE; give --encoding utf-16-le, or convert it with: "
            "iconv -f UTF-16-LE -t UTF-8 FILE",
            id="UTF-16 without a mark",
        ),
        pytest.param(
            "trips.csv",
            GOOD.decode().encode("utf-32"),
            "FILE is UTF-32; give --encoding utf-32, or convert it with: "
            "iconv -f UTF-32 -t UTF-8 FILE",
            id="UTF-32",
        ),
        pytest.param(
            "trips.csv",
            b"fare,hour,compa\xf1y\n5,12,x\n",
            "FILE, line 1: the byte at offset 15 is not UTF-8; save the file as UTF-8, "
            "or give its --encoding",
            id="header not of the encoding",
        ),
        pytest.param(
            "trips.csv",
            b"fare,ho\0ur,company\n5,12,x\n",
            "FILE, line 1: a NUL byte at offset 7, which no text has; export the file "
            "again",
            id="NUL in the header",
        ),
        pytest.param(
            "trips.csv",
            b'fare,"hour,company\n5,12,x\n',
            f"FILE, line 1: {OPEN}",
            id="quote in the header never closed",
        ),
        pytest.param(
            "trips.csv",
            b"fare,hour,company\r5.5,12,x\r",
            "FILE, line 1: a carriage return in the middle of the line; put the field "
            "in quotes",
            id="lines end with carriage returns",
        ),
        pytest.param(
            "trips.csv",
            b"hello world\nfoo\n",
            "FILE, line 1: none of the schema's columns; it must hold the column "
            "names: 'fare', 'hour', 'company'",
            id="no header",
        ),
        pytest.param(
            "trips.csv",
            b"hour,company\n12,x\n",
            "FILE, line 1: column 'fare' missing, which the schema expects; "
            "add what is missing, or change the schema",
            id="missing column",
        ),
        pytest.param(
            "trips.csv",
            b"Fare,hour,company\n5,12,x\n",
            "FILE, line 1: column 'fare' missing, which the schema expects (the header "
            "has 'Fare'); add what is missing, or change the schema",
            id="misspelled column",
        ),
        pytest.param(
            "trips.csv",
            b"fare,hour,company,fare\n5,12,x,6\n",
            "FILE, line 1: column 'fare' is there 2 times; rename or remove",
            id="repeated column",
        ),
        pytest.param(
            "trips.csv",
            b",fare,hour,company\n0,5,12,x\n",
            "FILE, line 1: column 1 of 4 has no name; name it, or remove it (pandas "
            "writes its index so, unless told index=False)",
            id="unnamed column",
        ),
        pytest.param(
            "trips.csv",
            GOOD + b"x" * ((1 << 20) + 1),
            "FILE: line 3 is longer than 1,048,576 bytes; is it a CSV file?",
            id="endless line",
        ),
        pytest.param(
            "trips.csv",
            gzip.compress(GOOD),
            "FILE is gzipped; rename it to trips.csv.gz",
            id="gzip by another name",
        ),
        pytest.param(
            "trips.csv",
            b"PAR1" + GOOD,
            "FILE is a Parquet file; rename it to trips.parquet",
            id="Parquet by another name",
        ),
        pytest.param(
            "trips.csv.gz",
            GOOD,
            "FILE is not gzipped; rename it, or gzip it",
            id="not gzipped",
        ),
        pytest.param(
            "trips.csv.gz",
            gzip.compress(GOOD + random.Random(1).randbytes(9000))[:-3000],  # noqa: S311 - no secret
            "FILE ends before its gzip does: it was cut short; copy or export it again",
            id="truncated gzip",
        ),
        pytest.param(
            "trips.csv.gz",
            gzip.compress(GOOD)[:-8] + b"\0" * 8,
            f"FILE is damaged: CRC check failed 0x0 != {zlib.crc32(GOOD):#x}; copy or "
            "export it again",
            id="damaged gzip",
        ),
        pytest.param(
            "trips.csv",
            b'fare,"ho,ur",' + b"x" * 131_073 + b"\n5,12,x\n",
            "FILE, line 1, column 3: a name of more than 131,072 characters; shorten "
            "it, or is it a CSV file?",
            id="endless column name",
        ),
        pytest.param(
            "trips.notes",
            GOOD,
            "FILE is none of .csv, .csv.gz, .parquet by its name; rename it, move it "
            "out of the data directory, or choose files with --pattern",
            id="unknown kind",
        ),
    ],
)
def test_bad_files_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """Each kind of trouble with a whole file has a sentence, and what to do."""
    assert refusal(tmp_path, content, name) == message


@pytest.mark.parametrize("content", [b"", GOOD], ids=["empty", "text"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is named, and what to do."""
    said = refusal(tmp_path, content, "trips.parquet")

    what = "is not a Parquet file" if content else "is empty"
    assert said.startswith(f"FILE {what}; export it again, or remove it (")


@pytest.mark.parametrize("value", [[[1.0, 2.0]], {"net": 1.0}], ids=["lists", "struct"])
def test_nested_parquet_is_refused(tmp_path: Path, value: object) -> None:
    """A column of structs, or of lists of lists, is named with its type."""
    file = tmp_path / "trips.parquet"
    parquet.write_table(pa.table({"fare": [value]}), file)

    with pytest.raises(DataRefusedError, match=r"column 'fare': .* is nested"):
        source.look_at(file)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        pytest.param(
            b"5.5,12",
            None,
            "2 fields where the header has 3; add the missing commas",
            id="too few fields",
        ),
        pytest.param(
            b"5.5",
            None,
            "1 field where the header has 3; add the missing commas",
            id="one field",
        ),
        pytest.param(
            b"5.5,12,Blue, Cab",
            None,
            "4 fields where the header has 3; put a field that holds a comma in quotes",
            id="too many fields",
        ),
        pytest.param(
            b"5.5,12,Caf\xe9",
            None,
            "the byte 0xE9 at offset 10 of the row is not UTF-8; fix it, or give the "
            "file's --encoding",
            id="Latin-1",
        ),
        pytest.param(
            b"5.5,12,\xed\xa0\x80",
            None,
            "the byte 0xED at offset 7 of the row is not UTF-8; fix it, or give the "
            "file's --encoding",
            id="half a surrogate pair",
        ),
        pytest.param(
            b"5.5,12,Bl\0ue",
            None,
            "a NUL byte, which no text has; export the file again",
            id="NUL",
        ),
        pytest.param(
            b"5.5,12,x\ry",
            None,
            "a carriage return in the middle of the line; put the field in quotes",
            id="carriage return",
        ),
        pytest.param(b'5.5,12,"Blue Cab', None, OPEN, id="quote never closed"),
        pytest.param(b'5.5,12,Blue" Cab', None, STRAY, id="quote in a plain field"),
        pytest.param(b'5.5,12,Joe"s "Cab"', None, STRAY, id="three quotes"),
        pytest.param(b'5.5,12,"he "said" so"', None, STRAY, id="quotes not doubled"),
        pytest.param(b'5.5,12, "x"', None, STRAY, id="quote after a space"),
        pytest.param(b'5.5,12,"x" ', None, STRAY, id="space after a quote"),
        pytest.param(
            b"twelve,12,x",
            "fare",
            f"'twelve' is not a number; {ADVICE}",
            id="text in FLOAT",
        ),
        pytest.param(b"nan,12,x", "fare", f"'nan' is not a number; {ADVICE}", id="nan"),
        pytest.param(
            b"-inf,12,x", "fare", f"'-inf' is not finite; {ADVICE}", id="infinity"
        ),
        pytest.param(
            b"1e39,12,x",
            "fare",
            f"'1e39' is not finite; {ADVICE}",
            id="more than a float32 holds",
        ),
        pytest.param(
            b'"1,5",12,x',
            "fare",
            f"'1,5' is not a number; {ADVICE}",
            id="decimal comma",
        ),
        pytest.param(
            b"$5,12,x", "fare", f"'$5' is not a number; {ADVICE}", id="currency"
        ),
        pytest.param(b" ,12,x", "fare", f"' ' is not a number; {ADVICE}", id="a space"),
        pytest.param(
            b"5.5,noon,x",
            "hour",
            f"'noon' is not a whole number; {ADVICE}",
            id="text in INT",
        ),
        pytest.param(
            b"5.5,12.0,x",
            "hour",
            "'12.0' is not written as a whole number; write 12 (pandas: "
            "astype('Int64') before to_csv)",
            id="whole number as a decimal",
        ),
        pytest.param(
            b"5.5,12.5,x",
            "hour",
            f"'12.5' is not a whole number; {ADVICE}",
            id="half an hour",
        ),
        pytest.param(
            b"5.5,99999999999999999999,x",
            "hour",
            f"'99999999999999999999' is not a whole number; {ADVICE}",
            id="more than an int64 holds",
        ),
        pytest.param(
            b"5.5,0x10,x",
            "hour",
            f"'0x10' is not a whole number; {ADVICE}",
            id="hexadecimal",
        ),
        pytest.param(
            b"5.5,0X1F,0x1F",
            "hour",
            f"'0X1F' is not a whole number; {ADVICE}",
            id="hexadecimal in capitals",
        ),
        pytest.param(
            b"5.5,1_000,x",
            "hour",
            f"'1_000' is not a whole number; {ADVICE}",
            id="underscore",
        ),
        pytest.param(
            b"5.5,+5,x", "hour", f"'+5' is not a whole number; {ADVICE}", id="plus"
        ),
        pytest.param(
            "5.5,٣,x".encode(),
            "hour",
            f"'٣' is not a whole number; {ADVICE}",
            id="digit of another script",
        ),
        pytest.param(
            b"5.5,1 2,x", "hour", f"'1 2' is not a whole number; {ADVICE}", id="inside"
        ),
        pytest.param(
            b"5.5,1e3,x", "hour", f"'1e3' is not a whole number; {ADVICE}", id="power"
        ),
        pytest.param(
            b"z" * 60 + b",12,x",
            "fare",
            f"'{'z' * 39}…' is not a number; {ADVICE}",
            id="long value",
        ),
    ],
)
@pytest.mark.parametrize("block", [64, 4 << 20])
def test_bad_rows_are_set_aside(  # noqa: PLR0917 - pytest's parameters
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: bytes,
    column: str | None,
    reason: str,
    block: int,
) -> None:
    """Each is kept with place and reason; the rows around it are not lost."""
    monkeypatch.setattr(source, "BLOCK_BYTES", block)
    file = tmp_path / "trips.csv"
    after = b'6.5,13,"Red,\nCab"\n\n7.5,14,y\n'
    file.write_bytes(GOOD + row + b"\n" + after)

    tally, rows = ingest([file], tmp_path / "out")

    assert tally.written.total() == 3
    assert tally.rows == 4
    (rejected,) = rows
    assert rejected["file"] == str(file)
    assert rejected["line"] == 3
    assert rejected["column"] == column
    assert rejected["reason"] == reason
    assert rejected["text"] == row.decode("utf-8", "backslashreplace")
    assert tally.reasons.total() == 1


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    """Line ends inside quotes and blank lines count, so that the number is findable."""
    file = tmp_path / "trips.csv"
    file.write_bytes(GOOD + b'5.5,12,"Blue\n\nCab"\n\n5.5,12,x\nbad,12,x\n')

    _, rows = ingest([file], tmp_path / "out")

    assert [row["line"] for row in rows] == [8]


def test_bytes_of_no_encoding_are_kept(tmp_path: Path) -> None:
    """What is not UTF-8 is also there as it was, in base64."""
    file = tmp_path / "trips.csv"
    file.write_bytes(GOOD + b"5.5,12,Caf\xe9\n")

    _, (row,) = ingest([file], tmp_path / "out")

    assert row["base64"] == "NS41LDEyLENhZuk="
    assert row["text"] == "5.5,12,Caf\\xe9"


def test_text_cut_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Half a character at the end of UTF-16 is told."""
    file = tmp_path / "trips.csv"
    file.write_bytes(GOOD.decode().encode("utf-16")[:-1])

    with pytest.raises(DataRefusedError, match=r"is not utf-16: .*truncated data"):
        ingest([file], tmp_path / "out", encoding="utf-16")


def test_parquet_rows_are_set_aside(tmp_path: Path) -> None:
    """They are named by row, and kept as JSON."""
    file = tmp_path / "trips.parquet"
    table = pa.table(
        {
            "fare": ["1.5", "2", "x", None],
            "hour": pa.array([1, 2.5, 3, 4], pa.float64()),
            "company": pa.array(["a", "b", "c", "d"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, file, row_group_size=2)

    tally, rows = ingest([file], tmp_path / "out")

    assert (tally.rows, tally.written.total()) == (4, 2)
    assert [(row["line"], row["column"], row["reason"]) for row in rows] == [
        (2, "hour", f"2.5 is not a whole number; {ADVICE}"),
        (3, "fare", f"'x' is not a number; {ADVICE}"),
    ]
    assert json.loads(str(rows[0]["text"])) == {
        "fare": "2",
        "hour": 2.5,
        "company": "b",
    }


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (pa.array([None, date(2026, 1, 31)]), "'2026-01-31'"),
        (pa.array([None, b"\xff"]), r"'\\xff'"),
        (pa.array([None, b"\xff"], pa.binary(1)), r"'\\xff'"),
        (pa.array([None, 2**64 - 1], pa.uint64()), "18446744073709551615"),
    ],
    ids=["dates", "bytes", "bytes of one length", "too large"],
)
def test_parquet_of_another_type_is_set_aside(
    tmp_path: Path, hours: pa.Array, shown: str
) -> None:
    """Values that can't be what the schema says are told, whatever Parquet has them."""
    file = tmp_path / "trips.parquet"
    whole = {"fare": pa.nulls(2), "hour": hours, "company": pa.array([b"a", b"\xff"])}
    parquet.write_table(pa.table(whole), file)

    tally, (row,) = ingest([file], tmp_path / "out")

    assert (tally.rows, tally.written.total()) == (2, 1)
    assert row["line"] == 2
    assert row["reason"] == f"{shown} is not a whole number; {ADVICE}"


def test_codes_in_hexadecimal_are_read_as_texts(tmp_path: Path) -> None:
    """They cost their stretch nothing but time: its whole numbers are read as ever."""
    file = tmp_path / "trips.csv"
    file.write_bytes(GOOD + b"6.5,13,0x1F\n,,0X1F\n7.5, 14,x\n")

    tally, rows = ingest([file], tmp_path / "out")

    assert (tally.rows, tally.written.total(), rows) == (4, 4, [])


def test_parquet_texts_in_hexadecimal_are_set_aside(tmp_path: Path) -> None:
    """A text of Parquet is a whole number or none as one of CSV is."""
    file = tmp_path / "trips.parquet"
    columns_ = {"fare": [1.5, 2.5], "hour": ["16", "0x10"], "company": ["a", "0x10"]}
    parquet.write_table(pa.table(columns_), file)

    _, (row,) = ingest([file], tmp_path / "out")

    assert (row["line"], row["reason"]) == (
        2,
        f"'0x10' is not a whole number; {ADVICE}",
    )


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            pa.array([5], pa.duration("us")),
            "duration[us] is neither text nor number, date or time; export it as one",
        ),
        (
            pa.array([b"x" * 16], pa.uuid()),
            "extension<arrow.uuid> is neither text nor number, date or time; export",
        ),
        (
            pa.array([1], pa.bool8()),
            "extension<arrow.bool8> is neither text nor number, date or time; export",
        ),
        (
            pa.array([0], pa.timestamp("us", "Mars/Olympus")),
            (
                "timestamp[us, tz=Mars/Olympus] has the unknown time zone "
                "'Mars/Olympus'; export it in UTC, or leave it out"
            ),
        ),
    ],
    ids=["duration", "UUID", "extension type", "unknown time zone"],
)
def test_parquet_types_without_a_meaning_are_refused(
    tmp_path: Path, column: pa.Array, said: str
) -> None:
    """They are named with file, column and type before anything is written."""
    file = tmp_path / "trips.parquet"
    parquet.write_table(pa.table({"fare": column}), file)

    with pytest.raises(DataRefusedError) as refused:
        source.look_at(file)

    assert str(refused.value).startswith(f"{file}, column 'fare': {said}")


NO_DATE = "is not a date of the years 1 to 9999"


@pytest.mark.parametrize(
    ("column", "texts", "reason"),
    [
        (
            pa.array([0, 1], pa.timestamp("us", "+02:00")),
            [b"1970-01-01 00:00:00.000000Z", b"1970-01-01 00:00:00.000001Z"],
            "",
        ),
        (
            pa.array([0, 1], pa.timestamp("ns")),
            [b"1970-01-01 00:00:00.000000000", b"1970-01-01 00:00:00.000000001"],
            "",
        ),
        (
            pa.array([0, 2**62], pa.timestamp("ms", "UTC")),
            [b"1970-01-01 00:00:00.000Z"],
            f"{2**62} {NO_DATE}",
        ),
        (
            pa.array([0, 2**31 - 1], pa.date32()),
            [b"1970-01-01"],
            f"{2**31 - 1} {NO_DATE}",
        ),
        (
            pa.array([0, 86_400_000], pa.time32("ms")),
            [b"00:00:00.000"],
            "86400000 is not a time of a day",
        ),
        (pa.array([1.5, 2.0]).cast(pa.float16()), [b"1.5", b"2"], ""),
    ],
    ids=["offset", "nanoseconds", "far date and time", "far date", "far time", "half"],
)
def test_dates_and_times_of_parquet_become_texts(
    column: pa.Array, texts: list[bytes], reason: str
) -> None:
    """Those that no calendar has are set aside, and none ends in an internal error."""
    batch = pa.record_batch({"company": column})

    rows = reading.read_table("trips.parquet", batch, 1, {"company": "BYTES"})

    assert rows.batch.column(0).to_pylist() == texts
    assert [r.reason.partition(";")[0] for r in rows.rejected] == list(
        filter(None, [reason])
    )
    assert [r.line for r in rows.rejected] == ([2] if reason else [])


def test_parquet_texts_that_are_not_utf_8_are_set_aside(tmp_path: Path) -> None:
    """Arrow doesn't check what a file calls text; where a number should be, we do."""
    file = tmp_path / "trips.parquet"
    wrong = pa.array([b"\xff"]).buffers()
    hours = pa.Array.from_buffers(pa.string(), 1, wrong)
    parquet.write_table(
        pa.table({"fare": [1.5], "hour": hours, "company": ["a"]}), file
    )

    _, (row,) = ingest([file], tmp_path / "out")

    assert row["reason"] == rf"'\\xff' is not a whole number; {ADVICE}"


@pytest.mark.parametrize("name", ["trips.csv", "trips.csv.gz", "trips.parquet"])
def test_a_file_that_is_removed_while_it_is_read_is_named(
    tmp_path: Path, name: str
) -> None:
    """Between a look at the file and its reading, it can go."""
    file = tmp_path / name
    if name.endswith(".parquet"):
        parquet.write_table(
            pa.table({"fare": [1.5], "hour": [1], "company": ["a"]}), file
        )
    else:
        file.write_bytes(gzip.compress(GOOD) if name.endswith(".gz") else GOOD)
    found = source.look_at(file)
    (pieces,) = plan.divide([found])
    rule = SplitRule({"all": 1})
    job = writing.Job(rule, {"all": tmp_path / "all"}, tmp_path / "rejected", 1)
    kinds = columns.kinds_of_schema(SCHEMA)
    file.unlink()

    writing.write_shard((0, pieces), kinds, job)

    said = f"{file} was removed while it was being read; put it back, or run again"
    with pytest.raises(DataRefusedError) as refused:
        writing.added_up(job)
    assert str(refused.value) == said
    with pytest.raises(DataRefusedError) as refused:
        plan.divide([found])
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.nulls(2), "INT"),
        (pa.array([date(2026, 1, 31)]), "BYTES"),
        (pa.array([b"1", b"\xff"]), "BYTES"),
        (pa.array([b"12"], pa.binary(2)), "INT"),
        (pa.array([1.5]), "FLOAT"),
        (pa.array([True]), "INT"),
    ],
    ids=str,
)
def test_types_of_parquet_without_a_schema(column: pa.Array, kind: str) -> None:
    """Each of Parquet's types has one of the three that a tf.Example knows."""
    assert columns.narrowest(column) == kind


@pytest.mark.parametrize(
    ("header", "difference"),
    [
        pytest.param(b"fare,hour,company,a", "column 'b' missing", id="missing column"),
        pytest.param(
            b"fare,hour,company,a,b,c", "column 'c' additional", id="additional column"
        ),
        pytest.param(
            b"hour,fare,company,a,b",
            "the same columns in another order",
            id="another order",
        ),
    ],
)
def test_headers_that_differ_are_refused(
    tmp_path: Path, header: bytes, difference: str
) -> None:
    """Files that are ingested together have the same header."""
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_bytes(b"fare,hour,company,a,b\n1,2,3,4,5\n")
    second.write_bytes(header + b"\n" + b",".join([b"1"] * (1 + header.count(b","))))

    with pytest.raises(DataRefusedError) as refused:
        ingest([first, second], tmp_path / "out")

    assert str(refused.value) == (
        f"{second}, line 1: not the header of {first}: {difference}; "
        "give all files the same header"
    )


def test_only_columns_of_training_are_expected(tmp_path: Path) -> None:
    """A header may lack what the schema has only for serving or has given up."""
    schema = text_format.Parse(
        """
        default_environment: "TRAINING"
        default_environment: "SERVING"
        feature { name: "fare" type: FLOAT }
        feature { name: "tips" type: FLOAT not_in_environment: "SERVING" }
        feature { name: "request" type: BYTES not_in_environment: "TRAINING" }
        feature { name: "old" type: BYTES lifecycle_stage: DEPRECATED }
        """,
        schema_pb2.Schema(),
    )
    enough, lacking = tmp_path / "enough.csv", tmp_path / "lacking.csv"
    enough.write_bytes(b"fare,tips\n5,1\n")
    lacking.write_bytes(b"fare\n5\n")

    ingest([enough], tmp_path / "out", schema)
    with pytest.raises(DataRefusedError, match=r"column 'tips' missing"):
        ingest([lacking], tmp_path / "out", schema)


FIELDS = ["5.5", "12", "x", "", "é", '"a,b"', '"a\nb"', '"""q"""', "nan", "-1", "1e3"]
DAMAGE = ['"', '""', ",", "\n", "\r", "\r\n", "\0", "\udce9", '",', '"\n', "\n\n"]


def bad_file(seed: int) -> bytes:
    """Writes a file of random rows, with damage in random places."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    lines = [
        ",".join(chance.choices(FIELDS, k=chance.choice([3] * 9 + [2, 4])))
        for _ in range(chance.randint(1, 60))
    ]
    text = "".join(line + chance.choice(["\n"] * 9 + ["\r\n"]) for line in lines)
    for _ in range(chance.randint(0, 8)):
        at = chance.randint(0, len(text))
        text = text[:at] + chance.choice(DAMAGE) + text[at:]
    header = chance.choice(["", "\ufeff"]) + "fare,hour,company\n"
    end = chance.choice(["", "\n"])
    return (header + text + end).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("seed", range(150))
def test_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Rows read are rows written and rows set aside, in whatever pieces they are read.

    And every byte of the file is in a row, in a blank line or in the header.
    """
    file = tmp_path / "trips.csv"
    content = bad_file(seed)
    file.write_bytes(content)
    whole, rejected = ingest([file], tmp_path / "whole")
    monkeypatch.setattr(source, "BLOCK_BYTES", 1 + seed % 50)

    parted, rejected_in_parts = ingest([file], tmp_path / "parted")

    assert whole.rows == whole.written.total() + whole.quarantined.total()
    assert vars(parted) == vars(whole)
    assert rejected_in_parts == rejected
    assert len(rejected) == whole.quarantined.total()
    found = source.look_at(file)
    pieces = [p for shard in plan.divide([found]) for p in shard]
    stretches = [s for piece in pieces for s in plan.stretches(piece)]
    start = found.start + (3 if found.has_mark else 0)
    assert b"".join(s.data for s in stretches) == content[start:]
    for s in stretches:
        kept = set().union(
            *(range(a, b) for a, b in zip(s.starts, s.ends, strict=True))
        )
        assert not {byte for at, byte in enumerate(s.data) if at not in kept} - set(
            b"\r\n"
        )


def test_a_quote_left_open_takes_no_other_row_along(tmp_path: Path) -> None:
    """In a file of quoted values, the reader finds back at the next line."""
    good = '5.5,12,"Blue, Cab"\n' * 50_000
    file = tmp_path / "trips.csv"
    file.write_text(f'fare,hour,company\n{good}5.5,12,"Blue\n{good}5.5,12,Red"\n{good}')

    tally, rows = ingest([file], tmp_path / "out")

    assert tally.written.total() == 150_000
    assert [row["line"] for row in rows] == [50_002, 100_003]


def test_the_sample_fits(tmp_path: Path) -> None:
    """No row of the taxi sample is set aside."""
    schema = text_format.Parse(SCHEMA_PATH.read_text(), schema_pb2.Schema())

    tally, rows = ingest([write_sample(tmp_path / "data")], tmp_path / "out", schema)

    assert (tally.rows, rows) == (15_002, [])
