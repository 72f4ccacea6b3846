"""What one change topic says of its table's re-reading: which rows, in which passes over the table, at which times."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from engine_judge.topics import Record

_READ_AGAIN: Final = b'"snapshot":"incremental"'
_READ_FIRST: Final = b'"op":"r"'


@dataclass(frozen=True, slots=True)
class Pass:
    """One way over the table: the rows that were read or had changed meanwhile, how many were read, and when."""

    shown: int
    reads: int
    begun_s: float
    ended_s: float

    @property
    def rows_per_s(self) -> float:
        """How fast rows were read."""
        return self.reads / max(self.ended_s - self.begun_s, 1e-3)


@dataclass
class Rereads:
    """Reads and changes of rows, each as its second and its key."""

    at_s: array[float] = field(default_factory=lambda: array("d"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    changed_at_s: array[float] = field(default_factory=lambda: array("d"))
    changed: array[int] = field(default_factory=lambda: array("q"))

    def take(self, records: Iterable[Record]) -> None:
        """Take in the records of the topic; the connector's first snapshot is not counted."""
        for record in records:
            if record.value is None or record.key is None:
                continue
            if _READ_AGAIN in record.value:
                times, keys = self.at_s, self.keys
            elif _READ_FIRST not in record.value:
                times, keys = self.changed_at_s, self.changed
            else:
                continue
            times.append(record.at_s)
            keys.append(int(json.loads(record.key)["id"]))

    def passes(self, first: int, last: int) -> list[Pass]:
        """Return the passes; a pass begins where the keys fall back by half of the table, from `first` to `last`."""
        order = sorted(range(len(self.at_s)), key=self.at_s.__getitem__)
        begins, highest = [0] if order else [], first
        for place, at in enumerate(order):
            if self.keys[at] < highest - (last - first) / 2:
                begins.append(place)
                highest = self.keys[at]
            highest = max(highest, self.keys[at])
        return [self._pass(order[a:b]) for a, b in zip(begins, [*begins[1:], len(order)], strict=True)]

    def _pass(self, members: list[int]) -> Pass:
        begun_s, ended_s = self.at_s[members[0]], self.at_s[members[-1]]
        shown = {self.keys[at] for at in members}
        shown.update(
            key for at_s, key in zip(self.changed_at_s, self.changed, strict=True) if begun_s <= at_s <= ended_s
        )
        return Pass(len(shown), len(members), begun_s, ended_s)

    def within(self, begun_s: float, ended_s: float) -> int:
        """Return how many rows were read again between two seconds."""
        return sum(begun_s <= at_s < ended_s for at_s in self.at_s)
