"""The two databases of the shop, spoken to in plain SQL.

A connection is opened for each statement and closed after it: the cases restart servers, and a fresh connection never
remembers a dead one. What runs often (the load, the judge's sweeps) holds a connection of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg
import pymysql


class Kind(Enum):
    """Which of the two servers a side is."""

    POSTGRES = "postgres"
    MARIADB = "mariadb"


Row = tuple[Any, ...]

SERVER_GONE = (psycopg.Error, pymysql.Error, OSError)
"""What a driver raises when the server refuses or has gone."""

_MYSQL_DEADLOCK = 1213


def is_deadlock(error: Exception) -> bool:
    """Say whether a server ended this transaction because it and another one waited for each other."""
    if isinstance(error, pymysql.Error):
        return bool(error.args) and error.args[0] == _MYSQL_DEADLOCK
    return isinstance(error, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True, slots=True)
class Side:
    """One database: where it is and who asks. `password` is that of a local throw-away server."""

    kind: Kind
    host: str
    port: int
    user: str
    password: str
    database: str

    @contextlib.contextmanager
    def connection(self, *, autocommit: bool = True) -> Iterator[Any]:
        """Open a connection in UTC, and close it; without `autocommit` it commits when the block ends well."""
        connection = self._open(autocommit=autocommit)
        try:
            yield connection
            if not autocommit:
                connection.commit()
        finally:
            with contextlib.suppress(*SERVER_GONE):
                connection.close()

    def _open(self, *, autocommit: bool) -> Any:  # noqa: ANN401 - two drivers without a common type
        if self.kind is Kind.POSTGRES:
            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=self.database,
                autocommit=autocommit,
                options="-c timezone=UTC",
                connect_timeout=5,
            )
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database or None,
            autocommit=autocommit,
            charset="utf8mb4",
            init_command="SET time_zone = '+00:00'",
            connect_timeout=5,
        )

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement in a transaction of its own; return how many rows it touched."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return int(cursor.rowcount)

    def run_all(self, statements: Sequence[str]) -> None:
        """Run statements one after another."""
        with self.connection() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def together(self, statements: Sequence[tuple[str, Sequence[object]]]) -> None:
        """Run statements in one transaction."""
        with self.connection(autocommit=False) as connection, connection.cursor() as cursor:
            for sql, parameters in statements:
                cursor.execute(sql, tuple(parameters) or None)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one question."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """Return the first row of one question, or None."""
        rows = self.query(sql, parameters)
        return rows[0] if rows else None
