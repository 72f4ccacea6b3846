"""When a change was committed, by the judge's own clock: it looks at both databases again and again.

Neither a server's clock nor Kafka's decides: the first may be wrong, and the second tells when a record arrived, which
after an outage of the broker is one moment for everything that had waited. It looks from a process of its own: where
the load's writers kept it waiting, it could not say of a late row that it was.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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
    _process: BaseProcess | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        context = multiprocessing.get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        self._process = context.Process(target=_watch, args=(self.side, ours), name="judge's looks", daemon=True)
        self._process.start()
        ours.close()
        self._thread = threading.Thread(target=self._take, args=(theirs,), name="judge's looks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        if self._process and self._thread:
            self._process.terminate()
            self._process.join(timeout=10)
            self._thread.join(timeout=10)

    def _take(self, looks: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                asked_at, answered_at, told = looks.recv()
                self.looks.append(Look(asked_at, answered_at, shown_by(self.side.kind, told)))

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


def _watch(side: Side, told: Connection) -> None:
    """Look at a database until nobody listens, and tell what it said, and between which moments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began this ends it
    while True:
        with contextlib.suppress(*SERVER_GONE), side.connection() as connection, connection.cursor() as cursor:
            while True:
                time.sleep(_EVERY_S)
                asked_at = _wall_clock()
                cursor.execute(_LOOK[side.kind])
                said = str(cursor.fetchone()[0])
                answered_at = _wall_clock()
                try:
                    told.send((asked_at, answered_at, said))
                except BrokenPipeError:
                    return
        time.sleep(_EVERY_S)


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
