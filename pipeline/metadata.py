"""The metadata store: from a URL to a connection, and what a run left in it.

A password in the URL is never printed, logged or put into a compiled pipeline.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import PROPOSAL_NODE, Config
from pipeline.errors import ThroughlineError, UsageError
from pipeline.metadata_url import redact

_HINT = (
    "check that its directory can be written to, or that the server runs and that "
    "host, port, user and password are right"
)

Outputs = dict[str, dict[str, list[mlmd.Artifact]]]

_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"

_EXPECTED = (
    "sqlite:///path/metadata.db, mysql://user:password@host:3306/database or "
    "postgresql://user:password@host:5432/database"
)


def connection_config(url: str) -> mlmd.ConnectionConfig:
    """Turns the URL of a metadata store into MLMD's connection settings.

    Args:
        url: sqlite:///, mysql:// or postgresql://; user and password may be
            percent-encoded.

    Returns:
        The settings; a sqlite file is created when it is not there.

    Raises:
        UsageError: The scheme is another one, or a part is missing.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(url, "its host is malformed") from error
    if "?" in url or "#" in url:
        raise _wrong(url, "'?' and '#' must be percent-encoded, as %3F and %23")
    if parts.scheme == "sqlite":
        if parts.netloc:
            raise _wrong(
                url, "a path after two slashes is taken for a host, write three"
            )
        if not parts.path.strip("/"):
            raise _wrong(url, "it names no file")
        return mlmd.ConnectionConfig(
            sqlite=mlmd.SqliteMetadataSourceConfig(
                filename_uri=unquote(parts.path),
                connection_mode=mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
            )
        )
    if parts.scheme == "mysql":
        settings = _server_settings(url, parts)
        return mlmd.ConnectionConfig(
            mysql=mlmd.MySQLDatabaseConfig(
                database=settings.pop("dbname"), **{"port": 3306, **settings}
            )
        )
    if parts.scheme in {"postgresql", "postgres"}:
        settings = {"port": 5432, **_server_settings(url, parts)}
        settings["port"] = str(settings["port"])
        # MLMD pastes these into libpq's "user=... password=..." as they are.
        for name in {"user", "password"} & settings.keys():
            settings[name] = _quoted_for_libpq(settings[name])
        return mlmd.ConnectionConfig(
            postgresql=mlmd.PostgreSQLDatabaseConfig(**settings)
        )
    raise _wrong(url, f"{parts.scheme or 'no'} scheme is not one of the three")


def open_store(url: str) -> mlmd.ConnectionConfig:
    """Connects to the metadata store once, so that trouble shows before a run starts.

    Args:
        url: See `connection_config`.

    Returns:
        Settings that have been seen to work.

    Raises:
        UsageError: The URL is wrong.
        ThroughlineError: The store can't be reached or refuses us.
    """
    config = connection_config(url)
    try:
        if config.HasField("sqlite"):
            Path(config.sqlite.filename_uri).parent.mkdir(parents=True, exist_ok=True)
        MetadataStore(config)
    except (errors.StatusError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(" :,")
        for secret in _secrets(url):
            reason = reason.replace(secret, "***")
        msg = f"The metadata store {redact(url)} can't be opened: {reason}; {_HINT}"
        raise ThroughlineError(msg) from error
    return config


def executions_of_run(store: MetadataStore, run_id: str) -> list[mlmd.Execution]:
    """Lists the executions of a run, oldest first; none if there is no such run."""
    context = store.get_context_by_type_and_name(_RUN_CONTEXT, run_id)
    found = store.get_executions_by_context(context.id) if context else []
    return sorted(found, key=lambda execution: execution.id)


def outputs_of_run(store: MetadataStore, run_id: str) -> Outputs:
    """Finds what a run's nodes wrote, or took from the cache.

    Returns:
        Artifacts by node id and output name, for executions that ended well.
    """
    outputs: Outputs = {}
    for execution in executions_of_run(store, run_id):
        if execution.last_known_state in {
            mlmd.Execution.COMPLETE,
            mlmd.Execution.CACHED,
        }:
            outputs[node_of(store, execution)] = outputs_of(store, execution)
    return outputs


def finished_nodes(connection: mlmd.ConnectionConfig, run_id: str) -> set[str]:
    """Names the nodes of a run that have ended well."""
    return set(outputs_of_run(MetadataStore(connection), run_id))


def run_ids(store: MetadataStore) -> list[str]:
    """Names all runs in the store, the newest first."""
    contexts = store.get_contexts_by_type(_RUN_CONTEXT)
    return [c.name for c in sorted(contexts, key=lambda c: c.id, reverse=True)]


def proposed_schema(config: Config) -> Path:
    """Finds the newest schema that SchemaGen has proposed.

    Raises:
        UsageError: No run has got as far as SchemaGen.
    """
    store = MetadataStore(open_store(config.metadata_url))
    found = live_artifacts_of_node(store, f"{config.name}.{PROPOSAL_NODE}")
    proposals = [a for a in found if a.type == "Schema"]
    if not proposals:
        msg = (
            f"No run of {config.name!r} in {redact(config.metadata_url)} has proposed "
            "a schema; `python run_local.py` does"
        )
        raise UsageError(msg)
    return Path(max(proposals, key=lambda a: a.id).uri) / "schema.pbtxt"


def executions_of_node(store: MetadataStore, node_context: str) -> list[mlmd.Execution]:
    """Lists the executions of a node over all runs, oldest first.

    Args:
        store: The metadata store.
        node_context: `<pipeline>.<node>`.
    """
    context = store.get_context_by_type_and_name(_NODE_CONTEXT, node_context)
    found = store.get_executions_by_context(context.id) if context else []
    return sorted(found, key=lambda execution: execution.id)


def live_artifacts_of_node(
    store: MetadataStore, node_context: str
) -> list[mlmd.Artifact]:
    """Lists the artifacts that a node has written and nobody has deleted."""
    context = store.get_context_by_type_and_name(_NODE_CONTEXT, node_context)
    found = store.get_artifacts_by_context(context.id) if context else []
    return [a for a in found if a.state == mlmd.Artifact.LIVE]


def node_of(store: MetadataStore, execution: mlmd.Execution) -> str:
    """Returns the id of the node that an execution is of."""
    types = {t.id: t.name for t in store.get_context_types()}
    contexts = store.get_contexts_by_execution(execution.id)
    names = [c.name for c in contexts if types[c.type_id] == _NODE_CONTEXT]
    # The context is named <pipeline>.<node>.
    return names[0].partition(".")[2]


def text_of(item: mlmd.Artifact | mlmd.Execution, name: str) -> str:
    """Reads a custom property of text; empty if there is none.

    Asking a proto map for a key that it lacks adds the key, with a value of no kind,
    and MLMD's C++ side ends the whole process when it is given such a one to store.
    """
    properties = item.custom_properties
    return properties[name].string_value if name in properties else ""


def nodes_of(store: MetadataStore, pipeline_name: str) -> list[str]:
    """Lists the nodes of a pipeline that the store has seen."""
    prefix = f"{pipeline_name}."
    contexts = store.get_contexts_by_type(_NODE_CONTEXT)
    names = [c.name.removeprefix(prefix) for c in contexts if c.name.startswith(prefix)]
    return sorted(names)


def run_of(store: MetadataStore, execution: mlmd.Execution) -> str:
    """Returns the name of the run that an execution is part of."""
    types = {t.id: t.name for t in store.get_context_types()}
    contexts = store.get_contexts_by_execution(execution.id)
    return next(c.name for c in contexts if types[c.type_id] == _RUN_CONTEXT)


def is_resolver(store: MetadataStore, execution: mlmd.Execution) -> bool:
    """Whether an execution looked artifacts up and had nothing to compute."""
    (kind,) = store.get_execution_types_by_id([execution.type_id])
    return kind.name.endswith(".Resolver")


def outputs_of(
    store: MetadataStore, execution: mlmd.Execution
) -> dict[str, list[mlmd.Artifact]]:
    """Returns what an execution wrote, or took from the cache, by output name."""
    outputs: dict[str, list[mlmd.Artifact]] = defaultdict(list)
    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == mlmd.Event.OUTPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            outputs[event.path.steps[0].key].append(artifact)
    return dict(outputs)


def _secrets(url: str) -> list[str]:
    password = urlsplit(url).password or ""
    return [p for p in (password, unquote(password)) if p]


def _quoted_for_libpq(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"


def _server_settings(url: str, parts: SplitResult) -> dict[str, Any]:
    database = parts.path.strip("/")
    try:
        port = parts.port
    except ValueError as error:
        raise _wrong(
            url,
            "its port is not a number up to 65535 (':', '/' and '@' in a password must "
            "be percent-encoded)",
        ) from error
    if not parts.hostname or not database:
        raise _wrong(url, "it names no host or no database")
    given = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "dbname": unquote(database),
    }
    return {name: value for name, value in given.items() if value}


def _wrong(url: str, why: str) -> UsageError:
    msg = f"The metadata store {redact(url)} can't be used: {why}; expected {_EXPECTED}"
    return UsageError(msg)
