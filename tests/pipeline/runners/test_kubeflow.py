"""The packages for Kubeflow, read as the backend reads them, and the upload."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from kfp import components
from tfx.orchestration.pipeline import Pipeline

from pipeline import cli, create_pipeline
from pipeline import config as settings
from pipeline.errors import ThroughlineError, UsageError
from pipeline.runners import argo, kubeflow
from pipeline.runners.containers import Containers, check
from pipeline.runners.flags import flags_of
from schema import SCHEMA_PATH
from tests.pipeline.runners.conftest import UPSTREAM, Stub
from tests.pipeline.runners.kfp_backend import Backend, Package

STUB = Containers(heavy=("Left",), retries=1)


def config_in(directory: Path, **fields: Any) -> settings.Config:
    """The configuration for containers, with its volume in a directory."""
    return replace(settings.kubeflow(), output=directory, **fields)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the four nodes' package; its directory is the volume's."""
    path = tmp_path_factory.mktemp("volume") / "stub.yaml"
    # Once: kfp takes more than a second.
    kubeflow.write(config_in(path.parent), STUB, UPSTREAM, path)
    return path


@pytest.fixture(scope="module")
def package(written: Path) -> Package:
    """The package of the four nodes."""
    return Package.read(written)


@pytest.fixture
def backend(written: Path, stub: Stub) -> Backend:
    """A cluster that has the volume and the secret that the package wants."""
    secrets = {("throughline-metadata", "url"): "sqlite:///unused"}
    return Backend({"throughline": written.parent}, secrets, stub.programs)


def test_nodes_run_in_order_and_in_parallel(
    package: Package, backend: Backend, stub: Stub
) -> None:
    """The backend compiles, then runs each node after those it waits for."""
    stub.slow_down("Left", 1)
    stub.slow_down("Right", 1)

    ended = backend.run(package, "run-7")

    assert ended.exit_code == 0
    assert stub.calls()[:2] == ["Compile", "Gen"]
    assert stub.calls()[-1] == "Push"
    middle = stub.events()[4:8]
    assert {event.split()[0] for event in middle[:2]} == {"start"}
    assert stub.run_ids() == {"run-7"}


def test_failing_node_fails_the_run_with_its_code(
    package: Package, backend: Backend, stub: Stub
) -> None:
    """A node that fails on every attempt ends the run, and what waits never starts."""
    stub.fail("Left", 3)

    ended = backend.run(package, "run-7")

    assert ended.exit_code == 3
    assert ended.exit_codes["left"] == [3, 3]
    assert "Push" not in stub.calls("start")


def test_failed_node_is_retried(package: Package, backend: Backend, stub: Stub) -> None:
    """A node that fails once is run again, and the run succeeds."""
    stub.fail("Gen", 1, once=True)

    ended = backend.run(package, "run-7")

    assert ended.exit_codes["gen"] == [1, 0]
    assert ended.exit_code == 0


def test_kfp_itself_loads_the_package(tmp_path: Path, stub: Stub) -> None:
    """Kfp's own loader reads the package, and its name is the pipeline's."""
    path = tmp_path / "stub.yaml"
    kubeflow.write(config_in(tmp_path, name="my_trips"), STUB, stub.upstream, path)

    loaded = components.load_component_from_file(str(path))

    assert loaded.pipeline_spec.pipeline_info.name == "my-trips"


def test_settings_reach_the_containers(package: Package) -> None:
    """Image, resources, retries, volume and secret are those of the settings."""
    left = package.executors["exec-left"].container
    gen = package.executors["exec-gen"].container
    retry = package.spec.root.dag.tasks["gen"].retry_policy

    assert left.image == "throughline:latest"
    assert left.resources.resource_memory_limit == "8Gi"
    assert gen.resources.resource_memory_limit == "3Gi"
    assert left.resources.resource_cpu_request == "2"
    assert retry.max_retry_count == 1
    assert retry.backoff_duration.seconds == 30


def test_package_holds_no_password(tmp_path: Path, stub: Stub) -> None:
    """The metadata store's URL is named by its secret and written nowhere."""
    path = tmp_path / "stub.yaml"
    config = config_in(tmp_path, metadata="mysql://user:hunter2@host/db")

    kubeflow.write(config, STUB, stub.upstream, path)

    assert "hunter2" not in path.read_text()
    assert "throughline-metadata" in path.read_text()


def test_settings_reach_the_step_that_compiles(tmp_path: Path, stub: Stub) -> None:
    """The first container is told by flags what differs from the preset."""
    path = tmp_path / "stub.yaml"
    config = config_in(tmp_path, train_steps=20)

    kubeflow.write(config, STUB, stub.upstream, path)

    arguments = Package.read(path).executors["exec-compile"].container.args
    expected = ["--preset", "kubeflow", *flags_of(config, settings.kubeflow())]
    assert list(arguments)[-len(expected) :] == expected
    assert "20" in arguments


def test_unknown_heavy_node_is_refused(tmp_path: Path, stub: Stub) -> None:
    """A node that is to get more and doesn't exist is named, with those that do."""
    with pytest.raises(UsageError, match="Transform; the nodes are Gen, Left"):
        kubeflow.write(
            config_in(tmp_path),
            Containers(heavy=("Transform",)),
            stub.upstream,
            tmp_path / "stub.yaml",
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"submit": True}, "submit needs host"),
        ({"wait": True}, "wait needs submit"),
        ({"target": "vertex", "submit": True}, r"docs/vertex\.md has the command"),
        ({"out": Path("gs://b/compiled")}, "out is gs://b/compiled; it must be a path"),
        ({"namespace": "My_Team"}, "namespace is 'My_Team'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str) -> None:
    """Options that can't work together are refused before anything is compiled."""
    with pytest.raises(UsageError, match=said):
        kubeflow.Options(**options)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cpu": "lots"}, "containers.cpu is 'lots'"),
        ({"heavy_cpu": "0"}, "containers.heavy-cpu is '0'"),
        ({"memory": "3"}, "containers.memory is '3'"),
        ({"heavy_memory": "lots"}, "containers.heavy-memory is 'lots'"),
        ({"retries": -1}, "containers.retries is -1; it must be at least 0"),
        (
            {"retry_seconds": -1},
            "containers.retry-seconds is -1; it must be at least 0",
        ),
        ({"volume": "My Claim"}, "containers.volume is 'My Claim'"),
        ({"metadata_secret": "a/b"}, "containers.metadata-secret is 'a/b'"),
        ({"image": "r/{{x}}"}, "containers don't get as it is"),
    ],
)
def test_impossible_containers_are_refused(settings: dict[str, Any], said: str) -> None:
    """What the cluster would refuse is refused by the flag's name, at once."""
    with pytest.raises(UsageError, match=said):
        Containers(**settings)


def not_built(_: settings.Config) -> Pipeline:
    """Stands where the pipeline is built, which imports TFX."""
    pytest.fail("the pipeline was built before the settings were checked")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"name": "taxi_"},
            "name is 'taxi_'; Kubernetes would have to call it 'taxi-'",
        ),
        ({"data": Path("/data/{{workflow.uid}}")}, "/data/{{workflow.uid}}' has '{{'"),
        ({"data": Path("/data/$(X)")}, "/data/$(X)' has '$('"),
        (
            {"metadata": "mysql://user:hunter2@host/db"},
            "kubectl create secret generic throughline-metadata --from-literal=url=URL",
        ),
    ],
)
@pytest.mark.parametrize("target", ["kubeflow", "argo"])
def test_impossible_configurations_are_refused_before_tfx(
    tmp_path: Path, target: str, fields: dict[str, Any], said: str
) -> None:
    """What containers can't be given is refused before anything is built or written."""
    config = config_in(Path("/mnt/volume"), **fields)
    out = tmp_path / "compiled"

    compile_it: Callable[[], int] = {
        "argo": partial(argo.run, config, argo.Options(out=out), not_built),
        "kubeflow": partial(kubeflow.run, config, kubeflow.Options(out=out), not_built),
    }[target]
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        compile_it()

    assert "hunter2" not in str(refused.value)
    assert not out.exists()


def test_the_environment_s_store_is_no_reason_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first container has the URL in its environment, and compiles with it."""
    monkeypatch.setenv("THROUGHLINE_METADATA", "mysql://user:hunter2@host/db")
    config, options = cli.parse("x", [], kubeflow.Options(), "kubeflow")

    check(config, options.containers)

    assert config.metadata == "mysql://user:hunter2@host/db"


def test_vertex_package_is_what_vertex_reads(tmp_path: Path) -> None:
    """The package for Vertex AI has our image, its own storage and no path of ours."""
    config = config_in(Path("/gcs/bucket/out"), data=Path("/gcs/bucket/data"))
    options = kubeflow.Options("vertex", tmp_path, containers=Containers("r/i:1"))

    kubeflow.run(config, options, create_pipeline)

    package = tmp_path / "vertex.json"
    job = json.loads(package.read_text())
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/out/artifacts"
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    assert {"ExampleGen", "DataGate", "Trainer", "Pusher"} <= set(tasks)
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert {e["container"]["image"] for e in executors if "container" in e} == {"r/i:1"}
    assert str(SCHEMA_PATH.parent) not in package.read_text()
    assert "/opt/throughline/schema/schema.pbtxt" in package.read_text()


@pytest.mark.parametrize(
    ("span", "window", "refused"),
    [
        ("newest", 1, False),
        ("7", 1, False),
        ("newest", 4, True),
        ("newest", "all", True),
        ("5..8", 1, True),
    ],
)
def test_vertex_ingests_one_span(span: str, window: int, *, refused: bool) -> None:
    """What TFX's own driver can't do is refused before anything is compiled."""
    place = Path("/gcs/bucket")
    config = settings.Config(
        output=place / "out",
        data=place / "data",
        pattern="{SPAN}/*.csv",
        span=span,
        window=window,
    )
    expected = (
        pytest.raises(UsageError, match="ingests one span")
        if refused
        else nullcontext()
    )
    with expected:
        kubeflow.for_vertex(config)


def test_vertex_has_no_spans_to_test_on() -> None:
    """With one span there would be none to learn from."""
    place = Path("/gcs/bucket")
    config = settings.Config(
        output=place / "out",
        data=place / "data",
        pattern="{SPAN}/*.csv",
        splits=settings.Splits(test_spans=1),
    )

    with pytest.raises(
        UsageError, match=r"splits\.test-spans is 1, which needs several"
    ):
        kubeflow.for_vertex(config)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"output": Path("/mnt/x")}, "output is /mnt/x; for Vertex AI it must be a"),
        ({"data": None}, "data is None; for Vertex AI"),
        ({"artifacts": "s3://bucket/x"}, "artifacts is s3://bucket/x; for Vertex AI"),
        ({"metadata": "mysql://u@h/d"}, "metadata is given, and Vertex AI has"),
        ({"name": "My_Taxi"}, "name is 'My_Taxi'; for Vertex AI"),
    ],
)
def test_what_vertex_can_t_reach_is_refused(changed: dict[str, Any], said: str) -> None:
    """A place or a setting that Vertex AI can't use is refused by name."""
    config = config_in(Path("/gcs/bucket/out"), data=Path("/gcs/bucket/data"))

    with pytest.raises(UsageError, match=said):
        kubeflow.for_vertex(replace(config, **changed))


def test_vertex_s_artifacts_can_be_elsewhere() -> None:
    """--artifacts is where they go, beside the output directory if it isn't given."""
    config = config_in(Path("/gcs/bucket/out"), data=Path("/gcs/bucket/data"))
    elsewhere = replace(config, artifacts="gs://other/place")

    assert kubeflow.for_vertex(config).artifact_root == "gs://bucket/out/artifacts"
    assert kubeflow.for_vertex(elsewhere) == elsewhere


class Api:
    """What Kubeflow Pipelines' API remembers."""

    def __init__(self) -> None:
        self.packages: list[bytes] = []
        self.versions: list[str] = []
        self.runs: list[dict[str, Any]] = []
        self.states = ["PENDING", "SUCCEEDED"]
        self.url = ""

    def answer(self, method: str, url: str, body: bytes) -> dict[str, Any] | None:
        """Answers a request, none for one that the API doesn't have."""
        path = urlsplit(url).path.removeprefix("/apis/v2beta1")
        if method == "POST" and path == "/pipelines/upload":
            self.packages.append(body)
            self.versions.append("v1")
            return {"pipeline_id": "p1"}
        if method == "POST" and path == "/pipelines/upload_version":
            assert parse_qs(urlsplit(url).query)["pipelineid"] == ["p1"]
            self.packages.append(body)
            self.versions.append(f"v{len(self.versions) + 1}")
            return self._version(self.versions[-1])
        if method == "POST" and path == "/runs":
            self.runs.append(json.loads(body))
            return {"run_id": f"r{len(self.runs)}"}
        if path.startswith("/runs/"):
            return {"run_id": path[6:], "state": self.states.pop(0)}
        answers: dict[str, dict[str, Any]] = {
            "/healthz": {"multi_user": False},
            "/pipelines": {"pipelines": [{"pipeline_id": "p1"}] * bool(self.versions)},
            "/pipelines/p1/versions": {
                "pipeline_versions": [self._version(v) for v in self.versions]
            },
            "/experiments": {
                "experiments": [{"experiment_id": "e1", "display_name": "throughline"}]
            },
        }
        return answers.get(path)

    @staticmethod
    def _version(name: str) -> dict[str, str]:
        return {"pipeline_id": "p1", "pipeline_version_id": name}


@pytest.fixture
def api() -> Iterator[Api]:
    """A server that speaks as much of the API as a submission needs."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            answer = api.answer(self.command, self.path, body)
            self.send_response(200 if answer is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer or {}).encode())

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield api
        server.shutdown()
        thread.join()


@pytest.fixture
def submit(
    written: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Submits the package of the four nodes to the server."""
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    config = config_in(written.parent)

    def run(**options: Any) -> int:
        host = options.pop("host", api.url)
        return kubeflow.submit(
            config, kubeflow.Options(submit=True, host=host, **options), written
        )

    return run


def test_package_is_uploaded_and_run(api: Api, submit: Callable[..., int]) -> None:
    """The package arrives as it was written, and a run of this version is started."""
    code = submit()

    assert code == 0
    (upload,) = api.packages
    text = upload[upload.index(b"# PIPELINE") : upload.rindex(b"\r\n--")].decode()
    pipeline, platforms = yaml.safe_load_all(text)
    assert pipeline["schemaVersion"] == "2.1.0"
    assert "kubernetes" in platforms["platforms"]
    (run,) = api.runs
    assert run["experiment_id"] == "e1"
    assert run["pipeline_version_reference"] == {
        "pipeline_id": "p1",
        "pipeline_version_id": "v1",
    }


def test_second_upload_is_a_new_version(api: Api, submit: Callable[..., int]) -> None:
    """A pipeline that the backend knows gets a new version, and that one runs."""
    submit()

    submit()

    assert api.versions == ["v1", "v2"]
    reference = api.runs[1]["pipeline_version_reference"]
    assert reference["pipeline_version_id"] == "v2"


@pytest.mark.parametrize(
    ("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)]
)
def test_waiting_ends_with_the_run(
    state: str, code: int, api: Api, submit: Callable[..., int]
) -> None:
    """With `--wait` the exit code is the run's, also of a cancelled one."""
    api.states = ["PENDING", "RUNNING", state]

    assert submit(wait=True) == code


def test_unreachable_backend_is_a_sentence(submit: Callable[..., int]) -> None:
    """A backend that doesn't answer is named, without a traceback."""
    with pytest.raises(ThroughlineError, match=r"http://127\.0\.0\.1:1 did not take"):
        submit(host="http://127.0.0.1:1")
