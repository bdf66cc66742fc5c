"""The look at a file before it is read."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.ingestion import source
from pipeline.ingestion.source import Source

WIDE = 2_000


class Counted(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_wide_headers_take_a_time_that_grows_with_their_width() -> None:
    """Each name is compared a few times, and not with every other."""
    names = [f"column_{n}" for n in range(WIDE)]
    schema = schema_pb2.Schema(feature=[schema_pb2.Feature(name=n) for n in names])
    found = Source(Path("a.csv"), "csv", source.UTF_8, tuple(map(Counted, names)))
    Counted.compared = 0

    source.check_headers([found], schema)

    assert Counted.compared < 5 * WIDE
