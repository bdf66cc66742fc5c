"""`throughline schema`: where data doesn't fit, and accepting it."""

from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust.policy import Value, Verdict
from tests.pipeline.tfx_store import StockStore
from tests.pipeline.trust.test_newest import refuse
from tests.pipeline.trust.test_past import accept

SCHEMA = """\
feature {
  name: "fare"  # dollars
  type: FLOAT
  presence { min_count: 1 }
  float_domain { min: 0 max: 7 }
}
feature {
  name: "payment_type"
  type: BYTES
}
"""


@pytest.fixture
def flags(config: Config, tmp_path: Path) -> list[str]:
    """Of a pipeline whose newest data has fares up to 10."""
    runs = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    written = runs.statistics(train=6)
    runs.ran("monday", "StatisticsGen", outputs={"statistics": written})
    where = ["--output", str(config.output), "--metadata", config.metadata_url]
    return [*where, "--schema", str(tmp_path / "schema.pbtxt")]


def test_what_differs_is_shown_and_accepted(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`accept` shows the change of the text, and then `diff` finds nothing."""
    path = tmp_path / "schema.pbtxt"
    path.write_text(SCHEMA)
    run = cli.COMMANDS["schema"]

    assert run(["diff", *flags]) == 0
    assert "fare  range grew: 0 to 10, the schema accepts 0 to 7" in (
        capsys.readouterr().out
    )
    assert run(["accept", "fare", *flags]) == 0
    assert "\n+  float_domain { min: 0 max: 10.0 }\n" in capsys.readouterr().out
    assert path.read_text() == SCHEMA.replace("max: 7", "max: 10.0")
    assert run(["diff", *flags]) == 0
    assert capsys.readouterr().out.startswith("the data fits the reviewed schema: 6 ")


def test_a_column_needs_a_reviewed_schema(config: Config, flags: list[str]) -> None:
    """The first reviewed schema is a whole proposal."""
    runs = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    proposed = runs.artifact("Schema")
    (runs.path(proposed) / "schema.pbtxt").write_text(SCHEMA)
    runs.ran("monday", "SchemaGen", outputs={"schema": proposed})

    with pytest.raises(UsageError, match=r"no reviewed schema .* without columns"):
        cli.COMMANDS["schema"](["accept", "fare", *flags])

    assert cli.COMMANDS["schema"](["accept", *flags]) == 0
    assert 'name: "fare"' in Path(flags[-1]).read_text()


def test_thresholds_are_shown_and_accepted(
    config: Config, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Past fares that move by more than the threshold become the schema's own."""
    path = Path(flags[-1])
    path.write_text(SCHEMA)
    runs = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    for span, fare in enumerate([1.0, 4.0, 9.0], 1):
        accept(runs, f"span {span}", [fare] * 50, span)
    value = Value(
        *("jensen_shannon", 0.3, 0.02, "fare"),
        against="previous",
        because="smallest effect",
    )
    verdict = Verdict(measured=(value,), compared_with={"previous": "span 3, 50 rows"})
    refuse(config, runs, verdict, "newest")
    run = cli.COMMANDS["schema"]

    assert run(["thresholds", *flags]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("fare"))
    cells = ["fare", "jensen_shannon", "previous", "0.3000", "0.0200", "1.0000"]
    assert row.split()[:6] == cells
    assert run(["thresholds", "--accept", "fare", *flags]) == 0
    added = "  drift_comparator { jensen_shannon_divergence { threshold: 1.0 } }\n"
    assert path.read_text() == SCHEMA.replace("max: 7 }\n", f"max: 7 }}\n{added}")
