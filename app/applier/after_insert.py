"""The check after an insert: an absent row could not be locked, so the authority is read once more.

If it has moved, the insert is taken back by a transaction of its own. The check's result is a ledger row; without one
the check is made again, by whoever asks next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from app.applier.answers import Answers
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, inverse_id
from app.core.errors import Undecodable, Unready
from app.core.guard import FENCE, Fence, Refused, Written, first_refusal
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.ports import AlreadyRecorded, RowName, RowStore, RowWrite, Way


@dataclass(frozen=True, slots=True)
class AfterInsert:
    """What the check needs of the world."""

    stores: Mapping[str, RowStore]
    answers: Answers
    is_stopped: Callable[[], bool]
    failpoint: Callable[[str], None]

    def check(
        self, commands: Sequence[RepairCommand], store: RowStore, transaction: str, at_ms: int | None = None
    ) -> dict[bytes, CommandOutcome]:
        """Return the outcomes of what one transaction wrote, by the commands' ids.

        After an insert, see that the authority has not moved meanwhile; if it has, take the insert back. `Unready`
        while that may not be done: the check is made when it is asked for again.
        """
        inserts = [c for c in commands if c.action is Action.UPSERT and not c.expected_digest]
        checks = store.recorded([check_id(c.command_id) for c in inserts])
        checks |= self._make_checks([c for c in inserts if check_id(c.command_id) not in checks], store)
        found = {}
        for command in commands:
            checked = checks.get(check_id(command.command_id))
            outcome = Outcome.INVERTED if checked and checked.outcome is Outcome.INVERTED else Outcome.APPLIED
            reason = checked.reason if checked else None
            found[command.command_id] = self.answers.outcome(
                command, outcome, reason, transaction=transaction, at_ms=at_ms
            )
        return found

    def _make_checks(self, commands: Sequence[RepairCommand], store: RowStore) -> dict[bytes, LedgerRow]:
        """Make the checks that were not made yet; return their ledger rows by id."""
        if not commands:
            return {}
        looked = self._look_again(commands)
        self.failpoint("authority_read_again")
        stood = [check for command, _, check in looked if check.found_digest == command.intended_digest]
        if stood:
            try:
                store.record_alone(stood)
            except AlreadyRecorded:
                self._record_one_by_one(stood, store)
        for command, key, check in looked:
            if check.found_digest != command.intended_digest:
                with suppress(AlreadyRecorded):
                    self._take_back(command, store, key, check)
        self.failpoint("check_recorded")
        return store.recorded([check.row_id for _, _, check in looked])

    def _look_again(self, commands: Sequence[RepairCommand]) -> list[tuple[RepairCommand, bytes, LedgerRow]]:
        """Read the authority again; return the rows' keys, and the checks' ledger rows as far as they are known."""
        found = []
        keys: dict[str, list[RowName]] = {}
        for command in commands:
            check = self.answers.row(command, LedgerKind.CHECK, Outcome.APPLIED)
            check = replace(check, row_id=check_id(command.command_id))
            try:
                key = self.answers.seals.open_key(command.entity, command.sealed_key)
                keys.setdefault(command.authority, []).append((command.entity, key))
            except Undecodable:
                # The seal's key was taken away after the insert: nobody can check any more, and compare will judge.
                key, check = b"", replace(check, reason=RefusalReason.UNREADABLE)
            found.append((command, key, check))
        seen = {name: dict(zip(rows, self.stores[name].read(rows), strict=True)) for name, rows in keys.items()}
        return [
            (c, key, replace(check, found_digest=seen[c.authority][c.entity, key].digest if key else c.intended_digest))
            for c, key, check in found
        ]

    def _record_one_by_one(self, checks: Sequence[LedgerRow], store: RowStore) -> None:
        for check in checks:
            # Another applier makes the same checks.
            with suppress(AlreadyRecorded):
                store.record_alone([check])

    def _take_back(self, command: RepairCommand, store: RowStore, key: bytes, check: LedgerRow) -> None:
        """Delete what was inserted, if it still stands as it was inserted; the check's row goes in the same commit.

        It is a write like any other: it heeds the target's flags, and who says stop.
        """
        taken = replace(check, outcome=Outcome.INVERTED, reason=RefusalReason.AUTHORITY_MOVED)
        left = replace(check, reason=RefusalReason.ROW_MOVED)
        transaction = store.begin([(command.entity, key)])
        try:
            self.failpoint("inverse_begun")
            _heed(transaction.fence(), command)
            transaction.record([taken])
            (locked,) = transaction.lock()
            inverse = replace(
                self.answers.row(command, LedgerKind.INVERSE, Outcome.APPLIED, looked=locked),
                row_id=inverse_id(command.command_id),
                action=Action.DELETE,
                expected_digest=command.intended_digest,
                intended_digest=b"",
            )
            if locked.read.digest == command.intended_digest:
                transaction.record([replace(inverse, before_image=self.answers.sealed(inverse.row_id, locked))])
                rows = transaction.write([RowWrite(Way.DELETE)])
                self.failpoint("inverse_written")
                (read,) = transaction.read_back()
                written = Written(rows, read.digest, transaction.other_tables())
                if self.is_stopped():
                    raise Unready("repairs were stopped while an insert was taken back", where=command.target)
                if written == Written(1, b"", ()):
                    transaction.commit()
                    self.failpoint("inverse_committed")
                    return
        except Refused as no:
            # Mostly that somebody is writing the row: what they leave is theirs, and compare will judge it.
            left = replace(left, reason=no.reason)
        finally:
            transaction.rollback()
        store.record_alone([left])


def _heed(fence: Fence, command: RepairCommand) -> None:
    """Raise `Unready` where the target's flags may let an inverse be later; `Refused` where the command is fenced off.

    Its token does not come back: the insert stays, the check says why, and compare judges the row.
    """
    no = first_refusal(FENCE, command, fence)
    if no is RefusalReason.FENCED:
        raise Refused(no)
    if no is not None:
        what = f"an insert is to be taken back, which its target does not let be: {no.value}"
        hint = "its authority has moved since it was written; it is taken back once the target lets it"
        raise Unready(what, where=command.target, hint=hint)
