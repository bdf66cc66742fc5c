"""Spreads the tests over the cores: what shares an expensive fixture stays together."""

import gc
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

_HERE = Path(__file__).parent

# Tests that share runs of the pipeline or trained models, by where their paths begin;
# the longest groups first: pytest-xdist starts the groups in this order, so that none
# of them is what the last core waits for.
_SHARING = {
    "main": tuple(
        f"e2e/test_{name}.py"
        for name in ("main_job", "lineage", "notebooks", "report", "readme", "viewers")
    ),
    "orchestrators": ("e2e/test_orchestrators.py",),
    "warm": ("e2e/",),
    "models": ("project/models/",),
    "serving": ("serving/",),
}


def _group_of(path: str) -> tuple[int, str]:
    """Returns the place and the name of a test file's group: its own, if none fits."""
    for place, (group, beginnings) in enumerate(_SHARING.items()):
        if path.startswith(beginnings):
            return place, group
    return len(_SHARING), path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the sizes of two tests that take minutes more when they are larger."""
    parser.addoption("--kills", type=int, default=9, help="kills of e2e/test_faults.py")
    parser.addoption("--rows", type=int, default=100_000, help="rows of clusters/")


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
    place = {}
    for item in items:
        place[item], group = _group_of(item.path.relative_to(_HERE).as_posix())
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=place.__getitem__)


@pytest.fixture(scope="session", autouse=True)
def _flags_of_pytest_are_hidden() -> Iterator[None]:
    """Takes pytest's flags off `sys.argv`: TFX's Beam executors have absl parse it.

    absl has a flag `-v` too, which wants a number.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys.argv[:1])
        yield


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """URL of a MariaDB server, without a database: a test adds one of its own."""
    with servers.mariadb() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server, without a database: a test adds one of its own."""
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """A server that speaks S3, in a thread of this process; returns its address."""
    # Imported for the tests that want it: it takes a second.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3(object_store: str) -> Iterator[str]:
    """The environment that leads to it, and the address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", object_store)
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield object_store


@pytest.fixture(scope="module")
def bucket(s3: str) -> str:
    """URI of an empty bucket."""
    from pyarrow import fs

    assert s3
    name = f"bucket-{uuid.uuid4().hex}"
    system, path = fs.FileSystem.from_uri(f"s3://{name}?allow_bucket_creation=true")
    system.create_dir(path)
    return f"s3://{name}"
