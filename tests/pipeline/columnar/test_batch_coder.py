"""Record batches between the stages of Beam's engines."""

import pickle

import pyarrow as pa
import pytest

from pipeline.columnar import batch_coder

BATCH = pa.RecordBatch.from_pydict(
    {
        "fare": pa.array([[12.25], None, []] * 1000, pa.list_(pa.float32())),
        "company": pa.array([["Flash Cab"], ["Ä"], None] * 1000, pa.list_(pa.binary())),
    }
)


@pytest.mark.parametrize("batch", [BATCH, BATCH.slice(5, 7), BATCH.slice(0, 0)])
def test_a_batch_is_the_same_afterwards(batch: pa.RecordBatch) -> None:
    """Missing values, empty lists, parts of a batch and batches without rows too."""
    coder = batch_coder.BatchCoder()

    assert coder.decode(coder.encode(batch)).equals(batch)


def test_repeated_values_are_compressed() -> None:
    """They take a quarter of what pickle makes of them, at most."""
    encoded = batch_coder.BatchCoder().encode(BATCH)

    assert len(encoded) < 0.25 * len(pickle.dumps(BATCH))
