"""What PostgreSQL and MariaDB have in common as stores of rows: `RowStore` over two connections of one store.

The reading connection has the role `read`, the writing one the role `apply`. Both are made when they are needed and
thrown away with the first fault. A driver's error is never passed on: its text carries row values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from app.adapters.server_identity import as_token
from app.adapters.sql_clients import Use
from app.adapters.sql_ledger import CHAIN_INDEX, LedgerStatements, ledger_row, wall_ms_of
from app.adapters.sql_table import SqlTable, quoted
from app.core.chain import FIRST, link
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, Unready
from app.core.guard import Fence, Refused
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow
from app.ports import AlreadyRecorded, RowRead, WholeRow
from app.settings import StoreSettings

Connection = Any
"""A connection of either driver, as DB-API describes it."""

_PAGE: Final = 1_000
_ROWS_OF_ONE: Final = 100
"""The newest ledger rows of one row of the table that are counted: more than any limit of an hour."""
EVERYWHERE: Final = "*"
"""The scope of the fence that holds for a whole store."""
STOP: Final = "stop"
"""The row whose token stops all writing in a store when it is not 0."""
SERVER: Final = "server"
"""The row whose token stands for the server that a person has accepted."""


class DuplicateRow(Exception):
    """A unique index says no; `is_primary` tells whether it is the primary key's of the table that is repaired."""

    def __init__(self, index: str, *, is_primary: bool) -> None:
        super().__init__()
        self.index = index
        self.is_primary = is_primary


class SqlRows(ABC):
    """One SQL store as a `RowStore`."""

    errors: type[Exception]

    def __init__(self, store: StoreSettings, contracts: Iterable[EntityContract], digest_key: bytes) -> None:
        self.store = store
        self.where = f"store {store.name} at {store.host}:{store.port}"
        self._tables = {
            c.entity: SqlTable(c, store.name, store.kind, digest_key)
            for c in contracts
            if any(t.store == store.name for t in c.stores)
        }
        self.ledger = LedgerStatements(store.kind, self.own("driftline_ledger"))
        flags = self.own("driftline_fence")
        self.fence = (
            f"SELECT scope, token, {as_token(store.kind)} FROM {flags} WHERE scope IN (%s, %s, %s)"  # noqa: S608
            f" ORDER BY scope {self.shared_lock}"
        )
        self._chain_key = digest_key
        self._reader: Connection = None
        self._writer: Connection = None

    # -- what the two kinds do differently ----------------------------------------------------------------------------

    shared_lock: str
    rows_estimate: str

    @abstractmethod
    def place(self, table: SqlTable) -> list[str]:
        """Return what the store's catalogue finds a table by."""

    @abstractmethod
    def connect(self, use: Use) -> Connection:
        """Connect for reading or writing."""

    @abstractmethod
    def translated(self, error: Exception) -> Exception:
        """Return `Refused`, `DuplicateRow` or `Unready` for a driver's error, without its text."""

    @abstractmethod
    def start(self, writer: Connection, table: SqlTable, key: bytes) -> SqlTransaction:
        """Begin a transaction on one row; `Refused` for a table that has none."""

    # -- connections --------------------------------------------------------------------------------------------------

    def own(self, table: str) -> str:
        """Quote one of Driftline's own tables."""
        return f"{quoted(self.store.kind, self.store.schema)}.{quoted(self.store.kind, table)}"

    def table(self, entity: str) -> SqlTable:
        """Return an entity's table; `ContractViolation` if it has none here."""
        if entity not in self._tables:
            raise ContractViolation("no contract puts this entity here", where=f"{entity} in {self.where}")
        return self._tables[entity]

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn a driver's error into one of ours; a connection that failed is thrown away."""
        try:
            yield
        except (self.errors, OSError) as error:
            ours = self.translated(error)
            if isinstance(ours, Unready):
                self.close()
            raise ours from None

    def _reading(self) -> Connection:
        if self._reader is None:
            self._reader = self.connect(Use.READ)
        return self._reader

    def writing(self) -> Connection:
        """Return the writing connection, outside any transaction."""
        if self._writer is None:
            self._writer = self.connect(Use.WRITE)
        return self._writer

    def close(self) -> None:
        """Let both connections go."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                try:
                    connection.close()
                except (self.errors, OSError):
                    continue
        self._reader = self._writer = None

    def unready(self, error: Exception, code: object) -> Unready:
        """Return the instruction to come again later."""
        return Unready(
            f"the store does not answer as it should ({type(error).__name__} {code})",
            where=self.where,
            hint="is it up, and may the roles read and apply log in? it is tried again",
        )

    # -- RowStore -----------------------------------------------------------------------------------------------------

    def read(self, entity: str, key: bytes) -> RowRead:
        """Read one committed row."""
        table = self.table(entity)
        text, parameters = table.select(key)
        with self.translating():
            cursor = self._reading().cursor()
            cursor.execute(text, parameters)
            rows = cursor.fetchall()
        return table.seen(key, rows)

    def begin(self, entity: str, key: bytes) -> SqlTransaction:
        """Begin a guarded transaction on one row."""
        with self.translating():
            return self.start(self.writing(), self.table(entity), key)

    def _ask(self, text: str, parameters: Sequence[object]) -> list[Any]:
        with self.translating():
            writer = self.writing()
            cursor = writer.cursor()
            cursor.execute(text, parameters)
            rows = list(cursor.fetchall())
            writer.rollback()
            return rows

    def recorded(self, row_id: bytes) -> LedgerRow | None:
        """Return a ledger row by its id."""
        rows = self._ask(self.ledger.by_id, [row_id.hex()])
        return ledger_row(rows[0]) if rows else None

    def insert_into_ledger(self, cursor: Connection, row: LedgerRow) -> None:
        """Insert a row behind the last one of its partition, in the transaction of a cursor."""
        cursor.execute(self.ledger.head, [row.partition])
        last = cursor.fetchone()
        sequence, before = (int(last[0]), bytes.fromhex(last[1])) if last else (0, FIRST)
        placed = replace(row, sequence=sequence + 1)
        chained = replace(placed, chain=link(self._chain_key, before, placed))
        cursor.execute(self.ledger.insert, self.ledger.parameters(chained))

    def ledger_fault(self, duplicate: DuplicateRow) -> Exception:
        """Return what a unique index of the ledger means: the id is taken, or another applier was quicker."""
        if duplicate.index == CHAIN_INDEX:
            return Unready("another applier writes this partition's ledger", where=self.where, hint="is one a zombie?")
        return AlreadyRecorded()

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        partition, sequence = -1, 0
        while True:
            page = self._ask(self.ledger.page, [partition, partition, sequence, _PAGE])
            rows = [ledger_row(row) for row in page]
            yield from rows
            if len(rows) < _PAGE:
                return
            partition, sequence = rows[-1].partition, rows[-1].sequence

    def record_alone(self, row: LedgerRow) -> None:
        """Write one ledger row in a transaction of its own."""
        try:
            with self.translating():
                writer = self.writing()
                try:
                    self.insert_into_ledger(writer.cursor(), row)
                    writer.commit()
                finally:
                    writer.rollback()
        except DuplicateRow as duplicate:
            raise self.ledger_fault(duplicate) from None
        except Refused as no:
            # Nobody else writes this table but another applier, which is at this very row.
            raise Unready(f"the ledger takes no row now: {no.reason.value} {no.what}", where=self.where) from None

    def counts(self, entity: str, key_hash: bytes, now_wall_ms: int) -> LedgerCounts:
        """Count what the ledger holds of the last minute, and of one row in the last hour."""
        minute_ago, hour_ago = self.ledger.since(now_wall_ms)
        ((writes, deletes, automatic, newest),) = self._ask(self.ledger.in_minute, [entity, minute_ago])
        of_row = self._ask(self.ledger.of_row, [key_hash.hex(), entity, _ROWS_OF_ONE])
        return LedgerCounts(
            writes_in_minute=int(writes),
            deletes_in_minute=int(deletes),
            same_row_in_hour=sum(kind == LedgerKind.COMMAND.value and at > hour_ago for kind, at in of_row),
            automatic_in_minute=int(automatic),
            newest_at_ms=wall_ms_of(newest) if newest is not None else 0,
            was_undone=bool(of_row) and of_row[0][0] == LedgerKind.UNDO.value,
        )

    def table_rows(self, entity: str) -> int:
        """Return about how many rows an entity's table has, by the catalogue's estimate."""
        ((rows,),) = self._ask(self.rows_estimate, self.place(self.table(entity)))
        return max(0, int(rows or 0))

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger, oldest first."""
        return [ledger_row(row) for row in self._ask(self.ledger.unchecked, [limit])]


class SqlTransaction(ABC):
    """One guarded transaction on one row."""

    def __init__(self, rows: SqlRows, writer: Connection, table: SqlTable, key: bytes) -> None:
        self.rows = rows
        self.writer = writer
        self.table = table
        self.key = key
        self.is_over = False

    # -- what the two kinds do differently ----------------------------------------------------------------------------

    image: str
    row_lock: str

    @abstractmethod
    def imaged(self, found: Sequence[object]) -> bytes:
        """Return the whole row's image from what `image` selected."""

    @abstractmethod
    def restoring(self, image: bytes) -> tuple[str, list[object]]:
        """Return the UPDATE of the contract's columns to what a before-image has."""

    @abstractmethod
    def putting_back(self, image: bytes) -> tuple[str, list[object]]:
        """Return the INSERT of a row as a before-image has it; columns that the store computes itself are left out."""

    @abstractmethod
    def other_tables(self) -> tuple[str, ...]:
        """Name the tables that this transaction wrote besides target and ledger, where the store can tell."""

    @abstractmethod
    def transaction_id(self) -> str:
        """Return the store's own id of the transaction, asked for before the commit if `asks_before`, else after."""

    asks_before: bool

    # -- RowTransaction -----------------------------------------------------------------------------------------------

    def execute(self, text: str, parameters: Sequence[object] = ()) -> Any:  # noqa: ANN401 - either driver's cursor
        """Run one statement in this transaction."""
        cursor = self.writer.cursor()
        cursor.execute(text, parameters)
        return cursor

    def fence(self) -> Fence:
        """Lock the store's own flags in share mode and return what they say."""
        with self.rows.translating():
            found = self.execute(self.rows.fence, [EVERYWHERE, STOP, SERVER]).fetchall()
        flags = {scope: int(token) for scope, token, _ in found}
        if flags.keys() != {EVERYWHERE, STOP, SERVER}:
            raise Unready("the fence lacks a row", where=self.rows.where, hint="run `driftline init` for this store")
        is_another_server = flags[SERVER] != int(found[0][2])
        return Fence(flags[EVERYWHERE], is_stopped=bool(flags[STOP]), is_another_server=is_another_server)

    def _whole(self, ending: str) -> WholeRow:
        text, parameters = self.table.select(self.key, self.image, ending)
        with self.rows.translating():
            found = self.execute(text, parameters).fetchall()
        width = len(self.table.columns)
        if len(found) > 1:
            raise Refused(RefusalReason.WIDER_THAN_ONE_ROW, "the key finds several rows")
        read = self.table.seen(self.key, found)
        return WholeRow(read, self.imaged(found[0][width:]) if read.digest else b"")

    def look(self) -> WholeRow:
        """Read the row without a lock."""
        return self._whole("")

    def lock(self) -> WholeRow:
        """Lock the row for writing and read it again."""
        return self._whole(self.row_lock)

    def record(self, row: LedgerRow) -> None:
        """Insert a ledger row."""
        try:
            with self.rows.translating():
                self.rows.insert_into_ledger(self.writer.cursor(), row)
        except DuplicateRow as duplicate:
            raise self.rows.ledger_fault(duplicate) from None

    def _write(self, text: str, parameters: Sequence[object]) -> int:
        try:
            with self.rows.translating():
                return int(self.execute(text, parameters).rowcount)
        except DuplicateRow as duplicate:
            reason = RefusalReason.ROW_MOVED if duplicate.is_primary else RefusalReason.UNIQUE_CONFLICT
            raise Refused(reason, "a unique index has the value already") from None

    def insert(self, values: Mapping[str, object]) -> int:
        """Insert the contract's columns."""
        return self._write(*self.table.insert(self.key, values))

    def update(self, values: Mapping[str, object]) -> int:
        """Update the contract's columns by key."""
        return self._write(*self.table.update(self.key, values))

    def delete(self) -> int:
        """Delete by key."""
        return self._write(*self.table.delete(self.key))

    def restore(self, image: bytes) -> int:
        """Update the contract's columns by key to what a before-image has."""
        return self._write(*self.restoring(image))

    def put_back(self, image: bytes) -> int:
        """Insert a row as a before-image has it."""
        with self.rows.translating():
            made = self.putting_back(image)
        return self._write(*made)

    def read_back(self) -> RowRead:
        """Read the row as this transaction left it."""
        text, parameters = self.table.select(self.key)
        with self.rows.translating():
            found = self.execute(text, parameters).fetchall()
        return self.table.seen(self.key, found)

    def commit(self) -> str:
        """Commit; an error here leaves open whether it took place, and the ledger will tell."""
        with self.rows.translating():
            told = self.transaction_id() if self.asks_before else ""
            self.writer.commit()
            self.is_over = True
        if self.asks_before:
            return told
        with self.rows.translating():
            told = self.transaction_id()
            self.writer.rollback()
            return told

    def rollback(self) -> None:
        """Undo everything; harmless after a commit, and after the connection is gone."""
        if self.is_over:
            return
        self.is_over = True
        try:
            self.writer.rollback()
        except (self.rows.errors, OSError):
            # The server rolls back what a lost client left.
            self.rows.close()
