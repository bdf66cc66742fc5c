"""`throughline gate`: the newest verdict, and exceptions to the policy."""

import re
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust import exceptions
from pipeline.trust.checks import Check
from pipeline.trust.policy import Accepted, Finding, Verdict
from tests.pipeline.tfx_store import StockStore
from tests.pipeline.trust.test_newest import accept, refuse
from tests.pipeline.trust.test_newest import runs as runs  # noqa: PLC0414 - a fixture

REFUSED = Verdict((Finding(Check.DRIFT, "it moved", "fare"),))


def _flags(config: Config) -> list[str]:
    return ["--output", str(config.output), "--metadata", config.metadata_url]


def test_a_refusal_is_found(
    config: Config, runs: StockStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the newest data was refused; the exit code tells."""
    accept(runs, Verdict(), "first")
    refuse(config, runs, REFUSED, "second")

    code = cli.COMMANDS["gate"](_flags(config))

    printed = capsys.readouterr().out
    assert code == 3
    assert printed.startswith("run second\nThe data was refused")
    assert "block     DRIFT    fare" in printed


def test_accepted_data_exits_with_0(
    config: Config, runs: StockStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict in JSON is what the artifact has."""
    verdict = Verdict(rows={"train": 7})
    accept(runs, verdict, "first")

    code = cli.COMMANDS["gate"](["--json", *_flags(config)])

    assert code == 0
    assert Verdict.from_json(capsys.readouterr().out) == verdict


def test_a_finding_can_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gate accept` writes the exception next to the schema, and says where."""
    schema = tmp_path / "schema.pbtxt"
    day = "9999-12-31"

    flags = ["--feature", "fare", "--until", day, "--because", "prices rose"]
    code = cli.COMMANDS["gate"](["accept", "DRIFT", *flags, "--schema", str(schema)])

    path = tmp_path / "exceptions.toml"
    assert code == 0
    assert exceptions.read(path) == (Accepted("DRIFT", day, "prices rose", "fare"),)
    assert f"{path} accepts DRIFT of fare until {day}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("anomaly", "feature", "said"),
    [
        ("DRIFT", "fair", "no column 'fair', so DRIFT is never found"),
        ("SCHEMA_NEW_COLUMN", "vendor", ""),
        ("UNCOVERED_CELLS", "company*fare", ""),
    ],
)
def test_a_column_that_does_not_exist_is_rejected(
    anomaly: str, feature: str, said: str, tmp_path: Path
) -> None:
    """An exception that no finding could ever need would be a misspelled one."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "fare" type: FLOAT }\n')
    flags = ["--until", "9999-12-31", "--because", "known", "--schema", str(schema)]
    command = ["accept", anomaly, "--feature", feature, *flags]

    if said:
        with pytest.raises(UsageError, match=re.escape(said)):
            cli.COMMANDS["gate"](command)
    else:
        assert cli.COMMANDS["gate"](command) == 0
    assert exceptions.file_of(schema).exists() == (not said)
