"""How fast a store may be read again, or written: a budget of rows, and less of it while the store is slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from app.core.status import StatusReport

SLOWEST: Final = 1 / 64
"""The least share of a budget: what is read goes on at it, and sees when its store is well again."""
LOOK_MS: Final = 1_000
"""How often it is looked how a store bears being written."""

_SLOW_TIMES: Final = 4.0
_SLOW_MS: Final = 20.0
_LEARN: Final = 0.05
_RECOVER: Final = 1.25
_LEARN_OF_WRITES: Final = 0.0002
"""With a look a second, what is a hundred times as slow as it was counts as usual after some twenty minutes."""


@dataclass(slots=True)
class Budget:
    """Rows per second, as a bucket that may be overdrawn by what goes together and fills up to one second's.

    >>> budget = Budget(100.0, at_ms=0)
    >>> budget.spend(300, 0)
    >>> budget.waits_ms(0), budget.waits_ms(1_000), budget.waits_ms(2_000)
    (2000, 1000, 0)
    """

    rows_per_second: float
    at_ms: int
    rows: float = -1.0  # that may go at once; below zero: owed

    def __post_init__(self) -> None:
        self.rows = self.rows_per_second

    def spend(self, rows: int, now_ms: int, share: float = 1.0) -> None:
        """Take rows that went out of the bucket, which has filled at a share of its rate since."""
        self._fill(now_ms, share)
        self.rows -= rows

    def waits_ms(self, now_ms: int, share: float = 1.0) -> int:
        """Return in how many milliseconds the next rows may go."""
        self._fill(now_ms, share)
        return 0 if self.rows >= 0 else round(-self.rows * 1_000 / (self.rows_per_second * share))

    def _fill(self, now_ms: int, share: float) -> None:
        elapsed_ms, self.at_ms = max(0, now_ms - self.at_ms), max(self.at_ms, now_ms)
        rate = self.rows_per_second * share
        self.rows = min(rate, self.rows + rate * elapsed_ms / 1_000)


@dataclass(slots=True)
class BackOff:
    """The share of its budget that a store bears: halved while it answers slowly or its log lags, then let up again.

    What is slow is held against what is usual, which follows the answers slowly, by the share `learns` of their
    difference, and quick answers at once. Of so many last answers (`among`) the middle one counts: with three, one slow
    answer is chance and two are not.
    """

    lag_ms_max: int
    learns: float = _LEARN
    among: int = 1
    share: float = 1.0
    usual_ms: float | None = None
    last_ms: tuple[float, ...] = ()

    def look(self, answered_ms: float, lag_ms: int) -> float:
        """Take in how long the store took to answer and how far its log is behind; return the share."""
        usual_ms = answered_ms if self.usual_ms is None else self.usual_ms
        self.last_ms = (*self.last_ms, answered_ms)[-self.among :]
        is_slow = median_low(self.last_ms) > usual_ms * _SLOW_TIMES + _SLOW_MS
        self.usual_ms = min(answered_ms, usual_ms + self.learns * (answered_ms - usual_ms))
        if is_slow or lag_ms > self.lag_ms_max:
            self.share = max(SLOWEST, self.share / 2)
        else:
            self.share = min(1.0, self.share * _RECOVER)
        return self.share


@dataclass(slots=True)
class WritePace:
    """How fast one target may be written: a token bucket, and the share of its rate that the target bears now.

    `is_stopped`: it bears nothing. What follows it is too far behind, or it answers slowly even at the least share.
    """

    budget: Budget
    back_off: BackOff
    looked_ms: int | None = None
    is_stopped: bool = False

    @classmethod
    def of(cls, rows_per_second: int, lag_ms_max: int, now_ms: int) -> WritePace:
        """Return the full pace; by the first look it is known whether the target bears it."""
        return cls(Budget(float(rows_per_second), now_ms), BackOff(lag_ms_max, _LEARN_OF_WRITES))

    @property
    def share(self) -> float:
        """The share of its full rate at which the target is written."""
        return 0.0 if self.is_stopped else self.back_off.share

    def is_due(self, now_ms: int) -> bool:
        """Tell whether it is time to look again."""
        return self.looked_ms is None or now_ms - self.looked_ms >= LOOK_MS

    def look(self, answered_ms: float, lag_ms: int, now_ms: int) -> None:
        """Take in how long the target takes to answer, and how far what follows it is behind."""
        self.budget.spend(0, now_ms, self.share)
        before = self.back_off.share
        after = self.back_off.look(answered_ms, lag_ms)
        self.is_stopped = lag_ms > self.back_off.lag_ms_max or before == after == SLOWEST
        self.looked_ms = now_ms

    def wrote(self, rows: int, now_ms: int) -> None:
        """Take in what one transaction wrote."""
        self.budget.spend(rows, now_ms, self.share)

    def waits_ms(self, now_ms: int) -> int:
        """Return in how many milliseconds the next transaction may begin."""
        return LOOK_MS if self.is_stopped else self.budget.waits_ms(now_ms, self.share)


@dataclass(slots=True)
class ReplicaLag:
    """How far the slowest replica of a store is behind, by positions in the store's log that only grow.

    What a replica lacks, of which the store had it at an earlier look, it has lacked since then. A server's own figure
    stands still while its replica does.
    """

    looks: deque[tuple[int, int]] = field(default_factory=deque)  # when, and how far the log was

    def look(self, written: int, replayed: int | None, now_ms: int) -> int:
        """Take in where the log ends and how far the slowest replica is; return the milliseconds it is behind at least.

        `replayed` is None where there is no replica.
        """
        while self.looks and (replayed is None or self.looks[0][1] <= replayed):
            self.looks.popleft()
        if replayed is None or written <= replayed:
            return 0
        if not self.looks or self.looks[-1][1] < written:
            self.looks.append((now_ms, written))
        return now_ms - self.looks[0][0]


class LogLags:
    """How far change capture is behind in each store's log, by the newest statuses of the tables that there are.

    What nobody knows, as before the first beacon, slows nothing.
    """

    def __init__(self, tables: Iterable[tuple[str, str]], partitions: int) -> None:
        self._tables = frozenset(tables)
        self._partitions = partitions
        self._behind_ms: dict[tuple[str, str, int], int] = {}

    def take(self, report: StatusReport) -> None:
        """Take in one status; of tables and partitions that there are not, none is kept."""
        at = (report.entity, report.store, report.partition)
        self._behind_ms.pop(at, None)
        is_known = (report.entity, report.store) in self._tables and 0 <= report.partition < self._partitions
        if is_known and report.newest_beacon_ms is not None and report.watermark_ms is not None:
            self._behind_ms[at] = report.newest_beacon_ms - report.watermark_ms

    def of(self, store: str) -> int:
        """Return the milliseconds by which the slowest table of a store is behind."""
        return max((behind for (_, at, _), behind in self._behind_ms.items() if at == store), default=0)
