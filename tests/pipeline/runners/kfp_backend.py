"""Reads a compiled package as the Kubeflow Pipelines backend does, and runs it.

Each container's command becomes a process on this machine. What the open-source backend
refuses is refused here: unknown fields, executors that are no containers, another
schema. Placeholders are replaced where, and only where, the backend replaces them: in a
task's input if they are the whole of it, and a component's inputs in its command.
"""

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
from kfp.pipeline_spec import pipeline_spec_pb2 as spec_pb2


@dataclass
class Package:
    """A package, parsed strictly."""

    spec: spec_pb2.PipelineSpec
    executors: dict[str, spec_pb2.PipelineDeploymentConfig.ExecutorSpec]
    kubernetes: dict[str, kubernetes.KubernetesExecutorConfig]

    @classmethod
    def read(cls, path: Path) -> "Package":
        """Parses the pipeline and its settings for Kubernetes."""
        pipeline, platforms = yaml.safe_load_all(path.read_text())
        spec = json_format.ParseDict(pipeline, spec_pb2.PipelineSpec())
        assert spec.schema_version == "2.1.0"
        deployment = spec_pb2.PipelineDeploymentConfig()
        json_format.ParseDict(
            json_format.MessageToDict(spec.deployment_spec), deployment
        )
        json_format.ParseDict(platforms, spec_pb2.PlatformSpec())
        settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return cls(
            spec,
            dict(deployment.executors),
            {
                name: json_format.ParseDict(
                    value, kubernetes.KubernetesExecutorConfig()
                )
                for name, value in settings.items()
            },
        )


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        exit_codes: What each container that ran ended with, one for each attempt.
        text: What all of them printed.
    """

    exit_codes: dict[str, list[int]] = field(default_factory=dict)
    text: str = ""

    @property
    def exit_code(self) -> int:
        """The run's: the highest that a task ended with for good."""
        return max(codes[-1] for codes in self.exit_codes.values())


@dataclass
class Backend:
    """A cluster of one machine.

    Attributes:
        volumes: For each persistent volume claim, its directory, which must be the very
            path that it is mounted at.
        secrets: Values by the secret's name and key.
        path: What is put before PATH: the programs of the image.
        parallelism: Most containers at once.
    """

    volumes: Mapping[str, Path]
    secrets: Mapping[tuple[str, str], str]
    path: Path
    parallelism: int = 2

    def run(self, package: Package, run_id: str) -> Ended:
        """Runs a package until all tasks are done, or no more can start."""
        tasks = dict(package.spec.root.dag.tasks)
        for task in tasks.values():
            assert not task.caching_options.enable_cache
            assert set(task.dependent_tasks) <= set(tasks)
        ended = Ended()
        done: set[str] = set()
        running: dict[Future[int], str] = {}
        with ThreadPoolExecutor(self.parallelism) as pool:
            while True:
                started = {*running.values(), *ended.exit_codes}
                for name, task in tasks.items():
                    if name not in started and done.issuperset(task.dependent_tasks):
                        ended.exit_codes[name] = []
                        run = pool.submit(self._task, package, task, run_id, ended)
                        running[run] = name
                if not running:
                    return ended
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    if future.result() == 0:
                        done.add(name)

    def _task(
        self,
        package: Package,
        task: spec_pb2.PipelineTaskSpec,
        run_id: str,
        ended: Ended,
    ) -> int:
        component = package.spec.components[task.component_ref.name]
        executor = package.executors[component.executor_label]
        assert executor.WhichOneof("spec") == "container"
        inputs = _inputs(task, run_id)
        assert set(inputs) == set(component.input_definitions.parameters)
        container = executor.container
        command = [
            _replaced(part, inputs) for part in [*container.command, *container.args]
        ]
        environment = self._environment(package.kubernetes[component.executor_label])
        codes = ended.exit_codes[task.task_info.name.lower()]
        for _ in range(1 + task.retry_policy.max_retry_count):
            finished = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            codes.append(finished.returncode)
            ended.text += finished.stdout
            if finished.returncode == 0:
                break
        return codes[-1]

    def _environment(
        self, settings: kubernetes.KubernetesExecutorConfig
    ) -> dict[str, str]:
        for mount in settings.pvc_mount:
            directory = self.volumes[
                mount.pvc_name_parameter.runtime_value.constant.string_value
            ]
            assert Path(mount.mount_path) == directory
        environment = {**os.environ, "PATH": f"{self.path}:{os.environ['PATH']}"}
        for secret in settings.secret_as_env:
            name = secret.secret_name_parameter.runtime_value.constant.string_value
            for key in secret.key_to_env:
                environment[key.env_var] = self.secrets[name, key.secret_key]
        return environment


def _inputs(task: spec_pb2.PipelineTaskSpec, run_id: str) -> dict[str, str]:
    """Resolves the inputs of a task, as the backend's driver does."""
    known = {"{{$.pipeline_job_uuid}}": run_id}
    inputs = {}
    for name, value in task.inputs.parameters.items():
        assert value.WhichOneof("kind") == "runtime_value"
        constant = value.runtime_value.constant.string_value
        inputs[name] = known.get(constant, constant)
    return inputs


def _replaced(part: str, inputs: Mapping[str, str]) -> str:
    """Puts a component's inputs into its command, as the backend's launcher does."""
    for name, value in inputs.items():
        part = part.replace(f"{{{{$.inputs.parameters['{name}']}}}}", value)
    assert "{{" not in part
    return part
