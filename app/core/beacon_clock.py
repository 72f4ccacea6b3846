"""The beacon writers' common time: continuous, never back, and no wall clock anywhere.

A writer's clock begins at the highest value that it read back from the stores, and goes on from when it read it, with
its own monotonic clock. While nobody writes or watches it stands still; that is no loss, for nothing is judged then.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BeaconClock:
    """A clock that read `value_ms` at the moment `anchor_ms` of the process's monotonic clock."""

    value_ms: int
    anchor_ms: int

    def at(self, now_ms: int) -> int:
        """Return the common time at a moment of the monotonic clock; one before the anchor counts as the anchor."""
        return self.value_ms + max(0, now_ms - self.anchor_ms)

    def at_least(self, value_ms: int, now_ms: int) -> BeaconClock:
        """Return a clock that has reached `value_ms`: this one where it has, else one put forward."""
        return self if self.at(now_ms) >= value_ms else BeaconClock(value_ms, now_ms)
