"""Bearer tokens from a file, which may change while the server runs."""

import hashlib
import logging
import time
from pathlib import Path

from pipeline.errors import UsageError, cause_of
from serving.rejections import Code, RejectedError

_LOG = logging.getLogger(__name__)

_SHORTEST = 16
_POLL_SECONDS = 1.0
_SCHEME = "bearer "


class Tokens:
    """The tokens that requests may have."""

    def __init__(self, file: Path | None) -> None:
        """Reads the file.

        Args:
            file: A token per line; empty lines and those that begin with # don't count.
                `None` lets every request pass.

        Raises:
            UsageError: The file can't be read, has no token, or one that is easy to
                guess.
        """
        self._file = file
        self._changed = 0.0
        self._looked = 0.0
        self._problem = ""
        self._digests: frozenset[bytes] = frozenset()
        if not file:
            return
        try:
            self._read(file)
        except OSError as error:
            raise UsageError(
                f"{file} can't be read: {(error.strerror or str(error)).lower()}; "
                "token-file is a file of tokens, one per line"
            ) from None

    def check(self, authorization: str | None) -> None:
        """Checks the header or metadata of a request.

        Args:
            authorization: "Bearer TOKEN"; `None` if the request has none.

        Raises:
            RejectedError: The token is not one of the file's.
        """
        if self._file is None:
            return
        self._look_again(self._file)
        given = authorization or ""
        scheme, token = given[: len(_SCHEME)].lower(), given[len(_SCHEME) :].strip()
        # Digests are looked up, so the time tells nothing of a token.
        if scheme == _SCHEME and _digest(token) in self._digests:
            return
        raise RejectedError(
            Code.UNAUTHENTICATED,
            "the request has no valid token; send the header 'Authorization: Bearer "
            "TOKEN'",
        )

    def _look_again(self, file: Path) -> None:
        now = time.monotonic()
        if now - self._looked < _POLL_SECONDS:
            return
        self._looked = now
        try:
            if file.stat().st_mtime != self._changed:
                self._read(file)
                self._problem = ""
                _LOG.info("%s has changed: %d tokens", file, len(self._digests))
        except (OSError, UsageError) as error:
            # A file that is being replaced must lock nobody out. Once, not each second.
            if (problem := cause_of(error)) != self._problem:
                _LOG.warning("the tokens stay as they were: %s", problem)
            self._problem = problem

    def _read(self, file: Path) -> None:
        self._changed = file.stat().st_mtime
        lines = [
            line.strip() for line in file.read_text("utf-8", "replace").splitlines()
        ]
        tokens = [line for line in lines if line and not line.startswith("#")]
        if not tokens:
            raise UsageError(f"{file} has no token; write one per line")
        if short := [token for token in tokens if len(token) < _SHORTEST]:
            raise UsageError(
                f"{file} has a token of {len(short[0])} characters; expected at least "
                f"{_SHORTEST}, such as from `openssl rand -hex 32`"
            )
        self._digests = frozenset(map(_digest, tokens))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
