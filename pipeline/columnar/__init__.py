"""The data plane: Parquet shards, Arrow record batches, tensors, and who runs them.

Nothing here knows a graph, an artifact or the metadata store.
"""
