"""The application: it writes a row with all its might, and what it was told is written must not be gone afterwards."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pymysql
from repair_judge.story import COLUMNS, COVERED, Row

from repair_drill.deployment import Deployment, for_store

_NAMES: Final = COLUMNS[:COVERED]
_LOOK_S: Final = 0.01
# InnoDB tells who waits from a copy that it renews only when nobody has looked at it for a tenth of a second.
_ASK_S: Final = 0.12
_AGAIN_S: Final = 0.1
_PATIENCE_S: Final = 60.0
_WAITS: Final = {
    "pg": "SELECT 1 FROM pg_stat_activity WHERE pid = {number} AND wait_event_type = 'Lock'",
    "my": "SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {number}"
    " AND trx_state = 'LOCK WAIT'",
}
_DUPLICATE: Final = 1062
_GONE: Final = (psycopg.OperationalError, pymysql.err.OperationalError, pymysql.err.InterfaceError)


class Stuck(RuntimeError):
    """Something did not come to its end in time."""


@dataclass
class Application:
    """Writes rows on connections of its own, several at once."""

    deployment: Deployment
    waited: int = 0
    _ask_at_s: float = 0.0
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(64))
    _begun: list[Future[None]] = field(default_factory=list)

    def write(self, store: str, table: str, number: int, row: Row) -> None:
        """Write a row, and return once that is committed or waits for somebody's lock."""
        attempt = _Attempt(self.deployment, store, table, number, row)
        future = self._threads.submit(attempt.run)
        self._begun.append(future)
        deadline = time.monotonic() + _PATIENCE_S
        while not future.done():
            if time.monotonic() >= self._ask_at_s:
                waits = attempt.waits()
                self._ask_at_s = time.monotonic() + _ASK_S
                if waits:
                    self.waited += 1
                    return
            if time.monotonic() > deadline:
                raise Stuck(f"waited in vain for a write to row {number} of {table}")
            time.sleep(_LOOK_S)

    def is_quiet(self) -> bool:
        """Tell whether everything that was begun is committed; raise what any of it raised."""
        for future in [future for future in self._begun if future.done()]:
            future.result()
            self._begun.remove(future)
        return not self._begun


class _Attempt:
    """One write, tried until it is committed: a server that was killed meanwhile comes back."""

    def __init__(self, deployment: Deployment, store: str, table: str, number: int, row: Row) -> None:
        self._deployment = deployment
        self._store = store
        self._table = table
        self._number = number
        self._values = for_store(store, row[:COVERED])
        self._session: int | None = None

    def run(self) -> None:
        """Write until it is committed."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self._deployment.connect(self._store) as connection:
                    self._session = _session(self._store, connection)
                    self._write(connection)
            except _GONE:
                self._session = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    def waits(self) -> bool:
        """Tell whether it waits for a lock."""
        session = self._session
        if session is None:
            return False
        try:
            return bool(self._deployment.ask(self._store, _WAITS[self._store].format(number=session)))
        except _GONE:
            return False

    def _write(self, connection: Any) -> None:  # noqa: ANN401 - a connection of either driver
        """Update the row, or insert it where there is none, until one of the two went through."""
        sets = ", ".join(f"{name} = %s" for name in _NAMES)
        update = f"UPDATE {self._table} SET {sets} WHERE id = %s"  # noqa: S608 - names of the drill
        marks = ", ".join(["%s"] * (COVERED + 1))
        insert = f"INSERT INTO {self._table} (id, {', '.join(_NAMES)}) VALUES ({marks})"  # noqa: S608
        cursor = connection.cursor()
        while True:
            cursor.execute(update, (*self._values, self._number))
            if cursor.rowcount:
                return
            try:
                cursor.execute(insert, (self._number, *self._values))
            except (psycopg.errors.UniqueViolation, pymysql.err.IntegrityError) as error:
                if isinstance(error, pymysql.err.IntegrityError) and error.args[0] != _DUPLICATE:
                    raise
                continue
            return


def _session(store: str, connection: Any) -> int:  # noqa: ANN401 - a connection of either driver
    return int(connection.info.backend_pid if store == "pg" else connection.thread_id())
