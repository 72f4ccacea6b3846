"""The beacons of one store in the order of its log, and the bracket of time that they give to every change.

A change happened after the `issued_at` of the last beacon before it and before the acknowledgement of the first one
after it. That acknowledgement travels with the next beacon, so a bracket's end is known one beacon late; until then it
is open. Beacons of an older writer are ignored as soon as a newer one was seen in any store: two writers' clocks are
close but not the same.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from app.core.limits import BEACONS_KEPT
from app.core.position import BEFORE_ALL
from app.core.verdict import EVER, OPEN


@dataclass(slots=True)
class Timeline:
    """Positions of the kept beacons with when each was issued and acknowledged (`OPEN` until known)."""

    positions: list[bytes] = field(default_factory=list)
    issued_ms: list[int] = field(default_factory=list)
    acknowledged_ms: list[int] = field(default_factory=list)
    sequence: tuple[int, int] = (0, 0)  # writer's epoch and sequence of the newest

    def add(self, position: bytes, writer: tuple[int, int], issued_ms: int, previous_acknowledged_ms: int) -> bool:
        """Take in a beacon; False for one seen before or out of order, which changes nothing."""
        if writer <= self.sequence or (self.positions and position <= self.positions[-1]):
            return False
        # Time never goes back along a log, whatever a writer says.
        if self.issued_ms:
            issued_ms = max(issued_ms, self.issued_ms[-1])
            self.acknowledged_ms[-1] = max(previous_acknowledged_ms, self.issued_ms[-1])
        self.positions.append(position)
        self.issued_ms.append(issued_ms)
        self.acknowledged_ms.append(OPEN)
        self.sequence = writer
        return True

    def forget_oldest(self) -> bytes | None:
        """Drop the oldest beacon if more than the limit are kept, and return its position."""
        if len(self.positions) <= BEACONS_KEPT:
            return None
        self.issued_ms.pop(0)
        self.acknowledged_ms.pop(0)
        return self.positions.pop(0)

    @property
    def untold_from(self) -> bytes:
        """The position from which on the end of a change's bracket is not known yet."""
        return self.positions[-2] if len(self.positions) > 1 else BEFORE_ALL

    def bracket(self, position: bytes) -> tuple[int, int]:
        """Return the earliest and the latest moment of a change; `EVER` and `OPEN` where an end is not known."""
        i = bisect_right(self.positions, position)
        earliest_ms = self.issued_ms[i - 1] if i else EVER
        latest_ms = self.acknowledged_ms[i] if i < len(self.positions) else OPEN
        return earliest_ms, latest_ms
