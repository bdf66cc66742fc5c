"""The stock Trainer, whose artifacts may be in an object store.

`run_fn` reads the transform graph and writes the model with TensorFlow, so it gets
local directories for these. The examples stay where they are: `pipeline.columnar` reads
them from there, and they may not fit on the disk.
"""

from typing import Any

from tfx.components.trainer import executor as stock
from tfx.types import Artifact
from tfx.types import standard_component_specs as specs

from pipeline.components.local_files import local_files


class Executor(stock.GenericExecutor):
    """The stock executor, with all but the examples as local files."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains the model; see TFX's executor."""
        small = {k: v for k, v in input_dict.items() if k != specs.EXAMPLES_KEY}
        with local_files(small, output_dict):
            super().Do(input_dict, output_dict, exec_properties)
