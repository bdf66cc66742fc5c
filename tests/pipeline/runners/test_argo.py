"""The manifests for Argo Workflows, checked as its linter would, and by round trip."""

import re
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hera.workflows import models

from pipeline import config as settings
from pipeline.errors import UsageError
from pipeline.runners import argo
from pipeline.runners.containers import Containers

UPSTREAM = {"Gen": [], "Left_1": ["Gen"], "Right": ["Gen"], "Push": ["Left_1", "Right"]}
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# What Argo replaces in a container's command, of that which we use.
PLACEHOLDERS = {"workflow.uid"}

Manifest = dict[str, Any]


@pytest.fixture
def manifests(tmp_path: Path) -> dict[str, Manifest]:
    """Both manifests of four nodes, by kind."""
    options = argo.Options(
        out=tmp_path,
        schedule="30 4 * * 1",
        namespace="ml",
        service_account="runner",
        containers=Containers(image="r/i:1", heavy=("Right",), retries=1),
    )
    argo.write(settings.kubeflow(), options, UPSTREAM)
    read = [yaml.safe_load(file.read_text()) for file in sorted(tmp_path.iterdir())]
    return {manifest["kind"]: manifest for manifest in read}


@pytest.fixture(params=["Workflow", "CronWorkflow"])
def spec(request: pytest.FixtureRequest, manifests: dict[str, Manifest]) -> Manifest:
    """What runs, by one manifest or the other."""
    found: Manifest = manifests[request.param]["spec"]
    return found.get("workflowSpec", found)


@pytest.mark.parametrize(
    ("kind", "model"),
    [("Workflow", models.Workflow), ("CronWorkflow", models.CronWorkflow)],
)
def test_every_field_is_known(
    kind: str, model: Any, manifests: dict[str, Manifest]
) -> None:
    """A manifest comes back unchanged from the models of Argo's API.

    They drop unknown fields, so that a wrong one would be missing.
    """
    parsed = model.model_validate(manifests[kind])

    again = parsed.model_dump(mode="json", by_alias=True, exclude_none=True)

    assert again == manifests[kind]


def test_round_trip_notices_unknown_fields(manifests: dict[str, Manifest]) -> None:
    """The check above fails for a field that Argo doesn't have."""
    manifest = manifests["Workflow"]
    manifest["spec"]["templates"][0]["container"]["imagee"] = "typo"

    again = models.Workflow.model_validate(manifest).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )

    assert again != manifest


def test_names_are_what_kubernetes_allows(spec: Manifest) -> None:
    """Templates and tasks have names without capitals and underscores, once each."""
    tasks = [task["name"] for task in dag_of(spec)]
    templates = [template["name"] for template in spec["templates"]]

    assert all(DNS_LABEL.fullmatch(name) for name in [*tasks, *templates])
    assert len(set(tasks)) == len(tasks)
    assert len(set(templates)) == len(templates)


def test_tasks_wait_for_what_their_nodes_wait_for(spec: Manifest) -> None:
    """The graph is that of the pipeline behind the step that compiles it."""
    waits = {task["name"]: task.get("dependencies", []) for task in dag_of(spec)}

    assert waits == {
        "compile": [],
        "gen": ["compile"],
        "left-1": ["gen"],
        "right": ["gen"],
        "push": ["left-1", "right"],
    }
    assert len(list(TopologicalSorter(waits).static_order())) == len(waits)


def test_references_lead_somewhere(spec: Manifest) -> None:
    """Entrypoint, templates and volumes that are named are there."""
    templates = {template["name"]: template for template in spec["templates"]}
    containers = [t["container"] for t in templates.values() if "container" in t]

    assert spec["entrypoint"] in templates
    assert {task["template"] for task in dag_of(spec)} <= set(templates)
    mounts = {m["name"] for c in containers for m in c["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}


def test_placeholders_are_argos(spec: Manifest) -> None:
    """Argo leaves what it doesn't know as it is, so only what it knows is there."""
    found = set(re.findall(r"{{(.*?)}}", yaml.safe_dump(spec)))

    assert found == PLACEHOLDERS


def test_node_keeps_its_id_in_the_command(spec: Manifest) -> None:
    """The name for Kubernetes differs from the id that the command is given."""
    (left,) = [t for t in spec["templates"] if t["name"] == "left-1"]

    command = [*left["container"]["command"], *left["container"]["args"]]
    assert command[:2] == ["throughline", "node"]
    assert command[command.index("--node") + 1] == "Left_1"
    assert command[command.index("--run-id") + 1] == "{{workflow.uid}}"


def test_settings_reach_the_manifests(manifests: dict[str, Manifest]) -> None:
    """Schedule, account, image, resources, retries and volume are as they were set."""
    cron, spec = manifests["CronWorkflow"]["spec"], manifests["Workflow"]["spec"]
    (right,) = [t for t in spec["templates"] if t["name"] == "right"]

    assert cron["schedules"] == ["30 4 * * 1"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert manifests["Workflow"]["metadata"]["namespace"] == "ml"
    assert spec["serviceAccountName"] == "runner"
    assert right["container"]["image"] == "r/i:1"
    assert right["container"]["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert right["retryStrategy"]["limit"] == "1"
    (volume,) = spec["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "throughline"


def test_refused_data_is_not_tried_again(spec: Manifest) -> None:
    """A node that ends with 3 is not retried; its code ends the workflow."""
    retries = [t["retryStrategy"] for t in spec["templates"] if "container" in t]

    assert {r["expression"] for r in retries} == {"asInt(lastRetry.exitCode) != 3"}


def dag_of(spec: Manifest) -> list[Manifest]:
    """The tasks of the entrypoint."""
    (entry,) = [t for t in spec["templates"] if t["name"] == spec["entrypoint"]]
    tasks: list[Manifest] = entry["dag"]["tasks"]
    return tasks


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schedule": "bad cron"}, "schedule is 'bad cron'; it must have five fields"),
        ({"timezone": "Mars/Olympus"}, "timezone is 'Mars/Olympus'; it must be a name"),
        ({"parallelism": 0}, "parallelism is 0; it must be at least 1"),
        ({"namespace": "My_Team"}, "namespace is 'My_Team'"),
        ({"service_account": "a b"}, "service-account is 'a b'"),
        ({"out": Path("gs://b/x")}, "out is gs://b/x; it must be a path"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], said: str) -> None:
    """What Argo would refuse when it is submitted is refused by the flag's name."""
    with pytest.raises(UsageError, match=said):
        argo.Options(**fields)


def test_names_that_would_be_too_long_are_refused(tmp_path: Path) -> None:
    """A CronWorkflow's name leaves room for what Argo appends to it."""
    config = replace(settings.kubeflow(), name="a" * 53)

    with pytest.raises(UsageError, match="allows 52 characters"):
        argo.write(config, argo.Options(out=tmp_path), UPSTREAM)
