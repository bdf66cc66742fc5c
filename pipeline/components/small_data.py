"""Examples that are few enough to be handled in memory, without Beam."""

from pathlib import Path

from tfx.types import Artifact

from pipeline.ingestion.tfrecord import read_records

# Gzipped tf.Examples; they take some thirty times as much in memory.
MOST_BYTES_IN_MEMORY = 16_000_000


def fits_in_memory(examples: Artifact) -> bool:
    """Whether all splits of an Examples artifact are small together."""
    files = (path for path in Path(examples.uri).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) <= MOST_BYTES_IN_MEMORY


def read_examples(directory: Path) -> list[bytes]:
    """Reads the serialized tf.Examples of one split.

    Args:
        directory: Holds the split's gzipped TFRecord files.

    Returns:
        The examples in the order of the files' names.

    Raises:
        ThroughlineError: A file is damaged; names it.
    """
    files = sorted(directory.iterdir())
    return [record for file in files for record in read_records(file)]
