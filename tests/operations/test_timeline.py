"""What has happened to a model."""

from dataclasses import replace
from datetime import UTC, datetime

from operations import facts, timeline
from operations.decisions import Action, Attempt, Decision
from pipeline.config import Config
from tests.operations import live_models, request_logs

AT = "2026-03-01T00:00:00+00:00"


def test_decisions_runs_and_versions_are_in_the_order_of_their_times(
    config: Config,
) -> None:
    """With reasons, and how each run ended."""
    made = facts.decisions_of(config)
    decision = Decision(0, "k", Action.RUN, "drift", "alarm: fare", AT)
    attempts = (
        Attempt("r1", AT, ended="2026-03-01T01:00:00+00:00", exit_code=1),
        Attempt("r2", "2026-03-01T02:00:00+00:00"),
    )
    made.save(replace(made.add(decision, []), attempts=attempts))
    pushed = live_models.push(config, request_logs.trips(50), run="r2")

    found = timeline.read(config)

    assert [each.what for each in found] == ["run, drift", "run", "run", "push"]
    assert [each.text for each in found[:3]] == [
        "alarm: fare",
        "r1: failed with 1",
        "r2: has not ended",
    ]
    assert found[3].text == f"version {pushed.version} by test"
    assert found[0].at == datetime(2026, 3, 1, tzinfo=UTC)


def test_nothing_has_happened_to_a_new_model(config: Config) -> None:
    """Without decisions and versions the list is empty."""
    assert timeline.read(config) == []
