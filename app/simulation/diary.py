"""What happened in a world: every fault, counted and kept for the story of a run that failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from app.simulation.faults import Fault


@dataclass(frozen=True, slots=True)
class Happening:
    """A fault at a moment of the world's clock; the key is empty where it concerns no single row."""

    at_ms: int
    fault: Fault
    store: str
    key: bytes


@dataclass(slots=True)
class Diary:
    """All faults of a world, in the order in which they happened."""

    happenings: list[Happening] = field(default_factory=list)
    counts: Counter[Fault] = field(default_factory=Counter)

    def note(self, fault: Fault, at_ms: int, store: str = "", key: bytes = b"") -> None:
        """Count a fault."""
        self.happenings.append(Happening(at_ms, fault, store, key))
        self.counts[fault] += 1
