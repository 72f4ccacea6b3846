"""The row of `driftline_beacon` that belongs to a store, in PostgreSQL and in MariaDB or MySQL; MongoDB's is beside.

Reads the row and writes it by compare-and-set, one statement and one commit each; nothing else in the store is
touched. The role needs SELECT and UPDATE on this one table.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Protocol, Self

import psycopg
import pymysql
from psycopg import sql

from app.adapters.mongodb_beacon_rows import MongodbBeaconRows
from app.adapters.server_identity import IDENTITY
from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.adapters.system_clock import wall_utc
from app.core.beacon_writer import BeaconRow, Beat
from app.core.errors import ContractViolation, Unready
from app.core.store import StoreKind
from app.settings import StoreSettings

TABLE: Final = "driftline_beacon"
_NO_ROW: Final = "run `driftline init` for this store"


class BeaconRows(Protocol):
    """The row of one store. Everything raises `Unready` where the store cannot be reached."""

    def read(self) -> BeaconRow:
        """Return the row as committed."""
        ...

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the beat's row if the store's is as expected, and commit; False if it is not."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


def _unready(store: StoreSettings, fault: Exception) -> Unready:
    first_line = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
    return Unready(
        f"the beacon row cannot be reached: {first_line}",
        where=f"store {store.name} at {store.host}:{store.port}",
        hint=f"is the server up, and may {store.role('beacon').user} SELECT and UPDATE {store.schema}.{TABLE}?",
    )


def _no_row(store: StoreSettings) -> ContractViolation:
    return ContractViolation(
        f"{store.schema}.{TABLE} has no row for this store", where=f"store {store.name}", hint=_NO_ROW
    )


class _Connected:
    """A connection that is made when it is needed and thrown away with the first fault."""

    def __init__(self, store: StoreSettings) -> None:
        self.store = store
        self.connection: Any = None
        self.server = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        del kind, fault, at
        self.close()

    def close(self) -> None:
        """Let the connection go; a server that is gone is no fault here."""
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                connection.close()
            except (psycopg.Error, pymysql.MySQLError, OSError):
                return


class PostgresBeaconRows(_Connected):
    """The row of a PostgreSQL store. Its server is named by system identifier and timeline."""

    def _cursor(self) -> psycopg.Cursor[Any]:
        if self.connection is None:
            self.connection = connect_postgres(self.store, "beacon", Use.READ)
            (self.server,) = self.connection.execute(f"SELECT {IDENTITY[self.store.kind]}").fetchone()
        cursor: psycopg.Cursor[Any] = self.connection.cursor()
        return cursor

    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.store.schema, TABLE)

    def read(self) -> BeaconRow:
        """Return the row as committed."""
        query = sql.SQL(
            "SELECT writer_epoch, sequence, issued_at_ms, previous_acknowledged_ms FROM {} WHERE store_id = %s"
        ).format(self._table())
        try:
            row = self._cursor().execute(query, (self.store.name,)).fetchone()
        except (psycopg.Error, OSError) as fault:
            self.close()
            raise _unready(self.store, fault) from fault
        if row is None:
            raise _no_row(self.store)
        return BeaconRow(*row)

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the beat's row if the store's is as expected, and commit; False if it is not."""
        query = sql.SQL(
            "UPDATE {} SET writer_epoch = %s, sequence = %s, issued_at_ms = %s, previous_acknowledged_ms = %s,"
            " server = %s, wall_at = %s WHERE store_id = %s AND writer_epoch = %s AND sequence = %s"
        ).format(self._table())
        try:
            cursor = self._cursor()
            cursor.execute(query, _parameters(beat, self.server, self.store.name, wall_utc()))
        except (psycopg.Error, OSError) as fault:
            self.close()
            raise _unready(self.store, fault) from fault
        return cursor.rowcount == 1


class MysqlBeaconRows(_Connected):
    """The row of a MariaDB or MySQL store. Its server is named by server id and GTID domain, or by its UUID."""

    def _cursor(self) -> Any:  # noqa: ANN401 - PyMySQL has no types
        if self.connection is None:
            self.connection = connect_mysql(self.store, "beacon", Use.READ)
            cursor = self.connection.cursor()
            cursor.execute(f"SELECT {IDENTITY[self.store.kind]}")
            self.server = str(cursor.fetchone()[0])
        return self.connection.cursor()

    def _table(self) -> str:
        # Settings allow lower-case letters, digits and _ in a schema's name; a backtick would be doubled here.
        return f"`{self.store.schema.replace('`', '``')}`.`{TABLE}`"

    def read(self) -> BeaconRow:
        """Return the row as committed."""
        query = (
            "SELECT writer_epoch, sequence, issued_at_ms, previous_acknowledged_ms"  # noqa: S608 - a quoted identifier
            f" FROM {self._table()} WHERE store_id = %s"
        )
        try:
            cursor = self._cursor()
            cursor.execute(query, (self.store.name,))
            row = cursor.fetchone()
        except (pymysql.MySQLError, OSError) as fault:
            self.close()
            raise _unready(self.store, fault) from fault
        if row is None:
            raise _no_row(self.store)
        return BeaconRow(*row)

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the beat's row if the store's is as expected, and commit; False if it is not."""
        query = (
            f"UPDATE {self._table()} SET writer_epoch = %s, sequence = %s, issued_at_ms = %s,"  # noqa: S608 - likewise
            " previous_acknowledged_ms = %s, server = %s, wall_at = %s"
            " WHERE store_id = %s AND writer_epoch = %s AND sequence = %s"
        )
        try:
            cursor = self._cursor()
            touched = cursor.execute(
                query, _parameters(beat, self.server, self.store.name, wall_utc().replace(tzinfo=None))
            )
        except (pymysql.MySQLError, OSError) as fault:
            self.close()
            raise _unready(self.store, fault) from fault
        return bool(touched == 1)


def _parameters(beat: Beat, server: str, store: str, wall_at: object) -> tuple[object, ...]:
    row = beat.row
    return (
        row.epoch,
        row.sequence,
        row.issued_at_ms,
        row.previous_acknowledged_ms,
        server,
        wall_at,
        store,
        beat.expected_epoch,
        beat.expected_sequence,
    )


def beacon_rows(store: StoreSettings) -> BeaconRows:
    """Return the adapter of a store."""
    if store.kind is StoreKind.POSTGRES:
        return PostgresBeaconRows(store)
    if store.kind is StoreKind.MONGODB:
        return MongodbBeaconRows(store)
    return MysqlBeaconRows(store)
