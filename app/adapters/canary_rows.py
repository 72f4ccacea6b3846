"""The canary's table in PostgreSQL and in MariaDB or MySQL: one statement and one commit each, nothing else touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
import pymysql

from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.core.canary import ENTITY
from app.core.errors import Unready
from app.core.store import StoreKind
from app.settings import StoreSettings

ROLE: Final = "canary"


class SqlCanaryRows:
    """One store's table, by the role `canary`. Every call may raise `Unready`, and connects again after that."""

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._is_postgres = store.kind is StoreKind.POSTGRES
        # Settings allow lower-case letters, digits and _ in a schema's name.
        self._table = f'"{store.schema}"."{ENTITY}"' if self._is_postgres else f"`{store.schema}`.`{ENTITY}`"
        self._connection: Any = None

    def highest(self) -> int:
        """Return the number of the newest row, 0 where there is none."""
        [(row,)] = self._ask(f"SELECT coalesce(max(id), 0) FROM {self._table}")  # noqa: S608 - a name of ours
        return int(row)

    def write(self, row: int, state: int | None) -> None:
        """Give a row a state; None deletes it."""
        if state is None:
            self._ask(f"DELETE FROM {self._table} WHERE id = %s", (row,))  # noqa: S608 - likewise
            return
        into = f"INSERT INTO {self._table} (id, state) VALUES (%s, %s)"  # noqa: S608 - likewise
        if self._is_postgres:
            self._ask(f"{into} ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state", (row, state))
        else:
            self._ask(f"{into} ON DUPLICATE KEY UPDATE state = %s", (row, state, state))

    def clear_below(self, row: int) -> None:
        """Delete every row with a lower number."""
        self._ask(f"DELETE FROM {self._table} WHERE id < %s", (row,))  # noqa: S608 - likewise

    def close(self) -> None:
        """Let the connection go; a server that is gone is no fault here."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (psycopg.Error, pymysql.MySQLError, OSError):
                return

    def _ask(self, text: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                connect = connect_postgres if self._is_postgres else connect_mysql
                self._connection = connect(self._store, ROLE, Use.READ)
            cursor = self._connection.cursor()
            cursor.execute(text, parameters)
            return list(cursor.fetchall()) if cursor.description else []
        except (psycopg.Error, pymysql.MySQLError, OSError) as error:
            self.close()
            # MariaDB's own number says more than its SQLSTATE; PostgreSQL has no number, and its text may quote a row.
            code = error.sqlstate if isinstance(error, psycopg.Error) else next(iter(error.args), "")
            raise Unready(
                f"the canary's table cannot be reached ({type(error).__name__} {code})",
                where=f"store {self._store.name} at {self._store.host}:{self._store.port}",
                hint=f"is the server up, and may {self._store.role(ROLE).user} write {self._store.schema}.{ENTITY}?"
                " `driftline init` makes it and gives the rights",
            ) from None
