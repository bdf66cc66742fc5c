"""What is known of the live model: its training data, and what its evaluation found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.columnar import files
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.lineage.query import Lineage, open_lineage
from pipeline.quality import results
from pipeline.registry import history, versions
from pipeline.store.artifact_files import PROFILE_FILE, location
from pipeline.store.graph import Artifact, Execution
from pipeline.trust.gate import Baseline
from pipeline.trust.past import read_baseline, together

_NO_PROFILE = "the profile of its training data is gone"

Bucket = Mapping[str, float]
"""Sums of a bucket of scores, see `results.read_calibration`: of classes, those of the
most probable class, whose "label" is the weight of the rows of which it is right."""


@dataclass(frozen=True)
class Promise:
    """A metric on the test split, with its 95 % interval if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LiveModel:
    """The live version of a model.

    Attributes:
        version: Its number.
        since: When it became live.
        artifact: Id of its Model artifact; `None` if this store doesn't have it.
        run: Name of the run that trained it; empty if unknown.
        data: Profile and verdict of the data it was trained on, all spans of a window
            together; `None` if gone.
        promised: Its overall metrics on the test split, by name.
        calibration: Scores and labels of the test split, in buckets of the score.
        evaluation: The settings of its evaluation, as JSON values; empty if unknown.
        label_policy: Which labels count, the name of one of its policies.
        missing: What of all this is unknown and why, as sentences.
    """

    version: int
    since: datetime
    artifact: int | None = None
    run: str = ""
    data: Baseline | None = None
    promised: Mapping[str, Promise] = field(default_factory=dict)
    calibration: Sequence[Bucket] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    label_policy: str = Config.label_policy
    missing: tuple[str, ...] = ()


def read(config: Config) -> LiveModel:
    """Reads what is known of the live model.

    Raises:
        UsageError: No version is live, or there is no metadata store.
    """
    registry = history.read(config.serving_directory)
    if registry.live is None:
        raise UsageError(
            f"no version is live in {registry.base}; a run that ends with 0 pushes "
            "one, and --output or --name name another"
        )
    since = datetime.fromisoformat(registry.periods[registry.live][-1].since)
    plain = LiveModel(registry.live, since)
    lineage = open_lineage(config)
    model = _model(lineage, lineage.live_origin())
    if model is None:
        why = f"version {registry.live} was not pushed from this metadata store"
        return LiveModel(registry.live, since, missing=(why,))
    return _known(lineage, model, plain)


def promised(config: Config, origin: Mapping[str, Any]) -> Mapping[str, Promise]:
    """Reads the overall metrics of a model on the test split of its own evaluation.

    Args:
        config: Names the metadata store.
        origin: The model's, see `versions.identity`.

    Returns:
        Metrics by TFMA's name; empty if the store has no such model, or its evaluation
        is gone.
    """
    lineage = open_lineage(config)
    model = _model(lineage, origin)
    if model is None:
        return {}
    return _evaluated(lineage, _evaluations(lineage, model))[0]


def _evaluations(lineage: Lineage, model: Artifact) -> list[Execution]:
    return [
        step
        for step in lineage.graph.users([model.id])
        if step.state == "COMPLETE"
        and model.id in step.inputs.get("model", ())
        and "evaluation" in step.outputs
    ]


def _model(lineage: Lineage, origin: Mapping[str, Any]) -> Artifact | None:
    for model in lineage.graph.by_id([int(origin.get(versions.MODEL_ID, -1))]):
        # MLMD stores milliseconds; as a float of seconds they are off by a rounding.
        created = round(model.created * 1000)
        if versions.is_same_model(
            origin, versions.identity(model.id, model.uri, created)
        ):
            return model
    return None


def _known(lineage: Lineage, model: Artifact, plain: LiveModel) -> LiveModel:
    graph = lineage.graph
    trainers = graph.makers([model.id])
    read = {i for trainer in trainers for i in trainer.read()}
    verdicts = [a for a in graph.by_id(read) if a.type == "DataVerdict"]
    data, policy, lost = _data(lineage, verdicts)
    found = _evaluated(lineage, _evaluations(lineage, model))
    promises, calibration, settings = found
    missing = (lost, "" if promises else "its evaluation is gone")
    return LiveModel(
        plain.version,
        plain.since,
        model.id,
        trainers[0].run if trainers else "",
        data,
        promises,
        calibration,
        settings,
        policy or plain.label_policy,
        tuple(filter(None, missing)),
    )


def _data(
    lineage: Lineage, verdicts: Sequence[Artifact]
) -> tuple[Baseline | None, str, str]:
    """Reads the profile of the training data, all spans of its window together.

    Returns:
        The profile, `None` if it is gone; its label policy; and what of it is gone, as
        a sentence, or an empty text.
    """
    if not verdicts:
        return None, "", _NO_PROFILE
    gates = lineage.graph.makers([verdicts[-1].id])
    policy = str(gates[0].parameters.get("label_policy", "")) if gates else ""
    places = [location(verdict.uri) for verdict in verdicts]
    found = [
        read_baseline(place)
        for place in places
        if place and files.exists(files.join(place, PROFILE_FILE))
    ]
    if not found:
        return None, policy, _NO_PROFILE
    lost = len(verdicts) - len(found)
    why = (
        f"the profiles of {lost} of its {len(verdicts)} spans are gone" if lost else ""
    )
    return together(found), policy, why


def _evaluated(
    lineage: Lineage, evaluations: Sequence[Execution]
) -> tuple[dict[str, Promise], Sequence[Bucket], Mapping[str, Any]]:
    for step in reversed(evaluations):
        (artifact,) = lineage.graph.by_id(step.outputs["evaluation"][-1:])
        place = location(artifact.uri)
        if place is None:
            continue
        values = results.read_metrics(place).get(results.CANDIDATE, {})
        bounds = results.read_intervals(place).get(results.CANDIDATE, {})
        overall = bounds.get(results.OVERALL, {})
        promises = {
            name: Promise(value, *overall.get(name, (None, None)))
            for name, value in values.get(results.OVERALL, {}).items()
        }
        plots = results.read_calibration(place).get(results.CANDIDATE, ())
        # Of classes there is no plot of TFMA's, and the gates have summed it.
        calibration = plots or results.read_gates(place).get("calibration", ())
        settings = step.parameters.get("eval_config")
        known = settings if isinstance(settings, dict) else {}
        return promises, calibration, known
    return {}, (), {}
