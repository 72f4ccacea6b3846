"""Decide whether a repair command may still touch its target row.

Everything here is arithmetic on facts that the applier has already read. The applier owns the reads, the write and
the ledger; this file owns the order in which a command can be refused, because that order is the safety argument.

Asked first of all is whether the command is our planner's (`distrust`): what is not is never looked at further, and
leaves no trace in a ledger, where its id would bar the true command. Then the applier asks the ledger: a command that
was written and then expired was written all the same. Then come the four tables below, in this order, and in each the
first row that holds is the outcome's reason:

1. `BEFORE`: what needs no lock. The command is ours to carry out, has not expired, was planned by the policy that we
   have, has its persons' word, comes within the policy's hours, and fits what may be written in a minute.
2. `FENCE`: read under a shared lock in the writing transaction, or a pause of this process could fit in between. The
   flag that stops all writing stands there too, for whoever can reach the database and not Kafka.
3. `LOCKED`: read while the row's lock is held. The target is still what was judged, and so is the authority.
4. `WRITTEN`: read back before the commit. It is what was intended, one row was written, nothing else moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from app.core.approval import SILENCE, Said
from app.core.command import ID_BYTES, Action, RefusalReason, RepairCommand, command_id, undo_id
from app.core.contract import EntityContract, RepairMode, RepairPolicy
from app.core.errors import DriftlineError
from app.core.ledger import LedgerCounts
from app.core.limits import CLOCK_SKEW_MS_MAX, NAME_LENGTH_MAX
from app.core.policy import is_open, mode_of
from app.core.shard import shard_of


class Refused(DriftlineError):
    """A check, or the store itself, says no to one command. `what` is for a person and never carries a row value."""

    def __init__(self, reason: RefusalReason, what: str = "", *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one applier may write to one target.

    `writes_per_minute` counts every applied command, `deletes_per_minute` those that delete. A row repaired
    `same_row_per_hour` times waits for a person: two writers are fighting over it. `rows_per_transaction` bounds how
    long a transaction keeps its locks, and how much one bad row makes to be written again. `writes_per_second` is the
    full pace, of which less goes while the target answers slowly, or what follows it is more than `lag_ms_max` behind
    (`app.core.pace`).
    """

    writes_per_minute: int = 6_000
    deletes_per_minute: int = 600
    same_row_per_hour: int = 12
    rows_per_transaction: int = 200
    writes_per_second: int = 2_000
    lag_ms_max: int = 30_000


DEFAULT_LIMITS: Final = Limits()

_TRACE_BYTES_MAX: Final = 32
_SEALED_KEY_BYTES_MAX: Final = 8_192
"""What the ledger's columns hold."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known before the transaction: our own copy of the policy, the clock, what people say, the counts.

    `table_rows` is about how many rows the target's table has; only asked for where the policy speaks of shares.
    `is_quarantined` says that repairs stop in the row's shard.
    """

    policy: RepairPolicy | None
    contract_version: int
    now_wall_ms: int
    said: Said
    counts: LedgerCounts
    limits: Limits = DEFAULT_LIMITS
    table_rows: int = 0
    is_quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Fence:
    """What the target's own flags say: the tokens that still stand, and whether all writing is stopped there.

    `is_another_server`: who answers is not the server that a person accepted, but one promoted or restored since.
    `shards`: the tokens of shards that were fenced for themselves, by their names; they come to `token`.
    """

    token: int
    is_stopped: bool = False
    is_another_server: bool = False
    shards: Mapping[str, int] = field(default_factory=dict)

    def token_of(self, command: RepairCommand) -> int:
        """Return the token that a command must carry."""
        return self.token + self.shards.get(shard_of(command), 0)


@dataclass(frozen=True, slots=True)
class Locked:
    """What was read while the row's lock was held; a digest is empty for an absent row.

    The digests are of the kind that the command names. `is_same_meaning`: where only spelling is aligned, the contract
    holds both rows equal.
    `columns_mode` is how far the policy lets the fields be repaired that really differ, `said` what people say.
    Of an undo that deletes: whether it is known what the insert left in every column, and whether that still stands.
    """

    target_digest: bytes
    whole_row_stood_still: bool
    authority_digest: bytes
    is_known_what_was_left: bool = True
    is_as_it_was_left: bool = True
    is_same_meaning: bool = True
    columns_mode: RepairMode = RepairMode.APPLY
    said: Said = SILENCE


@dataclass(frozen=True, slots=True)
class Written:
    """What was read back after the write and before the commit.

    `child_tables` are those of the entities below one of which a row is deleted, as the contracts name them.
    """

    rows: int
    digest: bytes
    other_tables: tuple[str, ...]
    child_tables: frozenset[str] = frozenset()


FactsT = TypeVar("FactsT")
Check = tuple[RefusalReason, Callable[[RepairCommand, FactsT], bool]]


def repair_policy(contract: EntityContract | None, target: str) -> RepairPolicy | None:
    """Return the policy for repairs of one replica; None where the store is no replica of the entity."""
    for replica in contract.replicas if contract else ():
        if replica.store == target:
            return replica.repair
    return None


def waits_for_person(command: RepairCommand, policy: RepairPolicy) -> bool:
    """Tell whether a person must approve, by the command or by our own copy of the policy, whichever is stricter."""
    return (
        command.needs_approval
        or command.is_asked_for
        or mode_of(policy, command.kind, ()) is RepairMode.PROPOSE
        or (command.action is Action.DELETE and policy.deletes_wait)
    )


def is_well_formed(command: RepairCommand) -> bool:
    """Tell whether a command has the shape that our planner gives, and the id that its own content has.

    Whatever else stands on the topic must not reach a ledger, where its id would bar the true command.
    """
    ids = (command.command_id, command.finding_id, command.key_hash)
    digests = (command.expected_digest, command.intended_digest)
    return (
        all(len(each) == ID_BYTES for each in ids)
        and all(len(each) in {0, ID_BYTES} for each in (*digests, command.policy_id, command.undoes))
        and len(command.trace_id) <= _TRACE_BYTES_MAX
        and len(command.sealed_key) <= _SEALED_KEY_BYTES_MAX
        and command.command_id == _own_id(command)
        and (command.action is Action.RESTORE) is bool(command.undoes)
    )


def as_told(command: RepairCommand) -> RepairCommand:
    """Return a command as others are told of it: its ids and names no longer than a well-formed one's.

    Anybody may have made it as large as the broker takes; what is told of it has its id twice, and must fit as well. A
    name that is cut is still longer than any contract's.
    """
    return replace(
        command,
        command_id=command.command_id[:ID_BYTES],
        finding_id=command.finding_id[:ID_BYTES],
        trace_id=command.trace_id[:_TRACE_BYTES_MAX],
        entity=command.entity[:NAME_LENGTH_MAX],
        target=command.target[:NAME_LENGTH_MAX],
    )


def _own_id(command: RepairCommand) -> bytes:
    if command.undoes:
        return undo_id(command.undoes)
    return command_id(command.finding_id, command.target, command.expected_digest, command.intended_digest)


def _is_outside(command: RepairCommand, known: Known) -> bool:
    policy = known.policy
    if policy is None or command.contract_version != known.contract_version:
        return True
    if command.action is Action.RESTORE:
        # What was written under an earlier policy may be taken back under any, but where that deletes a row.
        deletes = not command.intended_digest
        return command.expected_digest == command.intended_digest or (deletes and not policy.deletes)
    named = command.columns if command.action is Action.TRANSFORM else ()
    if mode_of(policy, command.kind, named) is RepairMode.OBSERVE:
        return True
    if command.expected_digest == command.intended_digest:
        # Nothing would change, and a delete that expects no row would take away one that came meanwhile: an absent row
        # cannot be locked.
        return True
    if command.action is Action.DELETE:
        # A delete that intends a row, or an upsert that intends none, was not planned by us.
        return not policy.deletes or bool(command.intended_digest)
    if command.action is Action.TRANSFORM:
        is_a_row = bool(command.expected_digest and command.intended_digest)
        return not (named and policy.transform.issuperset(named) and is_a_row)
    return not policy.upserts or not command.intended_digest


def _clocks_disagree(command: RepairCommand, known: Known) -> bool:
    """Tell whether the command, or the newest repair in the ledger, is of a time that has not come here.

    The clock has heeded the ledger by now, as far as clocks may differ (`app.applier.forward_clock`).
    """
    is_early = command.planned_at_ms > known.now_wall_ms + CLOCK_SKEW_MS_MAX
    return is_early or known.counts.newest_at_ms > known.now_wall_ms


def _has_another_policy(command: RepairCommand, known: Known) -> bool:
    """Tell whether the planner went by another policy: what it then said of the command, nobody has decided here."""
    return bool(command.policy_id) and known.policy is not None and command.policy_id != known.policy.policy_id


def _is_share_used_up(known: Known) -> bool:
    share = known.policy.automatic_percent_per_minute if known.policy else None
    return share is not None and known.counts.automatic_in_minute * 100 >= share * known.table_rows


def _lacks_word(command: RepairCommand, known: Known) -> bool:
    if known.said.refusal is None or known.policy is None:
        return False
    return waits_for_person(command, known.policy) or _is_share_used_up(known)


def _word_is(reason: RefusalReason) -> Callable[[RepairCommand, Known], bool]:
    return lambda command, known: known.said.refusal is reason and _lacks_word(command, known)


def _was_undone(command: RepairCommand, known: Known) -> bool:
    """Tell whether a person took back the row's last repair, and nobody has said that this one shall be."""
    return known.counts.was_undone and known.said.refusal is not None and command.action is not Action.RESTORE


def _oscillates(_command: RepairCommand, known: Known) -> bool:
    """Tell whether the row was repaired too often, and nobody has said that this one shall be."""
    return known.said.refusal is not None and known.counts.same_row_in_hour >= known.limits.same_row_per_hour


def _is_over_rate(command: RepairCommand, known: Known) -> bool:
    """Tell whether its minute is used up for a command that somebody answers for: its policy's rate, or a person."""
    if known.said.refusal is None:
        return _is_minute_used_up(command, known)
    automatic = known.policy.automatic_per_minute if known.policy else None
    return automatic is not None and known.counts.automatic_in_minute >= automatic


def _is_minute_used_up(command: RepairCommand, known: Known) -> bool:
    """Tell whether no more may be written to the target this minute; an undo counts in no budget and waits for none."""
    counts, limits = known.counts, known.limits
    if command.undoes:
        return False
    if command.action is Action.DELETE and counts.deletes_in_minute >= limits.deletes_per_minute:
        return True
    return counts.writes_in_minute >= limits.writes_per_minute


def _took_children(_command: RepairCommand, left: Written) -> bool:
    """Tell whether nothing was touched besides the row but rows of child entities, as a cascade does."""
    return left.rows == 1 and bool(left.other_tables) and left.child_tables.issuperset(left.other_tables)


BEFORE: Final[Sequence[Check[Known]]] = (
    (RefusalReason.OUTSIDE_CONTRACT, _is_outside),
    (RefusalReason.CLOCKS_DISAGREE, _clocks_disagree),
    (RefusalReason.EXPIRED, lambda command, known: known.now_wall_ms >= command.expires_at_ms),
    (RefusalReason.REJECTED, lambda _command, known: known.said.refusal is RefusalReason.REJECTED),
    (RefusalReason.POLICY_DIFFERS, _has_another_policy),
    (RefusalReason.NOT_REHEARSED, _word_is(RefusalReason.NOT_REHEARSED)),
    (RefusalReason.NOT_APPROVED, _word_is(RefusalReason.NOT_APPROVED)),
    (RefusalReason.APPROVAL_EXPIRED, _word_is(RefusalReason.APPROVAL_EXPIRED)),
    (RefusalReason.APPROVER_UNKNOWN, _word_is(RefusalReason.APPROVER_UNKNOWN)),
    (RefusalReason.SAME_PERSON, _word_is(RefusalReason.SAME_PERSON)),
    (RefusalReason.SECOND_PERSON, _word_is(RefusalReason.SECOND_PERSON)),
    (RefusalReason.QUARANTINED, lambda _command, known: known.is_quarantined and known.said.refusal is not None),
    (RefusalReason.UNDONE, _was_undone),
    (
        RefusalReason.OUTSIDE_HOURS,
        lambda _command, known: known.policy is not None and not is_open(known.policy, known.now_wall_ms),
    ),
    (RefusalReason.OSCILLATES, _oscillates),
    (RefusalReason.OVER_RATE, _is_over_rate),
    (RefusalReason.OVER_BUDGET, _is_minute_used_up),
)

FENCE: Final[Sequence[Check[Fence]]] = (
    (RefusalReason.STOPPED, lambda _command, fence: fence.is_stopped),
    (RefusalReason.ANOTHER_SERVER, lambda _command, fence: fence.is_another_server),
    (RefusalReason.FENCED, lambda command, fence: fence.token_of(command) != command.fence_token),
)

LOCKED: Final[Sequence[Check[Locked]]] = (
    (RefusalReason.MEANING_DIFFERS, lambda _command, seen: not seen.is_same_meaning),
    (RefusalReason.ROW_MOVED, lambda command, seen: seen.target_digest != command.expected_digest),
    # To delete a row is to delete what stands in columns that no digest covers.
    (RefusalReason.NOT_UNDOABLE, lambda _command, seen: not seen.is_known_what_was_left),
    (RefusalReason.ROW_MOVED, lambda _command, seen: not seen.is_as_it_was_left),
    # A column outside the contract changed between the image and the lock: nothing is wrong, the image is only old.
    (RefusalReason.ROW_LOCKED, lambda _command, seen: not seen.whole_row_stood_still),
    (RefusalReason.AUTHORITY_MOVED, lambda command, seen: seen.authority_digest != command.intended_digest),
    # What the planner took for the differing fields is a guess until both rows are read here.
    (RefusalReason.OUTSIDE_CONTRACT, lambda _command, seen: seen.columns_mode is RepairMode.OBSERVE),
    (
        RefusalReason.NOT_APPROVED,
        lambda _command, seen: seen.columns_mode is RepairMode.PROPOSE and seen.said.refusal is not None,
    ),
)

WRITTEN: Final[Sequence[Check[Written]]] = (
    (RefusalReason.NOT_HELD_BY_COLUMN, lambda command, left: left.digest != command.intended_digest),
    # The children may be repaired as well, and the row is right to go once they are.
    (RefusalReason.FOREIGN_KEY, _took_children),
    (RefusalReason.WIDER_THAN_ONE_ROW, lambda _command, left: left.rows != 1 or bool(left.other_tables)),
)


def first_refusal(checks: Sequence[Check[FactsT]], command: RepairCommand, facts: FactsT) -> RefusalReason | None:
    """Return the reason of the first check that says no; None means go on."""
    for reason, says_no in checks:
        if says_no(command, facts):
            return reason
    return None
