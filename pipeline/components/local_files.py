"""Artifacts in object stores, for code that reads and writes local files only.

TensorFlow has no file system for s3://, and TFX's stock executors leave their files to
it. So they get local copies of their inputs, and what they write is uploaded when they
have succeeded: a failed or killed node leaves nothing in the store. With artifacts in a
local directory nothing is copied.
"""

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact

from pipeline.beam.executors import is_in_process
from pipeline.columnar import files

Artifacts = Mapping[str, Sequence[Artifact]]


class OnLocalFiles(BaseExecutor):
    """Mixin in front of a stock executor, which then has local files only."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Runs the stock executor."""
        with local_files(input_dict, output_dict) as origins:
            result = super().Do(input_dict, output_dict, exec_properties)
            for written in result.output_artifacts.values() if result else ():
                for artifact in written.artifacts:
                    artifact.uri = origins.get(artifact.uri, artifact.uri)
            return result


@contextmanager
def local_files(inputs: Artifacts, outputs: Artifacts) -> Iterator[dict[str, str]]:
    """Gives artifacts local URIs during a block.

    Args:
        inputs: Artifacts to read; their files are downloaded.
        outputs: Artifacts to write; their files are uploaded, unless the block fails.

    Yields:
        The URI of each artifact that has another one meanwhile, by the local one.
    """
    origins: dict[str, str] = {}
    moved = [a for group in (*inputs.values(), *outputs.values()) for a in group]
    with ExitStack() as stack:
        try:
            for group, provide in (
                (inputs, files.local_copy),
                (outputs, files.written_locally),
            ):
                for artifact in (a for found in group.values() for a in found):
                    if files.is_remote(artifact.uri):
                        local = stack.enter_context(provide(artifact.uri))
                        origins[local] = artifact.uri
                        artifact.uri = local
            yield origins
        finally:
            for artifact in moved:
                artifact.uri = origins.get(artifact.uri, artifact.uri)
                _restore_properties(artifact, origins)


def _restore_properties(artifact: Artifact, origins: Mapping[str, str]) -> None:
    """Replaces local URIs that an executor has noted, such as the evaluated model's."""
    for value in artifact.mlmd_artifact.custom_properties.values():
        if value.string_value in origins:
            value.string_value = origins[value.string_value]


@contextmanager
def stock_files(
    executor: BaseBeamExecutor, inputs: Artifacts, outputs: Artifacts
) -> Iterator[None]:
    """Gives a stock executor local files; with workers elsewhere it has none.

    They share gs:// with this process, which TensorFlow and Beam read and write.
    """
    if is_in_process(executor):
        with local_files(inputs, outputs):
            yield
    else:
        yield


@contextmanager
def written_by_tensorflow(executor: BaseBeamExecutor, directory: str) -> Iterator[str]:
    """Provides an output directory to TensorFlow; see `stock_files`."""
    if is_in_process(executor):
        with files.written_locally(directory) as local:
            yield local
    else:
        yield directory


@contextmanager
def scratch(executor: BaseBeamExecutor, temporary: str) -> Iterator[str]:
    """Provides a directory to an executor and its workers, and removes it.

    Args:
        executor: Knows whether it has workers elsewhere.
        temporary: TFX's directory for such.
    """
    if is_in_process(executor) and files.is_remote(temporary):
        with tempfile.TemporaryDirectory(prefix="throughline-") as local:
            yield local
        return
    directory = files.join(temporary, uuid.uuid4().hex)
    files.make_directory(directory)
    try:
        yield directory
    finally:
        files.remove_directory(directory)
