"""Directories that are shaped like SavedModels, for tests of versions."""

from pathlib import Path

FILES = {
    "saved_model.pb": "graph",
    "fingerprint.pb": "print",
    "variables/variables.index": "index",
    "variables/variables.data-00000-of-00001": "weights",
    "assets/vocabulary": "Cash\nCredit Card\n",
}


def write(directory: Path, files: dict[str, str]) -> Path:
    """Writes files by relative path; returns the directory."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def read(directory: Path) -> dict[str, str]:
    """Reads all files by relative path."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def named(directory: Path, name: str) -> Path:
    """Writes a model with weights of its own; returns its directory."""
    weights = {"variables/variables.data-00000-of-00001": f"weights of {name}"}
    return write(directory / name, FILES | weights)


def weights_of(version: Path) -> str:
    """Reads the weights of a version that `named` wrote."""
    return (version / "variables/variables.data-00000-of-00001").read_text()
