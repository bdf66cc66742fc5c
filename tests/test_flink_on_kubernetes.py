"""deploy/flink.yaml has what `throughline cluster flink` was tested with."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.clusters import flink, pool_process, standalone
from pipeline.commands.run import parse_run
from pipeline.config import kubeflow
from pipeline.runners.containers import IMAGE_USER, Containers

DEPLOY = Path(__file__).parents[1] / "deploy"
TEXT = (DEPLOY / "flink.yaml").read_text()
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(TEXT))
APP = "throughline-flink"
ROLES = ("jobmanager", "taskmanager", "jobs")

# An address of this machine, or how long a pause is there: they differ on purpose.
_OF_THE_MACHINE = re.compile("address|host|heartbeat|fixed-delay.delay")


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind by their names, without the common prefix."""
    return {
        document["metadata"]["name"].removeprefix("throughline-flink-"): document
        for document in DOCUMENTS
        if document["kind"] == kind
    }


def containers_of(role: str) -> dict[str, dict[str, Any]]:
    """The containers of a deployment by their names."""
    pod = of_kind("Deployment")[role]["spec"]["template"]["spec"]
    return {container["name"]: container for container in pod["containers"]}


def test_settings_are_those_that_were_tried() -> None:
    """Memory, buffers, slots, restarts and the order of classes are the tests' own."""
    (configuration,) = of_kind("ConfigMap").values()
    settings: Any = yaml.safe_load(configuration["data"]["flink-conf.yaml"])

    for name, value in flink.SETTINGS.items():
        if not _OF_THE_MACHINE.search(name):
            assert str(settings[name]) == str(value), name


def test_java_has_the_flags_that_were_tried() -> None:
    """The image opens the same of Java's packages."""
    text = (DEPLOY / "flink.Dockerfile").read_text()
    (flags,) = re.findall(r'JDK_JAVA_OPTIONS="(.*?)"', text, re.DOTALL)

    assert shlex.split(flags.replace("\\\n", "")) == list(flink.JAVA_OPTIONS)


@pytest.mark.parametrize("role", ROLES)
def test_all_run_the_same_jars_with_the_configuration(role: str) -> None:
    """Class paths are files of the image, and all read the one configuration."""
    container = containers_of(role)[role]

    (path,) = (word for word in container["command"] if word.startswith("@"))
    dockerfile = (DEPLOY / "flink.Dockerfile").read_text()
    assert f">{path.removeprefix('@')}" in dockerfile
    (mount,) = container["volumeMounts"]
    assert f"FLINK_CONF_DIR={mount['mountPath']} " in dockerfile


def test_workers_are_next_to_each_task_manager_on_the_volume() -> None:
    """The pool has the nodes' image, and their volume at the path that nodes have."""
    workers = containers_of("taskmanager")["workers"]

    assert f"--port={pool_process.PORT}" in workers["command"]
    tick = (DEPLOY / "operate-cronjob.yaml").read_text()
    assert f"image: {workers['image']}\n" in tick
    (mount,) = workers["volumeMounts"]
    assert mount["mountPath"] == str(kubeflow().output)
    pod = of_kind("Deployment")["taskmanager"]["spec"]["template"]["spec"]
    (claim,) = (
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if volume["name"] == mount["name"]
    )
    assert claim == Containers().volume


def test_the_flags_in_its_head_are_valid() -> None:
    """They name the job server's service, its port, the pool and as many slots."""
    words = shlex.split(
        " ".join(re.findall(r"^#   (--(?:engine|beam).*)$", TEXT, re.MULTILINE))
    )

    config, _ = parse_run("x", words)

    host, _, port = str(config.beam.job_endpoint).partition(":")
    service = of_kind("Service")[host.removeprefix("throughline-flink-")]
    assert int(port) in {each["port"] for each in service["spec"]["ports"]}
    assert int(port) == standalone.JOB_PORT
    assert str(config.beam.environment_config).endswith(f":{pool_process.PORT}")
    replicas = of_kind("Deployment")["taskmanager"]["spec"]["replicas"]
    assert config.beam.parallelism == replicas


def test_every_pod_is_behind_a_policy() -> None:
    """Only workflows' pods reach the job server, and only Flink's own the others."""
    policies = {
        name: policy["spec"] for name, policy in of_kind("NetworkPolicy").items()
    }

    (jobs,) = policies["jobs"]["ingress"]
    assert policies["jobs"]["podSelector"]["matchLabels"]["role"] == "jobs"
    assert jobs["from"] == [
        {
            "podSelector": {
                "matchExpressions": [
                    {"key": "workflows.argoproj.io/workflow", "operator": "Exists"}
                ]
            }
        }
    ]
    service = of_kind("Service")["jobs"]["spec"]
    assert jobs["ports"] == [{"port": each["port"]} for each in service["ports"]]
    (inside,) = policies["cluster"]["ingress"]
    assert inside == {"from": [{"podSelector": {"matchLabels": {"app": APP}}}]}
    (roles,) = policies["cluster"]["podSelector"]["matchExpressions"]
    assert {"jobs", *roles["values"]} == set(ROLES) == set(of_kind("Deployment"))


@pytest.mark.parametrize("role", ROLES)
def test_pods_have_no_rights(role: str) -> None:
    """They run as the image's user, and have no token of the cluster's API."""
    pod = of_kind("Deployment")[role]["spec"]["template"]

    assert pod["spec"]["securityContext"]["runAsUser"] == IMAGE_USER
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_selectors_find_the_pods() -> None:
    """Deployments and services select pods by the labels that these have."""
    deployments = of_kind("Deployment")

    for role, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels == {"app": APP, "role": role}
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    for role, service in of_kind("Service").items():
        assert service["spec"]["selector"] == {"app": APP, "role": role}
