"""The statements of one contract's table in one SQL store, and its rows as the contract sees them.

Names come from the contract only and are quoted; values only ever travel as parameters. Both drivers format with `%s`,
so a `%` in a name is doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from app.adapters.sql_values import parameter, select_expression
from app.core.canonical_key import decode_key
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.dialects import by_sql
from app.core.digest import RowDigester, row_digest
from app.core.errors import Unmappable
from app.core.guard import Refused
from app.core.store import StoreKind
from app.core.types.canonical import Canonical
from app.ports import UNREADABLE, RowRead

ALIAS: Final = "driftline_row"


def quoted(kind: StoreKind, name: str) -> str:
    """Quote one name for a statement that takes parameters."""
    mark = '"' if kind is StoreKind.POSTGRES else "`"
    return mark + name.replace(mark, mark * 2).replace("%", "%%") + mark


def quoted_table(kind: StoreKind, table: str) -> str:
    """Quote a table's name with its schema or database: `public.orders` has one dot, the first one."""
    return ".".join(quoted(kind, part) for part in table.split(".", 1))


class SqlTable:
    """One entity in one store."""

    def __init__(self, contract: EntityContract, store: str, kind: StoreKind, digest_key: bytes) -> None:
        self.contract = contract
        self.kind = kind
        self.table = contract.table_of(store).table
        self.name = quoted_table(kind, self.table)
        self._digester = RowDigester(contract, store, by_sql(kind), digest_key)
        self._keys = [(part.columns[store], part.type, part.encodings.get(store, "")) for part in contract.key]
        keys = {column for column, _, _ in self._keys}
        self._fields = [
            (f.name, f.columns[store], f.type, f.encodings.get(store, ""))
            for f in contract.fields
            if f.columns[store] not in keys
        ]
        types = {column: type_ for column, type_, _ in self._keys}
        types |= {column: type_ for _, column, type_, _ in self._fields}
        self.columns = tuple(types)
        self.written = tuple(column for _, column, _, _ in self._fields) or tuple(keys)
        self._select = ", ".join(
            f"{select_expression(kind, type_, f'{ALIAS}.{quoted(kind, column)}')} AS {quoted(kind, column)}"
            for column, type_ in types.items()
        )

    def spelling(self, values: Mapping[str, object]) -> bytes:
        """Return the digest of how a row is spelled."""
        return self._digester.spelling(values)  # type: ignore[arg-type] # canonical, as a store's read gave them

    def where(self, key: bytes) -> tuple[str, list[object]]:
        """Return the condition that finds a row by its canonical key; `Undecodable` for no key of this entity."""
        parts = self._bound_key(key)
        return " AND ".join(f"{name} = {text}" for name, text, _ in parts), [bound for _, _, bound in parts]

    def select(self, keys: Sequence[bytes], more: str = "", ending: str = "") -> tuple[str, list[object]]:
        """Return the statement that reads the rows' compared columns, then `more`."""
        condition, parameters = self._any_of(keys)
        rest = f", {more}" if more else ""
        text = f"SELECT {self._select}{rest} FROM {self.name} AS {ALIAS} WHERE {condition} {ending}"  # noqa: S608
        return text, parameters

    @property
    def key_order(self) -> str:
        """The key's columns, to order rows by."""
        return ", ".join(quoted(self.kind, column) for column, _, _ in self._keys)

    def _any_of(self, keys: Sequence[bytes]) -> tuple[str, list[object]]:
        if len(keys) > 1 and len(self._keys) == 1:
            parts = [part for key in keys for part in self._bound_key(key)]
            texts = ", ".join(text for _, text, _ in parts)
            return f"{parts[0][0]} IN ({texts})", [bound for _, _, bound in parts]
        conditions = [self.where(key) for key in keys]
        text = " OR ".join(f"({condition})" for condition, _ in conditions)
        return text, [bound for _, parameters in conditions for bound in parameters]

    def insert(self, key: bytes, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """Return a plain INSERT of the contract's columns."""
        parts = [*self._bound_key(key), *self._bound(values)]
        names, texts = ", ".join(name for name, _, _ in parts), ", ".join(text for _, text, _ in parts)
        return f"INSERT INTO {self.name} ({names}) VALUES ({texts})", [bound for _, _, bound in parts]  # noqa: S608

    def update(self, key: bytes, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """Return an UPDATE by key, of the contract's columns that are given."""
        bound = self._bound(values)
        condition, parameters = self.where(key)
        changes = ", ".join(f"{name} = {text}" for name, text, _ in bound)
        return f"UPDATE {self.name} SET {changes} WHERE {condition}", [*(b for _, _, b in bound), *parameters]  # noqa: S608

    def delete(self, key: bytes) -> tuple[str, list[object]]:
        """Return a DELETE by key."""
        condition, parameters = self.where(key)
        return f"DELETE FROM {self.name} WHERE {condition}", parameters  # noqa: S608

    def _bound_key(self, key: bytes) -> list[tuple[str, str, object]]:
        values = decode_key(self.contract, key)
        return [
            (quoted(self.kind, column), *parameter(self.kind, type_, value, encoding))
            for (column, type_, encoding), value in zip(self._keys, values, strict=True)
        ]

    def _bound(self, values: Mapping[str, object]) -> list[tuple[str, str, object]]:
        found = []
        for name, column, type_, encoding in self._fields:
            if name not in values:
                continue
            value: Canonical = values[name]  # type: ignore[assignment] # canonical, as another store's read gave it
            try:
                text, bound = parameter(self.kind, type_, value, encoding)
            except Unmappable as fault:
                raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, f'field "{name}": {fault.what}') from None
            found.append((quoted(self.kind, column), text, bound))
        return found

    def seen(self, keys: Sequence[bytes], rows: Iterable[Sequence[object]]) -> list[tuple[RowRead, Sequence[object]]]:
        """Return of each key what the contract sees of its row, and all that was selected of it.

        A row that the store's collation takes for the same key, and that is another key to us, is not this row.
        """
        found: dict[bytes, tuple[RowRead, Sequence[object]]] = {}
        absent = RowRead()
        for row in rows:
            raw = dict(zip(self.columns, row, strict=False))
            try:
                key = self._digester.canonical_key(raw)
            except Unmappable:
                # It may be any of them.
                absent = RowRead(UNREADABLE)
                continue
            try:
                read = RowRead(row_digest(self._digester.groups(raw)), self._digester.values(raw))
            except Unmappable:
                read = RowRead(UNREADABLE)
            found.setdefault(key, (read, row))
        return [found.get(key, (absent, ())) for key in keys]
