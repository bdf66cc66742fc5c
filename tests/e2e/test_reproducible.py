"""The same data, settings and code give the same model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.runs import finished, weights_of
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

FLAGS = ("--preset", "smoke", "--min-auc", "0.01")


def test_two_runs_give_identical_weights(
    tmp_path: Path, small_data: Callable[..., Path], warm: WarmProcess
) -> None:
    """Runs from nothing end in the same bits: in a terminal, and with one worker."""
    flags = (*FLAGS, "--data", small_data())
    one, two = tmp_path / "one", tmp_path / "two"

    plain = finished(*warm.run(one, *flags), one)
    table = finished(*warm.run(two, *flags, "--workers", "1", columns=100), two)

    assert plain.exit_code == 0, plain.text
    assert table.exit_code == 0, table.text
    ours, theirs = weights_of(plain.versions[-1]), weights_of(table.versions[-1])
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    # TFMA sums in no fixed order, so the tenth digit of a metric may differ.
    candidate = table.metrics()["candidate"]
    assert plain.metrics()["candidate"] == pytest.approx(
        candidate, rel=1e-7, nan_ok=True
    )
    # The live table redraws itself in place and leaves each node once.
    assert "\x1b[" in table.text
    assert "started" not in table.text
    last = table.text[table.text.rindex("node ") :]
    assert last.count("done") == 11
