"""Carry out one repair command: ports only, no Kafka, no driver, no decision.

Decisions are the tables of `app.core.guard`; this file owns the order of reads and writes between them. It may be
killed at any step and asked again: the ledger row that is written in the target's own transaction says what was done.

    signature -> ledger -> before
    -> [ fence -> look -> ledger row -> lock -> authority -> write -> read back -> commit ] -> check

The check, after an INSERT only, is `app.applier.after_insert`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.applier.after_insert import AfterInsert
from app.applier.answers import Answers, look, readable
from app.applier.belief import Belief
from app.applier.failpoints import no_failpoint
from app.core.approval import SILENCE, Said, Word, said
from app.core.command import FINAL_REASONS, Action, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.errors import Undecodable, Unready
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
from app.core.ledger import LedgerKind, LedgerRow, recorded_command
from app.core.policy import columns_mode
from app.core.trust import SignerRole
from app.core.undo import undoes
from app.ports import AlreadyRecorded, KeyNotHeld, RowRead, RowStore, RowTransaction, Seals, WholeRow

ABSENT: Final = object()
"""What stands for the value of a field in a row that is not there: no value, and not NULL either."""


def never() -> bool:
    """Tell that nobody stops anything."""
    return False


def nowhere(_command: RepairCommand) -> bool:
    """Tell that no shard is quarantined."""
    return False


@dataclass(frozen=True, slots=True)
class Applier:
    """What carrying out a command needs of the world.

    `targets` are the stores that are some contract's replica: only they have a ledger that is written. `belief` says
    whose signatures count, `words_on` what was said of a command, and `now_wall_ms` is the wall clock, for expiry and
    the ledger. `is_stopped` is asked before each commit, and so is `is_quarantined`, of the command's shard.
    """

    contracts: Mapping[str, EntityContract]
    stores: Mapping[str, RowStore]
    targets: frozenset[str]
    seals: Seals
    belief: Belief
    words_on: Callable[[RepairCommand], Sequence[Word]]
    now_wall_ms: Callable[[], int]
    limits: Limits = DEFAULT_LIMITS
    is_stopped: Callable[[], bool] = never
    is_quarantined: Callable[[RepairCommand], bool] = nowhere
    failpoint: Callable[[str], None] = no_failpoint

    @property
    def answers(self) -> Answers:
        """What makes ledger rows and outcomes."""
        return Answers(self.seals, self._said, self.now_wall_ms)

    @property
    def after_insert(self) -> AfterInsert:
        """What checks an insert."""
        return AfterInsert(self.stores, self.answers, self.failpoint)

    def apply(self, command: RepairCommand, partition: int) -> CommandOutcome:
        """Carry out a command that came in a partition, once in effect however often it is asked.

        `Unready` means ask again. Nothing that a command says is acted upon before its signature was found right.
        """
        self.failpoint("received")
        distrusted = self._distrusted(command, partition)
        if distrusted is not None:
            no = self.answers.outcome(command, Outcome.REFUSED, distrusted, detail="not a command of ours")
            return replace(no, partition=partition)
        store = self.stores.get(command.target) if command.target in self.targets else None
        # These two refusals have no ledger row either: there is no ledger, or nothing of ours to write into it.
        if not is_well_formed(command):
            return self.answers.outcome(
                command, Outcome.REFUSED, RefusalReason.UNREADABLE, detail="not a command of ours"
            )
        if store is None or command.authority not in self.stores or command.entity not in self.contracts:
            return self.answers.outcome(
                command, Outcome.REFUSED, RefusalReason.OUTSIDE_CONTRACT, detail="not in a contract"
            )
        standing = store.recorded(command.command_id)
        if standing is not None:
            return self._standing(command, store, standing)
        try:
            transaction = self._write(command, store)
        except AlreadyRecorded:
            standing = store.recorded(command.command_id)
            if standing is None:
                # Another applier's row was there and was rolled back: a passing state, so try again later.
                return self.answers.outcome(command, Outcome.HELD, RefusalReason.ROW_LOCKED)
            return self._standing(command, store, standing)
        except Undecodable as fault:
            return self._refuse(command, store, Refused(RefusalReason.UNREADABLE, fault.what))
        except Refused as no:
            return self._refuse(command, store, no)
        if command.undoes:
            return self.answers.outcome(command, Outcome.APPLIED, None, transaction=transaction)
        return self.after_insert.check(command, store, transaction)

    def check_unchecked(self, limit: int = 1_000) -> list[CommandOutcome]:
        """Make the checks that a crash kept from being made; call it once at the start."""
        found = []
        for target in sorted(self.targets):
            store = self.stores[target]
            for row in store.unchecked_inserts(limit):
                contract = self.contracts.get(row.entity)
                if contract is not None and contract.authority in self.stores:
                    found.append(self.after_insert.check(recorded_command(row, contract), store, row.transaction))
        return found

    # -- before -----------------------------------------------------------------------------------------------------

    def _distrusted(self, command: RepairCommand, partition: int) -> RefusalReason | None:
        # To undo is a person's act: the planner may not, and a person may nothing else.
        role = SignerRole.APPROVER if command.undoes else SignerRole.PLANNER
        no = self.belief.distrust(role, command, self.now_wall_ms())
        return RefusalReason.WRONG_PARTITION if no is None and command.partition != partition else no

    def _policy(self, command: RepairCommand) -> tuple[RepairPolicy | None, int]:
        """Return our own copy of the policy, and the contract's version."""
        contract = self.contracts.get(command.entity)
        mine = contract if contract is not None and contract.authority == command.authority else None
        return repair_policy(mine, command.target), mine.version if mine else 0

    def _said(self, command: RepairCommand) -> Said:
        """Put together what people say of a command, by whom the list of signers trusts now."""
        policy, _ = self._policy(command)
        if policy is None:
            return SILENCE
        words, now_ms = list(self.words_on(command)), self.now_wall_ms()
        if command.undoes:
            # Who signed it has said so; a second person, where two are needed, says it by a word.
            words.append(Word(command.key_id, True, command.planned_at_ms, command.expires_at_ms, is_genuine=True))
        return said(words, self.belief.signers(), policy.persons, policy.approval_life_ms, now_ms)

    def _known(self, command: RepairCommand, store: RowStore) -> Known:
        policy, version = self._policy(command)
        now_ms = self.now_wall_ms()
        counts = store.counts(command.entity, command.key_hash, now_ms)
        has_share = policy is not None and policy.automatic_percent_per_minute is not None
        return Known(
            policy=policy,
            contract_version=version,
            # A clock that was set back does not make young again what is over.
            now_wall_ms=max(now_ms, counts.newest_at_ms),
            said=self._said(command),
            counts=counts,
            limits=self.limits,
            table_rows=store.table_rows(command.entity) if has_share else 0,
            is_quarantined=self.is_quarantined(command),
        )

    # -- the transaction --------------------------------------------------------------------------------------------

    def _write(self, command: RepairCommand, store: RowStore) -> str:
        _say_no(first_refusal(BEFORE, command, self._known(command, store)))
        key = self.seals.open_key(command.entity, command.sealed_key)
        image = self._image_to_restore(command, store)
        kind = LedgerKind.UNDO if command.undoes else LedgerKind.COMMAND
        self.failpoint("before_transaction")
        transaction = store.begin(command.entity, key)
        try:
            self.failpoint("transaction_begun")
            _say_no(first_refusal(FENCE, command, transaction.fence()))
            self.failpoint("fence_shared")
            looked = look(transaction.look)
            self.failpoint("row_looked_at")
            transaction.record(self.answers.row(command, kind, Outcome.APPLIED, looked=looked))
            self.failpoint("ledger_row_inserted")
            self._write_row(command, transaction, key, looked, image)
            written = transaction.commit()
        finally:
            # After a commit this does nothing.
            transaction.rollback()
        self.failpoint("committed")
        return written

    def _image_to_restore(self, command: RepairCommand, store: RowStore) -> bytes:
        """Return the before-image that an undo leaves; empty where it leaves no row, or is none."""
        if not command.undoes:
            return b""
        original = store.recorded(command.undoes)
        if original is None or not undoes(command, original):
            raise Refused(RefusalReason.NOT_UNDOABLE, "the ledger knows of no such repair")
        if not original.before_image:
            return b""
        try:
            return self.seals.open_image(original.row_id, original.before_image)
        except KeyNotHeld as fault:
            raise Refused(RefusalReason.KEY_NOT_HELD, fault.what) from fault
        except Undecodable as fault:
            raise Refused(RefusalReason.NOT_UNDOABLE, fault.what) from fault

    def _write_row(
        self, command: RepairCommand, transaction: RowTransaction, key: bytes, looked: WholeRow, image: bytes
    ) -> None:
        locked = look(transaction.lock)
        self.failpoint("row_locked")
        authority = self._authority(command, key)
        self.failpoint("authority_read")
        stood_still = locked.image == looked.image
        seen = Locked(
            target_digest=locked.read.digest,
            whole_row_stood_still=stood_still,
            authority_digest=authority.digest,
            columns_mode=self._columns_mode(command, locked.read, authority),
            said=self._said(command),
        )
        _say_no(first_refusal(LOCKED, command, seen))
        rows = _restored(command, transaction, image) if command.undoes else _repaired(command, transaction, authority)
        self.failpoint("row_written")
        left = readable(transaction.read_back)
        self.failpoint("row_read_back")
        _say_no(first_refusal(WRITTEN, command, Written(rows, left.digest, transaction.other_tables())))
        self.failpoint("before_commit")
        if self.is_stopped():
            raise Unready("repairs were stopped while this row was written: nothing is", where=command.target)
        if self.is_quarantined(command) and self._said(command).refusal is not None:
            # This process may have slept since it looked: what it was told in between counts.
            raise Refused(RefusalReason.QUARANTINED)

    def _columns_mode(self, command: RepairCommand, target: RowRead, authority: RowRead) -> RepairMode:
        """Return how far the policy lets the fields be repaired that differ between these two rows."""
        policy, _ = self._policy(command)
        if policy is None or command.action is not Action.UPSERT:
            return RepairMode.APPLY
        fields = authority.values.keys() | target.values.keys()
        differing = [name for name in fields if target.values.get(name, ABSENT) != authority.values.get(name, ABSENT)]
        return columns_mode(policy, differing)

    def _authority(self, command: RepairCommand, key: bytes) -> RowRead:
        if command.undoes:
            # What was, and not what the authority has, is to be.
            return RowRead(command.intended_digest)
        return readable(lambda: self.stores[command.authority].read(command.entity, key))

    # -- refusals ---------------------------------------------------------------------------------------------------

    def _refuse(self, command: RepairCommand, store: RowStore, no: Refused) -> CommandOutcome:
        if no.reason not in FINAL_REASONS:
            return self.answers.outcome(command, Outcome.HELD, no.reason, detail=no.what)
        try:
            store.record_alone(self.answers.row(command, LedgerKind.REFUSAL, Outcome.REFUSED, reason=no.reason))
        except AlreadyRecorded:
            standing = store.recorded(command.command_id)
            if standing is not None:
                return self._standing(command, store, standing)
        self.failpoint("refusal_recorded")
        return self.answers.outcome(command, Outcome.REFUSED, no.reason, detail=no.what)

    # -- after ------------------------------------------------------------------------------------------------------

    def _standing(self, command: RepairCommand, store: RowStore, row: LedgerRow) -> CommandOutcome:
        """Say again what the ledger says; make the check after an insert if it was not made."""
        if row.kind is LedgerKind.REFUSAL:
            return self.answers.outcome(command, Outcome.REFUSED, row.reason, at_ms=row.written_at_ms)
        if row.kind is LedgerKind.UNDO:
            return self.answers.outcome(
                command, Outcome.APPLIED, None, transaction=row.transaction, at_ms=row.written_at_ms
            )
        ours = replace(
            command, action=row.action, expected_digest=row.expected_digest, intended_digest=row.intended_digest
        )
        return self.after_insert.check(ours, store, row.transaction, at_ms=row.written_at_ms)


def _say_no(reason: RefusalReason | None) -> None:
    if reason is not None:
        raise Refused(reason)


def _repaired(command: RepairCommand, transaction: RowTransaction, authority: RowRead) -> int:
    """Write what the authority has; return the number of rows."""
    if command.action is Action.DELETE:
        return transaction.delete()
    return transaction.update(authority.values) if command.expected_digest else transaction.insert(authority.values)


def _restored(command: RepairCommand, transaction: RowTransaction, image: bytes) -> int:
    """Write what was there before; return the number of rows."""
    if not command.intended_digest:
        return transaction.delete()
    return transaction.restore(image) if command.expected_digest else transaction.put_back(image)
