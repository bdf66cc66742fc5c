"""Evaluation of models: metrics, slices, thresholds and TFMA's file formats.

Nothing here reads the metadata store.
"""
