"""A ledger's last minute is counted anew often enough for the budgets, and never takes more than its share of time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from app.adapters.minute_counts import MinuteCounts
from app.core.ledger import LedgerCounts

EMPTY = LedgerCounts(0, 0, 0)


@dataclass
class Ledger:
    """A ledger whose counting takes a while, by a clock that only it moves."""

    takes_s: float
    now_s: float = 100.0
    asked: int = 0

    def monotonic_s(self) -> float:
        """Return the time."""
        return self.now_s

    def count(self, _entity: str, _now_wall_ms: int) -> LedgerCounts:
        """Count, which takes as long as it takes."""
        self.asked += 1
        self.now_s += self.takes_s
        return EMPTY


@pytest.mark.parametrize(
    ("takes_s", "good_for_s"),
    [(0.0, 0.2), (0.001, 0.2), (0.02, 0.2), (0.05, 0.5), (0.2, 2.0), (1.0, 2.0), (30.0, 2.0)],
)
def test_a_minute_is_counted_anew_as_often_as_its_counting_bears(takes_s: float, good_for_s: float) -> None:
    """A fifth of a second, a tenth of the time where it takes longer, and two seconds at most."""
    ledger = Ledger(takes_s)
    counts = MinuteCounts(ledger.monotonic_s)
    began_s, wall_ms = ledger.now_s, 5_000
    counts.of("orders", wall_ms, ledger.count)
    for part, asked in ((0.99, 1), (1.01, 2)):
        ledger.now_s = began_s + good_for_s * part
        counts.of("orders", wall_ms, ledger.count)
        assert ledger.asked == asked


def test_a_wall_clock_that_moved_has_it_counted_anew() -> None:
    """Which minute it is that counts is told by that clock: forwards by as much, and backwards at all."""
    ledger = Ledger(0.0)
    counts = MinuteCounts(ledger.monotonic_s)
    for wall_ms, asked in ((5_000, 1), (5_199, 1), (5_200, 2), (5_199, 3)):
        counts.of("orders", wall_ms, ledger.count)
        assert ledger.asked == asked
