"""Refusing CSV files that could not be ingested as they are meant."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from data.taxi import lay_out
from pipeline.csv_check import check_csv_files
from pipeline.errors import DataRefusedError
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


def refusal(directory: Path, content: bytes) -> str:
    """Returns the message about a file of that content, its path shown as FILE."""
    file = directory / "trips.csv"
    file.write_bytes(content)
    with pytest.raises(DataRefusedError) as refused:
        check_csv_files([file], SCHEMA)
    return str(refused.value).replace(str(file), "FILE")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(GOOD, id="plain"),
        pytest.param(GOOD.rstrip(), id="no newline at the end"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(b"fare,hour,company\n,,\n", id="missing values"),
        pytest.param(b"fare,hour,company\n5,12,x\n", id="whole numbers in FLOAT"),
        pytest.param(b"fare,hour,company\n1e3,12,x\n-.5,0,x\n", id="other decimals"),
        pytest.param(b"fare,hour,company\n 5.5, 12,x\n", id="spaces around numbers"),
        pytest.param(b'"fare","hour","company"\n"5","1","x"\n', id="quoted fields"),
        pytest.param(b'fare,hour,company\n5,1,"Blue, Cab"\n', id="comma in quotes"),
        pytest.param(b'fare,hour,company\n5,1,"""Blue"" ""Cab"""\n', id="quotes"),
        pytest.param(b'fare,hour,company\n5,1,"Blue\nCab"\n', id="line end in quotes"),
        pytest.param("fare,hour,company\n5,1,Café €\n".encode(), id="UTF-8"),
        pytest.param(GOOD + b"\n\n", id="blank lines"),
        pytest.param(b"company,extra,hour,fare\nx,y,1,5\n", id="order, other columns"),
    ],
)
def test_good_files_pass(tmp_path: Path, content: bytes) -> None:
    """What can be ingested as it is meant is not refused."""
    file = tmp_path / "trips.csv"
    file.write_bytes(content)

    check_csv_files([file], SCHEMA)


def test_the_sample_passes(tmp_path: Path) -> None:
    """The taxi sample keeps to the reviewed schema."""
    reviewed = text_format.Parse(SCHEMA_PATH.read_text(), schema_pb2.Schema())
    sample = lay_out(tmp_path)

    check_csv_files([sample], reviewed)


def test_no_file_is_refused() -> None:
    """An empty directory is an error, not an empty data set."""
    with pytest.raises(DataRefusedError) as refused:
        check_csv_files([], SCHEMA)

    assert str(refused.value) == (
        "there is no CSV file to read; put at least one, with a header line, there"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A file that can't be opened ends in a sentence too."""
    with pytest.raises(DataRefusedError) as refused:
        check_csv_files([tmp_path / "gone.csv"], SCHEMA)

    assert str(refused.value) == (
        f"{tmp_path / 'gone.csv'} cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"",
            "FILE is empty; write a header and rows into it, or remove it",
            id="empty",
        ),
        pytest.param(
            b"\nfare,hour,company\n5.5,12,x\n",
            "FILE, line 1: nothing, where the column names belong; add the header",
            id="blank first line",
        ),
        pytest.param(
            b"fare,hour,company\n",
            "FILE has a header and no rows; add rows, or remove the file",
            id="header only",
        ),
        pytest.param(
            b"fare,hour,company",
            "FILE has a header and no rows; add rows, or remove the file",
            id="header only, no newline",
        ),
        pytest.param(
            b"\xef\xbb\xbf" + GOOD,
            "FILE begins with a byte order mark, which readers take for a part of the "
            "first column's name; strip it with: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE",
            id="byte order mark",
        ),
        pytest.param(
            GOOD.decode().encode("utf-16"),
            "FILE is UTF-16, and only UTF-8 is read; "
            "convert it with: iconv -f UTF-16 -t UTF-8 FILE",
            id="UTF-16",
        ),
        pytest.param(
            GOOD.decode().encode("utf-16-le"),
            "FILE is UTF-16, and only UTF-8 is read; "
            "convert it with: iconv -f UTF-16 -t UTF-8 FILE",
            id="UTF-16 without a mark",
        ),
        pytest.param(
            GOOD + b"5.5,12,Caf\xe9\n",
            "FILE, line 3: the byte at offset 44 is not UTF-8; save the file as UTF-8",
            id="Latin-1",
        ),
        pytest.param(
            GOOD + b"5.5,12,Caf\xc3",
            "FILE, line 3: the byte at offset 44 is not UTF-8; save the file as UTF-8",
            id="cut in a character",
        ),
        pytest.param(
            GOOD + b"5.5,12,Bl\0ue\n",
            "FILE, line 3: a NUL byte at offset 43, which no text has; "
            "export the file again",
            id="NUL",
        ),
        pytest.param(
            b"hello world\nfoo\n",
            "FILE, line 1: none of the schema's columns; it must hold the column "
            "names: 'fare', 'hour', 'company'",
            id="no header",
        ),
        pytest.param(
            b"hour,company\n12,x\n",
            "FILE, line 1: column 'fare' missing, which the schema expects; "
            "add what is missing, or change the schema",
            id="missing column",
        ),
        pytest.param(
            b"Fare,hour,company\n5,12,x\n",
            "FILE, line 1: column 'fare' missing, which the schema expects (the header "
            "has 'Fare'); add what is missing, or change the schema",
            id="misspelled column",
        ),
        pytest.param(
            b"fare,hour,company,fare\n5,12,x,6\n",
            "FILE, line 1: column 'fare' is there 2 times; rename or remove",
            id="repeated column",
        ),
        pytest.param(
            b",fare,hour,company\n0,5,12,x\n",
            "FILE, line 1: column 1 of 4 has no name; name it, or remove it (pandas "
            "writes its index so, unless told index=False)",
            id="unnamed column",
        ),
        pytest.param(
            GOOD + b"5.5,12\n",
            "FILE, line 3: 2 fields where the header has 3; add the missing commas",
            id="too few fields",
        ),
        pytest.param(
            GOOD + b"5.5,12,Blue, Cab\n",
            "FILE, line 3: 4 fields where the header has 3; "
            "put a field that holds a comma in quotes",
            id="too many fields",
        ),
        pytest.param(
            GOOD + b"twelve,12,x\n",
            "FILE, line 3, column 'fare': 'twelve' is not a number; "
            "correct it, or leave the field empty",
            id="text in FLOAT",
        ),
        pytest.param(
            GOOD + b"nan,12,x\n",
            "FILE, line 3, column 'fare': 'nan' is not a number; "
            "correct it, or leave the field empty",
            id="nan",
        ),
        pytest.param(
            GOOD + b"-inf,12,x\n",
            "FILE, line 3, column 'fare': '-inf' is not finite; "
            "correct it, or leave the field empty",
            id="inf",
        ),
        pytest.param(
            GOOD + b"1e39,12,x\n",
            "FILE, line 3, column 'fare': '1e39' is not finite; "
            "correct it, or leave the field empty",
            id="more than a float32 holds",
        ),
        pytest.param(
            GOOD + b"5.5,noon,x\n",
            "FILE, line 3, column 'hour': 'noon' is not a whole number; "
            "correct it, or leave the field empty",
            id="text in INT",
        ),
        pytest.param(
            GOOD + b"5.5,12.0,x\n",
            "FILE, line 3, column 'hour': '12.0' is not written as a whole number; "
            "write 12 (pandas: astype('Int64') before to_csv)",
            id="whole number as a decimal",
        ),
        pytest.param(
            GOOD + b"5.5,99999999999999999999,x\n",
            "FILE, line 3, column 'hour': '99999999999999999999' is not a whole "
            "number; correct it, or leave the field empty",
            id="more than an int64 holds",
        ),
        pytest.param(
            GOOD + b"5.5,12,x" + b"y" * 60 + b"\n" + b"z" * 60 + b",12,x\n",
            f"FILE, line 4, column 'fare': '{'z' * 39}…' is not a number; "
            "correct it, or leave the field empty",
            id="long value",
        ),
        pytest.param(
            GOOD + b'5.5,12,"Blue Cab\n5.5,12,x\n',
            "FILE, line 3: a quote is opened and never closed; "
            "close it, or double it if it belongs to the text",
            id="quote never closed",
        ),
        pytest.param(
            GOOD + b'5.5,12,Blue" Cab\n5.5,12,Joe"s\n',
            "FILE, line 3: a quote in the middle of a field; "
            "put the whole field in quotes and double the quotes inside it",
            id="quotes inside plain fields",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Each kind of damage has a sentence with its place and what to do."""
    refused = refusal(tmp_path, content)

    assert refused == message


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    """Line ends inside quotes and blank lines count, so that the number is findable."""
    content = GOOD + b'5.5,12,"Blue\n\nCab"\n\n5.5,12,x\nbad,12,x\n'

    refused = refusal(tmp_path, content)

    assert refused.startswith("FILE, line 8, column 'fare': 'bad' is not a number")


def test_trouble_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    """Reading in blocks loses neither rows nor the count of lines."""
    content = GOOD + b"5.5,12,Blue Cab\n" * 200_000 + b"5.5,12,Caf\xe9\n"

    refused = refusal(tmp_path, content)

    assert refused == (
        "FILE, line 200003: the byte at offset 3,200,044 is not UTF-8; "
        "save the file as UTF-8"
    )


def test_a_bad_number_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    """The line is right though Arrow only knows the block."""
    content = GOOD + b"5.5,12,Blue Cab\n" * 200_000 + b"5.5,1 2,x\n"

    refused = refusal(tmp_path, content)

    assert refused == (
        "FILE, line 200003, column 'hour': '1 2' is not a whole number; "
        "correct it, or leave the field empty"
    )


def test_a_character_on_the_border_of_two_blocks_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A character of several bytes may be split between two blocks."""
    monkeypatch.setattr("pipeline.csv_check._BLOCK_BYTES", 64)
    file = tmp_path / "trips.csv"
    file.write_bytes(b"fare,hour,company\n" + "5.5,12,é€é€é\n".encode() * 40)

    check_csv_files([file], SCHEMA)


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
        check_csv_files([first, second], SCHEMA)

    assert str(refused.value) == (
        f"{second}, line 1: not the header of {first}: {difference}; "
        "give all files the same header"
    )


def test_without_a_schema_only_the_form_is_checked(tmp_path: Path) -> None:
    """Any columns and any values pass without a schema, but not any form."""
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(b"a,b\nx,y\n")
    bad.write_bytes(b"a,b\nx\n")

    check_csv_files([good])
    with pytest.raises(DataRefusedError) as refused:
        check_csv_files([bad])

    assert str(refused.value) == (
        f"{bad}, line 2: 1 field where the header has 2; add the missing commas"
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

    check_csv_files([enough], schema)
    with pytest.raises(DataRefusedError, match=r"column 'tips' missing"):
        check_csv_files([lacking], schema)
