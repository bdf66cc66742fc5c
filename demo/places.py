"""Where the demo keeps everything: a directory of its own, emptied at each start."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from data.quarters import PATTERN
from pipeline import config as settings
from pipeline.config import Config
from pipeline.errors import UsageError

_MARK = ".throughline-demo"


@dataclass(frozen=True)
class Places:
    """The demo's directory and what is in it.

    Attributes:
        root: The directory, absolute.
    """

    root: Path

    @property
    def clock(self) -> Path:
        """The file with the simulated time."""
        return self.root / "clock"

    @property
    def data(self) -> Path:
        """The training data, by span."""
        return self.root / "data"

    @property
    def inbox(self) -> Path:
        """Where files of outcomes arrive."""
        return self.root / "inbox"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.root / "logs"

    def config(self, train_steps: int) -> Config:
        """Returns the settings of the pipeline, and so of all that reads its files."""
        return replace(
            settings.local(),
            data=self.data,
            pattern=PATTERN,
            window="all",
            output=self.root / "output",
            train_steps=train_steps,
        )

    def prepare(self) -> None:
        """Creates the directory, or empties that of an earlier demo.

        Raises:
            UsageError: It has something else.
        """
        if self.root.exists() and not (self.root / _MARK).is_file():
            if not self.root.is_dir() or any(self.root.iterdir()):
                raise UsageError(
                    f"{self.root} has something that is not of an earlier demo; give "
                    "--output an empty directory, or one that doesn't exist"
                )
        elif self.root.exists():
            shutil.rmtree(self.root)
        for directory in (self.root, self.data, self.inbox, self.logs):
            directory.mkdir(parents=True, exist_ok=True)
        (self.root / _MARK).touch()

    def deliver(self, span: int, files: dict[str, bytes]) -> None:
        """Delivers a span of training data; it appears when it is complete."""
        hidden = self.data / f".span-{span}"
        hidden.mkdir()
        for name, content in files.items():
            (hidden / name).write_bytes(content)
        hidden.rename(self.data / f"span-{span}")

    def post(self, name: str, content: bytes) -> None:
        """Puts a file of outcomes into the inbox; it appears when it is complete."""
        hidden = self.inbox / f".{name}"
        hidden.write_bytes(content)
        hidden.rename(self.inbox / name)
