"""Benchmarks of whole runs, compared with stock TFX and a plain script."""
