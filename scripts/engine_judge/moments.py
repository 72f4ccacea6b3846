"""The moment of a change: after the beacon before it in its own log was issued, before the next one was acknowledged.

A beacon says when it was issued and when the one before it was acknowledged, all on one clock, so the end of a bracket
is known one beacon later.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

EVER = -(2**62)
NEVER = 2**62

Place = tuple[int, ...]
"""Where a change stands in its log, as numbers that compare as the log orders them."""


@dataclass
class Beacons:
    """The streamed beacons of one store, in the order of its log."""

    places: list[Place] = field(default_factory=list)
    issued_ms: list[int] = field(default_factory=list)
    acknowledged_ms: list[int] = field(default_factory=list)

    def add(self, place: Place, issued_ms: int, previous_acknowledged_ms: int) -> None:
        """Take in a beacon; one that a connector sent again is known already."""
        if self.places and place <= self.places[-1]:
            return
        if self.acknowledged_ms:
            self.acknowledged_ms[-1] = previous_acknowledged_ms
        self.places.append(place)
        self.issued_ms.append(issued_ms)
        self.acknowledged_ms.append(NEVER)

    def before(self, place: Place) -> int:
        """Return how many beacons stand before a place."""
        return bisect_left(self.places, place)

    def earliest_ms(self, before: int) -> int:
        """Return the earliest moment of a change that has so many beacons before it."""
        return self.issued_ms[before - 1] if before else EVER

    def latest_ms(self, before: int) -> int:
        """Return the latest moment of a change that has so many beacons before it."""
        return self.acknowledged_ms[before] if before < len(self.places) else NEVER
