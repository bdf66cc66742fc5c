"""Spreads the tests over the cores: what shares an expensive fixture stays together."""

import gc
from pathlib import Path

import pytest

# Files whose tests share runs of the pipeline, the longest first: pytest-xdist starts
# the groups in this order, so that none of them is what the last core waits for.
_SHARING = (
    ("main", ("main_job", "lineage", "notebooks", "report", "readme", "viewers")),
    ("orchestrators", ("orchestrators",)),
    ("kills", ("kills",)),
    ("warm", ("local_runner", "gates", "spans", "reproducible", "terminal")),
)
_GROUP_OF = {
    f"test_{name}.py": (order, group)
    for order, (group, names) in enumerate(_SHARING)
    for name in names
}


def pytest_configure() -> None:
    """Collects no garbage while test modules are imported.

    Python looks through a million lasting objects time and again while TensorFlow, TFX
    and Beam are imported: a third of the time that takes.
    """
    gc.disable()


def pytest_collection_finish() -> None:
    """Collects garbage again, but never looks at what imports made."""
    gc.freeze()
    gc.enable()


# First: pytest-xdist reads the marks in a hook of its own, and would find none yet.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests by what they share, or by their file; long groups come first."""
    order = {}
    for item in items:
        end_to_end = item.path.parent.name == "e2e"
        place, group = len(_SHARING), str(item.path.relative_to(Path(__file__).parent))
        if end_to_end:
            place, group = _GROUP_OF.get(item.path.name, (place, group))
        order[item] = place
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=order.__getitem__)
