"""The metadata store and the artifacts' files: connection, graph, upkeep, retention."""
