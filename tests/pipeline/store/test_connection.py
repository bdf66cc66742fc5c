"""The metadata store: URLs, connections, and queries on runs."""

import contextlib
import logging
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import ThroughlineError, UsageError, without_secrets
from pipeline.store.connection import connection_config, exists, open_store
from pipeline.store.graph import Graph
from pipeline.store.url import RedactingFormatter, redact

State = mlmd.Execution.State
WRONG_PORT = (
    "its port is not a number up to 65535 (':', '/' and '@' in a password must be "
    "percent-encoded)"
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:secret@h:3306/d", "mysql://u:***@h:3306/d"),
        ("postgresql://u:se%40cret@h/d", "postgresql://u:***@h/d"),
        ("mysql://:secret@h/d", "mysql://:***@h/d"),
        ("mysql://u:@h/d", "mysql://u:***@h/d"),
        ("mysql://u@h/d", "mysql://u@h/d"),
        ("mysql://h:3306/d", "mysql://h:3306/d"),
        ("sqlite:////tmp/a:b@c/metadata.db", "sqlite:////tmp/a:b@c/metadata.db"),
        # What a person writes who doesn't encode the password.
        ("postgresql://u:sec#ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec/ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec@ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec:ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec?ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec\nret@h/d", "postgresql://u:***@h/d"),
        ("mysql://admin@srv:secret@h/d", "mysql://***:***@h/d"),
        ("postgresql://admin@srv:secret@h:5432/d", "postgresql://***:***@h:5432/d"),
        ("mysql://dom/user:secret@h/d", "mysql://***:***@h/d"),
        ("mysql://sec@ret@h/d", "mysql://***@h/d"),
        # What can't be read is not shown: the password may be anywhere in it.
        ("mysql://u:secret@[h/d", "mysql://***"),
        ("postgresql://u@h/d?password=secret", "postgresql://***"),
        ("mysql:/root:secret@h/d", "***"),
        ("mysql:root:secret@h/d", "***"),
        ("root:secret@h/d", "***"),
        ("secret@h/d", "***"),
        ("mysql://root:secret", "mysql://***"),
        ("mysql://root:secret/db", "mysql://***"),
        ("mysql://secret", "mysql://***"),
        ("host=h password=secret", "***"),
        ("host=h user=u password='s e c' dbname=d", "***"),
        ("MYSQL://u:secret@h/d", "***"),
        ("oracle://u:secret@h/d", "***"),
        ("sqlite://u:secret@h/d", "sqlite://***"),
        ("", "***"),
        # A path that lacks the scheme.
        ("/out/metadata.db", "/out/metadata.db"),
    ],
)
def test_redacted_urls_show_no_password(url: str, shown: str) -> None:
    """`redact` hides the password of a URL, and all of a malformed one."""
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "connection failed: host='h' user='u' password='p w\\' x' dbname='d'",
            "connection failed: host='h' user='u' password=*** dbname='d'",
        ),
        ("can't connect: host=h password=pw", "can't connect: host=h password=***"),
        ("opened mysql://u:p@w@h/d", "opened mysql://***@h/d"),
        ("Access denied (using geheim1)", "Access denied (using ***)"),
        ("geheim%31 and geheim1", "*** and ***"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_are_removed_from_what_libraries_say(text: str, shown: str) -> None:
    """`without_secrets` hides passwords in DSNs, and registered ones."""
    connection_config("mysql://u:geheim%31@h/d")

    assert without_secrets(text) == shown


def test_logged_tracebacks_hold_no_password() -> None:
    """Log records have no password, including chained tracebacks."""
    connection_config("mysql://u:geheim%31@h/d")
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", None, None)
    first = RuntimeError("host=h password=geheim1")
    second = ValueError("mysql://u:geheim%31@h/d")
    second.__cause__ = first
    record.exc_info = (ValueError, second, None)

    text = RedactingFormatter("%(message)s").format(record)

    assert "RuntimeError" in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///out/metadata.db", "/out/metadata.db"),
        ("sqlite:///out%20put/100%25.db", "/out put/100%.db"),
        ("sqlite:///a@b:c/metadata.db", "/a@b:c/metadata.db"),
    ],
)
def test_sqlite_urls(url: str, path: str) -> None:
    """A sqlite URL names a percent-encoded file, created if it doesn't exist."""
    config = connection_config(url)

    assert config == mlmd.ConnectionConfig(
        sqlite=mlmd.SqliteMetadataSourceConfig(
            filename_uri=path,
            connection_mode=mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
        )
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "mysql://u:p%40%2F%3A%25@h/d",
            {"host": "h", "port": 3306, "user": "u", "password": "p@/:%"},
        ),
        ("mysql://a%40b@h:1/d", {"host": "h", "port": 1, "user": "a@b"}),
        ("mysql://h/d", {"host": "h", "port": 3306}),
    ],
)
def test_mysql_urls(url: str, expected: dict[str, str | int]) -> None:
    """User and password of a MySQL URL are decoded; the port defaults to 3306."""
    config = connection_config(url)

    assert config == mlmd.ConnectionConfig(
        mysql=mlmd.MySQLDatabaseConfig(database="d", **expected)
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://u:p%40%20%27%5C@h/d",
            # MLMD pastes them into "user=... password=...", hence libpq's quotes.
            {"port": "5432", "user": "'u'", "password": r"'p@ \'\\'"},
        ),
        ("postgres://h:6543/d", {"port": "6543"}),
    ],
)
def test_postgresql_urls(url: str, expected: dict[str, str]) -> None:
    """User and password of a PostgreSQL URL are decoded; the port defaults to 5432."""
    config = connection_config(url)

    assert config == mlmd.ConnectionConfig(
        postgresql=mlmd.PostgreSQLDatabaseConfig(host="h", dbname="d", **expected)
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no scheme is not one of the three"),
        ("/out/metadata.db", "no scheme is not one of the three"),
        ("oracle://h/d", "oracle scheme is not one of the three"),
        ("sqlite://", "it names no file"),
        ("sqlite:///", "it names no file"),
        (
            "sqlite://out/metadata.db",
            "a path after two slashes is taken for a host, write three",
        ),
        ("mysql://u:secret@h", "it names no host or no database"),
        ("mysql://u:secret@h/", "it names no host or no database"),
        ("postgresql:///d", "it names no host or no database"),
        (
            "mysql://u:secret@h:first/d",
            WRONG_PORT,
        ),
        (
            "mysql://u:secret@h:65536/d",
            WRONG_PORT,
        ),
        (
            "postgresql://u:secret/secret@h/d",
            WRONG_PORT,
        ),
        (
            "postgresql://u:secret#secret@h/d",
            "'?' and '#' must be percent-encoded, as %3F and %23",
        ),
        (
            "postgresql://u@h/d?password=secret",
            "'?' and '#' must be percent-encoded, as %3F and %23",
        ),
        ("mysql://u:secret@[h/d", "its host is malformed"),
    ],
)
def test_wrong_urls_are_refused(url: str, why: str) -> None:
    """An invalid URL is an error with reason and expected form, without password."""
    with pytest.raises(UsageError) as refused:
        connection_config(url)

    assert str(refused.value) == (
        f"The metadata store {redact(url)} can't be used: {why}; expected "
        "sqlite:///path/metadata.db, mysql://user:password@host:3306/database or "
        "postgresql://user:password@host:5432/database"
    )
    assert "secret" not in str(refused.value)


def test_opening_makes_directory_and_file(tmp_path: Path) -> None:
    """`open_store` creates a sqlite store and its directory."""
    config = open_store(f"sqlite://{tmp_path}/a/b%20c/metadata.db")

    assert MetadataStore(config).get_executions() == []
    assert (tmp_path / "a" / "b c" / "metadata.db").is_file()


def test_a_sqlite_path_that_cannot_be(tmp_path: Path) -> None:
    """A sqlite path below a file is an error that names it."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ThroughlineError) as refused:
        open_store(f"sqlite://{tmp_path}/file/metadata.db")

    assert str(refused.value).startswith(
        f"The metadata store sqlite://{tmp_path}/file/metadata.db can't be opened: "
    )
    assert "File exists" in str(refused.value)


@pytest.mark.parametrize("what", ["directory", "other file"])
def test_a_sqlite_path_that_is_no_database(tmp_path: Path, what: str) -> None:
    """A directory, or a file that is no database, is an error."""
    path = tmp_path / "metadata.db"
    if what == "directory":
        path.mkdir()
    else:
        path.write_text("not a database " * 100)

    with pytest.raises(ThroughlineError) as refused:
        open_store(f"sqlite://{path}")

    assert refused.value.exit_code == 1
    assert str(refused.value).startswith(
        f"The metadata store sqlite://{path} can't be opened: "
    )
    assert "\n" not in str(refused.value)


def test_asking_for_a_store_creates_none(tmp_path: Path) -> None:
    """`exists` doesn't create the file, and is true for a server."""
    url = f"sqlite://{tmp_path}/a/metadata.db"

    before = exists(url)
    open_store(url)

    assert (before, exists(url)) == (False, True)
    assert exists("mysql://u@h/d")


def test_half_created_tables_are_waited_for(tmp_path: Path) -> None:
    """`open_store` waits for tables that another process is creating."""
    path = tmp_path / "metadata.db"
    whole = tmp_path / "whole.db"
    open_store(f"sqlite://{whole}")
    with contextlib.closing(sqlite3.connect(path)) as database:
        with contextlib.closing(sqlite3.connect(whole)) as other:
            other.backup(database)
        # The version comes last.
        database.execute("DELETE FROM MLMDEnv")
        database.commit()
    with pytest.raises(RuntimeError, match="concurrent connection"):
        MetadataStore(connection_config(f"sqlite://{path}"))

    # What the other run does in the meantime, in one step.
    completed = threading.Timer(0.05, whole.replace, [path])
    completed.start()
    config = open_store(f"sqlite://{path}")
    completed.join()

    assert MetadataStore(config).get_executions() == []


OPEN = """
import sys
from pipeline.store.connection import open_store
sys.stdin.readline()
open_store(sys.argv[1])
"""


def test_two_first_runs_share_an_empty_server(mariadb: str) -> None:
    """Processes can open an empty database concurrently."""
    url = f"{mariadb}/first"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, url],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()

    ended = [(p.communicate(timeout=120)[1], p.returncode) for p in processes]

    assert [code for _, code in ended] == [0, 0, 0], ended
    assert MetadataStore(open_store(url)).get_executions() == []


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_an_unreachable_server(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    """An unreachable server is an error without the password."""
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}/mlmd"

        with pytest.raises(ThroughlineError) as refused:
            open_store(f"{scheme}://me:top%20secret@{where}")

    message = str(refused.value)
    assert message.startswith(
        f"The metadata store {scheme}://me:***@{where} can't be opened: "
    )
    assert message.endswith(
        "; check that its directory can be written to, or that the server runs and "
        "that host, port, user and password are right"
    )
    assert "\n" not in message
    printed = capfd.readouterr()
    assert "secret" not in message + printed.out + printed.err


def test_a_real_postgresql_server(postgresql: str) -> None:
    """A URL with an encoded user and password opens a working store."""
    url = f"{postgresql}/real"

    config = open_store(url)

    store = MetadataStore(config)
    type_id = store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
    store.put_executions([mlmd.Execution(type_id=type_id, name="first")])
    (found,) = MetadataStore(open_store(url)).get_executions()
    assert (found.type, found.name) == ("Trainer", "first")


def test_a_real_postgresql_server_that_refuses_us(
    postgresql: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong password is an error that doesn't contain it."""
    _, _, where = postgresql.rpartition("@")

    with pytest.raises(ThroughlineError, match=r"can't be opened"):
        open_store(f"postgresql://the%20user:not%20right@{where}/mlmd")

    printed = capfd.readouterr()
    assert "password authentication failed" in printed.err
    assert "not right" not in printed.out + printed.err


class _Runs:
    """Writes runs into a sqlite store as TFX's launcher does."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store
        self.types = {
            name: store.put_context_type(mlmd.ContextType(name=name))
            for name in ("pipeline", "pipeline_run", "node")
        }
        self.execution_type = store.put_execution_type(mlmd.ExecutionType(name="Any"))
        self.artifact_type = store.put_artifact_type(mlmd.ArtifactType(name="Model"))

    def add(
        self,
        run_id: str,
        node_id: str,
        state: mlmd.Execution.State = State.COMPLETE,
        outputs: dict[str, list[str]] | None = None,
        inputs: tuple[str, ...] = (),
    ) -> int:
        """Writes an execution with its artifacts; returns its id."""
        contexts = [
            mlmd.Context(type_id=self.types["pipeline"], name="taxi"),
            mlmd.Context(type_id=self.types["pipeline_run"], name=run_id),
            mlmd.Context(type_id=self.types["node"], name=f"taxi.{node_id}"),
        ]
        events = [
            (uri, mlmd.Event.OUTPUT, key, index)
            for key, uris in (outputs or {}).items()
            for index, uri in enumerate(uris)
        ] + [(uri, mlmd.Event.INPUT, "model", 0) for uri in inputs]
        execution_id, *_ = self.store.put_execution(
            mlmd.Execution(type_id=self.execution_type, last_known_state=state),
            [(self._artifact(u), _event(t, k, i)) for u, t, k, i in events],
            contexts,
            reuse_context_if_already_exist=True,
        )
        return int(execution_id)

    def _artifact(self, uri: str) -> mlmd.Artifact:
        found = self.store.get_artifacts_by_uri(uri)
        return found[0] if found else mlmd.Artifact(type_id=self.artifact_type, uri=uri)


def _event(kind: mlmd.Event.Type, key: str, index: int) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=index)]
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=steps))


@pytest.fixture
def runs(tmp_path: Path) -> _Runs:
    """An empty sqlite store."""
    return _Runs(MetadataStore(open_store(f"sqlite://{tmp_path}/metadata.db")))


def test_executions_of_a_run_are_its_own_in_order(runs: _Runs) -> None:
    """`Graph.run` returns the executions of one run, oldest first."""
    first = runs.add("monday", "Trainer")
    runs.add("tuesday", "Trainer")
    second = runs.add("monday", "Pusher", State.FAILED)

    found = Graph(runs.store).run("monday")

    assert [execution.id for execution in found] == [first, second]


def test_an_unknown_run_has_no_executions(runs: _Runs) -> None:
    """An unknown run has no executions and no outputs."""
    runs.add("monday", "Trainer")

    assert Graph(runs.store).run("sunday") == []
    assert Graph(runs.store).outputs_of_run("sunday") == {}


def test_outputs_of_a_run(runs: _Runs) -> None:
    """Outputs are by node and name, without inputs and failed nodes."""
    runs.add("monday", "Trainer", outputs={"model": ["/m/1"], "model_run": ["/r/1"]})
    runs.add("tuesday", "Trainer", State.CACHED, {"model": ["/m/1"]})
    runs.add("tuesday", "Reader.v2", outputs={"examples": ["/e/1", "/e/2"]})
    runs.add("tuesday", "Pusher", outputs={"pushed": ["/p/1"]}, inputs=("/m/1",))
    runs.add("tuesday", "Evaluator", State.FAILED, {"evaluation": ["/v/1"]})
    runs.add("tuesday", "Transform", State.RUNNING)

    outputs = Graph(runs.store).outputs_of_run("tuesday")

    assert {
        node: {key: [a.uri for a in artifacts] for key, artifacts in found.items()}
        for node, found in outputs.items()
    } == {
        "Trainer": {"model": ["/m/1"]},
        "Reader.v2": {"examples": ["/e/1", "/e/2"]},
        "Pusher": {"pushed": ["/p/1"]},
    }


def test_of_two_executions_of_a_node_the_newer_counts(runs: _Runs) -> None:
    """A node that ran twice in a run has the outputs of its second execution."""
    runs.add("monday", "Trainer", outputs={"model": ["/m/1"]})
    runs.add("monday", "Trainer", outputs={"model": ["/m/2"]})

    outputs = Graph(runs.store).outputs_of_run("monday")

    assert [a.uri for a in outputs["Trainer"]["model"]] == ["/m/2"]
