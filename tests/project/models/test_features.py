"""The declarations hold together."""

import subprocess
import sys

from models import declarations, features
from models.declared import RAW_COLUMNS


def test_every_transformed_column_has_a_name_of_its_own() -> None:
    """Two features of one column, such as the fare's, do not overwrite each other."""
    names = [n for f in features.FEATURES for n in declarations.transformed_names(f)]
    names += [features.LABEL.name, declarations.WEIGHT]

    repeated = {name for name in names if names.count(name) > 1}

    assert repeated == set()


def test_the_label_column_is_no_feature() -> None:
    """A model cannot read the tips that it predicts."""
    assert features.TIPS not in RAW_COLUMNS


def test_importing_features_and_hyperparameters_does_not_import_tensorflow() -> None:
    """The command line answers --help without waiting for TensorFlow."""
    code = (
        "import sys, models.declared, models.hyperparameters;"
        "print([m for m in ('tensorflow', 'keras', 'tfx') if m in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
