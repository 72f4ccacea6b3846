"""How far the servers that follow a MariaDB or MySQL store are, by the beacon that each of them shows.

A primary does not know its replicas' lag, and what a replica says of itself (`Seconds_Behind_Master`) is 0 while it
waits for a primary that it does not hear. The beacon is a row that changes twice a second, and comes to a replica as
every other row does. It is looked for in a thread: a server that takes a connection and says nothing more must not hold
up whoever is to hear that repairs are stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pymysql

from app.adapters.logs import log
from app.adapters.sql_clients import Use, connect_mysql
from app.adapters.sql_statements import quoted
from app.core.errors import DriftlineError
from app.settings import StoreSettings

_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 2
_LET_BE_S: Final = 60.0
"""For how long a standby that did not answer is not asked again, so that it does not hold up the others."""
_KNOWN_S: Final = 5.0
"""For how long what was seen counts."""


@dataclass(slots=True)
class _Server:
    """One server, with a connection that is made when it is needed and thrown away with the first fault."""

    store: StoreSettings
    connection: Any = None
    fault: str = ""
    let_be_until_s: float = 0.0

    @property
    def where(self) -> str:
        """Where it is."""
        return f"{self.store.host}:{self.store.port}"

    def shown_ms(self) -> int | None:
        """Return when the beacon that it shows was issued, None where it does not say; `fault` is why."""
        try:
            if self.connection is None:
                self.connection = connect_mysql(self.store, "read", Use.READ, patience_s=_PATIENCE_S)
            table = f"{quoted(self.store.kind, self.store.schema)}.driftline_beacon"
            with self.connection.cursor() as cursor:
                cursor.execute(f"SELECT issued_at_ms FROM {table} WHERE store_id = %s", [self.store.name])  # noqa: S608 - quoted
                row = cursor.fetchone()
        except (pymysql.MySQLError, OSError, DriftlineError) as fault:
            self.close()
            told = fault.what if isinstance(fault, DriftlineError) else fault.args[0] if fault.args else ""
            self.fault = f"{type(fault).__name__} {told}".strip()
            return None
        self.fault = "" if row else "it has no beacon's row"
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

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._seen: tuple[float, int] | None = None
        self._closed: threading.Event | None = None

    def lag_ms(self) -> int:
        """Return by how many milliseconds the slowest standby is behind; 0 where none answers, or none is named."""
        if self._store.standbys and self._closed is None:
            self._closed = threading.Event()
            threading.Thread(target=self._watch, args=(self._closed,), name="standbys", daemon=True).start()
        seen = self._seen
        return seen[1] if seen is not None and time.monotonic() - seen[0] < _KNOWN_S else 0

    def faults(self) -> list[tuple[str, str]]:
        """Ask each standby once; return those that do not answer, and why."""
        found = []
        for server in self._servers():
            if server.shown_ms() is None:
                found.append((server.where, server.fault))
            server.close()
        return found

    def close(self) -> None:
        """Look no more; who asks again begins anew."""
        if self._closed is not None:
            self._closed.set()
        self._closed = self._seen = None

    def _servers(self) -> list[_Server]:
        return [_Server(replace(self._store, host=each.host, port=each.port)) for each in self._store.standbys]

    def _watch(self, closed: threading.Event) -> None:
        """Look once a second. What two looks in a row agree on counts.

        Behind a pause of the beacon's writer each standby is far behind, for as long as the next beacon takes to come.
        """
        primary, standbys, before_ms = _Server(self._store), self._servers(), 0
        while not closed.wait(_EVERY_S):
            behind_ms = _behind_ms(primary, standbys)
            self._seen = None if behind_ms is None else (time.monotonic(), min(before_ms, behind_ms))
            before_ms = behind_ms or 0
        for server in (*standbys, primary):
            server.close()


def _behind_ms(primary: _Server, standbys: Sequence[_Server]) -> int | None:
    shown = [each for server in standbys if (each := _asked(server)) is not None]
    # The primary last, so that none seems ahead of it.
    newest_ms = primary.shown_ms() if shown else None
    return None if newest_ms is None else max(0, newest_ms - min(shown))


def _asked(server: _Server) -> int | None:
    """Ask a standby, and say when it begins or ceases to answer."""
    if time.monotonic() < server.let_be_until_s:
        return None
    was_silent, shown_ms = bool(server.fault), server.shown_ms()
    if shown_ms is None:
        server.let_be_until_s = time.monotonic() + _LET_BE_S
    if was_silent is not bool(server.fault):
        event = "a standby does not tell how far it is" if server.fault else "a standby tells how far it is again"
        say = log().warning if server.fault else log().info
        say(event, store=server.store.name, where=server.where, what=server.fault)
    return shown_ms
