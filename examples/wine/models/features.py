"""Declares the features and the label of the model.

Written by `throughline new` from the data; change it as you like. The kinds
of features and labels are in `models/declarations.py`.
"""

from models.declarations import (
    AnyLabel,
    Classes,
    Feature,
    Numeric,
)

FEATURES: tuple[Feature, ...] = (
    # 11.03 to 14.83
    Numeric("alcohol"),
    # 0.74 to 5.8
    Numeric("malic_acid"),
    # 1.36 to 3.23
    Numeric("ash"),
    # 10.6 to 30
    Numeric("alcalinity_of_ash"),
    # 70 to 162
    Numeric("magnesium"),
    # 0.98 to 3.88
    Numeric("total_phenols"),
    # 0.34 to 5.08
    Numeric("flavanoids"),
    # 0.13 to 0.66
    Numeric("nonflavanoid_phenols"),
    # 0.41 to 3.58
    Numeric("proanthocyanins"),
    # 1.28 to 13
    Numeric("color_intensity"),
    # 0.48 to 1.71
    Numeric("hue"),
    # 1.27 to 4
    Numeric("od280/od315_of_diluted_wines"),
    # 278 to 1680
    Numeric("proline"),
)

# classes: 3 distinct values
LABEL: AnyLabel = Classes(column="target", values=(0, 1, 2))

SLICE_COLUMNS: tuple[str, ...] = ()
"""Raw columns whose values are the slices of the evaluation."""
