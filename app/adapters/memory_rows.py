"""A store in memory with the behaviour of the real ones, row locks and ledger included; held to the same suite.

One thread, but many sessions: a transaction keeps what it wrote to itself until it commits, and whoever else wants
to write a row that it has locked is told `Blocked` and has to come again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from app.core.chain import FIRST, link
from app.core.command import Action, Outcome, RefusalReason
from app.core.errors import Unready
from app.core.guard import Fence, Refused
from app.core.ledger import UNCHECKED_AMONG, LedgerCounts, LedgerKind, LedgerRow, check_id
from app.core.rehearsal import Tally, Touched
from app.core.together import in_turns
from app.core.undo import must_have
from app.ports import AlreadyRecorded, RowName, RowRead, RowsRefused, RowWrite, Strain, Way, WholeRow

Row = dict[str, object]

CHAIN_KEY = b"c" * 32
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000


class Blocked(Exception):
    """Another session would wait here for a lock of ours."""


def plain_digest(values: Mapping[str, object]) -> bytes:
    """Digest values by their Python form: enough where no other store must come to the same digest."""
    return hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=16).digest()


class MemoryRows:
    """Rows of any entity, keyed by canonical key.

    `fields` are the contract's; a row may have more columns. `holds` is what a column makes of a value, `required`
    names columns outside the contract without which no row can be inserted, `unique` a field whose values are unique.
    """

    def __init__(
        self,
        fields: tuple[str, ...],
        *,
        digest: Callable[[Mapping[str, object]], bytes] = plain_digest,
        holds: Callable[[str, object], object] = lambda _column, value: value,
        required: tuple[str, ...] = (),
        unique: str = "",
    ) -> None:
        self.fields = fields
        self.digest = digest
        self.holds = holds
        self.required = required
        self.unique = unique
        self.rows: dict[tuple[str, bytes], Row] = {}
        self.ledger: dict[bytes, LedgerRow] = {}
        self.locks: dict[tuple[str, bytes], object] = {}
        self.pending: dict[bytes, object] = {}
        self.flags = Fence(0)
        self.is_transactional = True
        self.may_delete = True
        self.is_reachable = True
        self.strained = Strain(1.0)
        self.transactions = 0

    # -- what the application does ------------------------------------------------------------------------------------

    def put(self, entity: str, key: bytes, row: Mapping[str, object] | None) -> None:
        """Write or delete a row as the application does; `Blocked` while somebody holds its lock."""
        if (entity, key) in self.locks:
            raise Blocked
        if row is None:
            self.rows.pop((entity, key), None)
        else:
            self.rows[entity, key] = dict(row)

    def hold(self, entity: str, key: bytes) -> Callable[[], None]:
        """Lock a row as the application does; call what comes back to let it go."""
        self.locks[entity, key] = self.hold
        return lambda: self.locks.__delitem__((entity, key))

    # -- RowStore -----------------------------------------------------------------------------------------------------

    def reach(self) -> None:
        """Raise `Unready` while the store is gone."""
        if not self.is_reachable:
            raise Unready("the store does not answer", where="memory", hint="it will")

    def see(self, row: Row | None) -> RowRead:
        """Return a row as the contract sees it."""
        if row is None:
            return RowRead()
        values = {name: row[name] for name in self.fields}
        return RowRead(self.digest(values), values)

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Read committed rows."""
        self.reach()
        return [self.see(self.rows.get(row)) for row in rows]

    def spelling(self, entity: str, values: Mapping[str, object]) -> bytes:
        """Return the digest of how a row is spelled."""
        del entity
        return plain_digest(values) if values.keys() >= set(self.fields) else b""

    def begin(self, rows: Sequence[RowName]) -> MemoryTransaction:
        """Begin a guarded transaction."""
        self.reach()
        if not self.is_transactional:
            raise Refused(RefusalReason.NOT_TRANSACTIONAL, "the table knows no transactions")
        return MemoryTransaction(self, rows)

    def recorded(self, row_ids: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return those ledger rows that there are of these ids."""
        self.reach()
        return {row_id: self.ledger[row_id] for row_id in row_ids if row_id in self.ledger}

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows in a transaction of their own."""
        self.reach()
        if any(row.row_id in self.ledger for row in rows):
            raise AlreadyRecorded
        for row in rows:
            self.keep(row)

    def keep(self, row: LedgerRow) -> None:
        """Put a row behind the last one of its partition."""
        mine = [r for r in self.ledger.values() if r.partition == row.partition]
        last = max(mine, key=lambda r: r.sequence, default=None)
        sequence, before = (last.sequence + 1, last.chain) if last else (1, FIRST)
        self.ledger[row.row_id] = replace(row, sequence=sequence, chain=link(CHAIN_KEY, before, row, sequence))

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        self.reach()
        yield from sorted(self.ledger.values(), key=lambda row: (row.partition, row.sequence))

    def counts(self, rows: Sequence[tuple[str, bytes]], now_wall_ms: int) -> list[LedgerCounts]:
        """Count what the ledger holds of the last minute, and of each row in the last hour."""
        self.reach()
        done = [r for r in self.ledger.values() if r.kind is LedgerKind.COMMAND and r.outcome is Outcome.APPLIED]
        recent = [r for r in done if r.written_at_ms > now_wall_ms - _MINUTE_MS]
        in_hour = [(r.entity, r.key_hash) for r in done if r.written_at_ms > now_wall_ms - _HOUR_MS]
        return [
            LedgerCounts(
                writes_in_minute=len(recent),
                deletes_in_minute=sum(r.action is Action.DELETE for r in recent),
                same_row_in_hour=in_hour.count((entity, key_hash)),
                automatic_in_minute=sum(r.entity == entity and not r.approver for r in recent),
                newest_at_ms=max((r.written_at_ms for r in recent), default=0),
                was_undone=self._was_undone(entity, key_hash),
            )
            for entity, key_hash in rows
        ]

    def _was_undone(self, entity: str, key_hash: bytes) -> bool:
        kinds = {LedgerKind.COMMAND, LedgerKind.UNDO}
        mine = [r for r in self.ledger.values() if r.kind in kinds and (r.entity, r.key_hash) == (entity, key_hash)]
        newest = max(mine, key=lambda row: row.sequence, default=None)
        return newest is not None and newest.kind is LedgerKind.UNDO

    def table_rows(self, entity: str) -> int:
        """Return how many rows an entity has."""
        self.reach()
        return sum(at[0] == entity for at in self.rows)

    def strain(self) -> Strain:
        """Return what it is told to say."""
        self.reach()
        return self.strained

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger, oldest first, among each partition's newest rows."""
        self.reach()
        last = {row.partition: row.sequence for row in self.ledger_rows()}
        found = [
            row
            for row in self.ledger.values()
            if row.sequence > last[row.partition] - UNCHECKED_AMONG
            and row.kind is LedgerKind.COMMAND
            and row.action is Action.UPSERT
            and not row.expected_digest
            and check_id(row.row_id) not in self.ledger
        ]
        return sorted(found, key=attrgetter("written_at_ms"))[:limit]


def _row_of(image: bytes) -> Row:
    found: list[tuple[str, object]] = ast.literal_eval(image.decode())
    return dict(found)


class MemoryTransaction:
    """A transaction on some rows of a `MemoryRows`. What it has written stands in `_written`: None is no row."""

    def __init__(self, store: MemoryRows, rows: Sequence[RowName]) -> None:
        self._store = store
        self._rows = rows
        self._written: dict[RowName, Row | None] = {}
        self._ledger: dict[bytes, LedgerRow] = {}
        self._is_over = False
        store.transactions += 1

    def _now(self, at: RowName) -> Row | None:
        return self._written[at] if at in self._written else self._store.rows.get(at)

    def _take_lock(self, at: RowName) -> None:
        owner = self._store.locks.setdefault(at, self)
        if owner is not self:
            raise Refused(RefusalReason.ROW_LOCKED, "somebody is writing the row")

    def fence(self) -> Fence:
        """Return what the store's own flags say."""
        self._store.reach()
        return self._store.flags

    def look(self) -> list[WholeRow]:
        """Read the rows without a lock."""
        self._store.reach()
        found = [self._now(at) for at in self._rows]
        return [
            WholeRow(self._store.see(row), b"" if row is None else repr(sorted(row.items())).encode()) for row in found
        ]

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Insert ledger rows."""
        self._store.reach()
        for row in rows:
            if row.row_id in self._store.ledger or row.row_id in self._ledger:
                raise AlreadyRecorded
            if self._store.pending.setdefault(row.row_id, self) is not self:
                raise Refused(RefusalReason.ROW_LOCKED, "another applier is at it")
            self._ledger[row.row_id] = row

    def lock(self) -> list[WholeRow]:
        """Lock the rows that there are, in the order of their keys, and read them."""
        self._store.reach()
        for at in sorted(self._rows):
            if self._now(at) is not None or at in self._store.locks:
                self._take_lock(at)
        return self.look()

    def write(self, writes: Sequence[RowWrite]) -> int:
        """Write each row in its way; return how many were there to be written."""
        self._store.reach()
        if len(writes) == 1:
            return self._write(self._rows[0], writes[0])
        written: list[int] = []
        _, refused = in_turns(len(writes), lambda place: written.append(self._write(self._rows[place], writes[place])))
        if refused:
            taken = [place for place, no in refused.items() if no.reason is RefusalReason.UNIQUE_CONFLICT]
            raise RowsRefused(refused, dict.fromkeys(taken, (self._store.unique,)))
        return sum(written)

    def _write(self, at: RowName, write: RowWrite) -> int:
        row = self._now(at)
        was = _row_of(write.image) if write.image else {}
        if write.way in {Way.RESTORE, Way.PUT_BACK}:
            must_have(was, self._store.fields)
        match write.way:
            case Way.INSERT | Way.PUT_BACK:
                self._take_lock(at)
                if row is not None:
                    raise Refused(RefusalReason.ROW_MOVED, "the row is there already")
                if set(self._store.required) - was.keys():
                    raise Refused(RefusalReason.UNCOVERED_COLUMNS, "a column outside the contract needs a value")
                return self._leave(at, was, write.values)
            case Way.UPDATE:
                return 0 if row is None else self._leave(at, row, write.values)
            case Way.RESTORE:
                values = {name: was[name] for name in self._store.fields}
                return 0 if row is None else self._leave(at, row, values)
            case Way.DELETE:
                if not self._store.may_delete:
                    raise Refused(RefusalReason.NO_RIGHT, "the role may not delete")
                self._written[at] = None
                return int(row is not None)

    def _leave(self, at: RowName, row: Row, values: Mapping[str, object]) -> int:
        held = {name: self._store.holds(name, value) for name, value in values.items()}
        left = {**row, **held}
        unique = self._store.unique
        others = (
            self._now(other) for other in {**self._store.rows, **self._written} if other != at and other[0] == at[0]
        )
        if unique and any(other and other.get(unique) == left[unique] for other in others):
            raise Refused(RefusalReason.UNIQUE_CONFLICT, "another row holds a unique value")
        self._written[at] = left
        return 1

    def read_back(self) -> list[RowRead]:
        """Read the rows as this transaction left them."""
        self._store.reach()
        return [self._store.see(self._now(at)) for at in self._rows]

    def other_tables(self) -> tuple[str, ...]:
        """Nothing else can be written here."""
        return ()

    def tally(self) -> Tally:
        """Tell what was written, by entity."""
        self._store.reach()
        found: dict[str, Touched] = {}
        for at, left in self._written.items():
            was, held = self._store.rows.get(at), found.get(at[0], Touched(at[0]))
            found[at[0]] = Touched(
                at[0],
                held.inserted + (was is None and left is not None),
                held.updated + (was is not None and left is not None),
                held.deleted + (was is not None and left is None),
            )
        return Tally(tuple(found.values()))

    def commit(self) -> str:
        """Make it all visible at once."""
        self._store.reach()
        for at, row in self._written.items():
            if row is None:
                self._store.rows.pop(at, None)
            else:
                self._store.rows[at] = row
        for ledger_row in self._ledger.values():
            self._store.keep(ledger_row)
        self._end()
        return str(self._store.transactions)

    def rollback(self) -> None:
        """Forget it all."""
        if not self._is_over:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        for at in [at for at in self._rows if self._store.locks.get(at) is self]:
            del self._store.locks[at]
        for row_id in [row_id for row_id, owner in self._store.pending.items() if owner is self]:
            del self._store.pending[row_id]
