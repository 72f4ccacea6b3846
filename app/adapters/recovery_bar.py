"""A bar on the terminal of a person who waits for a worker to read its state."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass(slots=True)
class RecoveryBar:
    """Is drawn on stderr, where that is a terminal."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    _progress: Progress | None = None

    def show(self, done: int, total: int) -> bool:
        """Draw how far it is; False where nobody would see it."""
        if not self.console.is_terminal:
            return False
        if self._progress is None:
            columns = (TextColumn("reading the state"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.add_task("", total=total)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)
        return True

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
