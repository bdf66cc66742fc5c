"""Which tests are copied into a project of its own."""

from pathlib import Path

import pytest

from pipeline.project.generic_tests import generic_tests
from pipeline.project.settings_file import PROJECT

FILES = {
    "models/features.py": "",
    "models/names.py": "",
    "models/declared.py": "from models import features\n",
    "pipeline/config.py": "from models import declared\n",
    "pipeline/sums.py": "import models.names\n",
    "data/rows.py": "",
    "tests/conftest.py": "from tests import help\n",
    "tests/help.py": "",
    "tests/test_whole.py": "",
    "tests/pipeline/test_sums.py": "from pipeline import sums\n",
    "tests/pipeline/test_config.py": "def test():\n    import pipeline.config\n",
    "tests/pipeline/test_rows.py": "from tests.pipeline.made import rows\n",
    "tests/pipeline/made.py": "from data import rows\n",
    "tests/serving/conftest.py": "from data import rows\n",
    "tests/serving/test_it.py": "",
    "tests/project/test_own.py": "",
    "tests/e2e/test_all.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_sees_the_samples_declarations_or_data_stays(checkout: Path) -> None:
    """However indirectly: by a helper, within a function, or by what is above it."""
    assert generic_tests(checkout) == [
        "tests/conftest.py",
        "tests/help.py",
        "tests/pipeline/test_sums.py",
    ]


def test_most_rooms_have_some() -> None:
    """Those of this checkout; a module that begins to read declarations loses its."""
    found = generic_tests(PROJECT)

    rooms = {Path(name).parts[2] for name in found if name.startswith("tests/pipeline")}
    assert {"columnar", "ingestion", "quality", "store", "trust"} <= rooms
    assert len(found) > 80
    assert not any("test_layout" in name for name in found)
