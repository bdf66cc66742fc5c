"""The notebooks, executed against a real run with the network cut off."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.runs import PROJECT, Finished

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
# The kernel itself talks over the loopback interface.
CUT_OFF = """
import socket

def _refuse(self, address, _connect=socket.socket.connect):
    if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
        raise AssertionError(f"the notebook asked for {address}")
    return _connect(self, address)

socket.socket.connect = _refuse
"""
# What each must have shown, of this very run.
SHOWN = {
    "01_data": ["payment_type", "trip_start_hour", "image/png"],
    "02_model": ["binary_accuracy", "payment_type Cash", "precision", "image/png"],
    "03_lineage": ["image/svg+xml", "taxi.csv", "Trainer.seed"],
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_outputs(path: Path) -> None:
    """What git holds is text and code, without outputs and counts."""
    notebook = nbformat.read(path, as_version=4)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not [c for c in code if c.outputs or c.execution_count]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_only_imports(path: Path) -> None:
    """A notebook reads and shows; functions and classes are in the packages."""
    notebook = nbformat.read(path, as_version=4)

    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")

    assert "\ndef " not in code
    assert "\nclass " not in code


@pytest.mark.e2e
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_offline_on_a_real_run(
    path: Path, second_run: Finished, tmp_path: Path
) -> None:
    """Each notebook runs to its end without a network, and shows its subject."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(CUT_OFF))
    for cell in notebook.cells:
        cell.source = cell.source.replace(
            "OUTPUT = None", f"OUTPUT = {str(second_run.output)!r}"
        )

    NotebookClient(
        notebook,
        timeout=180,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()

    outputs = json.dumps([c.get("outputs", []) for c in notebook.cells])
    for said in SHOWN[path.stem]:
        assert said in outputs
