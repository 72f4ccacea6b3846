"""When a change was committed, by the judge's own clock: it looks at both databases again and again.

Neither a server's clock nor Kafka's decides: the first may be wrong, and the second tells when a record arrived, which
after an outage of the broker is one moment for everything that had waited.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from demo_parts.sides import SERVER_GONE, Kind, Side

from judge_parts.lateness import Between

_EVERY_S: Final = 0.2
_LOOK: Final = {
    Kind.POSTGRES: "SELECT pg_current_snapshot()::text",
    Kind.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was committed at one moment between asking and the answer."""

    asked_at: float
    answered_at: float
    shows: Callable[[int], bool]


@dataclass
class CommitTimes:
    """Watches one database in the background, through its restarts."""

    side: Side
    looks: list[Look] = field(default_factory=list)
    _committed: dict[int, Between] = field(default_factory=dict)  # what later looks say no more of
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._watch, name="judge's looks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        self._over.set()
        if self._thread:
            self._thread.join(timeout=10)

    def of(self, transaction: int | None, recorded_at: float) -> Between:
        """Return when a transaction was committed: after the last look without it, before the first with it.

        None, a row of a snapshot, may be as old as the database. Nothing is recorded in Kafka before it is committed.
        """
        if transaction is None:
            return Between(float("-inf"), recorded_at)
        committed = self._committed.get(transaction)
        if committed is None:
            looks, n = self.looks, len(self.looks)  # which grow meanwhile
            # Once committed, it shows for ever.
            first = bisect_left(looks, True, hi=n, key=lambda look: look.shows(transaction))
            since = looks[first - 1].asked_at if first else float("-inf")
            if first == n:
                return Between(since, recorded_at)
            committed = self._committed[transaction] = Between(since, looks[first].answered_at)
        return Between(committed.earliest, min(recorded_at, committed.latest))

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                with self.side.connection() as connection, connection.cursor() as cursor:
                    while not self._over.wait(_EVERY_S):
                        self._look(cursor)
            except SERVER_GONE:
                self._over.wait(_EVERY_S)

    def _look(self, cursor: Any) -> None:  # noqa: ANN401 - two drivers
        asked_at = _wall_clock()
        cursor.execute(_LOOK[self.side.kind])
        told = str(cursor.fetchone()[0])
        self.looks.append(Look(asked_at, _wall_clock(), shown_by(self.side.kind, told)))


def shown_by(kind: Kind, told: str) -> Callable[[int], bool]:
    """Return what tells of a transaction whether it was committed, from what the server said.

    PostgreSQL tells its snapshot, `xmin:xmax:open,open...`; MariaDB the last GTID of its log, `domain-server-number`.
    """
    if kind is Kind.POSTGRES:
        _, beyond, still_open = told.split(":")
        end, pending = int(beyond), frozenset(map(int, filter(None, still_open.split(","))))
        return lambda transaction: transaction < end and transaction not in pending
    last = _number(told)
    return lambda transaction: transaction <= last


def transaction_of(source: dict[str, Any]) -> int | None:
    """Return the transaction of a change by its Debezium `source`; None: a row of a snapshot."""
    if source.get("snapshot") not in {None, "false", False}:
        return None
    if source.get("gtid"):
        return _number(source["gtid"])
    return source.get("txId")


def _number(gtid: str) -> int:
    return int(gtid.rpartition("-")[2] or 0)


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - held against the times that Kafka gives to drift records on this machine
