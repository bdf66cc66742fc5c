"""How good a model is: metrics, slices, thresholds and TFMA's file formats.

Nothing here reads the metadata store.
"""
