"""Passes over an entity's rows in the table: which are asked for, and where each has come to.

A sweep finds what no change touches: rows of stores that have just become covered, rows behind a truncate, rows that a
slice read again did not show. What it finds is judged by the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.core.journal import row_key
from app.core.limits import SWEEP_KEYS
from app.core.reread import PendingSlice


@dataclass(slots=True)
class Sweep:
    """A pass over an entity's rows: `resume_at` is the next table key, judged rows become live.

    A pass over a slice that was read again goes to its `end`, and ends what is there by the log alone. One over all
    rows shows each of them the truncates that there were when it began, the newest of each store being its `floor`.
    """

    entity: int
    resume_at: bytes
    judges: frozenset[int]  # replicas judged since it began: when it ends, every row of theirs has been judged
    end: bytes
    reread: PendingSlice | None = None
    floor: list[bytes] = field(default_factory=list)

    def goes_on_behind(self, items: Sequence[tuple[bytes, bytes]]) -> bool:
        """Take in the table's items that were read for it; False where they were the last."""
        if len(items) < SWEEP_KEYS:
            return False
        self.resume_at = items[-1][0] + b"\x00"
        return True


@dataclass(slots=True)
class Sweeps:
    """The passes that are asked for, in the order in which they are made."""

    waiting: list[Sweep] = field(default_factory=list)

    def ask(self, entity: int, judges: frozenset[int]) -> None:
        """Ask for a pass over an entity's rows, if none like it has been asked for and has not begun."""
        start = row_key(entity, b"")
        if not any(
            s.entity == entity and s.resume_at == start and s.judges == judges and s.reread is None
            for s in self.waiting
        ):
            self.waiting.append(Sweep(entity, start, judges, _end_of(entity)))

    def ask_again(self, pending: PendingSlice) -> None:
        """Ask for a pass over the rows of a slice that was read again, if none has been asked for."""
        if not any(s.reread is not None and s.reread.slice_id == pending.slice_id for s in self.waiting):
            end = row_key(pending.entity, pending.high) if pending.high else _end_of(pending.entity)
            self.waiting.append(Sweep(pending.entity, row_key(pending.entity, pending.low), frozenset(), end, pending))

    def keep(self, entity: int, judged: frozenset[int]) -> None:
        """Let an entity's passes judge these replicas alone; those that judge none, of slices too, are not made."""
        for sweep in self.waiting:
            if sweep.entity == entity:
                sweep.judges &= judged
        self.waiting = [s for s in self.waiting if s.entity != entity or s.judges]

    def judges_of(self, entity: int) -> frozenset[int]:
        """Return the replicas whose rows are to be judged by some pass."""
        return frozenset().union(*(s.judges for s in self.waiting if s.entity == entity))


def _end_of(entity: int) -> bytes:
    """Return the table key behind all rows of an entity."""
    return row_key(entity + 1, b"") if entity < 2**32 - 1 else b"\x02"
