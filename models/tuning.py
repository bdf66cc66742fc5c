"""Declares which hyperparameters `--tune` searches, and where. Replace it freely.

The other hyperparameters keep the values that `throughline config` shows. The first
trial is of the values in use, so that the best of a search is never worse than they are
on the eval split.
"""

from models.search_space import Choice, Range, Space

SPACE: Space = {
    "learning_rate": Range(0.0005, 0.01, log=True),
    "hidden_layers": Choice(((32,), (64, 32), (128, 64), (64, 32, 16))),
    "embedding_width": Choice((4, 8, 16)),
    "dropout": Range(0.0, 0.5),
    "l2": Choice((0.0, 1e-6, 1e-5, 1e-4)),
}
"""Dimensions by the name of a field of `models.hyperparameters.Hyperparameters`."""
