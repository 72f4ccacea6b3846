"""The workers as a supervisor would run them: one that ends is started again, unless it was told to leave."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from demo_parts.processes import Processes
from engine_judge.deployment import Deployment

from drill_parts.deployment import settings_of

_DOWN_S: Final = (0.1, 2.5)
_ENDS_MOST: Final = 60
COULD_NOT_RUN: Final = 2
"""The product's exit code for what a worker ends with when something that it needs is away."""


class Unruly(RuntimeError):
    """A worker ended as it must not, or again and again."""


@dataclass
class Workers:
    """All workers of a deployment by name."""

    folder: Path
    deployment: Deployment
    chance: random.Random
    say: Callable[[str], None]
    kills: int = 0
    joins: int = 0
    leaves: int = 0
    ended_by_themselves: int = 0
    peak_bytes: int = 0  # the most resident memory that one of them was seen to have had
    _processes: Processes = field(init=False)
    _due: dict[str, float] = field(default_factory=dict)  # when to start again what is down

    def __post_init__(self) -> None:
        self._processes = Processes(self.folder)

    def names(self) -> list[str]:
        """Return those that run."""
        return sorted(self._processes.names())

    def every_name(self) -> list[str]:
        """Return those that were ever started."""
        return sorted(path.stem for path in self._processes.logs.glob("*.log"))

    def join(self, name: str) -> None:
        """Start a worker."""
        self.joins += 1
        self._start(name)

    def leave(self, name: str) -> None:
        """Ask a worker to leave; it must end with 0."""
        self._due.pop(name, None)
        if name not in self._processes.names():
            return
        self.leaves += 1
        code = self._processes.end(name, patience_s=60)
        if code != 0:
            raise Unruly(f"{name} was asked to end and ended with {code}; its log ends:\n{self._processes.tail(name)}")

    def kill(self, name: str, *, wipe: bool = False) -> None:
        """Kill a worker with -9, delete its state if that is asked for, and start it again a little later."""
        if name not in self._processes.names():
            return
        self._processes.kill(name)
        self.kills += 1
        if wipe:
            shutil.rmtree(self.folder / "state" / name)
        self._due[name] = time.monotonic() + self.chance.uniform(*_DOWN_S)

    def turn(self) -> None:
        """Start again what is due, and what ended by itself; look at the memory of those that run."""
        self.peak_bytes = max([self.peak_bytes, *map(self._processes.peak_bytes, self.names())])
        for name, code in self._processes.take_ended().items():
            self.ended_by_themselves += 1
            self.say(f"{name} ended by itself with {code}")
            if code != COULD_NOT_RUN or self.ended_by_themselves > _ENDS_MOST:
                raise Unruly(f"{name} ended with {code}; its log ends:\n{self._processes.tail(name)}")
            self._due[name] = time.monotonic() + 1.0
        for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
            del self._due[name]
            self._start(name)

    def log(self, name: str) -> str:
        """Return a worker's log."""
        return self._processes.tail(name, lines=10_000)

    def end_all(self) -> None:
        """Let all leave at once; each must end with 0."""
        while self._due:
            self.turn()
            time.sleep(0.1)
        for name in self.names():
            self.leave(name)

    def abandon(self) -> None:
        """Kill what still runs: the drill is over, well or not."""
        for name in self.names():
            self._processes.kill(name)

    def _start(self, name: str) -> None:
        settings = settings_of(self.folder, self.deployment, name)
        self._processes.start(name, [sys.executable, "-m", "app", "--config", str(settings), "worker"])
