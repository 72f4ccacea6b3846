"""What is true, from exact times that the product never sees. Shares no code with the verdict that it judges."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

ABSENT = b""


@dataclass
class History:
    """Every state of one row in one store, with the exact moment of each change."""

    times_ms: list[int] = field(default_factory=lambda: [-(10**9)])
    states: list[bytes] = field(default_factory=lambda: [ABSENT])

    def change(self, at_ms: int, state: bytes) -> None:
        """Note a change."""
        self.times_ms.append(at_ms)
        self.states.append(state)

    def at(self, moment_ms: int) -> bytes:
        """Return the state at a moment."""
        return self.states[bisect_right(self.times_ms, moment_ms) - 1]

    def last_moment_in(self, state: bytes, until_ms: int) -> int | None:
        """Return the last moment up to `until_ms` at which the row was in a state; None if never."""
        for i in range(bisect_right(self.times_ms, until_ms) - 1, -1, -1):
            if self.states[i] == state:
                ended = self.times_ms[i + 1] if i + 1 < len(self.times_ms) else until_ms
                return min(ended, until_ms)
        return None


def vouched_at(authority: History, replica: History, moment_ms: int) -> int:
    """Return the last moment up to which the authority vouched for what the replica had shown by `moment_ms`."""
    best = -(10**9)
    for i in range(bisect_right(replica.times_ms, moment_ms)):
        left = replica.times_ms[i + 1] if i + 1 < len(replica.times_ms) else moment_ms
        vouched = authority.last_moment_in(replica.states[i], min(left, moment_ms))
        if vouched is not None:
            best = max(best, vouched)
    return best


def drifts(authority: History, replica: History, window_ms: int, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Return every stretch in which the replica was unvouched for longer than the window: (deadline, end)."""
    moments = sorted({t for t in authority.times_ms + replica.times_ms if start_ms < t < end_ms} | {start_ms, end_ms})
    found: list[tuple[int, int]] = []
    for begin, end in pairwise(moments):
        deadline = max(vouched_at(authority, replica, end - 1), start_ms) + window_ms
        if deadline < end:
            begins = max(begin, deadline)
            if found and found[-1][1] >= begins - 1:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begins, end))
    return found
