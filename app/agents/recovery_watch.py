"""Watch the state being read from its changelog: how much is left, and for how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

_TELL_EVERY_S: Final = 2.0


class RecoveryNews(Protocol):
    """Is told of a recovery. Records are offsets of the changelog, of which compaction has removed some."""

    def recovering(self, done: int, total: int, left_s: float | None) -> None:
        """Hear how far it is; `left_s` is None while there is nothing to estimate by."""
        ...

    def recovered(self, records: int, elapsed_s: float) -> None:
        """Hear that it is over."""
        ...


@dataclass(slots=True)
class RecoveryWatch:
    """One worker's recoveries, one after the other. Times are seconds of a monotonic clock."""

    news: RecoveryNews
    _began_s: float | None = None
    _told_s: float = 0.0
    _total: int = 0

    def look(self, remaining: int | None, now_s: float) -> None:
        """Take in how many records are left to read; None where nothing is being recovered."""
        if remaining is None:
            if self._began_s is not None:
                self.news.recovered(self._total, now_s - self._began_s)
                self._began_s, self._total = None, 0
            return
        if self._began_s is None:
            self._began_s = self._told_s = now_s
        # The ends of the partitions become known one after the other, and the first look may be before any.
        self._total = max(self._total, remaining)
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            done = self._total - remaining
            left_s = (now_s - self._began_s) * remaining / done if done else None
            self.news.recovering(done, self._total, left_s)
