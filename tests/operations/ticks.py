"""A model that is operated in a test: a fake clock, real files, a real store."""

import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from operations import facts as derived
from operations.decisions import Decision
from operations.reconciler import Reconciler
from operations.settings import Operate
from pipeline.config import Config
from tests.operations.request_logs import START

STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in.py"))


@dataclass
class Operated:
    """A model, the clock, and what was said.

    Attributes:
        config: The pipeline's settings.
        settings: When to do what.
        now: What the clock says.
        said: All lines.
    """

    config: Config
    settings: Operate = field(default_factory=lambda: Operate(backoff_minutes=0))
    now: datetime = START
    said: list[str] = field(default_factory=list)

    def reconciler(self) -> Reconciler:
        """What ticks."""
        return Reconciler(
            self.config, self.settings, self._time, self.said.append, STAND_IN
        )

    def _time(self) -> datetime:
        return self.now

    def tick(self, minutes: float = 1, **settings: Any) -> int:
        """Ticks some minutes later; returns the exit code."""
        self.settings = replace(self.settings, **settings)
        self.now += timedelta(minutes=minutes)
        return self.reconciler().tick()

    def arrive(self, *spans: int) -> None:
        """Delivers spans of the training data."""
        for number in spans:
            directory = self.config.data_directory / f"span-{number}"
            directory.mkdir(parents=True)
            (directory / "rows.csv").write_text(f"fare\n{number}\n")

    @property
    def decisions(self) -> list[Decision]:
        """All decisions."""
        return derived.decisions_of(self.config).all()

    @property
    def started(self) -> list[str]:
        """The spans of each run that was started, in order."""
        file = self.config.output / "started"
        text = file.read_text() if file.exists() else ""
        return [line.split()[1] for line in text.splitlines()]

    def put(self, name: str, text: str = "") -> Path:
        """Writes a file that the stand-in reads."""
        self.config.output.mkdir(exist_ok=True)
        path = self.config.output / name
        path.write_text(text)
        return path
