"""What a ledger's last minute holds: dear to count when much is written, so it is asked anew each fifth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.core.command import Action
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow

_COUNTED_S: Final = 0.2


@dataclass(slots=True)
class _Counted:
    """What the ledger's last minute held when it was asked, and what this process has written since."""

    at: float
    now_wall_ms: int
    counts: LedgerCounts


class MinuteCounts:
    """The counts of a minute by entity, with what this process has added to them itself."""

    def __init__(self) -> None:
        self._counted: dict[str, _Counted] = {}

    def of(self, entity: str, now_wall_ms: int, count: Callable[[str, int], LedgerCounts]) -> LedgerCounts:
        """Return an entity's counts, asked for by `count` where they are not known, or not young any more."""
        asked, at = self._counted.get(entity), time.monotonic()
        if (
            asked is not None
            and at - asked.at < _COUNTED_S
            and 0 <= now_wall_ms - asked.now_wall_ms < _COUNTED_S * 1_000
        ):
            return asked.counts
        counts = count(entity, now_wall_ms)
        self._counted[entity] = _Counted(at, now_wall_ms, counts)
        return counts

    def add(self, rows: Sequence[LedgerRow]) -> None:
        """Count rows that this process has committed since it asked."""
        written = [row for row in rows if row.kind is LedgerKind.COMMAND]
        deletes = sum(row.action is Action.DELETE for row in written)
        newest_at_ms = max((row.written_at_ms for row in written), default=0)
        for entity, asked in self._counted.items():
            automatic = sum(row.entity == entity and not row.approver for row in written)
            more = asked.counts.with_more(len(written), deletes, automatic)
            asked.counts = replace(more, newest_at_ms=max(more.newest_at_ms, newest_at_ms))

    def forget(self) -> None:
        """Ask anew: whether the last commit took place is for the ledger to say."""
        self._counted.clear()
