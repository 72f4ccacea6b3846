"""The history in one SQLite file, which only its owner may read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from app.adapters.sql_history import SqlHistory
from app.core.errors import Unready
from app.core.history.cells import Cell

_MODE: Final = 0o600
_WAIT_S: Final = 10.0


class SqliteHistory(SqlHistory):
    """A history in a file; `reads_only` opens it for questions, without a way to write."""

    mark = "?"

    def __init__(self, path: Path, deployment: str, *, reads_only: bool) -> None:
        super().__init__(deployment)
        self._path = path
        if not reads_only:
            self._make_file()
        try:
            self._connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            if reads_only:
                self._connection.execute("PRAGMA query_only = ON")
            else:
                # Questions are answered from before while a rebuild writes.
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as fault:
            raise self._unready(fault) from fault

    def _make_file(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, _MODE))
        except OSError as fault:
            raise self._unready(fault) from fault

    def _unready(self, fault: Exception) -> Unready:
        return Unready(f"the history cannot be used: {fault}", where=str(self._path), hint="see `history.file`")

    def execute(self, text: str, parameters: Sequence[Cell] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        try:
            return self._connection.execute(text, parameters).fetchall()
        except sqlite3.Error as fault:
            raise self._unready(fault) from fault

    def execute_many(self, text: str, parameters: Sequence[Sequence[Cell]]) -> None:
        """Run a statement once for each list of parameters."""
        try:
            self._connection.executemany(text, parameters)
        except sqlite3.Error as fault:
            raise self._unready(fault) from fault

    def table_names(self) -> set[str]:
        """Return the names of the tables that are there."""
        return {name for (name,) in self.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def placed(self, name: str) -> str:
        """Return a table's name."""
        return f'"{name}"'

    def begin(self) -> None:
        """Begin a transaction that will write: nobody else's comes in between."""
        self.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
