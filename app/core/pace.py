"""How fast a store may be read again: a budget of rows, and less of it while the store is slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOWEST: Final = 1 / 64
"""The least share of a budget: a sweep that is held back still goes on, and sees when its store is well again."""

_SLOW_TIMES: Final = 4.0
_SLOW_MS: Final = 20.0
_LEARN: Final = 0.05
_RECOVER: Final = 1.25


@dataclass(slots=True)
class Budget:
    """Rows per second that may be read, as a bucket that may be overdrawn by one slice and fills up to one second.

    >>> budget = Budget(100.0, at_ms=0)
    >>> budget.spend(300, 0)
    >>> budget.waits_ms(0), budget.waits_ms(1_000), budget.waits_ms(2_000)
    (2000, 1000, 0)
    """

    rows_per_second: float
    at_ms: int
    rows: float = -1.0  # that may be read at once; below zero: owed

    def __post_init__(self) -> None:
        self.rows = self.rows_per_second

    def spend(self, rows: int, now_ms: int, share: float = 1.0) -> None:
        """Take rows that were read out of the bucket, which has filled at a share of its rate since."""
        self._fill(now_ms, share)
        self.rows -= rows

    def waits_ms(self, now_ms: int, share: float = 1.0) -> int:
        """Return in how many milliseconds the next slice may begin."""
        self._fill(now_ms, share)
        return 0 if self.rows >= 0 else round(-self.rows * 1_000 / (self.rows_per_second * share))

    def _fill(self, now_ms: int, share: float) -> None:
        elapsed_ms, self.at_ms = max(0, now_ms - self.at_ms), max(self.at_ms, now_ms)
        self.rows = min(self.rows_per_second, self.rows + self.rows_per_second * share * elapsed_ms / 1_000)


@dataclass(slots=True)
class BackOff:
    """The share of its budget that a store bears: halved while it answers slowly or its log lags, then let up again.

    What is slow is held against what is usual, which follows the answers slowly, and quick answers at once.
    """

    lag_ms_max: int
    share: float = 1.0
    usual_ms: float | None = None

    def look(self, answered_ms: float, lag_ms: int) -> float:
        """Take in how long the store took to answer and how far its log is behind; return the share."""
        usual_ms = answered_ms if self.usual_ms is None else self.usual_ms
        is_slow = answered_ms > usual_ms * _SLOW_TIMES + _SLOW_MS
        self.usual_ms = min(answered_ms, usual_ms + _LEARN * (answered_ms - usual_ms))
        if is_slow or lag_ms > self.lag_ms_max:
            self.share = max(SLOWEST, self.share / 2)
        else:
            self.share = min(1.0, self.share * _RECOVER)
        return self.share
