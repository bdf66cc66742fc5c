"""Where records begin and end, also where there is next to nothing between them."""

import tracemalloc

import pytest

from pipeline.ingestion.records import STRAY_RETURN, find_records

BLANK_BYTES = 4 << 20


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\n\r\n\n"])
def test_blank_lines_are_skipped_and_counted(blank: bytes) -> None:
    """Blank lines are no records, and the lines after them keep their numbers."""
    data = blank * 3 + b"a,1\n" + blank * 2 + b"b,2\n" + blank + b"c"
    lines = data.split(b"\n")

    found, consumed = find_records(data, 10, is_last=False)

    assert [found.text_of(n) for n in range(len(found))] == [b"a,1", b"b,2"]
    assert list(found.lines) == [
        10 + lines.index(a) for a in _as_in(lines, b"a,1", b"b,2")
    ]
    assert found.next_line == 10 + len(lines) - 1
    assert found.data == data[:consumed] == data[:-1]


def _as_in(lines: list[bytes], *texts: bytes) -> list[bytes]:
    return [next(line for line in lines if line.rstrip() == text) for text in texts]


def test_data_of_blank_lines_only() -> None:
    """Nothing but line ends is consumed as a whole, and has no record."""
    found, consumed = find_records(b"\n\r\n" * 5, 1, is_last=True)

    assert (len(found), consumed, found.next_line) == (0, 15, 11)


def test_a_stray_return_among_blank_lines_is_told() -> None:
    """A carriage return before another is no blank line."""
    found, _ = find_records(b"\n\r\r\n\na\n", 1, is_last=True)

    assert list(found.lines) == [2, 4]
    assert found.broken == {0: STRAY_RETURN}


def test_half_a_line_end_is_left_for_the_next_call() -> None:
    """A carriage return at the end may belong to a newline that is yet to be read."""
    found, consumed = find_records(b"\n\n\r", 1, is_last=False)

    assert (len(found), consumed, found.next_line) == (0, 2, 3)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n"])
def test_blank_lines_take_no_memory(blank: bytes) -> None:
    """A gzip of line ends unpacks to a thousand times its size."""
    data = blank * (BLANK_BYTES // len(blank))

    tracemalloc.start()
    found, _ = find_records(data, 1, is_last=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found) == 0
    assert peak < 4 * BLANK_BYTES
