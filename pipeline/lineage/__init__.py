"""Lineage queries on the metadata store, and views of their answers."""
