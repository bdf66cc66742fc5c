"""The versions of a model in its serving directory."""
