"""Versions of the model in the serving directory."""
