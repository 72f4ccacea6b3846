"""The wall's clock as repairs go by it: where the wall's is set back, it stands still.

What has expired, an approval, a command or a key, must not become young again: not while this process lives, and not
behind what the ledgers show to have been written. A ledger that shows a time which this host's clock has not nearly
reached is not heeded: whoever may insert into it could end every command by one row. Nor is anything written by it then
(`app.core.guard`).
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.limits import CLOCK_SKEW_MS_MAX


class ForwardClock:
    """A clock in milliseconds of the wall's time that never goes back."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._own_ms = self._newest_ms = 0

    @classmethod
    def of(cls, wall_ms: Callable[[], int]) -> ForwardClock:
        """Return such a clock over another, or that one if it is one already."""
        return wall_ms if isinstance(wall_ms, cls) else cls(wall_ms)

    def __call__(self) -> int:
        """Return what time it is."""
        self._own_ms = max(self._own_ms, self._wall_ms())
        self._newest_ms = max(self._newest_ms, self._own_ms)
        return self._newest_ms

    def heed(self, at_ms: int) -> None:
        """Take in a moment that has been elsewhere, unless it is further ahead of the wall's clock than clocks are.

        It is held against that clock and not against what was heeded, or rows could push it on step by step.
        """
        self()
        if at_ms <= self._own_ms + CLOCK_SKEW_MS_MAX:
            self._newest_ms = max(self._newest_ms, at_ms)
