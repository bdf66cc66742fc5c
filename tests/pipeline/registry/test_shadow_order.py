"""The file that tells servers which version answers along with the live one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ThroughlineError
from pipeline.registry import shadow_order
from pipeline.registry.shadow_order import Order

ORDER = Order(2, 1, datetime(2026, 3, 1, 12, tzinfo=UTC), 0.25)


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Others may read the file; without a wish it is gone."""
    shadow_order.follow(tmp_path, ORDER)
    found = shadow_order.read(tmp_path)
    mode = (tmp_path / shadow_order.FILE).stat().st_mode & 0o777

    shadow_order.follow(tmp_path, None)

    assert found == ORDER
    assert mode == 0o644
    assert shadow_order.read(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_same_order_is_not_written_again(tmp_path: Path) -> None:
    """Each tick of operate asks for it, so each would be a write to the disk."""
    shadow_order.follow(tmp_path, ORDER)
    before = (tmp_path / shadow_order.FILE).stat().st_ino

    shadow_order.follow(tmp_path, ORDER)

    assert (tmp_path / shadow_order.FILE).stat().st_ino == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"live": 2}',
        '{"live": 2, "shadow": "x", "until": "2026-03-01T12:00+00:00", "share": 1}',
        '{"live": 2, "shadow": 1, "until": "2026-03-01T12:00", "share": 1}',
        "\xff",
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """With what to do about it; a time without a zone is no time."""
    (tmp_path / shadow_order.FILE).write_bytes(text.encode("latin-1"))

    with pytest.raises(ThroughlineError, match="no order for shadow answers"):
        shadow_order.read(tmp_path)
