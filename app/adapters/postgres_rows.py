"""PostgreSQL as a store of rows: guarded writes by compare-and-set, with the ledger in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from app.adapters.sql_clients import Use, connect_postgres
from app.adapters.sql_rows import Connection, DuplicateRow, SqlRows, SqlTarget, SqlTransaction, keys_by_entity
from app.adapters.sql_statements import RowStatement, Verb, in_one, quoted
from app.adapters.sql_table import ALIAS, SqlTable
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.guard import Refused
from app.core.rehearsal import Tally, Touched
from app.core.store import StoreKind
from app.core.undo import must_have
from app.ports import RowName
from app.settings import StoreSettings

# Made once: `json.dumps` makes one anew for each row.
_as_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_BY_STATE: Final[dict[str, RefusalReason]] = {
    "55P03": RefusalReason.ROW_LOCKED,  # lock not available
    "40P01": RefusalReason.ROW_LOCKED,  # deadlock
    "40001": RefusalReason.ROW_LOCKED,  # serialization failure
    "22001": RefusalReason.NOT_HELD_BY_COLUMN,  # string too long
    "22003": RefusalReason.NOT_HELD_BY_COLUMN,  # number out of range
    "22007": RefusalReason.NOT_HELD_BY_COLUMN,
    "22008": RefusalReason.NOT_HELD_BY_COLUMN,
    "22021": RefusalReason.NOT_HELD_BY_COLUMN,  # a character that the encoding has not, or NUL
    "22P02": RefusalReason.NOT_HELD_BY_COLUMN,  # not of the column's type
    "22P05": RefusalReason.NOT_HELD_BY_COLUMN,
    "22023": RefusalReason.NOT_HELD_BY_COLUMN,
    "42804": RefusalReason.NOT_HELD_BY_COLUMN,
    # The role may not: only a person can mend that, and a refusal would be for ever.
    "42501": RefusalReason.NO_RIGHT,
    # The table is not, or not yet, what the contract says: others go on while a person or a migration puts that right.
    "42703": RefusalReason.TABLE_DIFFERS,  # no such column
    "42P01": RefusalReason.TABLE_DIFFERS,  # no such table
    "3F000": RefusalReason.TABLE_DIFFERS,  # no such schema
    "42883": RefusalReason.TABLE_DIFFERS,  # a column's type has no such comparison
    "42846": RefusalReason.TABLE_DIFFERS,  # nor is cast to what is read of it
    "428C9": RefusalReason.OUTSIDE_CONTRACT,  # a generated column
    "23503": RefusalReason.FOREIGN_KEY,
    "23001": RefusalReason.FOREIGN_KEY,  # ON DELETE RESTRICT
    "P0001": RefusalReason.CONSTRAINT,  # a trigger says no
}
_CANCELED: Final = "57014"
_NOT_NULL: Final = "23502"
_UNIQUE: Final = "23505"
_INTEGRITY: Final = "23"
_DATA: Final = "22"

_TABLE_FACTS: Final = """
SELECT c.oid, c.relkind,
       (SELECT array_agg(k.conname) FROM pg_constraint k WHERE k.contype = 'p'
           AND (k.conrelid = c.oid OR k.conrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))),
       ARRAY(SELECT relid::oid FROM pg_partition_tree(c.oid)) || c.oid, %s::regclass::oid,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
           ORDER BY attnum),
       ARRAY(SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
           AND NOT attisdropped ORDER BY attnum),
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND attgenerated <> '')
  FROM pg_class c WHERE c.oid = %s::regclass
"""
_INDEX: Final = """
SELECT array_agg(a.attname::text ORDER BY k.at)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at)
  LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE c.relname = %s AND i.indrelid = ANY(%s) AND i.indpred IS NULL AND k.at <= i.indnkeyatts
 GROUP BY i.indexrelid
"""
# Counts of this backend's earlier transactions stay here for up to a second, so only what has been added counts.
_CHANGES: Final = """
SELECT relid, schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
 WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""
_Counts = Mapping[int, Touched]
"""What was written to tables, by their numbers."""


class PostgresRows(SqlRows):
    """One PostgreSQL store."""

    def __init__(self, store: StoreSettings, contracts: Iterable[EntityContract], digest_key: bytes) -> None:
        super().__init__(store, contracts, digest_key)
        self.replicas = f"SELECT written, replayed, lag_ms FROM {self.own('driftline_standbys')}()"  # noqa: S608 - quoted

    errors = psycopg.Error
    shared_lock = "FOR SHARE NOWAIT"
    # Of a partitioned table only its parts are counted.
    rows_estimate = (
        "SELECT sum(greatest(c.reltuples, 0)) FROM pg_class c"
        " WHERE c.oid = %s::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree(%s::regclass) WHERE isleaf)"
    )

    def place(self, table: SqlTable) -> list[str]:
        """Return what the catalogue finds a table by."""
        return [_plain(table.name)] * 2

    def connect(self, use: Use) -> psycopg.Connection[Any]:
        """Connect for reading or writing."""
        return connect_postgres(self.store, "read" if use is Use.READ else "apply", use)

    def translated(self, error: Exception) -> Exception:
        """Return ours for a driver's error, by SQLSTATE."""
        state = getattr(error, "sqlstate", None) or ""
        diagnosis = error.diag if isinstance(error, psycopg.Error) else None
        constraint = (diagnosis.constraint_name or "") if diagnosis else ""
        if state == _UNIQUE:
            return DuplicateRow(constraint, is_primary=constraint in self.primary_keys)
        if state == _NOT_NULL:
            column = (diagnosis.column_name or "") if diagnosis else ""
            reason = RefusalReason.CONSTRAINT if column in self.covered else RefusalReason.UNCOVERED_COLUMNS
            return Refused(reason, f'column "{column}" must not be NULL')
        told = f'SQLSTATE {state}, constraint "{constraint}"' if constraint else f"SQLSTATE {state}"
        if state in _BY_STATE:
            return self.refusal(_BY_STATE[state], told)
        if state.startswith(_INTEGRITY):
            return Refused(RefusalReason.CONSTRAINT, told)
        if state.startswith(_DATA):
            return Refused(RefusalReason.NOT_HELD_BY_COLUMN, f"SQLSTATE {state}")
        if isinstance(error, psycopg.DataError):
            # The driver itself could not write the value, such as NUL in a text.
            return Refused(RefusalReason.NOT_HELD_BY_COLUMN, "the value has no form in this store")
        return self.unready(error, state)

    def is_timeout(self, error: Exception) -> bool:
        """Tell whether `statement_timeout` ended a statement."""
        return getattr(error, "sqlstate", None) == _CANCELED

    # What the open transaction's table says; needed to read an error after which nothing can be asked.
    primary_keys: frozenset[str] = frozenset()
    covered: frozenset[str] = frozenset()

    def start(self, writer: Connection, rows: Sequence[RowName]) -> SqlTransaction:
        """Begin a transaction on some rows."""
        writer.rollback()
        self.primary_keys = self.covered = frozenset()
        targets = {entity: self._target(writer, self.table(entity)) for entity in keys_by_entity(rows)}
        before = _counts(writer.execute(_CHANGES).fetchall())
        return PostgresTransaction(self, writer, targets, rows, before)

    def _target(self, writer: Connection, table: SqlTable) -> PostgresTarget:
        ledger = self.own("driftline_ledger")
        facts = writer.execute(_TABLE_FACTS, [_plain(ledger), _plain(table.name)]).fetchone()
        kind = facts[1].decode() if isinstance(facts[1], bytes) else facts[1]
        if kind not in {"r", "p"}:
            writer.rollback()
            raise Refused(RefusalReason.NOT_TRANSACTIONAL, "not a table of this server")
        self.primary_keys |= frozenset(facts[2] or ())
        self.covered |= frozenset(table.columns)
        types = dict(zip(facts[5], facts[6], strict=True))
        return PostgresTarget(table, types, frozenset(facts[7]), parts=frozenset(facts[3]), ledger=facts[4])

    def insert_many(self, cursor: Connection, rows: Sequence[Sequence[object]]) -> None:
        """Insert rows into the ledger."""
        with cursor.copy(self.ledger.copy) as copy:
            for row in rows:
                copy.write_row(row)


class PostgresTarget(SqlTarget):
    """A table of PostgreSQL: its columns, which are computed, and the relations that rows and ledger may stand in."""

    def __init__(
        self,
        table: SqlTable,
        types: Mapping[str, str],
        generated: frozenset[str],
        *,
        parts: frozenset[int],
        ledger: int,
    ) -> None:
        super().__init__(table)
        self._columns = columns = tuple(types)
        self._generated = generated
        self.types = {quoted(StoreKind.POSTGRES, name): kind.replace("%", "%%") for name, kind in types.items()}
        self.parts = parts
        self.ledger = ledger
        # Each in the text form that its type reads again: JSON knows no bounds of arrays, and one null for two.
        self.image = ", ".join(f"{ALIAS}.{quoted(StoreKind.POSTGRES, column)}::text" for column in columns)

    def imaged(self, found: Sequence[object]) -> bytes:
        """Return every column's text."""
        return _as_json(dict(zip(self._columns, found, strict=True))).encode()

    def restoring(self, key: bytes, image: bytes) -> RowStatement:
        """Return the UPDATE of the contract's columns."""
        values: dict[str, object] = json.loads(image)
        written = self.table.written
        must_have(values, written)
        bound = (*(values[column] for column in written), *self.table.bound_key(key))
        return RowStatement(Verb.UPDATE, self.table.name, _quoted(written), self.table.key_names, bound)

    def putting_back(self, image: bytes) -> RowStatement:
        """Return the INSERT of all columns that the image has but generated ones."""
        values: dict[str, object] = json.loads(image)
        must_have(values, self.table.columns)
        # One that came since has its default; where it has none and must not be NULL, the store itself says no.
        columns = [column for column in self._columns if column in values and column not in self._generated]
        bound = tuple(values[column] for column in columns)
        way = "OVERRIDING SYSTEM VALUE "
        return RowStatement(Verb.INSERT, self.table.name, _quoted(columns), (), bound, way=way)


def _quoted(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(quoted(StoreKind.POSTGRES, column) for column in columns)


class PostgresTransaction(SqlTransaction):
    """A guarded transaction on rows of PostgreSQL tables."""

    row_lock = f"FOR UPDATE OF {ALIAS} NOWAIT"
    asks_before = True

    def __init__(
        self,
        store: SqlRows,
        writer: Connection,
        targets: Mapping[str, PostgresTarget],
        rows: Sequence[RowName],
        before: _Counts,
    ) -> None:
        super().__init__(store, writer, targets, rows)
        self._of_entity = targets
        self._before = before
        self._is_counting = False

    def other_tables(self) -> tuple[str, ...]:
        """Name the tables that this transaction wrote besides its rows and the ledger: triggers, cascades.

        A target itself is named if more of its rows were written than there are in this transaction.
        """
        changes = {relid: (touched.table, _rows_of(touched)) for relid, touched in self._changes().items()}
        for entity, keys in keys_by_entity(self.rows).items():
            target = self._of_entity[entity]
            changes.pop(target.ledger, None)
            mine = [changes.pop(relid)[1] for relid in target.parts & changes.keys()]
            if sum(mine) > len(keys):
                changes[min(target.parts)] = (target.table.table, sum(mine))
        return tuple(name for name, count in changes.values() if count)

    def count_anew(self) -> None:
        """Count from here on: what was rolled back to a savepoint stays counted by the server."""
        with self.store.translating():
            self._before = _counts(self.execute(_CHANGES).fetchall())

    def look_before(self, statements: Sequence[RowStatement]) -> None:
        """Nothing is looked for: the store counts what was written."""

    def _changes(self) -> dict[int, Touched]:
        """Return what was written since the transaction began."""
        with self.store.translating():
            after = _counts(self.execute(_CHANGES).fetchall())
        changes = {}
        for relid, now in after.items():
            was = self._before.get(relid, Touched(now.table))
            changes[relid] = Touched(
                now.table, now.inserted - was.inserted, now.updated - was.updated, now.deleted - was.deleted
            )
        return changes

    def tally(self) -> Tally:
        """Have deferred constraints and triggers take effect, and tell what this transaction wrote, wherever.

        The row of a partitioned table is counted in its part.
        """
        if not self._is_counting:
            self._is_counting = True
            return Tally()
        with self._unique(), self.store.translating():
            self.execute("SET CONSTRAINTS ALL IMMEDIATE")
        ledgers = {target.ledger for target in self._of_entity.values()}
        return Tally(tuple(each for at, each in self._changes().items() if at not in ledgers and _rows_of(each)))

    def index_columns(self, entity: str, index: str) -> Sequence[str | None]:
        """Ask the catalogue; of a partitioned table the index that says no is a part's own."""
        found = self.execute(_INDEX, [index, sorted(self._of_entity[entity].parts)]).fetchone()
        return found[0] if found else ()

    def run_as_one(self, statements: Sequence[RowStatement]) -> int:
        """Run statements by one on the rows of arrays."""
        # Several entities may be of one table, whose types are the same.
        target = next(each for each in self._of_entity.values() if each.table.name == statements[0].table)
        return int(self.execute(*in_one(statements, target.types)).rowcount)

    def transaction_id(self) -> str:
        """Return the id under which Debezium will send this transaction."""
        return str(self.execute("SELECT pg_current_xact_id()::xid::text").fetchone()[0])


def _counts(rows: Sequence[Sequence[Any]]) -> _Counts:
    return {int(relid): Touched(str(name), int(ins), int(upd), int(dels)) for relid, name, ins, upd, dels in rows}


def _rows_of(touched: Touched) -> int:
    return touched.inserted + touched.updated + touched.deleted


def _plain(name: str) -> str:
    """Return a quoted name as it is in a value, where `%` is not doubled."""
    return name.replace("%%", "%")
