"""What the executors of stock components are tested on."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tfx.types import Artifact
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import ExampleStatistics

from pipeline.columnar import files
from pipeline.components import file_systems
from pipeline.store.artifact_files import STATISTICS_FILE


@pytest.fixture
def small_statistics(bucket: str) -> Artifact:
    """Statistics of one column and two rows, in a bucket."""
    file_systems.register()
    artifact = ExampleStatistics()
    artifact.uri = f"{bucket}/StatisticsGen/statistics/1"
    artifact.split_names = encode_split_names(["train"])
    found = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"fare": [1.0, 2.0]}))
    place = files.join(artifact.uri, "Split-train", STATISTICS_FILE)
    files.write_bytes(place, found.SerializeToString())
    return artifact
