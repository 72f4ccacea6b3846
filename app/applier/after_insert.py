"""The check after an insert: an absent row could not be locked, so the authority is read once more.

If it has moved, the insert is taken back by a transaction of its own. The check's result is a ledger row; without one
the check is made again, by whoever asks next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.applier.answers import Answers, look, readable
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, inverse_id
from app.core.errors import Undecodable
from app.core.guard import Refused, Written
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.ports import AlreadyRecorded, RowRead, RowStore


@dataclass(frozen=True, slots=True)
class AfterInsert:
    """What the check needs of the world."""

    stores: Mapping[str, RowStore]
    answers: Answers
    failpoint: Callable[[str], None]

    def check(
        self, command: RepairCommand, store: RowStore, transaction: str, at_ms: int | None = None
    ) -> CommandOutcome:
        """After an insert, see that the authority has not moved meanwhile; if it has, take the insert back."""
        if command.action is Action.DELETE or command.expected_digest:
            return self.answers.outcome(command, Outcome.APPLIED, None, transaction=transaction, at_ms=at_ms)
        row_id = check_id(command.command_id)
        checked = store.recorded(row_id)
        if checked is None:
            checked = self._make_check(command, store, row_id)
        outcome = Outcome.INVERTED if checked.outcome is Outcome.INVERTED else Outcome.APPLIED
        return self.answers.outcome(command, outcome, checked.reason, transaction=transaction, at_ms=at_ms)

    def _make_check(self, command: RepairCommand, store: RowStore, row_id: bytes) -> LedgerRow:
        check = replace(self.answers.row(command, LedgerKind.CHECK, Outcome.APPLIED), row_id=row_id)
        try:
            key = self.answers.seals.open_key(command.entity, command.sealed_key)
            authority = readable(lambda: self.stores[command.authority].read(command.entity, key))
        except Undecodable:
            # The seal's key was taken away after the insert: nobody can check any more, and compare will judge.
            check = replace(check, reason=RefusalReason.UNREADABLE)
            key, authority = b"", RowRead(command.intended_digest)
        self.failpoint("authority_read_again")
        check = replace(check, found_digest=authority.digest)
        try:
            if authority.digest == command.intended_digest:
                store.record_alone(check)
            else:
                check = self._take_back(command, store, key, check)
        except AlreadyRecorded:
            check = store.recorded(row_id) or check
        self.failpoint("check_recorded")
        return check

    def _take_back(self, command: RepairCommand, store: RowStore, key: bytes, check: LedgerRow) -> LedgerRow:
        """Delete what was inserted, if it still stands as it was inserted; the check's row goes in the same commit."""
        taken = replace(check, outcome=Outcome.INVERTED, reason=RefusalReason.AUTHORITY_MOVED)
        left = replace(check, reason=RefusalReason.ROW_MOVED)
        transaction = store.begin(command.entity, key)
        try:
            self.failpoint("inverse_begun")
            transaction.fence()
            transaction.record(taken)
            locked = look(transaction.lock)
            inverse = replace(
                self.answers.row(command, LedgerKind.INVERSE, Outcome.APPLIED, looked=locked),
                row_id=inverse_id(command.command_id),
                action=Action.DELETE,
                expected_digest=command.intended_digest,
                intended_digest=b"",
            )
            if locked.read.digest == command.intended_digest:
                transaction.record(replace(inverse, before_image=self.answers.sealed(inverse.row_id, locked)))
                rows = transaction.delete()
                self.failpoint("inverse_written")
                written = Written(rows, readable(transaction.read_back).digest, transaction.other_tables())
                if written == Written(1, b"", ()):
                    transaction.commit()
                    self.failpoint("inverse_committed")
                    return taken
        except Refused as no:
            # Mostly that somebody is writing the row: what they leave is theirs, and compare will judge it.
            left = replace(left, reason=no.reason)
        finally:
            transaction.rollback()
        store.record_alone(left)
        return left
