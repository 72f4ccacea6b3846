"""Try a command without leaving anything: the applier's own way through checks, locks and the write, to a rollback.

What differs from carrying it out is only the store that it is given: its transactions end in a rollback instead of a
commit, and it keeps no ledger row. So whatever is checked there is checked here, in the same order and under the same
credentials. Where a store has a staging copy, the copy is written instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.applier.apply import Applier
from app.core.command import DISTRUSTED, RepairCommand
from app.core.guard import Fence, as_told
from app.core.ledger import LedgerCounts, LedgerRow
from app.core.rehearsal import Rehearsal, Tally
from app.core.signing import signed_form
from app.ports import RowName, RowRead, RowStore, RowTransaction, Strain


class UndoneTransaction:
    """A transaction that tells what it wrote, and ends in a rollback whatever it is told."""

    def __init__(self, inner: RowTransaction, tell: Tell, *, is_copy: bool) -> None:
        self._inner = inner
        self._tell = tell
        self._is_copy = is_copy
        self.look, self.record, self.lock = inner.look, inner.record, inner.lock
        self.write, self.read_back = inner.write, inner.read_back
        self.tally, self.rollback = inner.tally, inner.rollback
        inner.tally()

    def fence(self) -> Fence:
        """Read the flags; a copy is another server than the one whose flags it has, and may be."""
        flags = self._inner.fence()
        return replace(flags, is_another_server=False) if self._is_copy else flags

    def other_tables(self) -> tuple[str, ...]:
        """Note what was written, and name the other tables among it."""
        self._tell.tally = self._inner.tally()
        return self._inner.other_tables()

    def commit(self) -> str:
        """Undo everything."""
        self._inner.rollback()
        return ""


@dataclass
class Tell:
    """What the last transaction wrote."""

    tally: Tally = field(default_factory=lambda: Tally(is_complete=False))


class UndoingStore:
    """A store in which nothing stays; `is_copy` says that it is a staging copy of the target."""

    def __init__(self, inner: RowStore, tell: Tell, *, is_copy: bool) -> None:
        self._inner = inner
        self._tell = tell
        self._is_copy = is_copy

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Read committed rows."""
        return self._inner.read(rows)

    def spelling(self, entity: str, values: Mapping[str, object]) -> bytes:
        """Return the digest of how a row is spelled."""
        return self._inner.spelling(entity, values)

    def begin(self, rows: Sequence[RowName]) -> UndoneTransaction:
        """Begin a transaction that will be undone."""
        return UndoneTransaction(self._inner.begin(rows), self._tell, is_copy=self._is_copy)

    def recorded(self, row_ids: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return those ledger rows that there are of these ids."""
        return self._inner.recorded(row_ids)

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger."""
        return self._inner.ledger_rows()

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write nothing: what is only tried is not recorded."""

    def counts(self, rows: Sequence[tuple[str, bytes]], now_wall_ms: int) -> list[LedgerCounts]:
        """Count what the ledger holds."""
        return self._inner.counts(rows, now_wall_ms)

    def table_rows(self, entity: str) -> int:
        """Return about how many rows an entity's table has."""
        return self._inner.table_rows(entity)

    def strain(self) -> Strain:
        """Return how the store bears being written now."""
        return self._inner.strain()

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger."""
        return self._inner.unchecked_inserts(limit)


@dataclass(frozen=True, slots=True)
class Rehearsing:
    """Tries commands as `applier` would carry them out; `staging` are copies that are written instead, by target."""

    applier: Applier
    staging: Mapping[str, RowStore] = field(default_factory=dict)

    def rehearse(self, batch_id: bytes, command: RepairCommand, partition: int) -> Rehearsal | None:
        """Try a command of a batch; None for one that is not ours to try, or is over: its outcome says so.

        `Unready` means ask again. A row is tried as if every person who is needed had said yes.
        """
        target = self.applier.stores.get(command.target)
        if target is None or command.target not in self.applier.targets or target.recorded([command.command_id]):
            return None
        tell = Tell()
        copy = self.staging.get(command.target)
        store = UndoingStore(copy or target, tell, is_copy=copy is not None)
        applier = replace(self.applier, stores={**self.applier.stores, command.target: store}, supposes_approval=True)
        outcome = applier.apply(command, partition)
        if outcome.reason in DISTRUSTED:
            return None
        told = as_told(command)
        return Rehearsal(
            batch_id=batch_id,
            command_id=told.command_id,
            content=signed_form(self.applier.belief.deployment, command),
            entity=told.entity,
            target=told.target,
            reason=outcome.reason,
            detail=outcome.detail,
            touched=tell.tally.touched,
            is_complete=tell.tally.is_complete,
            partition=command.partition,
            at_ms=outcome.at_ms,
            trace_id=told.trace_id,
        )
