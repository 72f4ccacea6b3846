"""How far the servers that follow a MariaDB or MySQL store are, by the beacon that each of them shows.

A primary does not know its replicas' lag, and what a replica says of itself (`Seconds_Behind_Master`) is 0 while it
waits for a primary that it does not hear. The beacon is a row that changes twice a second, and comes to a replica as
every other row does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pymysql

from app.adapters.sql_clients import Use, connect_mysql
from app.adapters.sql_statements import quoted
from app.settings import StoreSettings

_LET_BE_S: Final = 60.0
"""For how long a server that did not answer is not asked again: asking one that is gone takes seconds."""


@dataclass(slots=True)
class _Server:
    """One server, with a connection that is made when it is needed and thrown away with the first fault."""

    store: StoreSettings
    connection: Any = None
    let_be_until_s: float = 0.0

    def shown(self, statement: str, now_s: float) -> int | None:
        """Return when the beacon that it shows was issued, None where it does not say."""
        if now_s < self.let_be_until_s:
            return None
        try:
            if self.connection is None:
                self.connection = connect_mysql(self.store, "read", Use.READ)
            with self.connection.cursor() as cursor:
                cursor.execute(statement, [self.store.name])
                row = cursor.fetchone()
        except (pymysql.MySQLError, OSError):
            self.close()
            self.let_be_until_s = now_s + _LET_BE_S
            return None
        return int(row[0]) if row else None

    def close(self) -> None:
        """Let the connection go."""
        connection, self.connection = self.connection, None
        try:
            if connection is not None:
                connection.close()
        except (pymysql.MySQLError, OSError):
            return


class MysqlStandbys:
    """The standbys that a store's settings name."""

    def __init__(self, store: StoreSettings, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        table = f"{quoted(store.kind, store.schema)}.driftline_beacon"
        self._statement = f"SELECT issued_at_ms FROM {table} WHERE store_id = %s"  # noqa: S608 - quoted
        self._standbys: Sequence[_Server] = [
            _Server(replace(store, host=each.host, port=each.port)) for each in store.standbys
        ]
        self._primary = _Server(store)
        self._monotonic_s = monotonic_s

    def look(self) -> tuple[int, int] | None:
        """Return the store's own newest beacon and that of the standby that is furthest behind, in milliseconds.

        None where no standby answers: one that is gone slows nothing, as with PostgreSQL, which forgets it.
        """
        now_s = self._monotonic_s()
        # The primary last, so that none seems ahead of it.
        shown = [each for server in self._standbys if (each := server.shown(self._statement, now_s)) is not None]
        primary = self._primary.shown(self._statement, now_s) if shown else None
        return None if primary is None else (primary, min(shown))

    def close(self) -> None:
        """Let all connections go."""
        for server in (*self._standbys, self._primary):
            server.close()
