"""The settings of a server: what is rejected before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from serving.settings import Batching, Limits, Log, Settings

OTHER = "192.0.2.1"


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Settings(host=OTHER), "host is 192.0.2.1, which other machines"),
        (lambda: Settings(port=70_000), "port is 70000; it must be 0 to 65,535"),
        (lambda: Settings(grpc_port=-1), "grpc-port is -1"),
        (lambda: Batching(wait_ms=3), "batching.wait-ms is 3; it must be 0 to 2"),
        (lambda: Batching(rows=0), "batching.rows is 0; it must be above 0"),
        (lambda: Limits(seconds=0), "limits.seconds is 0; it must be above 0"),
        (lambda: Log(sample=1.5), "log.sample is 1.5; it must be 0 to 1"),
        (lambda: Log(flush_seconds=float("nan")), "log.flush-seconds is nan"),
        (lambda: Log(keep_days=-1), "log.keep-days is -1; it must be above 0"),
    ],
)
def test_a_wrong_value_is_named(make: Callable[[], object], part: str) -> None:
    """The message has the flag, the value and what was expected."""
    with pytest.raises(UsageError) as found:
        make()

    assert part in str(found.value)


def test_an_open_address_needs_a_decision() -> None:
    """With tokens, or said to be insecure, other machines may connect."""
    assert Settings(host=OTHER, insecure=True).host == OTHER
    assert Settings(host=OTHER, token_file=Path("tokens")).host == OTHER
    assert Settings(host="::1", grpc_port=None).grpc_port is None
