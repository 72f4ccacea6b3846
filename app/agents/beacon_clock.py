"""What the beacons' clock shows about now, for the worker's own questions to the world; no verdict rests on it.

Beacons arrive late by a delay that is never negative, so the least delay of the last minute is the best guess of how
our monotonic clock and theirs stand to each other. A margin covers that delay.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

_REMEMBERED_MS: Final = 60_000
_MARGIN_MS: Final = 1_000


@dataclass(slots=True)
class BeaconClock:
    """Remembers how far ahead of our clock the beacons of the last minute were."""

    _ahead: deque[tuple[int, int]] = field(default_factory=deque)  # seen at, ahead by; falling

    def seen(self, issued_at_ms: int, now_ms: int) -> None:
        """Take in a beacon that arrived now, on our monotonic clock."""
        ahead_ms = issued_at_ms - now_ms
        while self._ahead and self._ahead[-1][1] <= ahead_ms:
            self._ahead.pop()
        self._ahead.append((now_ms, ahead_ms))
        while self._ahead[0][0] < now_ms - _REMEMBERED_MS:
            self._ahead.popleft()

    def now_ms(self, now_ms: int) -> int | None:
        """Return a moment that the beacons' clock has reached at most a margin ago; None before the first beacon."""
        return now_ms + self._ahead[0][1] + _MARGIN_MS if self._ahead else None
