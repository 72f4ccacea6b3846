"""What PostgreSQL and MariaDB have in common as stores of rows: `RowStore` over two connections of one store.

The reading connection has the role `read`, the writing one the role `apply`. Both are made when they are needed and
thrown away with the first fault. A driver's error is never passed on: its text carries row values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from app.adapters.answer_times import AnswerTimes
from app.adapters.fence_flags import EVERYWHERE, fence_of
from app.adapters.minute_counts import MinuteCounts
from app.adapters.server_identity import as_token
from app.adapters.sql_clients import Use
from app.adapters.sql_ledger import BELOW_ALL, CHAIN_INDEX, LedgerStatements, ledger_row, of_digits, wall_ms_of
from app.adapters.sql_statements import RowStatement, alike, quoted
from app.adapters.sql_table import SqlTable
from app.adapters.unchecked_inserts import without_checks
from app.core.chain import FIRST, link
from app.core.command import RefusalReason
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, Unready
from app.core.guard import Fence, Refused
from app.core.ledger import UNCHECKED_AMONG, LedgerCounts, LedgerRow
from app.core.pace import ReplicaLag
from app.core.rehearsal import Tally
from app.core.together import in_turns
from app.ports import AlreadyRecorded, RowName, RowRead, RowsRefused, RowWrite, Strain, Way, WholeRow
from app.settings import StoreSettings

Connection = Any
"""A connection of either driver, as DB-API describes it."""

_PAGE: Final = 1_000
_ROWS: Final = "driftline_rows"
_ROW: Final = "driftline_row"


class DuplicateRow(Exception):
    """A unique index says no; `is_primary` tells whether it is the primary key's of the table that is repaired."""

    def __init__(self, index: str, *, is_primary: bool) -> None:
        super().__init__()
        self.index = index
        self.is_primary = is_primary


class UniqueTaken(Refused):
    """A unique index of a repaired table has a row's value already."""

    def __init__(self, duplicate: DuplicateRow) -> None:
        reason = RefusalReason.ROW_MOVED if duplicate.is_primary else RefusalReason.UNIQUE_CONFLICT
        super().__init__(reason, f'the unique index "{duplicate.index}" has the value already')
        self.index = duplicate.index


class TooSlowTogether(Exception):
    """Several rows took longer by one statement than one statement may; each by itself has as long as they had."""


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
        # The store's own row first, by a statement of its own: who raises the fence of a shard writes it too, so that
        # what comes behind it sees every shard whose fence stands by then.
        self.fence = tuple(
            f"SELECT scope, token, {as_token(store.kind)} FROM {flags} {which} ORDER BY scope {self.shared_lock}"  # noqa: S608
            for which in (f"WHERE scope = '{EVERYWHERE}'", "")
        )
        self._chain_key = digest_key
        self._reader: Connection = None
        self._writer: Connection = None
        self.answers = AnswerTimes()
        self._replica_lag = ReplicaLag()
        self.counted = MinuteCounts()

    # -- what the two kinds do differently ----------------------------------------------------------------------------

    shared_lock: str
    rows_estimate: str
    replicas: str
    """The statement that tells where the store's log ends, where its slowest replica is, and by how many milliseconds
    the store itself says that is behind; the two last NULL where it does not know.
    """

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
    def is_timeout(self, error: Exception) -> bool:
        """Tell whether a driver's error says that a statement took too long."""

    @abstractmethod
    def insert_many(self, cursor: Connection, rows: Sequence[Sequence[object]]) -> None:
        """Insert rows of values into the ledger's columns."""

    @abstractmethod
    def start(self, writer: Connection, rows: Sequence[RowName]) -> SqlTransaction:
        """Begin a transaction on some rows; `Refused` for a table that has none."""

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
        # Whether the last commit took place is for the ledger to say.
        self.counted.forget()

    def refusal(self, reason: RefusalReason, told: str) -> Refused:
        """Return the store's no to a row; where a table differs, it may be the authority's as well as the target's."""
        return Refused(reason, f"{told}, in {self.where}" if reason is RefusalReason.TABLE_DIFFERS else told)

    def unready(self, error: Exception, code: object) -> Unready:
        """Return the instruction to come again later."""
        return Unready(
            f"the store does not answer as it should ({type(error).__name__} {code})",
            where=self.where,
            hint="is it up, and may the roles read and apply log in? it is tried again",
        )

    # -- RowStore -----------------------------------------------------------------------------------------------------

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Read committed rows, those of one table at one moment."""
        found: dict[RowName, RowRead] = {}
        for entity, keys in keys_by_entity(rows).items():
            table = self.table(entity)
            text, parameters = table.select(keys)
            with self.translating():
                cursor = self._reading().cursor()
                cursor.execute(text, parameters)
                selected = cursor.fetchall()
            found |= {(entity, key): read for key, read in zip(keys, table.seen(keys, selected), strict=True)}
        return [found[row] for row in rows]

    def spelling(self, entity: str, values: Mapping[str, object]) -> bytes:
        """Return the keyed digest of how a row is spelled."""
        return self.table(entity).spelling(values)

    def begin(self, rows: Sequence[RowName]) -> SqlTransaction:
        """Begin a guarded transaction."""
        with self.translating():
            writer = self.writing()
            try:
                return self.start(writer, rows)
            except self.errors:
                # Else whoever asks next is told of it again, by a transaction that failed.
                writer.rollback()
                raise

    def _ask(self, text: str, parameters: Sequence[object]) -> list[Any]:
        """Ask what is Driftline's own. Where the store says no to that, it says so of every row: nothing is refused."""
        try:
            return self._ask_of(text, parameters)
        except Refused as no:
            raise self.own_fault(no) from None

    def own_fault(self, no: Refused) -> Unready:
        """Return what it means that the store says no to Driftline's own tables."""
        what = f"Driftline's own tables cannot be read: {no.reason.value} {no.what}"
        if no.reason is RefusalReason.ROW_LOCKED:
            hint = "it goes on by itself when the other session lets go"
        else:
            hint = "run `driftline init` for this store"
        return Unready(what, where=self.where, hint=hint)

    def _ask_of(self, text: str, parameters: Sequence[object]) -> list[Any]:
        with self.translating():
            writer = self.writing()
            try:
                cursor = writer.cursor()
                cursor.execute(text, parameters)
                return list(cursor.fetchall())
            finally:
                writer.rollback()

    def recorded(self, row_ids: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return those ledger rows that there are of these ids."""
        if not row_ids:
            return {}
        rows = [ledger_row(row) for row in self._ask(*self.ledger.by_ids(row_ids))]
        return {row.row_id: row for row in rows}

    def insert_into_ledger(self, cursor: Connection, rows: Sequence[LedgerRow]) -> None:
        """Insert rows behind the last one of their partition, in the transaction of a cursor."""
        cursor.execute(*self.ledger.heads({row.partition for row in rows}))
        heads = {int(at): (int(sequence), of_digits(chain)) for at, sequence, chain in cursor.fetchall()}
        inserted = []
        for row in rows:
            last, before = heads.get(row.partition, (0, FIRST))
            chain = link(self._chain_key, before, row, last + 1)
            heads[row.partition] = (last + 1, chain)
            inserted.append(self.ledger.parameters(row, last + 1, chain))
        self.insert_many(cursor, inserted)

    def ledger_fault(self, duplicate: DuplicateRow) -> Exception:
        """Return what a unique index of the ledger means: the id is taken, or another applier was quicker."""
        if duplicate.index == CHAIN_INDEX:
            return Unready("another applier writes this partition's ledger", where=self.where, hint="is one a zombie?")
        return AlreadyRecorded()

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        partition, sequence = BELOW_ALL, 0
        while True:
            page = self._ask(*self.ledger.page(partition, sequence, _PAGE))
            rows = [ledger_row(row) for row in page]
            yield from rows
            if len(rows) < _PAGE:
                return
            partition, sequence = rows[-1].partition, rows[-1].sequence

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows in a transaction of their own."""
        try:
            with self.translating():
                writer = self.writing()
                try:
                    self.insert_into_ledger(writer.cursor(), rows)
                    writer.commit()
                    self.counted.add(rows)
                finally:
                    writer.rollback()
        except DuplicateRow as duplicate:
            raise self.ledger_fault(duplicate) from None
        except Refused as no:
            # Nobody else writes this table but another applier, which is at this very row.
            raise Unready(f"the ledger takes no row now: {no.reason.value} {no.what}", where=self.where) from None

    def counts(self, rows: Sequence[tuple[str, bytes]], now_wall_ms: int) -> list[LedgerCounts]:
        """Count what the ledger holds of the last minute, and of each row in the last hour."""
        _, hour_ago = self.ledger.since(now_wall_ms)
        entities = {entity for entity, _ in rows}
        in_minute = {entity: self.counted.of(entity, now_wall_ms, self._in_minute) for entity in entities}
        hashes = sorted({key_hash for _, key_hash in rows})
        repeated, undone = Counter[tuple[str, str]](), set[tuple[str, str]]()
        for entity, key_hash, times, is_undone in self._ask(*self.ledger.of_keys(hashes, hour_ago)):
            repeated[entity, key_hash] += int(times)
            if is_undone:
                undone.add((entity, key_hash))
        found = []
        for entity, key_hash in rows:
            row, counts = (entity, key_hash.hex()), in_minute[entity]
            if row in repeated:
                counts = replace(counts, same_row_in_hour=repeated[row], was_undone=row in undone)
            found.append(counts)
        return found

    def _in_minute(self, entity: str, now_wall_ms: int) -> LedgerCounts:
        minute_ago, _ = self.ledger.since(now_wall_ms)
        ((writes, deletes, automatic, newest),) = self._ask(self.ledger.in_minute, [entity, minute_ago])
        newest_at_ms = wall_ms_of(newest) if newest is not None else 0
        return LedgerCounts(int(writes), int(deletes), 0, int(automatic), newest_at_ms)

    def table_rows(self, entity: str) -> int:
        """Return about how many rows an entity's table has, by the catalogue's estimate."""
        found = self._ask_of(self.rows_estimate, self.place(self.table(entity)))
        if not found:
            raise self.refusal(RefusalReason.TABLE_DIFFERS, "no table of this name may be seen")
        return max(0, int(found[0][0] or 0))

    def strain(self) -> Strain:
        """Return how the store bears being written now; the asking is a statement like the others."""
        with self.answers.noted() as now_ms:
            ((written, replayed, told_ms),) = self._ask(self.replicas, [])
        lag_ms = self._replica_lag.look(int(written), None if replayed is None else int(replayed), now_ms)
        return Strain(self.answers.mean_ms(), max(lag_ms, int(told_ms or 0)))

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger, oldest first, among each partition's newest rows."""
        inserts = (digits for partition in self._partitions() for digits in self._newest_inserts(partition))
        found = self.recorded(without_checks(inserts, self._which)[:limit])
        return sorted(found.values(), key=attrgetter("written_at_ms"))

    def _partitions(self) -> Iterator[int]:
        """Yield the partitions that the ledger has rows of."""
        partition = -1
        while (found := self._ask(self.ledger.next_partition, [partition])[0][0]) is not None:
            partition = int(found)
            yield partition

    def _newest_inserts(self, partition: int) -> list[str]:
        ((_, last, _),) = self._ask(*self.ledger.heads([partition]))
        found = self._ask(self.ledger.inserts, [partition, int(last) - UNCHECKED_AMONG])
        return [digits for digits, is_insert in found if is_insert]

    def _which(self, row_ids: Sequence[bytes]) -> list[str]:
        return [digits for (digits,) in self._ask(*self.ledger.which(row_ids))]


def keys_by_entity(rows: Sequence[RowName]) -> dict[str, list[bytes]]:
    """Return the keys of each entity among some rows, in order."""
    found: dict[str, list[bytes]] = {}
    for entity, key in rows:
        found.setdefault(entity, []).append(key)
    return found


class SqlTarget(ABC):
    """One table as a transaction found it in the store's catalogue. `image` is what selects a whole row's image."""

    image: str

    def __init__(self, table: SqlTable) -> None:
        self.table = table

    @abstractmethod
    def imaged(self, found: Sequence[object]) -> bytes:
        """Return the whole row's image from what `image` selected."""

    @abstractmethod
    def restoring(self, key: bytes, image: bytes) -> RowStatement:
        """Return the UPDATE of the contract's columns to what a before-image has."""

    @abstractmethod
    def putting_back(self, image: bytes) -> RowStatement:
        """Return the INSERT of a row as a before-image has it.

        Columns that the store computes itself are left out, and those that came to the table since.
        """

    def writing(self, key: bytes, write: RowWrite) -> RowStatement:
        """Return the statement that writes one row."""
        match write.way:
            case Way.INSERT:
                return self.table.insert(key, write.values)
            case Way.UPDATE:
                return self.table.update(key, write.values)
            case Way.DELETE:
                return self.table.delete(key)
            case Way.RESTORE:
                return self.restoring(key, write.image)
            case Way.PUT_BACK:
                return self.putting_back(write.image)


class SqlTransaction(ABC):
    """One guarded transaction on some rows, in the tables that `targets` holds by entity."""

    def __init__(
        self, store: SqlRows, writer: Connection, targets: Mapping[str, SqlTarget], rows: Sequence[RowName]
    ) -> None:
        self.store = store
        self.writer = writer
        self.targets = targets
        self.rows = rows
        self.is_over = False
        self._recorded: list[LedgerRow] = []
        self._known: dict[str, dict[tuple[object, ...], tuple[bytes | None, WholeRow]]] = {}

    # -- what the two kinds do differently ----------------------------------------------------------------------------

    row_lock: str

    @abstractmethod
    def other_tables(self) -> tuple[str, ...]:
        """Name the tables that this transaction wrote besides its rows and the ledger, where the store can tell."""

    @abstractmethod
    def count_anew(self) -> None:
        """Count what this transaction writes from here on, where it is counted for `other_tables`."""

    @abstractmethod
    def look_before(self, statements: Sequence[RowStatement]) -> None:
        """Look for what statements of one form will touch besides their rows, where the store does not count it."""

    @abstractmethod
    def tally(self) -> Tally:
        """Have the store check now what it would check at the commit, and tell what was written since first asked."""

    @abstractmethod
    def index_columns(self, entity: str, index: str) -> Sequence[str | None]:
        """Return the columns of an entity's unique index, None for what is no whole column; nothing where unknown.

        An index over some rows only is not known: who is none of them holds no value there.
        """

    @abstractmethod
    def run_as_one(self, statements: Sequence[RowStatement]) -> int:
        """Run several statements of the same form by one of the store's, and return how many rows they wrote."""

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
        try:
            with self.store.answers.noted(), self.store.translating():
                found = [self.execute(statement).fetchall() for statement in self.store.fence][-1]
        except Refused as no:
            # Who holds the flags' rows lets them go again; a table of ours that is not there is no row's matter.
            raise (self.store.own_fault(no) if no.reason is RefusalReason.TABLE_DIFFERS else no) from None
        flags = {scope: int(token) for scope, token, _ in found}
        return fence_of(flags, int(found[0][2]) if found else 0, self.store.where)

    def _whole(self, *, locks: bool) -> list[WholeRow]:
        whole: dict[RowName, WholeRow] = {}
        for entity, keys in keys_by_entity(self.rows).items():
            target = self.targets[entity]
            ending = f"ORDER BY {target.table.key_order} {self.row_lock}" if locks else ""
            text, parameters = target.table.select(keys, target.image, ending)
            with self.store.translating():
                found = self.execute(text, parameters).fetchall()
            absent = WholeRow(RowRead())
            by_key: dict[bytes, WholeRow] = {}
            for key, row in self._made_of(entity, found):
                if key is None:
                    absent = WholeRow(row.read)
                else:
                    by_key.setdefault(key, row)
            if len(found) > 1 and len(found) != sum(key in by_key for key in keys):
                raise Refused(RefusalReason.WIDER_THAN_ONE_ROW, "a key finds several rows")
            whole |= {(entity, key): by_key.get(key, absent) for key in keys}
        return [whole[row] for row in self.rows]

    def _made_of(self, entity: str, found: Sequence[tuple[object, ...]]) -> list[tuple[bytes | None, WholeRow]]:
        """Return what selected rows are, each by its key; one that reads as it did before is what it was."""
        target, known = self.targets[entity], self._known.setdefault(entity, {})
        width = len(target.table.columns)
        try:
            new = [row for row in found if row not in known]
        except TypeError:  # a column came to be of a type that the contract does not know, whose values have no hash
            made = zip(found, target.table.reads(found), strict=True)
            return [(key, WholeRow(read, target.imaged(row[width:]))) for row, (key, read) in made]
        for row, (key, read) in zip(new, target.table.reads(new), strict=True):
            known[row] = key, WholeRow(read, target.imaged(row[width:]))
        return [known[row] for row in found]

    def look(self) -> list[WholeRow]:
        """Read the rows without a lock."""
        return self._whole(locks=False)

    def lock(self) -> list[WholeRow]:
        """Lock the rows for writing, in the order of their keys, and read them again."""
        return self._whole(locks=True)

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Insert ledger rows."""
        try:
            with self.store.translating():
                self.store.insert_into_ledger(self.writer.cursor(), rows)
        except DuplicateRow as duplicate:
            raise self.store.ledger_fault(duplicate) from None
        self._recorded += rows

    def write(self, writes: Sequence[RowWrite]) -> int:
        """Write each row in its way, as they stand; where the store says no, in the order that it takes them in."""
        statements = [
            self.targets[entity].writing(key, write) for (entity, key), write in zip(self.rows, writes, strict=True)
        ]
        if len(statements) == 1:
            return self._run(statements)
        self._savepoint(_ROWS)
        try:
            return sum(self._run_alike(each) for each in alike(statements))
        except (Refused, TooSlowTogether) as no:
            # A deadlock's victim has no savepoint any more.
            if isinstance(no, Refused) and no.reason is RefusalReason.ROW_LOCKED:
                raise

        def try_one(place: int) -> None:
            self._savepoint(_ROW)
            try:
                self._run([statements[place]])
            except Refused:
                self._savepoint(_ROW, back=True)
                raise

        self._savepoint(_ROWS, back=True)
        order, refused = in_turns(len(statements), try_one)
        if refused:
            raise RowsRefused(refused, self._unique_fields(refused))
        # Written anew: what was tried in vain would be counted among the rows that were touched.
        self._savepoint(_ROWS, back=True)
        self.count_anew()
        return self._run([statements[place] for place in order])

    def _unique_fields(self, refused: Mapping[int, Refused]) -> dict[int, tuple[str, ...]]:
        """Return the fields of the unique indexes that say no to some rows, as far as they are known."""
        asked: dict[tuple[str, str], tuple[str, ...]] = {}
        found = {}
        for place, no in refused.items():
            if isinstance(no, UniqueTaken) and no.reason is RefusalReason.UNIQUE_CONFLICT:
                entity = self.rows[place][0]
                if (entity, no.index) not in asked:
                    with self.store.translating():
                        columns = self.index_columns(entity, no.index)
                    asked[entity, no.index] = self.targets[entity].table.fields_of(columns)
                found[place] = asked[entity, no.index]
        return {place: fields for place, fields in found.items() if fields}

    def _savepoint(self, name: str, *, back: bool = False) -> None:
        with self.store.translating():
            self.execute(f"{'ROLLBACK TO SAVEPOINT' if back else 'SAVEPOINT'} {name}")

    def _run(self, statements: Sequence[RowStatement]) -> int:
        """Run statements in their order; neighbours of the same form travel together."""
        written = 0
        with self._unique(), self.store.translating():
            for text, same in groupby(statements, attrgetter("text")):
                alike_here = list(same)
                self.look_before(alike_here)
                cursor = self.writer.cursor()
                cursor.executemany(text, [statement.values for statement in alike_here])
                written += int(cursor.rowcount)
        return written

    def _run_alike(self, statements: Sequence[RowStatement]) -> int:
        """Run statements of the same form as one, and return how many rows they wrote."""
        if len(statements) == 1:
            return self._run(statements)
        self.look_before(statements)
        with self._unique(), self.store.translating():
            try:
                return self.run_as_one(statements)
            except self.store.errors as error:
                if self.store.is_timeout(error):
                    raise TooSlowTogether from None
                raise

    @contextmanager
    def _unique(self) -> Iterator[None]:
        """Say what a unique index of a repaired table means."""
        try:
            yield
        except DuplicateRow as duplicate:
            raise UniqueTaken(duplicate) from None

    def read_back(self) -> list[RowRead]:
        """Read the rows as this transaction left them."""
        found: dict[RowName, RowRead] = {}
        for entity, keys in keys_by_entity(self.rows).items():
            table = self.targets[entity].table
            text, parameters = table.select(keys)
            with self.store.translating():
                selected = self.execute(text, parameters).fetchall()
            found |= {(entity, key): read for key, read in zip(keys, table.seen(keys, selected), strict=True)}
        return [found[row] for row in self.rows]

    def commit(self) -> str:
        """Commit; an error here leaves open whether it took place, and the ledger will tell."""
        # A constraint that is deferred says no here.
        with self._unique(), self.store.translating():
            told = self.transaction_id() if self.asks_before else ""
            with self.store.answers.noted():
                self.writer.commit()
            self.is_over = True
            self.store.counted.add(self._recorded)
        if self.asks_before:
            return told
        with self.store.translating():
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
        except (self.store.errors, OSError):
            # The server rolls back what a lost client left.
            self.store.close()
