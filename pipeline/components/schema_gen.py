"""The stock SchemaGen, whose statistics may be in an object store."""

from tfx.components.schema_gen import executor as stock

from pipeline.components.local_files import OnLocalFiles


class Executor(OnLocalFiles, stock.Executor):
    """TFDV reads statistics with TensorFlow, which has no s3://."""
