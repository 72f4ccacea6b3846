"""The check after an insert: an absent row could not be locked, so the authority is read once more.

If it has moved, the insert is taken back by a transaction of its own. The check's result is a ledger row; without one
the check is made again, by whoever asks next. So none is written while what stands in the way may pass.

The check's row keeps the whole row that the insert left: what deletes it again, the check or an undo, deletes no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from app.applier.answers import Answers
from app.applier.faults import FAULTS, refusal_of
from app.core.command import FINAL_REASONS, Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, inverse_id
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.guard import FENCE, Fence, Refused, Written, first_refusal
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.ports import AlreadyRecorded, RowName, RowRead, RowStore, RowWrite, Way, WholeRow

_STAYS: Final = FINAL_REASONS | {
    # Its token does not come back.
    RefusalReason.FENCED,
    # A policy without deletes gives the role none: no waiting helps.
    RefusalReason.NO_RIGHT,
    # The child may be a repair's to delete, which would wait behind this one for ever.
    RefusalReason.FOREIGN_KEY,
    # Only a person can mend these, and all other commands would wait for it.
    RefusalReason.TABLE_DIFFERS,
    RefusalReason.BARRED,
    RefusalReason.APPLIER_FAILED,
}
"""Why an insert is never taken back: compare judges its row, or a person does."""
_NO_RIGHT: Final = (
    "the authority has no such row any more, and the role may not delete it: delete it by hand or switch deletes on"
)


def is_insert(command: RepairCommand) -> bool:
    """Tell whether a command inserts a row by what the authority has, so that there is a check behind it."""
    return command.action is Action.UPSERT and not command.expected_digest


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the authority had of an inserted row, by its digest; `reason` is why that cannot be checked."""

    command: RepairCommand
    key: bytes
    reason: RefusalReason | None
    digest: bytes

    @property
    def stands(self) -> bool:
        """Whether the insert is what the authority has still, as far as that can be said."""
        return self.digest == self.command.intended_digest


@dataclass(frozen=True, slots=True)
class AfterInsert:
    """What the check needs of the world; `is_ours` tells whether a contract has the entity in both stores still.

    `left` are the rows that inserts of this process left and that are not checked yet, by their commands' ids.
    """

    stores: Mapping[str, RowStore]
    answers: Answers
    is_ours: Callable[[RepairCommand], bool]
    is_stopped: Callable[[], bool]
    failpoint: Callable[[str], None]
    left: MutableMapping[bytes, WholeRow]

    def check(
        self, commands: Sequence[RepairCommand], store: RowStore, transaction: str, at_ms: int | None = None
    ) -> dict[bytes, CommandOutcome]:
        """Return the outcomes of what one transaction wrote, by the commands' ids.

        After an insert, see that the authority has not moved meanwhile; if it has, take the insert back. `Unready`
        while that may not be done: the check is made when it is asked for again.
        """
        inserts = [c for c in commands if is_insert(c)]
        checks = store.recorded([check_id(c.command_id) for c in inserts])
        told: dict[bytes, str] = {}
        checks |= self._make_checks([c for c in inserts if check_id(c.command_id) not in checks], store, told)
        for command in inserts:
            self.left.pop(command.command_id, None)
        found = {}
        for command in commands:
            checked = checks.get(check_id(command.command_id))
            outcome = Outcome.INVERTED if checked and checked.outcome is Outcome.INVERTED else Outcome.APPLIED
            reason = checked.reason if checked else None
            stands_wrong = checked is not None and checked.found_digest != command.intended_digest
            detail = _NO_RIGHT if stands_wrong and reason is RefusalReason.NO_RIGHT else ""
            found[command.command_id] = self.answers.outcome(
                command,
                outcome,
                reason,
                transaction=transaction,
                detail=told.get(command.command_id) or detail,
                at_ms=at_ms,
            )
        return found

    def _make_checks(
        self, commands: Sequence[RepairCommand], store: RowStore, told: dict[bytes, str]
    ) -> dict[bytes, LedgerRow]:
        """Make the checks that were not made yet; return their ledger rows by id, and tell in `told` why one is not."""
        if not commands:
            return {}
        looked = self._look_again(commands, told)
        self.failpoint("authority_read_again")
        checks = self._ledger_rows(looked, store)
        stood = {c.row_id: c for each, c in zip(looked, checks, strict=True) if each.stands}
        if stood:
            try:
                store.record_alone([*stood.values()])
            except AlreadyRecorded:
                self._record_one_by_one(stood.values(), store)
                # Another applier makes the same checks: what it found stands.
                stood = {}
        waits = None
        for each, check in zip(looked, checks, strict=True):
            if not each.stands:
                with suppress(AlreadyRecorded):
                    why = self._take_back(each.command, store, each.key, check)
                    if isinstance(why, Unready):
                        # What keeps one from being taken back keeps none of the others.
                        waits = why
                    else:
                        told[each.command.command_id] = why
        if waits is not None:
            raise waits
        self.failpoint("check_recorded")
        # To read back what has just been recorded is as dear as to record it.
        return stood | store.recorded([check.row_id for check in checks if check.row_id not in stood])

    def _look_again(self, commands: Sequence[RepairCommand], told: dict[bytes, str]) -> list[_Looked]:
        """Read the authority again.

        What can be checked no more is told with its reason: no start may hang on a contract or a table of the past.
        """
        found: list[tuple[RepairCommand, bytes, RefusalReason | None]] = []
        keys: dict[str, list[RowName]] = {}
        for command in commands:
            key, why = b"", None
            if not self.is_ours(command):
                why = RefusalReason.OUTSIDE_CONTRACT
            else:
                try:
                    key = self.answers.seals.open_key(command.entity, command.sealed_key)
                    keys.setdefault(command.authority, []).append((command.entity, key))
                except Undecodable:
                    # The seal's key was taken away after the insert.
                    why = RefusalReason.UNREADABLE
            found.append((command, key, why))
        seen = {name: dict(zip(rows, self._read(name, rows), strict=True)) for name, rows in keys.items()}
        looked = []
        for command, key, unchecked in found:
            read = seen[command.authority][command.entity, key] if key else None
            why = unchecked
            if isinstance(read, Refused):
                told[command.command_id], why = read.what, read.reason
            # What cannot be checked is not taken back, and compare will judge it.
            digest = read.digest if isinstance(read, RowRead) else command.intended_digest
            looked.append(_Looked(command, key, why, digest))
        return looked

    def _read(self, store: str, rows: Sequence[RowName]) -> list[RowRead | Refused]:
        """Return what the authority has of rows, or why it cannot be read: one that cannot is no other row's matter."""
        try:
            return [*self.stores[store].read(rows)]
        except FAULTS as fault:
            why = _why(fault)
        if why.reason is RefusalReason.ROW_LOCKED:
            # It passes by itself.
            raise Unready("a row of the authority cannot be read just now", where=store)
        return [why] if len(rows) == 1 else [read for row in rows for read in self._read(store, [row])]

    def _ledger_rows(self, looked: Sequence[_Looked], store: RowStore) -> list[LedgerRow]:
        """Return the checks' ledger rows, with what the inserts left.

        Where an earlier process made the insert, it is the row as it stands now, if the contract finds it unchanged.
        """
        late = [(each.command, each.key) for each in looked if each.key and each.command.command_id not in self.left]
        left = dict(self.left)
        for (command, _), row in zip(late, self._look(late, store), strict=False):
            if row.read.digest == command.intended_digest:
                left[command.command_id] = row
        absent = WholeRow(RowRead())
        return [
            self.answers.row(
                each.command,
                LedgerKind.CHECK,
                Outcome.APPLIED,
                row_id=check_id(each.command.command_id),
                reason=each.reason,
                looked=WholeRow(RowRead(each.digest), left.get(each.command.command_id, absent).image),
            )
            for each in looked
        ]

    @staticmethod
    def _look(late: Sequence[tuple[RepairCommand, bytes]], store: RowStore) -> list[WholeRow]:
        """Return rows of the target as they stand; none where they cannot be read: then nobody knows."""
        if not late:
            return []
        try:
            transaction = store.begin([(command.entity, key) for command, key in late])
            try:
                return transaction.look()
            finally:
                transaction.rollback()
        except FAULTS as fault:
            _why(fault)
            return []

    @staticmethod
    def _record_one_by_one(checks: Iterable[LedgerRow], store: RowStore) -> None:
        for check in checks:
            with suppress(AlreadyRecorded):
                store.record_alone([check])

    def _take_back(self, command: RepairCommand, store: RowStore, key: bytes, check: LedgerRow) -> str | Unready:
        """Delete what was inserted, if it still stands as it was inserted; the check's row goes in the same commit.

        It is a write like any other: it heeds the target's flags, and who says stop. Return why it could not be made;
        `Unready` where something stands in its way that passes, and nothing is recorded then.
        """
        why = Refused(RefusalReason.ROW_MOVED)
        try:
            if self._took_back(command, store, key, check):
                return ""
        except FAULTS as fault:
            why = _why(fault)
        if why.reason not in _STAYS:
            # Mostly that somebody is at the row or at the flags: what they leave there is for the next look.
            return _waits(command, why.reason)
        store.record_alone([replace(check, reason=why.reason)])
        return _NO_RIGHT if why.reason is RefusalReason.NO_RIGHT else why.what

    def _took_back(self, command: RepairCommand, store: RowStore, key: bytes, check: LedgerRow) -> bool:
        """Tell whether the row stood as it was inserted, and is deleted."""
        taken = replace(check, outcome=Outcome.INVERTED, reason=RefusalReason.AUTHORITY_MOVED, before_image=b"")
        inserted = self.left.get(command.command_id)
        transaction = store.begin([(command.entity, key)])
        try:
            self.failpoint("inverse_begun")
            _heed(transaction.fence(), command)
            transaction.record([taken])
            (locked,) = transaction.lock()
            if locked.read.digest != command.intended_digest:
                return False
            if inserted is not None and locked.image != inserted.image:
                return False
            inverse = self.answers.row(
                command, LedgerKind.INVERSE, Outcome.APPLIED, row_id=inverse_id(command.command_id), looked=locked
            )
            expected, intended = command.intended_digest, b""
            transaction.record(
                [replace(inverse, action=Action.DELETE, expected_digest=expected, intended_digest=intended)]
            )
            rows = transaction.write([RowWrite(Way.DELETE)])
            self.failpoint("inverse_written")
            (read,) = transaction.read_back()
            written = Written(rows, read.digest, transaction.other_tables())
            if self.is_stopped():
                raise Unready("repairs were stopped while an insert was taken back", where=command.target)
            if written != Written(1, b"", ()):
                return False
            transaction.commit()
            self.failpoint("inverse_committed")
            return True
        finally:
            transaction.rollback()


def _why(fault: Exception) -> Refused:
    """Return why a row cannot be checked or taken back; `Unready` is raised again."""
    if isinstance(fault, Undecodable):
        return Refused(RefusalReason.UNREADABLE, fault.what)
    if isinstance(fault, ContractViolation):
        return Refused(RefusalReason.OUTSIDE_CONTRACT, fault.what)
    return refusal_of(fault)


def _heed(fence: Fence, command: RepairCommand) -> None:
    """Raise `Unready` where the target's flags may let an inverse be later; `Refused` where the command is fenced off.

    Its token does not come back: the insert stays, the check says why, and compare judges the row.
    """
    no = first_refusal(FENCE, command, fence)
    if no is RefusalReason.FENCED:
        raise Refused(no)
    if no is not None:
        raise _waits(command, no)


def _waits(command: RepairCommand, reason: RefusalReason) -> Unready:
    what = f"an insert is to be taken back, which its target does not let be: {reason.value}"
    hint = "its authority has moved since it was written; it is taken back once the target lets it"
    return Unready(what, where=command.target, hint=hint)
