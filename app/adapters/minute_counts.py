"""What a ledger's last minute holds, asked anew each fifth of a second, or more seldom where to count it is dear.

A minute at the full pace is 120,000 rows. Without a bound on its share, counting them would take what writing needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.core.command import Action
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow

_COUNTED_S: Final = 0.2
_COUNTED_MOST_S: Final = 2.0
_COUNTING_TAKES_ONE_IN: Final = 10


@dataclass(slots=True)
class _Counted:
    """What the ledger's last minute held when it was asked, and what this process has written since."""

    at: float
    now_wall_ms: int
    good_for_s: float
    counts: LedgerCounts

    def is_good(self, at: float, now_wall_ms: int) -> bool:
        """Tell whether it is young enough still, by both clocks."""
        return at - self.at < self.good_for_s and 0 <= now_wall_ms - self.now_wall_ms < self.good_for_s * 1_000


class MinuteCounts:
    """The counts of a minute by entity, with what this process has added to them itself."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._counted: dict[str, _Counted] = {}

    def of(self, entity: str, now_wall_ms: int, count: Callable[[str, int], LedgerCounts]) -> LedgerCounts:
        """Return an entity's counts, asked for by `count` where they are not known, or not young any more."""
        asked, at = self._counted.get(entity), self._monotonic_s()
        if asked is not None and asked.is_good(at, now_wall_ms):
            return asked.counts
        counts = count(entity, now_wall_ms)
        took_s = self._monotonic_s() - at
        good_for_s = min(_COUNTED_MOST_S, max(_COUNTED_S, took_s * _COUNTING_TAKES_ONE_IN))
        self._counted[entity] = _Counted(at, now_wall_ms, good_for_s, counts)
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
