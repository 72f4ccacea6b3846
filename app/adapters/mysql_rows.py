"""MariaDB and MySQL as stores of rows: guarded writes by compare-and-set, with the ledger in the same transaction.

These stores do not tell which other tables a statement wrote; `app.adapters.mysql_beside` finds it out, as far as the
role may see the tables. `driftline init` lists triggers and cascades as an administrator sees them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pymysql

from app.adapters.mysql_beside import MysqlBeside, Place
from app.adapters.mysql_references import Ask, Reference, references
from app.adapters.mysql_standbys import MysqlStandbys
from app.adapters.mysql_tally import MysqlTally
from app.adapters.sql_clients import Use, connect_mysql
from app.adapters.sql_rows import Connection, DuplicateRow, SqlRows, SqlTarget, SqlTransaction, keys_by_entity
from app.adapters.sql_statements import RowStatement, Verb, in_block, quoted
from app.adapters.sql_table import ALIAS, SqlTable
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.guard import Refused
from app.core.ledger import LedgerRow
from app.core.rehearsal import Tally
from app.core.store import StoreKind
from app.core.undo import must_have
from app.ports import RowName, RowWrite, Strain
from app.settings import StoreSettings

# Made once: `json.dumps` makes one anew for each row.
_as_json: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
_TIMEOUTS: Final = frozenset({1969, 3024})
"""Of MariaDB and of MySQL."""
_BY_NUMBER: Final[dict[int, RefusalReason]] = {
    1205: RefusalReason.ROW_LOCKED,  # lock wait timeout, also NOWAIT
    1213: RefusalReason.ROW_LOCKED,  # deadlock
    3572: RefusalReason.ROW_LOCKED,  # NOWAIT in MySQL
    1020: RefusalReason.ROW_LOCKED,  # record has changed since last read
    1364: RefusalReason.UNCOVERED_COLUMNS,  # no default
    1264: RefusalReason.NOT_HELD_BY_COLUMN,  # out of range
    1265: RefusalReason.NOT_HELD_BY_COLUMN,  # data truncated
    1292: RefusalReason.NOT_HELD_BY_COLUMN,  # incorrect value
    1366: RefusalReason.NOT_HELD_BY_COLUMN,  # incorrect value, also a character that the charset has not
    1367: RefusalReason.NOT_HELD_BY_COLUMN,
    1406: RefusalReason.NOT_HELD_BY_COLUMN,  # too long
    1411: RefusalReason.NOT_HELD_BY_COLUMN,
    1690: RefusalReason.NOT_HELD_BY_COLUMN,
    3140: RefusalReason.NOT_HELD_BY_COLUMN,  # not JSON
    1048: RefusalReason.CONSTRAINT,  # NULL where none may be
    1451: RefusalReason.FOREIGN_KEY,
    1452: RefusalReason.FOREIGN_KEY,
    1644: RefusalReason.CONSTRAINT,  # a trigger says no
    3819: RefusalReason.CONSTRAINT,
    4025: RefusalReason.CONSTRAINT,
    # The role may not: only a person can mend that, and a refusal would be for ever.
    1044: RefusalReason.NO_RIGHT,
    1142: RefusalReason.NO_RIGHT,
    1143: RefusalReason.NO_RIGHT,
    # The table is not, or not yet, what the contract says: others go on while a person or a migration puts that right.
    1054: RefusalReason.TABLE_DIFFERS,  # no such column
    1146: RefusalReason.TABLE_DIFFERS,  # no such table
    1906: RefusalReason.OUTSIDE_CONTRACT,  # a generated column
    3105: RefusalReason.OUTSIDE_CONTRACT,
}
_DUPLICATE: Final = 1062
# None of these messages carries a value.
_NAMED: Final = {
    1048: re.compile(r"Column '([^']+)'"),
    1054: re.compile(r"column '([^']+)' in '"),
    1146: re.compile(r"Table '([^']+)'"),
    1364: re.compile(r"Field '([^']+)'"),
    1451: re.compile(r"CONSTRAINT `([^`]+)`"),
    1452: re.compile(r"CONSTRAINT `([^`]+)`"),
    3819: re.compile(r"constraint '([^']+)'"),
    4025: re.compile(r"CONSTRAINT `([^`]+)`"),
}
"""Where an error's text names the constraint, the column that must not be NULL, or what is not there."""
# The value stands before it and may hold anything, so the name is taken from the end.
_KEY_NAME: Final = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'\Z")

_COLUMNS: Final = """
SELECT column_name, data_type, character_set_name IS NOT NULL, extra LIKE '%% GENERATED%%',
       coalesce(column_default LIKE '%%nextval(%%', FALSE)
  FROM information_schema.columns
 WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_INDEX: Final = """
SELECT CASE WHEN sub_part IS NULL THEN column_name END FROM information_schema.statistics
 WHERE table_schema = %s AND table_name = %s AND index_name = %s ORDER BY seq_in_index
"""
_ENGINE: Final = """
SELECT engine, table_type, create_options LIKE '%%partitioned%%'
  FROM information_schema.tables WHERE table_schema = %s AND table_name = %s
"""
_SHAPES: Final = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"}
    | {"geometrycollection", "geomcollection"}
)
_REFERENCES_KEPT_S: Final = 1.0
_REFERENCES_KEPT_TIMES: Final = 50
"""What foreign keys there are is asked anew after a second, and after as many times as long as the answer took."""
_HEX_TYPES: Final = _SHAPES | {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit"}


class MysqlRows(SqlRows):
    """One MariaDB or MySQL store."""

    errors = pymysql.MySQLError
    shared_lock = "LOCK IN SHARE MODE NOWAIT"
    rows_estimate = "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"

    # A primary does not know how far its replicas are: `strain` looks at them.
    replicas = "SELECT 0, NULL, NULL"

    def __init__(self, store: StoreSettings, contracts: Iterable[EntityContract], digest_key: bytes) -> None:
        super().__init__(store, contracts, digest_key)
        self._references: dict[str, tuple[float, Sequence[Reference]]] = {}
        self._standbys = MysqlStandbys(store)

    def place(self, table: SqlTable) -> list[str]:
        """Return what the catalogue finds a table by."""
        return [self.store.database, table.table] if "." not in table.table else table.table.split(".", 1)

    def connect(self, use: Use) -> Connection:
        """Connect for reading or writing."""
        if self.store.kind is StoreKind.MYSQL and not self.shared_lock.startswith("FOR"):
            self.fence = tuple(each.replace(self.shared_lock, "FOR SHARE NOWAIT") for each in self.fence)
        return connect_mysql(self.store, "read" if use is Use.READ else "apply", use)

    def close(self) -> None:
        """Let all connections go."""
        super().close()
        self._standbys.close()
        self._references.clear()

    def strain(self) -> Strain:
        """Return how the store bears being written now, and how far the standbys of its settings are behind."""
        return replace(super().strain(), lag_ms=self._standbys.lag_ms())

    def references(self, ask: Ask, place: Place) -> Sequence[Reference]:
        """Return the foreign keys that refer to a table, as they were a moment ago: the catalogue is slow to tell.

        It reads every table that the role has a right on. New ones are seen only once somebody gives a right anyway.
        """
        at, until, found = time.monotonic(), *self._references.get(place.name, (0.0, ()))
        if at >= until:
            found = references(ask, place.kind, place.found_by)
            now = time.monotonic()
            self._references[place.name] = now + max(_REFERENCES_KEPT_S, (now - at) * _REFERENCES_KEPT_TIMES), found
        return found

    def translated(self, error: Exception) -> Exception:
        """Return ours for a driver's error, by its number."""
        number = error.args[0] if error.args else 0
        if number == _DUPLICATE:
            name = _KEY_NAME.search(str(error.args[-1]))
            return DuplicateRow(name[1] if name else "", is_primary=name is not None and name[1] == "PRIMARY")
        if number in _BY_NUMBER:
            named = _NAMED[number].search(str(error.args[-1])) if number in _NAMED else None
            told = f'error {number}, "{named[1]}"' if named else f"error {number}"
            return self.refusal(_BY_NUMBER[number], told)
        if isinstance(error, pymysql.err.DataError):
            return Refused(RefusalReason.NOT_HELD_BY_COLUMN, f"error {number}")
        if isinstance(error, pymysql.err.IntegrityError):
            return Refused(RefusalReason.CONSTRAINT, f"error {number}")
        return self.unready(error, number)

    def is_timeout(self, error: Exception) -> bool:
        """Tell whether the limit of a statement's time ended one."""
        return bool(error.args) and error.args[0] in _TIMEOUTS

    def start(self, writer: Connection, rows: Sequence[RowName]) -> SqlTransaction:
        """Begin a transaction on some rows; MyISAM, Aria and views are refused, and a table that is not there held."""
        writer.rollback()
        targets = {entity: self._target(writer, self.table(entity)) for entity in keys_by_entity(rows)}
        return MysqlTransaction(self, writer, targets, rows)

    def _target(self, writer: Connection, table: SqlTable) -> MysqlTarget:
        place = self.place(table)
        cursor = writer.cursor()
        cursor.execute(_ENGINE, place)
        found = cursor.fetchone()
        if found is None:
            writer.rollback()
            raise self.refusal(RefusalReason.TABLE_DIFFERS, "no table of this name may be seen")
        if found[0] != "InnoDB" or found[1] != "BASE TABLE":
            writer.rollback()
            raise Refused(RefusalReason.NOT_TRANSACTIONAL, f"the engine is {found[0]}")
        is_partitioned = bool(found[2])
        cursor.execute(_COLUMNS, place)
        found = cursor.fetchall()
        columns = [(str(name), str(kind).lower(), bool(is_text)) for name, kind, is_text, _, _ in found]
        generated = frozenset(str(name) for name, _, _, is_generated, _ in found if is_generated)
        is_drawn = any(draws for *_, draws in found)
        return MysqlTarget(table, columns, generated, counts_rows=not is_partitioned and not is_drawn)

    def insert_many(self, cursor: Connection, rows: Sequence[Sequence[object]]) -> None:
        """Insert rows into the ledger."""
        cursor.executemany(self.ledger.insert, rows)


class MysqlTarget(SqlTarget):
    """An InnoDB table, with each column's name, type and whether it is text.

    `counts_rows`: the session counts each row that is written here once.
    """

    def __init__(
        self, table: SqlTable, columns: list[tuple[str, str, bool]], generated: frozenset[str], *, counts_rows: bool
    ) -> None:
        super().__init__(table)
        self._columns = columns
        self._generated = generated
        self._counts_rows = counts_rows
        self.image = ", ".join(self._as_text(*column) for column in columns)

    def _as_text(self, column: str, kind: str, is_text: bool) -> str:  # noqa: FBT001 - as the catalogue says it
        name = f"{ALIAS}.{quoted(self.table.kind, column)}"
        if is_text:
            return name
        if kind in _HEX_TYPES:
            return f"hex({name})"
        # A float as text keeps six digits only; as a double it keeps all.
        return f"CAST({f'CAST({name} AS DOUBLE)' if kind == 'float' else name} AS CHAR)"

    def place(self, found_by: Sequence[str]) -> Place:
        """Return the table as its statements name it, with what the catalogue finds it by."""
        computed = frozenset(quoted(self.table.kind, column) for column in self._generated)
        return Place(self.table.kind, self.table.name, found_by, computed, self._counts_rows)

    def imaged(self, found: Sequence[object]) -> bytes:
        """Return every column's text, or hexadecimal digits for bytes, with the column's type."""
        columns = {
            name: [kind, None if value is None else str(value)]
            for (name, kind, _), value in zip(self._columns, found, strict=True)
        }
        return _as_json(columns).encode()

    def _imaged_columns(
        self, columns: Mapping[str, Sequence[str | None]], only: Sequence[str]
    ) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[object, ...]]:
        """Return the quoted names of some columns, the placeholders of those that stand in digits, and all values."""
        names = tuple(quoted(self.table.kind, column) for column in only)
        kinds = zip(names, (columns[column][0] for column in only), strict=True)
        forms = tuple((name, "UNHEX(%s)") for name, kind in kinds if kind in _HEX_TYPES)
        return names, forms, tuple(columns[column][1] for column in only)

    def restoring(self, key: bytes, image: bytes) -> RowStatement:
        """Return the UPDATE of the contract's columns."""
        imaged = json.loads(image)
        must_have(imaged, self.table.written)
        names, forms, values = self._imaged_columns(imaged, self.table.written)
        bound = (*values, *self.table.bound_key(key))
        return RowStatement(Verb.UPDATE, self.table.name, names, self.table.key_names, bound, forms)

    def putting_back(self, image: bytes) -> RowStatement:
        """Return the INSERT of all columns that the image has but generated ones."""
        imaged = json.loads(image)
        must_have(imaged, self.table.columns)
        # One that came since has its default; where it has none and must not be NULL, the store itself says no.
        columns = [name for name, _, _ in self._columns if name in imaged and name not in self._generated]
        names, forms, values = self._imaged_columns(imaged, columns)
        return RowStatement(Verb.INSERT, self.table.name, names, (), values, forms)


class MysqlTransaction(SqlTransaction):
    """A guarded transaction on rows of InnoDB tables."""

    row_lock = "FOR UPDATE NOWAIT"
    asks_before = False

    def __init__(
        self, store: MysqlRows, writer: Connection, targets: Mapping[str, MysqlTarget], rows: Sequence[RowName]
    ) -> None:
        super().__init__(store, writer, targets, rows)
        self._place = store.place
        tables = [(targets[entity].table, key) for entity, key in rows]
        self._tally = MysqlTally(self._ask, [(table, store.place(table), key) for table, key in tables])
        self._beside = MysqlBeside(
            self._ask, [each.place(store.place(each.table)) for each in targets.values()], store.references
        )

    def other_tables(self) -> tuple[str, ...]:
        """Name what this transaction touched besides its rows and the ledger, as far as the role may see it."""
        return self._beside.named()

    def count_anew(self) -> None:
        """Count from here on."""
        self._beside.count_anew()

    def look_before(self, statements: Sequence[RowStatement]) -> None:
        """Look for rows that foreign keys would take along."""
        self._beside.look_before(statements)

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Insert ledger rows."""
        super().record(rows)
        self._tally.recorded(len(rows))

    def write(self, writes: Sequence[RowWrite]) -> int:
        """Write each row in its way."""
        self.count_anew()
        written = super().write(writes)
        self._tally.wrote([each.way for each in writes])
        return written

    def tally(self) -> Tally:
        """Tell what this transaction wrote, as far as the store lets it be known. Nothing is deferred to a commit."""
        return self._tally.taken()

    def _ask(self, text: str, parameters: Sequence[object]) -> Sequence[Sequence[Any]]:
        with self.store.translating():
            found: Sequence[Sequence[Any]] = self.execute(text, parameters).fetchall()
        return found

    def index_columns(self, entity: str, index: str) -> Sequence[str | None]:
        """Ask the catalogue; what indexes the beginning of a column, or an expression, is over no whole column."""
        place = self._place(self.targets[entity].table)
        return [column for (column,) in self.execute(_INDEX, [*place, index]).fetchall()]

    def run_as_one(self, statements: Sequence[RowStatement]) -> int:
        """Run statements in one block, which MySQL has not; the driver itself makes one of many plain INSERTs."""
        first = statements[0]
        if first.verb is Verb.INSERT or self.store.store.kind is not StoreKind.MARIADB:
            cursor = self.writer.cursor()
            cursor.executemany(first.text, [statement.values for statement in statements])
            return int(cursor.rowcount)
        ((written,),) = self.execute(*in_block(statements)).fetchall()
        return int(written)

    def transaction_id(self) -> str:
        """Return the GTID of the last commit of this connection; MySQL does not tell it."""
        if self.store.store.kind is not StoreKind.MARIADB:
            return ""
        return str(self.execute("SELECT @@last_gtid").fetchone()[0])
