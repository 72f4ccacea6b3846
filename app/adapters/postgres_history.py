"""The history in a schema of a PostgreSQL database, reached by a login that needs nothing but that schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from app.adapters.sql_clients import connect_history
from app.adapters.sql_history import SqlHistory
from app.core.errors import Unready
from app.core.history.cells import Cell
from app.settings import HistoryDatabase

_LOCK: Final = 0x64726966746C696E  # "driftlin": writers of a history take turns


class PostgresHistory(SqlHistory):
    """A history in PostgreSQL; `reads_only` connects for questions, in a session that cannot write."""

    mark = "%s"

    def __init__(self, database: HistoryDatabase, deployment: str, *, reads_only: bool) -> None:
        super().__init__(deployment)
        self._database = database
        try:
            self._connection = connect_history(database, reads_only=reads_only)
        except psycopg.Error as fault:
            raise self._unready(fault) from fault

    def _unready(self, fault: psycopg.Error) -> Unready:
        where = f"{self._database.host}:{self._database.port}/{self._database.database}"
        what = (str(fault).splitlines() or [type(fault).__name__])[0]
        return Unready(f"the history cannot be used: {what}", where=where, hint="see `history.postgres`")

    def execute(self, text: str, parameters: Sequence[Cell] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        try:
            cursor = self._connection.execute(text.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as fault:
            raise self._unready(fault) from fault

    def execute_many(self, text: str, parameters: Sequence[Sequence[Cell]]) -> None:
        """Run a statement once for each list of parameters."""
        try:
            self._connection.cursor().executemany(text.encode(), parameters)
        except psycopg.Error as fault:
            raise self._unready(fault) from fault

    def table_names(self) -> set[str]:
        """Return the names of the tables that are there."""
        found = self.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (self._database.schema,))
        return {name for (name,) in found}

    def placed(self, name: str) -> str:
        """Return a table's name with its schema."""
        return f'"{self._database.schema}"."{name}"'

    def begin(self) -> None:
        """Begin a transaction that will write: nobody else's comes in between."""
        self.execute("BEGIN")
        self.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))

    def make(self) -> None:
        """Make the schema, if nobody made it for this login, and the tables."""
        schema = self._database.schema
        if not self.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)):
            self.execute(f'CREATE SCHEMA "{schema}"')
        super().make()

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()
