"""The statements of one contract's table in one SQL store, and its rows as the contract sees them.

Names come from the contract only and are quoted; values only ever travel as parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from app.adapters.sql_statements import RowStatement, Verb, quoted
from app.adapters.sql_values import binder, select_expression, text_array
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
_KEYS_KEPT: Final = 1_000


class _Values(Mapping[str, object]):
    """A row's values, made when they are asked for: mostly its digest is enough."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Mapping[str, object]]) -> None:
        self._make = make
        self._made: Mapping[str, object] | None = None

    def _all(self) -> Mapping[str, object]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> object:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


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
        self._key_columns = [part.columns[store] for part in contract.key]
        self._key_binders = [binder(kind, part.type, part.encodings.get(store, "")) for part in contract.key]
        self.key_names = tuple(quoted(kind, column) for column in self._key_columns)
        written = [f for f in contract.fields if f.columns[store] not in self._key_columns]
        self._fields = [
            (f.name, quoted(kind, f.columns[store]), binder(kind, f.type, f.encodings.get(store, ""))) for f in written
        ]
        self._field_of = {f.columns[store]: f.name for f in written}
        types = {part.columns[store]: part.type for part in contract.key}
        types |= {f.columns[store]: f.type for f in written}
        self.columns = tuple(types)
        self.written = tuple(f.columns[store] for f in written) or tuple(self._key_columns)
        # A transaction asks for each of its keys again and again.
        self.bound_key = lru_cache(_KEYS_KEPT)(self._bound_key)
        self._select = ", ".join(
            f"{select_expression(kind, type_, f'{ALIAS}.{quoted(kind, column)}')} AS {quoted(kind, column)}"
            for column, type_ in types.items()
        )

    def spelling(self, values: Mapping[str, object]) -> bytes:
        """Return the digest of how a row is spelled."""
        return self._digester.spelling(values)  # type: ignore[arg-type] # canonical, as a store's read gave them

    def where(self, key: bytes) -> tuple[str, list[object]]:
        """Return the condition that finds a row by its canonical key.

        `Undecodable` for no key of this entity, `Refused` for one that this store's columns cannot hold.
        """
        return self._condition, list(self.bound_key(key))

    def fields_of(self, columns: Sequence[str | None]) -> tuple[str, ...]:
        """Return the fields that columns hold; none if one of them holds none that is compared."""
        found = [self._field_of.get(column or "") for column in columns]
        return tuple(name for name in found if name is not None) if all(found) else ()

    @property
    def _condition(self) -> str:
        return " AND ".join(f"{name} = %s" for name in self.key_names)

    def select(self, keys: Sequence[bytes], more: str = "", ending: str = "") -> tuple[str, list[object]]:
        """Return the statement that reads the rows' compared columns, then `more`."""
        condition, parameters = self._any_of(keys)
        rest = f", {more}" if more else ""
        text = f"SELECT {self._select}{rest} FROM {self.name} AS {ALIAS} WHERE {condition} {ending}"  # noqa: S608
        return text, parameters

    @property
    def key_order(self) -> str:
        """The key's columns, to order rows by."""
        return ", ".join(self.key_names)

    def _any_of(self, keys: Sequence[bytes]) -> tuple[str, list[object]]:
        bound = [self.bound_key(key) for key in keys]
        if len(keys) == 1 or len(self.key_names) > 1:
            return " OR ".join([f"({self._condition})"] * len(keys)), [part for parts in bound for part in parts]
        (name,), values = self.key_names, [value for (value,) in bound]
        if self.kind is StoreKind.POSTGRES:
            # One parameter, whose type is the column's: to take many apart costs both sides more than to find the rows.
            return f"{name} = ANY(%s)", [text_array(values)]
        return f"{name} IN ({', '.join(['%s'] * len(values))})", values

    def insert(self, key: bytes, values: Mapping[str, object]) -> RowStatement:
        """Return a plain INSERT of the contract's columns."""
        names, bound = self._bound(values)
        return RowStatement(Verb.INSERT, self.name, self.key_names + names, (), (*self.bound_key(key), *bound))

    def update(self, key: bytes, values: Mapping[str, object]) -> RowStatement:
        """Return an UPDATE by key, of the contract's columns that are given."""
        names, bound = self._bound(values)
        return RowStatement(Verb.UPDATE, self.name, names, self.key_names, (*bound, *self.bound_key(key)))

    def delete(self, key: bytes) -> RowStatement:
        """Return a DELETE by key."""
        return RowStatement(Verb.DELETE, self.name, (), self.key_names, self.bound_key(key))

    def _bound_key(self, key: bytes) -> tuple[object, ...]:
        values = decode_key(self.contract, key)
        try:
            return tuple(bind(value) for bind, value in zip(self._key_binders, values, strict=True))
        except Unmappable as fault:
            raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, f"its key: {fault.what}") from None

    def _bound(self, values: Mapping[str, object]) -> tuple[tuple[str, ...], list[object]]:
        """Return the quoted columns that are given, and what is bound to them."""
        names, found = [], []
        for field, name, bind in self._fields:
            if field not in values:
                continue
            value: Canonical = values[field]  # type: ignore[assignment] # canonical, as another store's read gave it
            try:
                found.append(bind(value))
            except Unmappable as fault:
                raise Refused(RefusalReason.NOT_HELD_BY_COLUMN, f'field "{field}": {fault.what}') from None
            names.append(name)
        return tuple(names), found

    def seen(self, keys: Sequence[bytes], rows: Sequence[Sequence[object]]) -> list[RowRead]:
        """Return of each key what the contract sees of its row.

        A row that the store's collation takes for the same key, and that is another key to us, is not this row.
        """
        found: dict[bytes, RowRead] = {}
        absent = RowRead()
        for key, read in self.reads(rows):
            if key is None:
                absent = read
            else:
                found.setdefault(key, read)
        return [found.get(key, absent) for key in keys]

    def reads(self, rows: Sequence[Sequence[object]]) -> list[tuple[bytes | None, RowRead]]:
        """Return each row's canonical key with what the contract sees of it; a row without a key may be any row."""
        count = len(rows)
        if not count:
            return []
        by_column = dict(zip(self.columns, zip(*rows, strict=True), strict=False))
        keys = self._digester.canonical_keys(count, [by_column[column] for column in self._key_columns])
        groups = self._digester.groups_of(count, [by_column[column] for column in self._digester.columns])
        return [self._read(*each) for each in zip(rows, keys, groups, strict=True)]

    def _read(self, row: Sequence[object], key: bytes | None, groups: bytes | None) -> tuple[bytes | None, RowRead]:
        raw = dict(zip(self.columns, row, strict=False))
        try:
            key = self._digester.canonical_key(raw) if key is None else key
        except Unmappable:
            return None, RowRead(UNREADABLE)
        try:
            groups = self._digester.groups(raw) if groups is None else groups
        except Unmappable:
            return key, RowRead(UNREADABLE)
        return key, RowRead(row_digest(groups), _Values(partial(self._digester.values, raw)))
