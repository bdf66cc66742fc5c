"""The manifests in deploy/ are valid, and have the names that the pipeline uses."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from pipeline.runners.containers import Containers

DEPLOY = Path(__file__).parents[1] / "deploy"
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted(DEPLOY.rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    # Docker's compose.yaml has none.
    if "kind" in document
]


@dataclass
class Answer:
    """An answer of the API, as its client reads one."""

    data: str


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["kind"])
def test_manifest_is_one_of_the_api(document: dict[str, Any]) -> None:
    """Every field is known to Kubernetes' own model: it survives reading and writing.

    The model raises an error where a required field is missing.
    """
    api = client.ApiClient()

    read = api.deserialize(Answer(json.dumps(document)), f"V1{document['kind']}")

    assert api.sanitize_for_serialization(read) == document


def test_names_are_those_of_the_defaults() -> None:
    """The volume is the claim that packages mount, and many pods may write it."""
    (claim,) = (d for d in DOCUMENTS if d["kind"] == "PersistentVolumeClaim")

    assert claim["metadata"]["name"] == Containers().volume
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_no_password_is_in_a_file() -> None:
    """The secret is created on the command line, which the file's head gives."""
    assert not [d for d in DOCUMENTS if d["kind"] == "Secret"]
    text = (DEPLOY / "kubernetes.yaml").read_text()
    assert f"create secret generic {Containers().metadata_secret}" in text


def test_the_account_may_do_what_argo_asks_of_it() -> None:
    """Argo's pods create and patch their results, and the role is bound to them."""
    (role,) = (d for d in DOCUMENTS if d["kind"] == "Role")
    (binding,) = (d for d in DOCUMENTS if d["kind"] == "RoleBinding")
    (account,) = (d for d in DOCUMENTS if d["kind"] == "ServiceAccount")

    (rule,) = role["rules"]
    assert rule["resources"] == ["workflowtaskresults"]
    assert set(rule["verbs"]) == {"create", "patch"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
