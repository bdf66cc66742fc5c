"""The standard Tuner, whose trials are trained on columns and survive a crash.

It takes the inputs, parameters and outputs of TFX's Tuner and writes its files, and one
more with all trials, failed ones too.
"""

import json
from typing import Any

from tfx.components.tuner import executor as stock
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs

from pipeline.caching import key as cache_key
from pipeline.caching.fingerprint import digest
from pipeline.columnar import files
from pipeline.components.local_files import local_files
from pipeline.store.artifact_files import TRIALS_FILE

_TRIALS = "trials"
"""Directory of the finished trials, next to those of the node's outputs."""
# What decides which trials there are, but not the result of one.
_OF_THE_SEARCH = frozenset({"hyperparameters", "trials", "max_trial_seconds"})


class Executor(stock.Executor):
    """The stock executor, with a directory of finished trials that outlives a run."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches, and writes the best hyperparameters; see TFX's executor."""
        directory = self._trials(input_dict, output_dict, exec_properties)
        files.make_directory(directory)
        small = {k: v for k, v in input_dict.items() if k != specs.EXAMPLES_KEY}
        with local_files(small, output_dict):
            tuner = stock.search(
                input_dict, exec_properties, directory, print_tuning_summary=False
            )
            stock.write_best_hyperparameters(tuner, output_dict)
            results = artifact_utils.get_single_uri(
                output_dict[specs.TUNER_RESULTS_KEY]
            )
            text = json.dumps(tuner.results(), indent=1)
            files.write_text(files.join(results, TRIALS_FILE), text)

    def _trials(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> str:
        """Returns a directory of the trials with the same data, code and training."""
        config = json.loads(exec_properties[specs.CUSTOM_CONFIG_KEY]) or {}
        inputs = {name: [a.uri for a in found] for name, found in input_dict.items()}
        settings = {
            **exec_properties,
            specs.CUSTOM_CONFIG_KEY: {
                name: v for name, v in config.items() if name not in _OF_THE_SEARCH
            },
        }
        code = cache_key.parts_in(self._extra_flags or [])
        same = json.dumps([inputs, settings, code], sort_keys=True, default=str)
        # Three levels above: of the node, below which nothing else has this name.
        (output,) = output_dict[specs.TUNER_RESULTS_KEY]
        node = output.uri.rstrip("/").rsplit("/", 2)[0]
        return files.join(node, ".system", _TRIALS, digest(same)[:32])
