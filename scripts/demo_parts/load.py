"""The shop's own work: a steady, seeded stream of small transactions on the origin.

Most of it goes to orders, some to documents (of which only the revision changes) and to the ledger. Each writer has one
thread and one connection, and a new one after any error: servers are restarted under it on purpose.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

from demo_parts.shop import FIRST_LOADED_ID, LOADED_DOCUMENTS, LOADED_ORDERS, moment
from demo_parts.sides import SERVER_GONE, Kind, Side

ORDERS, ENTRIES = "orders", "ledger_entries"
_STATUSES = ("new", "paid", "packed", "sent", "returned")
_OF_ONE_WRITER = 125.0
"""Transactions a second that one writer is asked for at most: it waits for each, and many servers share the machine."""
_MADE_UP_S = 5.0
"""What a writer makes up for after it was slow, held or cut off; it does not answer a long pause with a long burst."""
_NOTES = (None, "plain", "Grüße 🎈", "two  spaces", "línea")


class Load:
    """A load that can be held still for a moment, stopped, and counted."""

    def __init__(self, origin: Side, *, per_second: float, seed: int) -> None:
        self._origin = origin
        writers = max(1, math.ceil(per_second / _OF_ONE_WRITER))
        self._ids = _Ids()
        self._writers = [_Writer(origin, per_second / writers, seed + n, self._ids) for n in range(writers)]

    def start(self) -> None:
        """Begin to write, above whatever an earlier run left."""
        for table in (ORDERS, ENTRIES):
            last = self._origin.one(f"SELECT COALESCE(MAX(id), 0) FROM {table}")  # noqa: S608 - a name of ours
            self._ids.rise(table, int(last[0]) + 1 if last else 0)
        for writer in self._writers:
            writer.start()

    def stop(self) -> None:
        """End the load and wait for its last transaction."""
        for writer in self._writers:
            writer.stop.set()
        for writer in self._writers:
            writer.join()

    @property
    def running(self) -> bool:
        """Whether the load writes."""
        return any(writer.running for writer in self._writers)

    @property
    def written(self) -> int:
        """How many transactions were committed."""
        return sum(writer.written for writer in self._writers)

    @property
    def errors(self) -> int:
        """How often a connection was lost."""
        return sum(writer.errors for writer in self._writers)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the load still within the block; nothing of it is in flight on the origin then."""
        with contextlib.ExitStack() as turns:
            for writer in self._writers:
                turns.enter_context(writer.turn)
            yield


class _Ids:
    """The ids that are given to new rows, each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = {ORDERS: FIRST_LOADED_ID + LOADED_ORDERS, ENTRIES: FIRST_LOADED_ID}

    def rise(self, table: str, least: int) -> None:
        """Give no id below this one any more."""
        with self._lock:
            self._next[table] = max(self._next[table], least)

    def end(self, table: str) -> int:
        """Return the id behind all that were given."""
        return self._next[table]

    def take(self, table: str) -> int:
        """Return an id for a new row."""
        with self._lock:
            self._next[table] += 1
            return self._next[table] - 1


class _Writer:
    """One connection's share of the load; it is held still by `turn`."""

    def __init__(self, origin: Side, per_second: float, seed: int, ids: _Ids) -> None:
        self._origin = origin
        self._per_second = per_second
        self._random = random.Random(seed)  # noqa: S311 - a load, not a secret
        self._ids = ids
        self._thread: threading.Thread | None = None
        self.stop = threading.Event()
        self.turn = threading.Lock()
        self.written = 0
        self.errors = 0

    def start(self) -> None:
        """Begin to write."""
        self.stop.clear()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it was started, and not waited for yet."""
        return self._thread is not None

    def join(self) -> None:
        """Wait for the last transaction."""
        if self._thread:
            self._thread.join(timeout=30)
            self._thread = None

    def _run(self) -> None:
        due = time.monotonic()
        while not self.stop.is_set():
            try:
                with self._origin.connection() as connection, connection.cursor() as cursor:
                    while not self.stop.is_set():
                        with self.turn:
                            self._one_change(cursor)
                        self.written += 1
                        due = max(due + 1 / self._per_second, time.monotonic() - _MADE_UP_S)
                        self.stop.wait(max(0.0, due - time.monotonic()))
            except SERVER_GONE:
                self.errors += 1
                self.stop.wait(0.5)

    def _one_change(self, cursor: Any) -> None:  # noqa: ANN401 - two drivers
        pick = self._random
        dice = pick.random()
        if dice < 0.72:  # noqa: PLR2004 - shares of the mix
            cursor.execute(
                "UPDATE orders SET status = %s, amount = %s, quantity = %s, note = %s, updated_at = %s WHERE id = %s",
                (
                    pick.choice(_STATUSES),
                    f"{pick.randrange(1, 90_000)}.{pick.randrange(100):02d}",
                    pick.randrange(1, 100),
                    pick.choice(_NOTES),
                    moment(self.written),
                    pick.randrange(FIRST_LOADED_ID, self._ids.end(ORDERS)),
                ),
            )
        elif dice < 0.84:  # noqa: PLR2004
            cursor.execute(
                "INSERT INTO orders (id, customer_id, status, amount, quantity, note, placed_at, updated_at)"
                " VALUES (%s, %s, 'new', %s, 1, %s, %s, %s)",
                (
                    self._ids.take(ORDERS),
                    pick.randrange(1, 100),
                    f"{pick.randrange(1, 900)}.50",
                    pick.choice(_NOTES),
                    moment(self.written % 100_000),
                    moment(self.written % 100_000),
                ),
            )
        elif dice < 0.92:  # noqa: PLR2004
            cursor.execute(
                "DELETE FROM orders WHERE id = %s",
                (pick.randrange(FIRST_LOADED_ID + LOADED_ORDERS // 2, self._ids.end(ORDERS)),),
            )
        elif dice < 0.97:  # noqa: PLR2004
            cursor.execute(
                "UPDATE documents SET revision = revision + 1 WHERE id = %s",
                (pick.randrange(FIRST_LOADED_ID, FIRST_LOADED_ID + LOADED_DOCUMENTS),),
            )
        else:
            cursor.execute(
                "INSERT INTO ledger_entries (id, account, amount, booked_at) VALUES (%s, %s, %s, %s)",
                (self._ids.take(ENTRIES), f"account-{pick.randrange(11)}", f"{pick.randrange(1, 9000)}.75", moment(1)),
            )


@contextlib.contextmanager
def hot_row(origin: Side, order: int, *, per_second: float) -> Iterator[None]:
    """Update one order again and again within the block."""
    over = threading.Event()

    def hammer() -> None:
        turn = 0
        with origin.connection() as connection, connection.cursor() as cursor:
            while not over.is_set():
                turn += 1
                cursor.execute("UPDATE orders SET quantity = %s WHERE id = %s", (turn, order))
                over.wait(1 / per_second)

    thread = threading.Thread(target=hammer, name="hot row", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)


def commit_late(origin: Side, order: int, seconds: float) -> None:
    """Run one update and commit it so many seconds later, as a slow application does."""
    with origin.connection(autocommit=False) as connection, connection.cursor() as cursor:
        stamp = "clock_timestamp()" if origin.kind is Kind.POSTGRES else "NOW(6)"
        cursor.execute(f"UPDATE orders SET note = 'late', updated_at = {stamp} WHERE id = %s", (order,))  # noqa: S608
        time.sleep(seconds)


def one_big_transaction(origin: Side, first: int, rows: int) -> None:
    """Insert many rows of the ledger in one transaction."""
    with origin.connection(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ledger_entries (id, account, amount, booked_at) VALUES (%s, %s, %s, %s)",
            [(first + n, f"bulk-{n % 7}", f"{n}.01", moment(n % 1000)) for n in range(rows)],
        )
