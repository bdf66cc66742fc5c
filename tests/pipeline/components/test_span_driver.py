"""The driver: the properties that TFX's own sets, from contents, for any spans."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.components.example_gen.driver import FileBasedDriver
from tfx.orchestration import metadata
from tfx.orchestration.data_types import ComponentInfo, PipelineInfo
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from pipeline.components.ingestion import Settings
from pipeline.components.span_driver import SpanDriver
from pipeline.errors import DataRefusedError
from pipeline.ingestion.splitting import SplitRule
from pipeline.store.connection import open_store
from pipeline.store.url import of_file

Properties = dict[str, Any]
Put = Callable[..., Path]
NUMBERED = "span-{SPAN}/*.csv"


def _range(**settings: Any) -> range_config_pb2.RangeConfig:
    return range_config_pb2.RangeConfig(**settings)


def _newest(count: int) -> range_config_pb2.RangeConfig:
    return _range(rolling_range=range_config_pb2.RollingRange(num_spans=count))


def _fixed(first: int, last: int) -> range_config_pb2.RangeConfig:
    return _range(
        static_range=range_config_pb2.StaticRange(
            start_span_number=first, end_span_number=last
        )
    )


def _properties(
    tmp_path: Path,
    pattern: str,
    wanted: range_config_pb2.RangeConfig | None,
    schema_file: str = "",
) -> Properties:
    split = example_gen_pb2.Input.Split(name="all", pattern=pattern)
    settings = example_gen_pb2.Input(splits=[split])
    ours = Settings(SplitRule({"train": 1, "eval": 1, "test": 1}), schema_file)
    given = {"range_config": proto_utils.proto_to_json(wanted)} if wanted else {}
    return {
        "input_base": str(tmp_path / "data"),
        "input_config": proto_utils.proto_to_json(settings),
        "output_config": proto_utils.proto_to_json(ours.output_config()),
        "custom_config": proto_utils.proto_to_json(ours.packed()),
        **given,
    }


def _drive(
    kind: type[FileBasedDriver], tmp_path: Path, properties: Properties
) -> driver_output_pb2.DriverOutput:
    """Runs a driver as the launcher does."""
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "out" / "artifacts" / "ExampleGen" / "examples" / "1")
    (tmp_path / "out").mkdir(exist_ok=True)
    store = open_store(of_file(tmp_path / "metadata.db"))
    info = ExecutionInfo(
        exec_properties=dict(properties), output_dict={"examples": [examples]}
    )
    return kind(metadata.Metadata(store)).run(info)


def _noted(output: driver_output_pb2.DriverOutput) -> Properties:
    (examples,) = output.output_artifacts["examples"].artifacts
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in examples.custom_properties.items()
    }


def _resolved(output: driver_output_pb2.DriverOutput) -> dict[str, str]:
    text = output.exec_properties["input_config"].string_value
    return {s["name"]: s["pattern"] for s in json.loads(text)["splits"]}


@pytest.mark.parametrize(
    ("files", "pattern", "wanted"),
    [
        (("a.csv", "b.csv"), "*.csv", None),
        (("span-9/a.csv", "span-10/a.csv"), NUMBERED, None),
        (("span-9/a.csv", "span-10/a.csv"), NUMBERED, _newest(1)),
        (("span-9/a.csv", "span-10/a.csv"), NUMBERED, _fixed(9, 9)),
        (("s009.csv", "s010.csv"), "s{SPAN:3}.csv", None),
        (("1/v1/a.csv", "1/v2/a.csv"), "{SPAN}/v{VERSION}/*", None),
        (("2/v03/a.csv", "1/v09/a.csv"), "{SPAN}/v{VERSION:2}/*", None),
        (("2026-01-31/a.csv", "2026-02-01/a.csv"), "{YYYY}-{MM}-{DD}/*", None),
        (("2025/12/31.csv", "2026/01/01.csv"), "{YYYY}/{MM}/{DD}.csv", _newest(1)),
    ],
)
def test_properties_are_those_of_the_stock_driver(
    tmp_path: Path,
    put: Put,
    *,
    files: tuple[str, ...],
    pattern: str,
    wanted: range_config_pb2.RangeConfig | None,
) -> None:
    """Span, version and patterns are what TFX's own driver finds for one span."""
    put(*files)
    properties = _properties(tmp_path, pattern, wanted)

    ours = _drive(SpanDriver, tmp_path, properties)
    stock = _drive(FileBasedDriver, tmp_path, properties)

    for name in ("span", "version"):
        assert _noted(ours).get(name) == _noted(stock).get(name)
        assert ours.exec_properties[name] == stock.exec_properties[name]
    assert _resolved(ours) == _resolved(stock)
    assert set(ours.exec_properties) == set(stock.exec_properties)
    assert set(_noted(ours)) - set(_noted(stock)) <= {"spans"}


def test_before_there_is_a_schema_a_window_is_read_together(
    tmp_path: Path, put: Put
) -> None:
    """It has a split for each span, oldest first; the newest names the artifact."""
    put(*(f"span-{number}/a.csv" for number in (2, 9, 10, 12)))

    output = _drive(SpanDriver, tmp_path, _properties(tmp_path, NUMBERED, _newest(3)))

    noted = _noted(output)
    assert list(_resolved(output).items()) == [
        ("span-9", "span-9/*.csv"),
        ("span-10", "span-10/*.csv"),
        ("span-12", "span-12/*.csv"),
    ]
    assert noted["span"] == 12
    assert json.loads(noted["spans"])[0] == {
        "span": 9,
        "version": None,
        "pattern": "span-9/*.csv",
    }


def test_with_a_schema_it_is_about_the_newest_span(tmp_path: Path, put: Put) -> None:
    """Whatever the window, nothing of the others is in the key of the cache."""
    put(*(f"span-{number}/a.csv" for number in (2, 9, 10, 12)))

    wide, narrow, alone = (
        _drive(SpanDriver, tmp_path, _properties(tmp_path, NUMBERED, wanted, "/s"))
        for wanted in (_newest(3), _newest(1), _fixed(12, 12))
    )

    assert _resolved(wide) == {"all": "span-12/*.csv"}
    assert [s["span"] for s in json.loads(_noted(wide)["spans"])] == [12]
    assert wide == narrow == alone


def test_it_says_what_it_passes_over(
    tmp_path: Path, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names what is taken and what is not."""
    put("span-1/a.csv", "span-2/a.csv", "span-3/a.csv")
    caplog.set_level("INFO")

    _drive(SpanDriver, tmp_path, _properties(tmp_path, NUMBERED, None))

    assert "ExampleGen reads span 3, skips 1 to 2" in caplog.text


def test_asking_in_another_way_gives_the_same(tmp_path: Path, put: Put) -> None:
    """Two ways to ask for the same spans are one to the cache."""
    put("span-1/a.csv", "span-2/a.csv")

    outputs = [
        _drive(SpanDriver, tmp_path, _properties(tmp_path, NUMBERED, wanted))
        for wanted in (_newest(2), _newest(9), _fixed(1, 2))
    ]

    assert outputs[0] == outputs[1] == outputs[2]


def test_the_fingerprint_is_of_contents(tmp_path: Path, put: Put) -> None:
    """A new time of change is no change, and an edit of the same size is one."""
    put("a.csv")
    file = tmp_path / "data" / "a.csv"
    properties = _properties(tmp_path, "*.csv", None)

    before = _noted(_drive(SpanDriver, tmp_path, properties))
    os.utime(file, (0, 0))
    touched = _noted(_drive(SpanDriver, tmp_path, properties))
    file.write_text("b.csv")
    os.utime(file, (0, 0))
    edited = _noted(_drive(SpanDriver, tmp_path, properties))

    assert touched == before
    assert edited["input_fingerprint"] != before["input_fingerprint"]


def test_components_without_an_interface_of_ours_work(tmp_path: Path, put: Put) -> None:
    """The driver's older entry point, which other launchers call, resolves too."""
    put("span-1/a.csv")
    store = open_store(of_file(tmp_path / "metadata.db"))
    driver = SpanDriver(metadata.Metadata(store))
    pipeline = PipelineInfo("", "")

    found = driver.resolve_exec_properties(
        _properties(tmp_path, NUMBERED, None), pipeline, ComponentInfo("", "", pipeline)
    )

    assert found["span"] == 1


def test_what_is_not_there_is_refused(tmp_path: Path, put: Put) -> None:
    """A span that is not there is refused with those that are."""
    put("span-1/a.csv")

    with pytest.raises(DataRefusedError, match=r"Span 7 asked for.*finds span 1;"):
        _drive(SpanDriver, tmp_path, _properties(tmp_path, NUMBERED, _fixed(7, 7)))
