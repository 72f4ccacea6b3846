"""A store in memory with the behaviour of the real ones, row locks and ledger included; held to the same suite.

One thread, but many sessions: a transaction keeps what it wrote to itself until it commits, and whoever else wants
to write a row that it has locked is told `Blocked` and has to come again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from app.core.chain import FIRST, link
from app.core.command import Action, Outcome, RefusalReason
from app.core.errors import Unready
from app.core.guard import Fence, Refused
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow, check_id
from app.ports import AlreadyRecorded, RowRead, WholeRow

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
        self.is_reachable = True
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

    def read(self, entity: str, key: bytes) -> RowRead:
        """Read one committed row."""
        self.reach()
        return self.see(self.rows.get((entity, key)))

    def begin(self, entity: str, key: bytes) -> MemoryTransaction:
        """Begin a guarded transaction on one row."""
        self.reach()
        if not self.is_transactional:
            raise Refused(RefusalReason.NOT_TRANSACTIONAL, "the table knows no transactions")
        return MemoryTransaction(self, entity, key)

    def recorded(self, row_id: bytes) -> LedgerRow | None:
        """Return a ledger row by its id."""
        self.reach()
        return self.ledger.get(row_id)

    def record_alone(self, row: LedgerRow) -> None:
        """Write one ledger row in a transaction of its own."""
        self.reach()
        if row.row_id in self.ledger:
            raise AlreadyRecorded
        self.keep(row)

    def keep(self, row: LedgerRow) -> None:
        """Put a row behind the last one of its partition."""
        mine = [r for r in self.ledger.values() if r.partition == row.partition]
        last = max(mine, key=lambda r: r.sequence, default=None)
        placed = replace(row, sequence=last.sequence + 1 if last else 1)
        self.ledger[row.row_id] = replace(placed, chain=link(CHAIN_KEY, last.chain if last else FIRST, placed))

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        self.reach()
        yield from sorted(self.ledger.values(), key=lambda row: (row.partition, row.sequence))

    def counts(self, entity: str, key_hash: bytes, now_wall_ms: int) -> LedgerCounts:
        """Count what the ledger holds of the last minute, and of one row in the last hour."""
        self.reach()
        done = [r for r in self.ledger.values() if r.kind is LedgerKind.COMMAND and r.outcome is Outcome.APPLIED]
        recent = [r for r in done if r.written_at_ms > now_wall_ms - _MINUTE_MS]
        same = [r for r in done if r.written_at_ms > now_wall_ms - _HOUR_MS and r.key_hash == key_hash]
        return LedgerCounts(
            writes_in_minute=len(recent),
            deletes_in_minute=sum(r.action is Action.DELETE for r in recent),
            same_row_in_hour=sum(r.entity == entity for r in same),
            automatic_in_minute=sum(r.entity == entity and not r.approver for r in recent),
            newest_at_ms=max((r.written_at_ms for r in recent), default=0),
            was_undone=self._was_undone(entity, key_hash),
        )

    def _was_undone(self, entity: str, key_hash: bytes) -> bool:
        kinds = {LedgerKind.COMMAND, LedgerKind.UNDO}
        mine = [r for r in self.ledger.values() if r.kind in kinds and (r.entity, r.key_hash) == (entity, key_hash)]
        newest = max(mine, key=lambda row: (row.written_at_ms, row.sequence), default=None)
        return newest is not None and newest.kind is LedgerKind.UNDO

    def table_rows(self, entity: str) -> int:
        """Return how many rows an entity has."""
        self.reach()
        return sum(at[0] == entity for at in self.rows)

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger."""
        self.reach()
        found = [
            row
            for row in self.ledger.values()
            if row.kind is LedgerKind.COMMAND
            and row.action is Action.UPSERT
            and not row.expected_digest
            and check_id(row.row_id) not in self.ledger
        ]
        return found[:limit]


def _row_of(image: bytes) -> Row:
    found: list[tuple[str, object]] = ast.literal_eval(image.decode())
    return dict(found)


class MemoryTransaction:
    """A transaction on one row of a `MemoryRows`."""

    def __init__(self, store: MemoryRows, entity: str, key: bytes) -> None:
        self._store = store
        self._at = (entity, key)
        self._row = store.rows.get(self._at)
        self._ledger: dict[bytes, LedgerRow] = {}
        self._has_written = False
        self._is_over = False
        store.transactions += 1

    def _committed_or_own(self) -> Row | None:
        return self._row if self._has_written else self._store.rows.get(self._at)

    def _take_lock(self) -> None:
        owner = self._store.locks.setdefault(self._at, self)
        if owner is not self:
            raise Refused(RefusalReason.ROW_LOCKED, "somebody is writing the row")

    def fence(self) -> Fence:
        """Return what the store's own flags say."""
        self._store.reach()
        return self._store.flags

    def look(self) -> WholeRow:
        """Read the row without a lock."""
        self._store.reach()
        row = self._committed_or_own()
        return WholeRow(self._store.see(row), b"" if row is None else repr(sorted(row.items())).encode())

    def record(self, row: LedgerRow) -> None:
        """Insert a ledger row."""
        self._store.reach()
        if row.row_id in self._store.ledger or row.row_id in self._ledger:
            raise AlreadyRecorded
        if self._store.pending.setdefault(row.row_id, self) is not self:
            raise Refused(RefusalReason.ROW_LOCKED, "another applier is at it")
        self._ledger[row.row_id] = row

    def lock(self) -> WholeRow:
        """Lock the row, if there is one, and read it."""
        self._store.reach()
        if self._committed_or_own() is not None or self._at in self._store.locks:
            self._take_lock()
        return self.look()

    def insert(self, values: Mapping[str, object]) -> int:
        """Insert the contract's columns."""
        self._store.reach()
        self._take_lock()
        if self._store.rows.get(self._at) is not None:
            raise Refused(RefusalReason.ROW_MOVED, "the row is there already")
        if self._store.required:
            raise Refused(RefusalReason.UNCOVERED_COLUMNS, "a column outside the contract needs a value")
        return self._leave({}, values)

    def update(self, values: Mapping[str, object]) -> int:
        """Update the contract's columns."""
        self._store.reach()
        row = self._committed_or_own()
        return 0 if row is None else self._leave(row, values)

    def _leave(self, row: Row, values: Mapping[str, object]) -> int:
        unique = self._store.unique
        others = (r for at, r in self._store.rows.items() if at != self._at and at[0] == self._at[0])
        if unique and any(r.get(unique) == values[unique] for r in others):
            raise Refused(RefusalReason.UNIQUE_CONFLICT, "another row holds a unique value")
        self._row = {**row, **{name: self._store.holds(name, value) for name, value in values.items()}}
        self._has_written = True
        return 1

    def delete(self) -> int:
        """Delete the row."""
        self._store.reach()
        there = self._committed_or_own() is not None
        self._row, self._has_written = None, True
        return int(there)

    def restore(self, image: bytes) -> int:
        """Update the contract's columns to what a before-image has."""
        was = _row_of(image)
        return self.update({name: was[name] for name in self._store.fields})

    def put_back(self, image: bytes) -> int:
        """Insert a row as a before-image has it."""
        self._store.reach()
        self._take_lock()
        if self._store.rows.get(self._at) is not None:
            raise Refused(RefusalReason.ROW_MOVED, "the row is there already")
        was = _row_of(image)
        return self._leave(was, {name: was[name] for name in self._store.fields})

    def read_back(self) -> RowRead:
        """Read the row as this transaction left it."""
        self._store.reach()
        return self._store.see(self._committed_or_own())

    def other_tables(self) -> tuple[str, ...]:
        """Nothing else can be written here."""
        return ()

    def commit(self) -> str:
        """Make it all visible at once."""
        self._store.reach()
        if self._has_written and self._row is None:
            self._store.rows.pop(self._at, None)
        elif self._has_written and self._row is not None:
            self._store.rows[self._at] = self._row
        for row in self._ledger.values():
            self._store.keep(row)
        self._end()
        return str(self._store.transactions)

    def rollback(self) -> None:
        """Forget it all."""
        if not self._is_over:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._store.locks.get(self._at) is self:
            del self._store.locks[self._at]
        for row_id in [row_id for row_id, owner in self._store.pending.items() if owner is self]:
            del self._store.pending[row_id]
