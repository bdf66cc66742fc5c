"""What `throughline operate --status` prints."""

from operations import status
from pipeline.config import Config
from tests.operations.ticks import Operated


def lines(operated: Operated) -> list[str]:
    """The status now."""
    return list(status.lines(operated.config, operated.settings, operated._time))


def test_status_has_state_next_and_decisions(config: Config) -> None:
    """Before, during and after; it changes nothing."""
    spanned = Config(
        output=config.output, data=config.data, pattern="span-{SPAN}/*.csv"
    )
    operated = Operated(spanned)
    operated.arrive(1)
    first = lines(operated)
    operated.put("code", "1")
    operated.tick(backoff_minutes=5)
    failed = lines(operated)
    again = lines(operated)

    assert first == [
        "live       no version",
        "next       the first tick begins operation",
    ]
    assert "it is tried again at 2026-03-01 00:06:00 UTC" in failed[1]
    assert failed[3].endswith("run, span: new: span 1; reads spans 1")
    assert failed[4].endswith("exit code 1")
    assert "failed with 1; " in failed[5]
    assert again == failed
