"""Carry out repair commands: ports only, no Kafka, no driver, no decision.

Decisions are the tables of `app.core.guard`; this file owns the order of reads and writes between them. It may be
killed at any step and asked again: the ledger row that is written in the target's own transaction says what was done.

    signature -> ledger -> before
    -> [ fence -> look -> ledger row -> lock -> authority -> write -> read back -> commit ] -> check

A transaction has some rows, and every step is made for all of them before the next: all are locked before one is
written. A row to which a check says no is left out, and the others are tried again without it; where the store says no
to some row or other, they are tried again in halves, down to the one. Rows of one source transaction are not parted by
the store's no: none of them is written, and a person decides about the others.

The check, after an INSERT only, is `app.applier.after_insert`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.applier.after_insert import AfterInsert, is_insert
from app.applier.answers import Answers
from app.applier.belief import Belief
from app.applier.failpoints import no_failpoint
from app.applier.faults import FAULTS, refusal_of
from app.applier.forward_clock import ForwardClock
from app.core.approval import SILENCE, SUPPOSED, Said, Word, all_words_on, said
from app.core.command import (
    FINAL_REASONS,
    STORE_SAYS_NO,
    VALUE_WAITS_MS,
    Action,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
)
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.errors import Undecodable, Unready
from app.core.guard import (
    BEFORE,
    DEFAULT_LIMITS,
    FENCE,
    LOCKED,
    WRITTEN,
    Check,
    FactsT,
    Known,
    Limits,
    Locked,
    Refused,
    Written,
    as_told,
    first_refusal,
    is_well_formed,
    repair_policy,
)
from app.core.kinship import deletes, tables_below
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow, check_id, recorded_command
from app.core.policy import columns_mode
from app.core.rehearsal import yes_counts_from_ms
from app.core.together import exchanged, halves, together, unit_of, within
from app.core.transform import aligned, chosen
from app.core.trust import role_for
from app.core.undo import undoes
from app.ports import (
    AlreadyRecorded,
    KeyNotHeld,
    RowRead,
    RowsRefused,
    RowStore,
    RowTransaction,
    RowWrite,
    Seals,
    Way,
    WholeRow,
)

_CONFLICT: Final = RefusalReason.UNIQUE_CONFLICT
_LEFT_MOST: Final = 1_000
_TOLD: Final = {
    RefusalReason.NOT_UNDOABLE: "nobody knows what the insert left in columns outside the contract: delete it by hand"
}
"""What is said with a reason that a table of checks gives."""
ABSENT: Final = object()
"""What stands for the value of a field in a row that is not there: no value, and not NULL either."""


class SomeRefused(Exception):
    """Of the commands of one transaction these are refused, by their ids; the others may be tried without them."""

    def __init__(self, by_id: Mapping[bytes, Refused]) -> None:
        super().__init__()
        self.by_id = by_id


@dataclass(frozen=True, slots=True)
class Order:
    """A command with its row's key and the before-image that an undo leaves, empty where it leaves no row.

    `left` is then what the insert left, of which alone the undo may delete it; empty where nobody knows.
    `names_spelling`: its digests are of how rows are spelled (`app.core.transform`).
    """

    command: RepairCommand
    key: bytes
    image: bytes = b""
    names_spelling: bool = False
    left: bytes = b""

    def write(self, authority: RowRead) -> RowWrite:
        """Return what is done to the row: what the authority has of it, or for an undo, what was there before."""
        command, is_there = self.command, bool(self.command.expected_digest)
        if command.action is Action.DELETE or not command.intended_digest:
            return RowWrite(Way.DELETE)
        if command.undoes:
            return RowWrite(Way.RESTORE if is_there else Way.PUT_BACK, image=self.image)
        if command.action is Action.TRANSFORM:
            return RowWrite(Way.UPDATE, values=chosen(authority.values, command.columns))
        return RowWrite(Way.UPDATE if is_there else Way.INSERT, values=authority.values)


def never() -> bool:
    """Tell that nobody stops anything."""
    return False


def nowhere(_command: RepairCommand) -> bool:
    """Tell that no shard is quarantined."""
    return False


def everywhere(_command: RepairCommand) -> bool:
    """Tell that every shard is quarantined."""
    return True


def not_rehearsed(_command: RepairCommand) -> None:
    """Tell that a command was never rehearsed."""


@dataclass(frozen=True, slots=True)
class Applier:
    """What carrying out a command needs of the world.

    `targets` are the stores that are some contract's replica: only they have a ledger that is written. `belief` says
    whose signatures count, `words_on` what was said of a command, and `now_wall_ms` is the wall clock, for expiry and
    the ledger; here it never goes back. `is_stopped` is asked before each commit, and so is `is_quarantined`, of the
    command's shard. `rehearsed_at_ms` says when a command was first rehearsed, and `supposes_approval` that it is now:
    as if every person had said yes.
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
    rehearsed_at_ms: Callable[[RepairCommand], int | None] = not_rehearsed
    supposes_approval: bool = False
    failpoint: Callable[[str], None] = no_failpoint
    _left: dict[bytes, WholeRow] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let no clock that is set back make young again what is over."""
        object.__setattr__(self, "now_wall_ms", ForwardClock.of(self.now_wall_ms))

    @property
    def answers(self) -> Answers:
        """What makes ledger rows and outcomes."""
        return Answers(self.seals, self._said, self.now_wall_ms)

    @property
    def after_insert(self) -> AfterInsert:
        """What checks an insert."""
        return AfterInsert(self.stores, self.answers, self._is_ours, self.is_stopped, self.failpoint, self._left)

    def apply(self, command: RepairCommand, partition: int) -> CommandOutcome:
        """Carry out one command that came in a partition; see `apply_all`."""
        return self.apply_all([(command, partition)])[0]

    def apply_all(self, received: Sequence[tuple[RepairCommand, int]]) -> list[CommandOutcome]:
        """Carry out commands, each with the partition that it came in, once in effect however often they are asked.

        `Unready` means ask again for all of them: the ledger knows what was done. Nothing that a command says is acted
        upon before its signature was found right.
        """
        found: dict[int, CommandOutcome] = {}
        for members in self.by_transaction([command for command, _ in received]):
            found |= zip(members, self.apply_transaction([received[place] for place in members]), strict=True)
        return [found[place] for place in range(len(received))]

    def apply_transaction(self, received: Sequence[tuple[RepairCommand, int]]) -> list[CommandOutcome]:
        """Carry out commands that go into one transaction, as `by_transaction` parts them, or some of them."""
        self.failpoint("received")
        refused = [self._not_ours(*asked) for asked in received]
        ours = [command for (command, _), no in zip(received, refused, strict=True) if no is None]
        answered = self._apply_together(ours) if ours else {}
        return [no or answered[command.command_id] for (command, _), no in zip(received, refused, strict=True)]

    def by_transaction(self, commands: Sequence[RepairCommand]) -> list[list[int]]:
        """Return the places of commands by the transactions that they go into, in the order of these."""
        return together(commands, self.limits.rows_per_transaction, self.contracts)

    def is_ours(self, command: RepairCommand, partition: int) -> bool:
        """Tell whether a command that came in a partition is one of ours, whatever then becomes of it."""
        return self._why_not_ours(command, partition) is None

    def _not_ours(self, command: RepairCommand, partition: int) -> CommandOutcome | None:
        """Refuse what is no command of ours, without a ledger row: there is none, or nothing of ours to write there."""
        no = self._why_not_ours(command, partition)
        if no is None:
            return None
        told = self.answers.outcome(as_told(command), Outcome.REFUSED, no.reason, detail=no.what)
        return replace(told, partition=partition)

    def _why_not_ours(self, command: RepairCommand, partition: int) -> Refused | None:
        distrusted = self._distrusted(command, partition)
        if distrusted is not None:
            return Refused(distrusted, "not a command of ours")
        if not is_well_formed(command):
            return Refused(RefusalReason.UNREADABLE, "not a command of ours")
        is_known = command.target in self.targets and {command.target, command.authority} <= self.stores.keys()
        if not is_known or command.entity not in self.contracts:
            return Refused(RefusalReason.OUTSIDE_CONTRACT, "not in a contract")
        return None

    def _apply_together(self, commands: Sequence[RepairCommand]) -> dict[bytes, CommandOutcome]:
        """Carry out what may go into one transaction; what the ledger has already is said again."""
        store = self.stores[commands[0].target]
        standing = store.recorded([command.command_id for command in commands])
        barred = [c.command_id for c in commands if _id_in(c, standing) and _bars(standing[c.command_id], c)]
        again = {
            c.command_id: self._standing(c, store, standing[c.command_id]) for c in commands if _id_in(c, standing)
        }
        # A crash may have come between a refusal and what it means for its source transaction.
        no = {row_id: Refused(row.reason) for row_id, row in standing.items() if row.reason is not None}
        no |= dict.fromkeys(barred, Refused(RefusalReason.BARRED))
        held = self._held_with(commands, no)
        again |= {c.command_id: self._refuse(c, store, held[c.command_id]) for c in commands if _id_in(c, held)}
        return again | self._carry_out([c for c in commands if not _id_in(c, again)], store)

    def _carry_out(self, commands: Sequence[RepairCommand], store: RowStore) -> dict[bytes, CommandOutcome]:
        """Write rows together: without those that say no, and in halves where nobody knows which of them does."""
        if not commands:
            return {}
        try:
            transaction = self._write(commands, store)
        except SomeRefused as some:
            by_id = {**some.by_id, **self._held_with(commands, some.by_id)}
            refused = {c.command_id: self._refuse(c, store, by_id[c.command_id]) for c in commands if _id_in(c, by_id)}
            return refused | self._carry_out([c for c in commands if not _id_in(c, refused)], store)
        except (AlreadyRecorded, Refused) as no:
            return self._parted(commands, store, no)
        except FAULTS as fault:
            # Nothing is written: the transaction was rolled back, and a commit ends in no such fault (`_committed`).
            return self._parted(commands, store, refusal_of(fault))
        return self.after_insert.check(commands, store, transaction)

    def _parted(
        self, commands: Sequence[RepairCommand], store: RowStore, no: AlreadyRecorded | Refused
    ) -> dict[bytes, CommandOutcome]:
        """Find the row that something is wrong with, by halves; of one source transaction none is written."""
        if isinstance(no, Refused) and self._is_one_group(commands):
            return {c.command_id: self._refuse(c, store, _of_group(self._in_time(c, no))) for c in commands}
        if len(commands) > 1:
            first, second = halves(commands)
            return self._carry_out(first, store) | self._carry_out(second, store)
        return {commands[0].command_id: self._refused_alone(commands[0], store, no)}

    def _is_one_group(self, commands: Sequence[RepairCommand]) -> bool:
        """Tell whether these are several rows of one source transaction, of which no person has let one go."""
        is_one = len(commands) > 1 and len({unit_of(command) for command in commands}) == 1
        return is_one and all(self._said(command).refusal is not None for command in commands)

    def _held_with(self, commands: Sequence[RepairCommand], refused: Mapping[bytes, Refused]) -> dict[bytes, Refused]:
        """Return those that are held as the store refuses another row of their source transaction, but by a person."""
        units = {
            unit_of(command): refused[command.command_id]
            for command in commands
            if _id_in(command, refused) and refused[command.command_id].reason in STORE_SAYS_NO
        }
        return {
            command.command_id: _of_group(units[unit_of(command)])
            for command in commands
            if unit_of(command) in units and not _id_in(command, refused) and self._said(command).refusal is not None
        }

    def _refused_alone(self, command: RepairCommand, store: RowStore, no: AlreadyRecorded | Refused) -> CommandOutcome:
        if isinstance(no, Refused):
            return self._refuse(command, store, self._in_time(command, no))
        standing = store.recorded([command.command_id]).get(command.command_id)
        if standing is None:
            # Another applier's row was there and was rolled back: a passing state, so try again later.
            return self.answers.outcome(command, Outcome.HELD, RefusalReason.ROW_LOCKED)
        return self._standing(command, store, standing)

    def heed_ledgers(self) -> None:
        """Let the clock stand nowhere before what was written last; call it once at the start."""
        for target in self.targets:
            self._counts([("", b"")], self.stores[target])

    def check_unchecked(self, limit: int = 1_000) -> list[CommandOutcome]:
        """Make the checks that a crash kept from being made; call it once at the start, where repairs go on."""
        found: list[CommandOutcome] = []
        for target in sorted(self.targets):
            store = self.stores[target]
            for row in store.unchecked_inserts(limit):
                command = recorded_command(row, self.contracts.get(row.entity))
                found += self.after_insert.check([command], store, row.transaction).values()
        return found

    # -- before -----------------------------------------------------------------------------------------------------

    def _distrusted(self, command: RepairCommand, partition: int) -> RefusalReason | None:
        no = self.belief.distrust(role_for(command), command, self.now_wall_ms())
        return RefusalReason.WRONG_PARTITION if no is None and command.partition != partition else no

    def _policy(self, command: RepairCommand) -> tuple[RepairPolicy | None, int]:
        """Return our own copy of the policy, and the contract's version."""
        contract = self.contracts.get(command.entity)
        mine = contract if contract is not None and contract.authority == command.authority else None
        return repair_policy(mine, command.target), mine.version if mine else 0

    def _is_ours(self, command: RepairCommand) -> bool:
        """Tell whether our contract has the command's target for a replica of its authority."""
        policy, _ = self._policy(command)
        return policy is not None and command.authority in self.stores

    def _said(self, command: RepairCommand) -> Said:
        """Put together what people say of a command, by whom the list of signers trusts now."""
        policy, _ = self._policy(command)
        if policy is None:
            return SILENCE
        if self.supposes_approval:
            return SUPPOSED
        words, now_ms = all_words_on(command, self.words_on(command)), self.now_wall_ms()
        from_ms = yes_counts_from_ms(policy, command, self.rehearsed_at_ms(command))
        return said(
            words, self.belief.signers(), policy.persons, policy.approval_life_ms, now_ms, not_before_ms=from_ms
        )

    def _refused_before(self, commands: Sequence[RepairCommand], store: RowStore) -> dict[bytes, Refused]:
        """Return what needs no lock to be refused; each command finds those before it counted as written."""
        counts = self._counts([(command.entity, command.key_hash) for command in commands], store)
        now_ms = self.now_wall_ms()
        refused = {}
        writes = deletes = 0
        automatic: Counter[str] = Counter()
        for command, counted in zip(commands, counts, strict=True):
            spent = counted.with_more(writes, deletes, automatic[command.entity])
            known = self._known(command, store, spent, now_ms)
            reason = first_refusal(BEFORE, command, known)
            if reason is not None:
                refused[command.command_id] = Refused(reason)
            elif not command.undoes:
                writes += 1
                deletes += command.action is Action.DELETE
                automatic[command.entity] += known.said.refusal is not None
        return refused

    def _counts(self, rows: Sequence[tuple[str, bytes]], store: RowStore) -> list[LedgerCounts]:
        """Return what a ledger counts of rows, and let the clock heed it."""
        found = store.counts(rows, self.now_wall_ms())
        ForwardClock.of(self.now_wall_ms).heed(max((counts.newest_at_ms for counts in found), default=0))
        return found

    def _known(self, command: RepairCommand, store: RowStore, counts: LedgerCounts, now_ms: int) -> Known:
        policy, version = self._policy(command)
        has_share = policy is not None and policy.automatic_percent_per_minute is not None
        return Known(
            policy=policy,
            contract_version=version,
            now_wall_ms=now_ms,
            said=self._said(command),
            counts=counts,
            limits=self.limits,
            table_rows=store.table_rows(command.entity) if has_share else 0,
            is_quarantined=self.is_quarantined(command),
        )

    def _ordered(self, commands: Sequence[RepairCommand], store: RowStore) -> list[Order]:
        """Return what each command asks for, once nothing that needs no lock speaks against it."""
        refused = self._refused_before(commands, store)
        undone = [command.undoes for command in commands if command.undoes]
        originals = store.recorded([*undone, *map(check_id, undone)])
        orders = []
        for command in commands:
            if _id_in(command, refused):
                continue
            try:
                orders.append(self._order(command, originals))
            except Undecodable as fault:
                refused[command.command_id] = Refused(RefusalReason.UNREADABLE, fault.what)
            except Refused as no:
                refused[command.command_id] = no
        if refused:
            raise SomeRefused(refused)
        return orders

    # -- the transaction --------------------------------------------------------------------------------------------

    def _write(self, commands: Sequence[RepairCommand], store: RowStore) -> str:
        orders = self._ordered([commands[place] for place in within(commands, self.contracts)], store)
        rows = [(order.command.entity, order.key) for order in orders]
        if len(set(rows)) < len(rows):
            raise Refused(RefusalReason.WIDER_THAN_ONE_ROW, "two commands name one row")
        self.failpoint("before_transaction")
        transaction = store.begin(rows)
        try:
            self.failpoint("transaction_begun")
            flags = transaction.fence()
            _say_no(FENCE, [(order.command, flags) for order in orders])
            self.failpoint("fence_shared")
            looked = transaction.look()
            self.failpoint("row_looked_at")
            transaction.record([self._ledger_row(o.command, whole) for o, whole in zip(orders, looked, strict=True)])
            self.failpoint("ledger_row_inserted")
            self._write_rows(orders, transaction, looked)
            written = _committed(transaction, commands[0].target)
        finally:
            # After a commit this does nothing.
            transaction.rollback()
        self.failpoint("committed")
        return written

    def _ledger_row(self, command: RepairCommand, looked: WholeRow) -> LedgerRow:
        kind = LedgerKind.UNDO if command.undoes else LedgerKind.COMMAND
        return self.answers.row(command, kind, Outcome.APPLIED, looked=looked)

    def _order(self, command: RepairCommand, recorded: Mapping[bytes, LedgerRow]) -> Order:
        """Return what a command asks for: of an undo, with the image of what was there before the original."""
        key = self.seals.open_key(command.entity, command.sealed_key)
        if not command.undoes:
            return Order(command, key, names_spelling=command.action is Action.TRANSFORM)
        original = recorded.get(command.undoes)
        if original is None or not undoes(command, original):
            raise Refused(RefusalReason.NOT_UNDOABLE, "the ledger knows of no such repair")
        check = recorded.get(check_id(command.undoes)) if _undoes_insert(command) else None
        names_spelling = original.action is Action.TRANSFORM
        return Order(command, key, self._image(original), names_spelling, left=self._image(check))

    def _image(self, row: LedgerRow | None) -> bytes:
        """Open the image of a ledger row, where it has one."""
        if row is None or not row.before_image:
            return b""
        try:
            return self.seals.open_image(row.row_id, row.before_image)
        except KeyNotHeld as fault:
            raise Refused(RefusalReason.KEY_NOT_HELD, fault.what) from fault
        except Undecodable as fault:
            raise Refused(RefusalReason.NOT_UNDOABLE, fault.what) from fault

    def _write_rows(self, orders: Sequence[Order], transaction: RowTransaction, looked: Sequence[WholeRow]) -> None:
        locked = transaction.lock()
        self.failpoint("row_locked")
        authorities = self._authorities(orders)
        self.failpoint("authority_read")
        _say_no(
            LOCKED,
            [
                (order.command, self._locked(order, before, now, there))
                for order, before, now, there in zip(orders, looked, locked, authorities, strict=True)
            ],
        )
        writes = [order.write(there) for order, there in zip(orders, authorities, strict=True)]
        try:
            rows = transaction.write(writes)
        except RowsRefused as no:
            in_time = {at: self._in_time(orders[at].command, why) for at, why in no.by_place.items()}
            rows_as = {
                at: (orders[at].command.entity, locked[at].read.values, writes[at].values) for at in no.unique_fields
            }
            refused = in_time | _explained(no, rows_as)
            raise SomeRefused({orders[at].command.command_id: why for at, why in refused.items()}) from None
        self.failpoint("row_written")
        left = self._read_back(orders, transaction)
        self.failpoint("row_read_back")
        others = transaction.other_tables()
        of_children = self._child_tables(orders) if others else frozenset()
        for order, row in zip(orders, left, strict=True):
            # Of several rows nobody knows which was not written, or wrote more: asked again in halves, it shows.
            written = Written(rows - len(orders) + 1, self._named(order, row.read), others, of_children)
            reason = first_refusal(WRITTEN, order.command, written)
            if reason is not None:
                raise Refused(reason, _touching(reason, others))
        self.failpoint("before_commit")
        if self.is_stopped():
            where = orders[0].command.target
            raise Unready("repairs were stopped while rows were written: none is", where=where)
        self._heed_quarantine([order.command for order in orders])
        # Before the commit, whose answer may be lost.
        self._keep(
            {order.command.command_id: row for order, row in zip(orders, left, strict=True) if is_insert(order.command)}
        )

    @staticmethod
    def _read_back(orders: Sequence[Order], transaction: RowTransaction) -> list[WholeRow]:
        """Read the rows as they were written; in every column where one was inserted, for whoever deletes it again."""
        if any(is_insert(order.command) for order in orders):
            return transaction.look()
        return [WholeRow(read) for read in transaction.read_back()]

    def _keep(self, inserted: Mapping[bytes, WholeRow]) -> None:
        """Keep what inserts left until they are checked; those of a partition that is lost never are, here."""
        if len(self._left) > _LEFT_MOST:
            self._left.clear()
        self._left.update(inserted)

    def _child_tables(self, orders: Sequence[Order]) -> frozenset[str]:
        """Return the tables in which rows may hang on those that are deleted, by the policies of the target."""
        of_parents = {order.command.entity for order in orders if deletes(order.command)}
        return tables_below(of_parents, orders[0].command.target, self.contracts)

    def _in_time(self, command: RepairCommand, no: Refused) -> Refused:
        """Hold a young command whose unique value another row has: that row's repair may come by the next poll."""
        is_young = self.now_wall_ms() < command.planned_at_ms + VALUE_WAITS_MS
        return Refused(RefusalReason.VALUE_TAKEN, no.what) if no.reason is _CONFLICT and is_young else no

    def _heed_quarantine(self, commands: Sequence[RepairCommand]) -> None:
        """Ask once more: this process may have slept since it looked, and what it was told in between counts."""
        asleep = [c for c in commands if self.is_quarantined(c) and self._said(c).refusal is not None]
        if asleep:
            raise SomeRefused({c.command_id: Refused(RefusalReason.QUARANTINED) for c in asleep})

    def _named(self, order: Order, read: RowRead) -> bytes:
        """Return the digest of a row in the target, of the kind that the command names."""
        if not order.names_spelling:
            return read.digest
        return self.stores[order.command.target].spelling(order.command.entity, read.values)

    def _locked(self, order: Order, looked: WholeRow, locked: WholeRow, authority: RowRead) -> Locked:
        command, is_transform = order.command, order.command.action is Action.TRANSFORM
        deletes_insert = _undoes_insert(command)
        goal = authority
        if is_transform:
            values = aligned(locked.read.values, authority.values, command.columns)
            goal = RowRead(self.stores[command.target].spelling(command.entity, values))
        return Locked(
            target_digest=self._named(order, locked.read),
            whole_row_stood_still=locked.image == looked.image,
            authority_digest=goal.digest,
            is_known_what_was_left=bool(order.left) or not deletes_insert,
            is_as_it_was_left=locked.image == order.left or not deletes_insert,
            is_same_meaning=not is_transform or locked.read.digest == authority.digest,
            columns_mode=self._columns_mode(command, locked.read, authority),
            said=self._said(command),
        )

    def _columns_mode(self, command: RepairCommand, target: RowRead, authority: RowRead) -> RepairMode:
        """Return how far the policy lets the fields be repaired that differ between these two rows."""
        policy, _ = self._policy(command)
        if policy is None or not policy.columns or command.action is not Action.UPSERT:
            return RepairMode.APPLY
        fields = authority.values.keys() | target.values.keys()
        differing = [name for name in fields if target.values.get(name, ABSENT) != authority.values.get(name, ABSENT)]
        return columns_mode(policy, differing)

    def _authorities(self, orders: Sequence[Order]) -> list[RowRead]:
        """Read what the authority has of each row; for an undo, what was is to be, and not what the authority has."""
        found = {order.command.command_id: RowRead(order.command.intended_digest) for order in orders}
        for name in {order.command.authority for order in orders}:
            asked = [order for order in orders if order.command.authority == name and not order.command.undoes]
            rows = self.stores[name].read([(order.command.entity, order.key) for order in asked]) if asked else []
            found |= {order.command.command_id: read for order, read in zip(asked, rows, strict=True)}
        return [found[order.command.command_id] for order in orders]

    # -- refusals ---------------------------------------------------------------------------------------------------

    def _refuse(self, command: RepairCommand, store: RowStore, no: Refused) -> CommandOutcome:
        if no.reason not in FINAL_REASONS:
            return self.answers.outcome(command, Outcome.HELD, no.reason, detail=no.what)
        try:
            store.record_alone([self.answers.row(command, LedgerKind.REFUSAL, Outcome.REFUSED, reason=no.reason)])
        except AlreadyRecorded:
            standing = store.recorded([command.command_id])
            if standing:
                return self._standing(command, store, standing[command.command_id])
        self.failpoint("refusal_recorded")
        return self.answers.outcome(command, Outcome.REFUSED, no.reason, detail=no.what)

    # -- after ------------------------------------------------------------------------------------------------------

    def _standing(self, command: RepairCommand, store: RowStore, row: LedgerRow) -> CommandOutcome:
        """Say again what the ledger says; make the check after an insert if it was not made."""
        if _bars(row, command):
            what = "the ledger has a row under its id that no applier wrote: see `driftline audit`"
            return self.answers.outcome(command, Outcome.HELD, RefusalReason.BARRED, detail=what)
        if row.kind is LedgerKind.REFUSAL:
            return self.answers.outcome(command, Outcome.REFUSED, row.reason, at_ms=row.written_at_ms)
        ours = replace(
            command, action=row.action, expected_digest=row.expected_digest, intended_digest=row.intended_digest
        )
        checked = self.after_insert.check([ours], store, row.transaction, at_ms=row.written_at_ms)
        return checked[command.command_id]


def _undoes_insert(command: RepairCommand) -> bool:
    return bool(command.undoes) and deletes(command)


def _id_in(command: RepairCommand, ids: Container[bytes]) -> bool:
    return command.command_id in ids


def _bars(row: LedgerRow, command: RepairCommand) -> bool:
    """Tell whether a ledger row only has a command's id: ours speaks of the command, and stands under its partition."""
    return (row.partition, row.original_id) != (command.partition, command.command_id)


def _say_no(checks: Sequence[Check[FactsT]], facts: Iterable[tuple[RepairCommand, FactsT]]) -> None:
    """Raise `SomeRefused` if a check says no to any of the commands, each with the facts of its row."""
    reasons = {command.command_id: first_refusal(checks, command, known) for command, known in facts}
    refused = {each: Refused(reason, _TOLD.get(reason, "")) for each, reason in reasons.items() if reason is not None}
    if refused:
        raise SomeRefused(refused)


def _touching(reason: RefusalReason, others: Sequence[str]) -> str:
    """Say of a row that was written why not: by what went along."""
    if reason is RefusalReason.FOREIGN_KEY:
        return "rows of child entities are still there"
    return f"touched besides: {', '.join(others)}" if reason is RefusalReason.WIDER_THAN_ONE_ROW and others else ""


def _committed(transaction: RowTransaction, where: str) -> str:
    """Commit. What nobody foresaw here leaves open whether it took place: asked again, the ledger says so."""
    try:
        return transaction.commit()
    except (Refused, Unready):
        raise
    except FAULTS as fault:
        what = f"nobody knows whether a commit took place ({type(fault).__name__})"
        raise Unready(what, where=where, hint="the ledger is asked") from None


def _of_group(no: Refused) -> Refused:
    """Return why a row is held of whose source transaction another was refused: what passes is waited for together."""
    what = f"with a row of its source transaction: {no.reason.value} {no.what}".rstrip()
    return Refused(RefusalReason.GROUP_REFUSED if no.reason in FINAL_REASONS else no.reason, what)


def _explained(
    no: RowsRefused, rows: Mapping[int, tuple[str, Mapping[str, object], Mapping[str, object]]]
) -> dict[int, Refused]:
    """Say of the rows that exchange a unique value that they do: no order of writing helps them, and no waiting.

    Each row is given with its entity, as it is, and as it is to be; an absent one holds no value.
    """
    contested = {}
    for place, fields in no.unique_fields.items():
        entity, now, then = rows[place]
        if now.keys() >= set(fields):
            has, wants = tuple(now[name] for name in fields), tuple(then.get(name, now[name]) for name in fields)
            contested[place] = ((entity, fields), has, wants)
    return {
        place: Refused(_CONFLICT, f"{no.by_place[place].what}; rows exchange the values of {_named(no, place)}")
        for place in exchanged(contested)
    }


def _named(no: RowsRefused, place: int) -> str:
    names = [f'"{name}"' for name in no.unique_fields[place]]
    return f"field{'s' if len(names) > 1 else ''} {', '.join(names)}"
