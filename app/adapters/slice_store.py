"""What the conductor does in one store, here in one of SQL: find where slices end, and add rows to the signal table.

Conditions travel as text into another program's statement. Names come from the contract and are quoted; values come
from rows, so that they are written in hexadecimal digits, or are whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

import psycopg
import pymysql

from app.adapters.mongodb_slice_store import MongodbSliceStore
from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.codec.slice_signals import SignalForm, SignalRow
from app.core.conducting import Bound, Key, Look, Part
from app.core.contract import KeyField
from app.core.errors import Unready
from app.core.store import StoreKind
from app.core.types.numbers import INTEGER_RANGES
from app.settings import StoreSettings

TABLE: Final = "driftline_signal"
ROLE: Final = "conduct"


def _name(kind: StoreKind, name: str) -> str:
    mark = '"' if kind is StoreKind.POSTGRES else "`"
    return mark + name.replace(mark, mark * 2) + mark


def _literal(kind: StoreKind, part: KeyField, value: str, type_name: str) -> str:
    if part.type.kind in INTEGER_RANGES:
        return str(int(value))
    text = value.encode().hex()
    if kind is StoreKind.POSTGRES:
        return f"CAST(pg_catalog.convert_from(pg_catalog.decode('{text}', 'hex'), 'UTF8') AS {type_name})"
    # A literal, so that the column's collation decides and not this text's.
    return f"_utf8mb4 x'{text}'"


class SqlSliceStore:
    """One store, by the role `conduct`: SELECT of the contracts' tables, INSERT into the signal table."""

    form: Final = SignalForm.SQL

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._connection: Any = None
        self._types: dict[tuple[str, str], str] = {}
        self.signal_table = f"{store.schema}.{TABLE}"

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (psycopg.Error, pymysql.MySQLError, OSError):
                return

    def bound(self, look: Look) -> Bound:
        """Return the key that ends the next slice, by the store's own order of keys."""
        kind, part = self._store.kind, look.part
        columns = [_name(kind, column) for column in self._columns(part)]
        table = self._table(part)
        where = self.condition(part, look.after, ()) or "1 = 1"
        as_text = "::text" if kind is StoreKind.POSTGRES else ""
        shown = ", ".join(f"{column}{as_text}" for column in columns)
        # Without the table's name PostgreSQL would order by what is shown, which is text: 10 before 9.
        order = ", ".join(f"rows_there.{column}" for column in columns)
        # S608: names are quoted, values are digits.
        last = (
            f"SELECT {shown} FROM {table} AS rows_there WHERE {where} ORDER BY {order}"  # noqa: S608
            f" LIMIT 1 OFFSET {look.rows - 1:d}"
        )
        began_s = monotonic()
        found = self._ask(last)
        answered_ms = (monotonic() - began_s) * 1_000
        if found:
            return Bound(tuple(str(value) for value in found[0]), look.rows, answered_ms)
        [(rows,)] = self._ask(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608
        return Bound((), int(rows), answered_ms)

    def condition(self, part: Part, after: Key, end: Key) -> str:
        """Return the condition that chooses the rows behind one key, up to another; no text for all rows."""
        bounds = []
        if after:
            bounds.append(self._beside(part, after, ">", is_included=False))
        if end:
            bounds.append(self._beside(part, end, "<", is_included=True))
        return " AND ".join(bounds)

    def signal(self, row: SignalRow) -> None:
        """Add a row to the signal table; one that is there already stays as it is."""
        kind = self._store.kind
        name = f"{_name(kind, self._store.schema)}.{_name(kind, TABLE)}"
        ignore, on_conflict = ("", " ON CONFLICT DO NOTHING") if kind is StoreKind.POSTGRES else ("IGNORE ", "")
        text = f"INSERT {ignore}INTO {name} (id, type, data) VALUES (%s, %s, %s){on_conflict}"  # noqa: S608 - a name of ours
        self._ask(text, (row.id, row.type, row.data))

    def _columns(self, part: Part) -> list[str]:
        return [key.columns[part.store] for key in part.contract.key]

    def _table(self, part: Part) -> str:
        table = part.contract.table_of(part.store).table
        return ".".join(_name(self._store.kind, each) for each in table.split(".", 1))

    def _beside(self, part: Part, key: Key, sign: str, *, is_included: bool) -> str:
        """Compare keys part by part, as the store's index does: (a > x) OR (a = x AND b > y)."""
        kind = self._store.kind
        literals = [
            _literal(kind, field, value, self._type_of(part, field))
            for field, value in zip(part.contract.key, key, strict=True)
        ]
        columns = [_name(kind, column) for column in self._columns(part)]
        cases = []
        for n, column in enumerate(columns):
            equals = [f"{columns[i]} = {literals[i]}" for i in range(n)]
            or_equal = "=" if is_included and n == len(columns) - 1 else ""
            cases.append("(" + " AND ".join([*equals, f"{column} {sign}{or_equal} {literals[n]}"]) + ")")
        return "(" + " OR ".join(cases) + ")"

    def _type_of(self, part: Part, field: KeyField) -> str:
        """Return the type of a key's column as PostgreSQL names it: texts are compared as what their column is."""
        if self._store.kind is not StoreKind.POSTGRES or field.type.kind in INTEGER_RANGES:
            return ""
        at = (part.contract.entity, field.name)
        if at not in self._types:
            [(found,)] = self._ask(
                "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
                " WHERE a.attrelid = %s::regclass AND a.attname = %s",
                (self._table(part), field.columns[part.store]),
            )
            self._types[at] = str(found)
        return self._types[at]

    def _ask(self, text: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                connect = connect_postgres if self._store.kind is StoreKind.POSTGRES else connect_mysql
                self._connection = connect(self._store, ROLE, Use.READ)
            cursor = self._connection.cursor()
            # Without parameters a percent sign in a name is no placeholder.
            cursor.execute(text, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []
        except (psycopg.Error, pymysql.MySQLError, OSError) as error:
            self.close()
            code = getattr(error, "sqlstate", None) or (error.args[0] if error.args else "")
            raise Unready(
                f"the store cannot be asked ({type(error).__name__} {code})",
                where=f"store {self._store.name} at {self._store.host}:{self._store.port}",
                hint=f"is the server up, and may the role {ROLE} do its work? `driftline init` gives the rights",
            ) from None


def slice_store(store: StoreSettings) -> SqlSliceStore | MongodbSliceStore:
    """Return the adapter of a store."""
    return MongodbSliceStore(store) if store.kind is StoreKind.MONGODB else SqlSliceStore(store)
