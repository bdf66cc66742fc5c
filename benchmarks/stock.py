"""Writes TFX's taxi template with all features and steps that its guide enables.

The template is read from the installed wheel; its optional features and steps are
enabled, and the training steps and the batch size are set.
"""

import importlib.util
import re
import shutil
from pathlib import Path

_TEMPLATE = Path("experimental/templates/taxi")
_PIPELINE_NAME = "stock"


def write_template(directory: Path, data: Path, *, steps: int, batch: int) -> None:
    """Writes the template into a directory, ready for `python local_runner.py`.

    Args:
        directory: An existing, empty directory.
        data: Directory of the CSV files to read.
        steps: Training steps.
        batch: Rows in a training step.

    Raises:
        RuntimeError: The template differs from that of TFX 1.21.
    """
    spec = importlib.util.find_spec("tfx")
    if spec is None or spec.origin is None:
        raise RuntimeError("TFX is not installed")
    shutil.copytree(Path(spec.origin).parent / _TEMPLATE, directory, dirs_exist_ok=True)
    for path in directory.rglob("*.py"):
        text = path.read_text().replace("tfx.experimental.templates.taxi.", "")
        path.write_text(text.replace("{{PIPELINE_NAME}}", _PIPELINE_NAME))
    # The numbers of replacements are checked: an edit that silently matches nothing
    # would compare with half a template.
    _edit(directory / "pipeline/pipeline.py", r"# (components\.append\()", r"\1", 9)
    _enable_features(directory / "models/features.py")
    constants = directory / "models/keras_model/constants.py"
    _edit(constants, r"BATCH_SIZE = \d+", f"BATCH_SIZE = {batch}", 2)
    configs = directory / "pipeline/configs.py"
    _edit(configs, r"TRAIN_NUM_STEPS = \d+", f"TRAIN_NUM_STEPS = {steps}", 1)
    shutil.rmtree(directory / "data", ignore_errors=True)
    (directory / "data").symlink_to(data)


def _enable_features(path: Path) -> None:
    """Uncomments the block that lists all features."""
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if "Uncomment below" in line)
    last = next(i for i, line in enumerate(lines) if i > first and not line)
    block = [re.sub(r"^# ?", "", line) for line in lines[first + 1 : last]]
    path.write_text("\n".join([*lines[:first], *block, *lines[last:], ""]))
    if "'company'" not in "".join(block):
        raise RuntimeError(f"{path} has no block of all features")


def _edit(path: Path, pattern: str, replacement: str, times: int) -> None:
    text, count = re.subn(pattern, replacement, path.read_text())
    if count != times:
        raise RuntimeError(f"{path}: {pattern} occurs {count} times, not {times}")
    path.write_text(text)
