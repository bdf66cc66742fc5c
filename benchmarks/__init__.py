"""Measurements of whole runs, ours beside the stock parts of TFX."""
