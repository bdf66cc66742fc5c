"""The settings of a server; each is a flag of `throughline serve`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import UsageError, require_positive

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_HIGHEST_PORT = 65_535


@dataclass(frozen=True)
class Limits:
    """Limits on requests and on load."""

    body_megabytes: float = 8.0
    """Largest body of a request, in 10^6 bytes."""
    rows: int = 10_000
    """Most rows of a request."""
    text_bytes: int = 4096
    """Most UTF-8 bytes of a text feature."""
    seconds: float = 5.0
    """Longest time that a request waits for the model; also for its body to arrive."""
    waiting: int = 512
    """Requests that may wait for the model; one more is answered with 503 at once."""
    stop_seconds: float = 10.0
    """Longest time for requests in flight when the server is stopped."""

    def __post_init__(self) -> None:
        """Rejects limits below their minimum."""
        for name in ("body_megabytes", "rows", "text_bytes", "seconds", "waiting"):
            require_positive(self, name, group="limits")


@dataclass(frozen=True)
class Batching:
    """How requests that arrive together become one call of the model."""

    wait_ms: float = 0.0
    """How long an idle model waits for more requests, 0 to 2 milliseconds. While it is
    busy they are collected anyway."""
    rows: int = 512
    """Most rows of a call that joins requests."""

    def __post_init__(self) -> None:
        """Rejects a wait outside 0-2 ms."""
        require_positive(self, "rows", group="batching")
        if not 0 <= self.wait_ms <= 2:  # noqa: PLR2004 - the two bounds of the message
            raise UsageError(
                f"batching.wait-ms is {self.wait_ms}; it must be 0 to 2, since every "
                "request waits that long"
            )


@dataclass(frozen=True)
class Log:
    """The request log."""

    off: bool = False
    """Log nothing."""
    sample: float = 1.0
    """Share of the requests that is logged, 0 to 1, decided by request id."""
    flush_seconds: float = 0.5
    """Longest time between an answer and its log row on disk."""
    segment_seconds: float = 300.0
    """Longest time until logged rows are in a Parquet file."""
    segment_megabytes: float = 64.0
    """Size of a journal, in 10^6 bytes, that makes it a Parquet file earlier."""
    leave_out: tuple[str, ...] = ()
    """Features that are logged as null."""
    hashed: tuple[str, ...] = ()
    """Features that are logged as a keyed hash."""
    keep_days: float | None = None
    """Parquet files begun earlier are deleted; all are kept if not given."""
    keep_megabytes: float | None = None
    """Total size of Parquet files, in 10^6 bytes, beyond which the oldest are
    deleted; there is no limit if not given."""

    def __post_init__(self) -> None:
        """Rejects a share outside 0-1 and times of nothing."""
        if not 0 <= self.sample <= 1:
            raise UsageError(f"log.sample is {self.sample}; it must be 0 to 1")
        for name in ("flush_seconds", "segment_seconds", "segment_megabytes"):
            require_positive(self, name, group="log")
        for name in ("keep_days", "keep_megabytes"):
            if getattr(self, name) is not None:
                require_positive(self, name, group="log")


@dataclass(frozen=True)
class Settings:
    """What to serve, and how."""

    host: str = "127.0.0.1"
    """Address to listen on. Others than loopback need --token-file or --insecure."""
    port: int = 8501
    """Port of REST; 0 takes a free one."""
    grpc_port: int | None = 8500
    """Port of gRPC; 0 takes a free one, None switches gRPC off."""
    token_file: Path | None = None
    """File of bearer tokens, one per line; each request must have one of them."""
    insecure: bool = False
    """Listen on other addresses without tokens: everybody who reaches them may ask."""
    extra_columns: Literal["ignore", "refuse"] = "refuse"
    """What to do with a feature that neither the model nor the schema has."""
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Rejects an address that would be open to everybody by mistake."""
        for name in ("port", "grpc_port"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= _HIGHEST_PORT:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"{flag} is {value}; it must be 0 to {_HIGHEST_PORT:,}"
                )
        is_open = self.host not in LOOPBACK
        if is_open and self.token_file is None and not self.insecure:
            raise UsageError(
                f"host is {self.host}, which other machines can reach; give "
                "--token-file with the tokens that clients must send, or --insecure "
                "if something else protects it"
            )
