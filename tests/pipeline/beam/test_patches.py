"""Shortcuts answer as what they stand for does."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.transforms import core, userstate
from apache_beam.transforms.userstate import BagStateSpec

from pipeline.beam import patches

STATE = BagStateSpec("seen", VarIntCoder())
STATE_PARAMETER = beam.DoFn.StateParam(STATE)


class Stateful(beam.DoFn):
    """A DoFn that declares a state."""

    def process(self, element: Any, seen: Any = STATE_PARAMETER) -> None:
        """Does nothing with it."""


class Plain(beam.DoFn):
    """A DoFn that declares nothing."""

    def process(self, element: Any, extra: int = 3) -> None:
        """Does nothing."""


def named(first: int, second: int = 2, *, third: int = 3) -> int:
    """Takes arguments of every kind."""
    return first + second + third


@pytest.mark.parametrize(
    "function", [named, Plain().process, Plain.process, len, str.upper]
)
def test_arguments_are_those_of_beam(function: Any) -> None:
    """Functions, methods and builtins keep their arguments, asked once or twice."""
    expected = core.get_function_args_defaults(function)
    quick = patches.by_function(core.get_function_args_defaults)

    first, second = quick(function), quick(function)

    assert first == second == expected


def test_methods_are_told_from_their_functions() -> None:
    """A bound method lacks the argument that its function has, in either order."""
    forms = [Plain().process, Plain.process, Plain().process]
    quick = patches.by_function(core.get_function_args_defaults)

    found = [quick(form) for form in forms]

    assert found == [core.get_function_args_defaults(form) for form in forms]
    assert found[0] != found[1]


def test_callers_can_change_an_answer() -> None:
    """An answer belongs to who asked: changing it doesn't change the next one."""
    quick = patches.by_function(core.get_function_args_defaults)

    quick(named)[0].clear()

    assert quick(named) == core.get_function_args_defaults(named)


def test_specs_are_those_of_beam() -> None:
    """States are found where a class declares them or an instance was given them."""
    quick = patches.by_class(userstate.get_dofn_specs)
    given = Plain()
    plain = Plain()
    given.process = Stateful().process  # type: ignore[assignment, method-assign]

    found = [quick(dofn)[0] for dofn in (Stateful(), Stateful(), plain, given, plain)]

    assert found == [{STATE}, {STATE}, set(), {STATE}, set()]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> type[PipelineOptions]:
    """Beam's options with the shortcut, in this test only."""
    parse = patches.parsed_once(PipelineOptions.__init__)
    monkeypatch.setattr(PipelineOptions, "__init__", parse)
    return PipelineOptions


def test_views_share_their_options(options: type[PipelineOptions]) -> None:
    """What is set in one view is seen in every other, as without the shortcut."""
    whole = options(["--runner=Flink", "--experiments=a"])

    whole.view_as(StandardOptions).runner = "Spark"
    whole.view_as(DebugOptions).add_experiment("b")

    assert whole.view_as(StandardOptions).runner == "Spark"
    assert whole.view_as(DebugOptions).experiments == ["a", "b"]
    assert whole.get_all_options()["experiments"] == ["a", "b"]


def test_options_of_the_same_flags_are_apart(options: type[PipelineOptions]) -> None:
    """Changing one object's options leaves another's of the same flags alone."""
    flags = ["--experiments=a"]
    for _ in range(2):
        options(flags).view_as(DebugOptions).add_experiment("b")

    assert options(flags).view_as(DebugOptions).experiments == ["a"]
    assert options(flags, runner="Flink").view_as(StandardOptions).runner == "Flink"


def test_one_string_of_flags_is_refused(options: type[PipelineOptions]) -> None:
    """The mistake that Beam tells is still told."""
    with pytest.raises(ValueError, match="iterable of of strings"):
        options("--runner=Flink")


def test_installed_once_and_for_all() -> None:
    """Installing twice leaves one layer of shortcuts, and Beam still runs."""
    patches.install()
    first = core.get_function_args_defaults
    patches.install()

    with beam.Pipeline(
        runner="apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
    ) as pipeline:
        doubled = pipeline | beam.Create([1, 2]) | beam.Map(lambda x: 2 * x)
        _ = doubled | beam.CombineGlobally(sum) | beam.Map(_expect_six)

    assert core.get_function_args_defaults is first


def _expect_six(total: int) -> None:
    assert total == 6
