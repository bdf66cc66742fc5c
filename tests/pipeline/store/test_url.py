"""The metadata store's URL, shown without its password."""

import logging
from pathlib import Path

import pytest

from pipeline.store import url


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("sqlite:////srv/metadata.db", "sqlite:////srv/metadata.db"),
        ("mysql://host/db", "mysql://host/db"),
        ("mysql://me:geheim@host:3306/db", "mysql://me:***@host:3306/db"),
        ("postgresql://me:ge@heim@host/db", "postgresql://me:***@host/db"),
        ("postgres://me@[::1]:5432/db", "postgres://me@[::1]:5432/db"),
        ("mysql://geheim", "mysql://***"),
        ("host=h password=geheim", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(given: str, shown: str) -> None:
    """Only the scheme of a malformed URL is shown."""
    assert url.redact(given) == shown


def test_logs_hold_no_password() -> None:
    """A registered password is hidden in log records and tracebacks."""
    url.remember_password("mysql://me:log%2Dgeheim@host/db")
    record = logging.LogRecord(
        "x", logging.INFO, "f", 1, "tried %s", ("log-geheim",), None
    )

    text = url.RedactingFormatter("%(message)s").format(record)

    assert "log-geheim" not in text
    assert text.startswith("tried")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/a.db", "sqlite:///srv/a.db"),
        ("/a b?/c#.db", "sqlite:///a%20b%3F/c%23.db"),
    ],
)
def test_a_path_becomes_a_url(path: str, expected: str) -> None:
    """`of_file` quotes special characters."""
    made = url.of_file(Path(path))

    assert made == expected
    assert url.is_file(made)
    assert not url.is_file("mysql://host/db")
