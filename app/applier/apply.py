"""Carry out one repair command: ports only, no Kafka, no driver, no decision.

Decisions are the tables of `app.core.guard`; this file owns the order of reads and writes between them. It may be
killed at any step and asked again: the ledger row that is written in the target's own transaction says what was done.

    ledger -> before -> [ fence -> look -> ledger row -> lock -> authority -> write -> read back -> commit ] -> check

After an INSERT the authority is read once more, since an absent row could not be locked: if it has moved, the insert
is taken back by a transaction of its own. The check's result is a ledger row too; without one it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.core.command import (
    FINAL_REASONS,
    Action,
    Approval,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
    inverse_id,
)
from app.core.contract import EntityContract
from app.core.errors import Undecodable, Unmappable
from app.core.guard import (
    BEFORE,
    DEFAULT_LIMITS,
    FENCE,
    LOCKED,
    WRITTEN,
    Known,
    Limits,
    Locked,
    Refused,
    Written,
    first_refusal,
    is_well_formed,
    repair_policy,
)
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.ports import AlreadyRecorded, RowRead, RowStore, RowTransaction, Seals, WholeRow

FAILPOINTS = (
    "received",
    "before_transaction",
    "transaction_begun",
    "fence_shared",
    "row_looked_at",
    "ledger_row_inserted",
    "row_locked",
    "authority_read",
    "row_written",
    "row_read_back",
    "before_commit",
    "committed",
    "refusal_recorded",
    "authority_read_again",
    "inverse_begun",
    "inverse_written",
    "inverse_committed",
    "check_recorded",
)
"""Every step between which the process may die, by name. `loop` adds those around the outcome and the offset."""

_APPROVER_MAX = 200

# States that a store shows but the contract cannot read are states that nobody judged.
_UNREADABLE_ROW = b"unreadable"


def no_failpoint(_name: str) -> None:
    """Do nothing: what production calls between two steps."""


@dataclass(frozen=True, slots=True)
class Applier:
    """What carrying out a command needs of the world.

    `targets` are the stores that are some contract's replica: only they have a ledger that is written. `word_on`
    returns a person's newest word on a command, and `now_wall_ms` the wall clock, for expiry and the ledger.
    """

    contracts: Mapping[str, EntityContract]
    stores: Mapping[str, RowStore]
    targets: frozenset[str]
    seals: Seals
    word_on: Callable[[bytes], Approval | None]
    now_wall_ms: Callable[[], int]
    limits: Limits = DEFAULT_LIMITS
    failpoint: Callable[[str], None] = no_failpoint

    def apply(self, command: RepairCommand) -> CommandOutcome:
        """Carry out a command, once in effect however often it is asked; `Unready` means ask again."""
        self.failpoint("received")
        store = self.stores.get(command.target) if command.target in self.targets else None
        # These two refusals have no ledger row: there is no ledger, or nothing of ours to write into it.
        if not is_well_formed(command):
            return self._outcome(command, Outcome.REFUSED, RefusalReason.UNREADABLE, detail="not a command of ours")
        if store is None or command.authority not in self.stores or command.entity not in self.contracts:
            return self._outcome(command, Outcome.REFUSED, RefusalReason.OUTSIDE_CONTRACT, detail="not in a contract")
        standing = store.recorded(command.command_id)
        if standing is not None:
            return self._standing(command, store, standing)
        try:
            transaction = self._write(command, store)
        except AlreadyRecorded:
            standing = store.recorded(command.command_id)
            if standing is None:
                # Another applier's row was there and was rolled back: a passing state, so try again later.
                return self._outcome(command, Outcome.HELD, RefusalReason.ROW_LOCKED)
            return self._standing(command, store, standing)
        except Undecodable as fault:
            return self._refuse(command, store, Refused(RefusalReason.UNREADABLE, fault.what))
        except Refused as no:
            return self._refuse(command, store, no)
        return self._check(command, store, transaction)

    def check_unchecked(self, limit: int = 1_000) -> list[CommandOutcome]:
        """Make the checks that a crash kept from being made; call it once at the start."""
        found = []
        for target in sorted(self.targets):
            store = self.stores[target]
            for row in store.unchecked_inserts(limit):
                contract = self.contracts.get(row.entity)
                if contract is not None and contract.authority in self.stores:
                    found.append(self._check(_command_of(row, contract), store, row.transaction))
        return found

    # -- before -----------------------------------------------------------------------------------------------------

    def _known(self, command: RepairCommand, store: RowStore) -> Known:
        contract = self.contracts.get(command.entity)
        mine = contract if contract is not None and contract.authority == command.authority else None
        word = self.word_on(command.command_id)
        now_ms = self.now_wall_ms()
        return Known(
            policy=repair_policy(mine, command.target),
            contract_version=mine.version if mine else 0,
            now_wall_ms=now_ms,
            approved=word is not None and word.approved,
            counts=store.counts(command.entity, command.key_hash, now_ms),
            limits=self.limits,
        )

    # -- the transaction --------------------------------------------------------------------------------------------

    def _write(self, command: RepairCommand, store: RowStore) -> str:
        _say_no(first_refusal(BEFORE, command, self._known(command, store)))
        key = self.seals.open_key(command.entity, command.sealed_key)
        self.failpoint("before_transaction")
        transaction = store.begin(command.entity, key)
        try:
            self.failpoint("transaction_begun")
            _say_no(first_refusal(FENCE, command, transaction.fence_token()))
            self.failpoint("fence_shared")
            looked = _look(transaction.look)
            self.failpoint("row_looked_at")
            transaction.record(self._row(command, LedgerKind.COMMAND, Outcome.APPLIED, looked=looked))
            self.failpoint("ledger_row_inserted")
            self._write_row(command, transaction, key, looked)
            written = transaction.commit()
        finally:
            # After a commit this does nothing.
            transaction.rollback()
        self.failpoint("committed")
        return written

    def _write_row(self, command: RepairCommand, transaction: RowTransaction, key: bytes, looked: WholeRow) -> None:
        locked = _look(transaction.lock)
        self.failpoint("row_locked")
        authority = self._authority(command, key)
        self.failpoint("authority_read")
        stood_still = locked.image == looked.image
        _say_no(first_refusal(LOCKED, command, Locked(locked.read.digest, stood_still, authority.digest)))
        if command.action is Action.DELETE:
            rows = transaction.delete()
        elif command.expected_digest:
            rows = transaction.update(authority.values)
        else:
            rows = transaction.insert(authority.values)
        self.failpoint("row_written")
        left = _readable(transaction.read_back)
        self.failpoint("row_read_back")
        _say_no(first_refusal(WRITTEN, command, Written(rows, left.digest, transaction.other_tables())))
        self.failpoint("before_commit")

    def _authority(self, command: RepairCommand, key: bytes) -> RowRead:
        return _readable(lambda: self.stores[command.authority].read(command.entity, key))

    # -- refusals ---------------------------------------------------------------------------------------------------

    def _refuse(self, command: RepairCommand, store: RowStore, no: Refused) -> CommandOutcome:
        if no.reason not in FINAL_REASONS:
            return self._outcome(command, Outcome.HELD, no.reason, detail=no.what)
        try:
            store.record_alone(self._row(command, LedgerKind.REFUSAL, Outcome.REFUSED, reason=no.reason))
        except AlreadyRecorded:
            standing = store.recorded(command.command_id)
            if standing is not None:
                return self._standing(command, store, standing)
        self.failpoint("refusal_recorded")
        return self._outcome(command, Outcome.REFUSED, no.reason, detail=no.what)

    # -- after ------------------------------------------------------------------------------------------------------

    def _standing(self, command: RepairCommand, store: RowStore, row: LedgerRow) -> CommandOutcome:
        """Say again what the ledger says; make the check after an insert if it was not made."""
        if row.kind is LedgerKind.REFUSAL:
            return self._outcome(command, Outcome.REFUSED, row.reason, at_ms=row.written_at_ms)
        ours = replace(
            command, action=row.action, expected_digest=row.expected_digest, intended_digest=row.intended_digest
        )
        return self._check(ours, store, row.transaction, at_ms=row.written_at_ms)

    def _check(
        self, command: RepairCommand, store: RowStore, transaction: str, at_ms: int | None = None
    ) -> CommandOutcome:
        """After an insert, see that the authority has not moved meanwhile; if it has, take the insert back."""
        if command.action is Action.DELETE or command.expected_digest:
            return self._outcome(command, Outcome.APPLIED, None, transaction=transaction, at_ms=at_ms)
        row_id = check_id(command.command_id)
        checked = store.recorded(row_id)
        if checked is None:
            checked = self._make_check(command, store, row_id)
        outcome = Outcome.INVERTED if checked.outcome is Outcome.INVERTED else Outcome.APPLIED
        return self._outcome(command, outcome, checked.reason, transaction=transaction, at_ms=at_ms)

    def _make_check(self, command: RepairCommand, store: RowStore, row_id: bytes) -> LedgerRow:
        check = replace(self._row(command, LedgerKind.CHECK, Outcome.APPLIED), row_id=row_id)
        try:
            key = self.seals.open_key(command.entity, command.sealed_key)
            authority = self._authority(command, key)
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
            transaction.fence_token()
            transaction.record(taken)
            locked = _look(transaction.lock)
            inverse = replace(
                self._row(command, LedgerKind.INVERSE, Outcome.APPLIED, looked=locked),
                row_id=inverse_id(command.command_id),
                action=Action.DELETE,
                expected_digest=command.intended_digest,
                intended_digest=b"",
            )
            if locked.read.digest == command.intended_digest:
                transaction.record(replace(inverse, before_image=self._sealed(inverse.row_id, locked)))
                rows = transaction.delete()
                self.failpoint("inverse_written")
                written = Written(rows, _readable(transaction.read_back).digest, transaction.other_tables())
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

    # -- values -----------------------------------------------------------------------------------------------------

    def _sealed(self, row_id: bytes, whole: WholeRow) -> bytes:
        return self.seals.seal_image(row_id, whole.image) if whole.image else b""

    def _row(
        self,
        command: RepairCommand,
        kind: LedgerKind,
        outcome: Outcome,
        *,
        reason: RefusalReason | None = None,
        looked: WholeRow | None = None,
    ) -> LedgerRow:
        looked = looked or WholeRow(RowRead())
        word = self.word_on(command.command_id)
        return LedgerRow(
            row_id=command.command_id,
            original_id=command.command_id,
            kind=kind,
            finding_id=command.finding_id,
            entity=command.entity,
            target=command.target,
            key_hash=command.key_hash,
            sealed_key=command.sealed_key,
            partition=command.partition,
            action=command.action,
            outcome=outcome,
            reason=reason,
            expected_digest=command.expected_digest,
            found_digest=looked.read.digest,
            intended_digest=command.intended_digest,
            before_image=self._sealed(command.command_id, looked),
            fence_token=command.fence_token,
            trace_id=command.trace_id,
            approver=word.approver[:_APPROVER_MAX] if word is not None and word.approved else "",
            written_at_ms=self.now_wall_ms(),
        )

    def _outcome(
        self,
        command: RepairCommand,
        outcome: Outcome,
        reason: RefusalReason | None,
        *,
        transaction: str = "",
        detail: str = "",
        at_ms: int | None = None,
    ) -> CommandOutcome:
        return CommandOutcome(
            command_id=command.command_id,
            finding_id=command.finding_id,
            entity=command.entity,
            target=command.target,
            outcome=outcome,
            reason=reason,
            at_ms=self.now_wall_ms() if at_ms is None else at_ms,
            transaction=transaction,
            partition=command.partition,
            trace_id=command.trace_id,
            detail=detail,
        )


def _say_no(reason: RefusalReason | None) -> None:
    if reason is not None:
        raise Refused(reason)


def _readable(read: Callable[[], RowRead]) -> RowRead:
    try:
        return read()
    except Unmappable:
        return RowRead(digest=_UNREADABLE_ROW)


def _look(look: Callable[[], WholeRow]) -> WholeRow:
    try:
        return look()
    except Unmappable:
        return WholeRow(RowRead(digest=_UNREADABLE_ROW))


def _command_of(row: LedgerRow, contract: EntityContract) -> RepairCommand:
    """Return as much of a command as the check after its insert needs."""
    return RepairCommand(
        command_id=row.original_id,
        finding_id=row.finding_id,
        incident_id=b"",
        entity=row.entity,
        contract_version=contract.version,
        authority=contract.authority,
        target=row.target,
        action=row.action,
        kind="",
        sealed_key=row.sealed_key,
        key_hash=row.key_hash,
        partition=row.partition,
        expected_digest=row.expected_digest,
        intended_digest=row.intended_digest,
        authority_position=b"",
        needs_approval=False,
        reason="",
        expires_at_ms=0,
        fence_token=row.fence_token,
        trace_id=row.trace_id,
    )
