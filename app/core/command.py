"""Repair commands and what became of them, as values. No command carries a row value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

ID_BYTES: Final = 16
"""What commands, drifts, and rows of the ledger are named by."""


class Action(Enum):
    """What a command asks the applier to do with one row of the target."""

    UPSERT = "upsert"  # INSERT where the target shows no row, else UPDATE
    DELETE = "delete"
    RESTORE = "restore"  # undo: leave the row as the ledger's before-image has it
    TRANSFORM = "transform"  # spell named columns as the authority does, where the contract holds both rows equal


class Outcome(Enum):
    """How a command ended, or why it waits."""

    APPLIED = "applied"
    REFUSED = "refused"  # final
    HELD = "held"  # the planner sends it again once the reason is gone
    INVERTED = "inverted"  # applied, found wrong by the check after an insert, and taken back


class RefusalReason(Enum):
    """The first check that said no. The order is the order of the checks (`app.core.guard`)."""

    # Whether it is a command, or a word, of ours at all: asked before anything else, and an alarm each.
    UNKNOWN_KEY = "unknown_key"  # signed with a key that nobody trusts, or nobody trusts any more
    OUTDATED_KEY = "outdated_key"  # signed with a key whose time is over
    WRONG_ROLE = "wrong_role"  # an approver's key on a command, or the planner's on a word
    FORGED = "forged"  # the signature was not made over this content, or there is none
    WRONG_PARTITION = "wrong_partition"  # a true command that somebody put into another row's partition
    ALTERED = "altered"  # a word on a batch whose content is another one's
    REPLAYED = "replayed"  # a word that was said before
    # Whether it may be carried out.
    CLOCKS_DISAGREE = "clocks_disagree"  # held: it, or the ledger's newest row, is of a time that has not come here
    EXPIRED = "expired"  # held: its time is over; the planner gives it another, and people are asked again
    REJECTED = "rejected"  # a person said no
    POLICY_DIFFERS = "policy_differs"  # held: the planner went by another policy than the applier has
    NOT_REHEARSED = "not_rehearsed"  # held: the policy wants a rehearsal before a person says yes
    NOT_APPROVED = "not_approved"  # held
    APPROVAL_EXPIRED = "approval_expired"  # held: the word came too early, or the command too late
    APPROVER_UNKNOWN = "approver_unknown"  # held: who said yes is not, or no longer, an approver
    SAME_PERSON = "same_person"  # held: two persons are needed, and one spoke twice
    SECOND_PERSON = "second_person"  # held: two persons are needed, and one spoke
    QUARANTINED = "quarantined"  # held: its shard drifted too much (`app.core.quarantine`)
    UNDONE = "undone"  # held: a person has undone the last repair of this row
    OUTSIDE_HOURS = "outside_hours"  # held: the policy's hours
    STOPPED = "stopped"  # held: the flag in the target's own database
    ANOTHER_SERVER = "another_server"  # held: the target failed over or was restored, and nobody has accepted that yet
    OSCILLATES = "oscillates"  # held: the row was repaired again and again: two writers fight over it
    OVER_RATE = "over_rate"  # held: more in a minute than its policy lets go, or of what a person approved than may be
    OVER_BUDGET = "over_budget"  # held: more in a minute than may be written by nobody's word; a mass opens the breaker
    FENCED = "fenced"
    NO_RIGHT = "no_right"  # held: the applier's role may not do this there, and only a person can mend that
    TABLE_DIFFERS = "table_differs"  # held: a table or a column of the contract is not there
    BARRED = "barred"  # held: a ledger row that no applier wrote has its id, and only a person can mend that
    ROW_LOCKED = "row_locked"  # held: somebody is writing the row right now
    MEANING_DIFFERS = "meaning_differs"  # only spelling was to be aligned, and the rows are not equal by the contract
    ROW_MOVED = "row_moved"
    AUTHORITY_MOVED = "authority_moved"
    VALUE_TAKEN = "value_taken"  # held: another row has its unique value, and may be about to give it up
    UNIQUE_CONFLICT = "unique_conflict"
    UNCOVERED_COLUMNS = "uncovered_columns"  # a missing row needs values that the contract does not know
    NOT_HELD_BY_COLUMN = "not_held_by_column"  # read back, the row is not what was intended
    GROUP_REFUSED = "group_refused"  # held: the store refused another row of its source transaction
    FOREIGN_KEY = "foreign_key"  # held: its parent is not there yet, or a child of it still is
    CONSTRAINT = "constraint"
    WIDER_THAN_ONE_ROW = "wider_than_one_row"  # another row or table was touched
    NOT_TRANSACTIONAL = "not_transactional"
    KEY_NOT_HELD = "key_not_held"  # held: the master key of the before-image is not here
    NOT_UNDOABLE = "not_undoable"  # the ledger has no such repair, or its before-image does not open or lacks a column
    OUTSIDE_CONTRACT = "outside_contract"
    UNREADABLE = "unreadable"  # the command itself, or its sealed key
    APPLIER_FAILED = "applier_failed"  # held: the applier met what nobody foresaw, and a person must look into its log


DISTRUSTED: Final[frozenset[RefusalReason]] = frozenset(
    {
        RefusalReason.UNKNOWN_KEY,
        RefusalReason.OUTDATED_KEY,
        RefusalReason.WRONG_ROLE,
        RefusalReason.FORGED,
        RefusalReason.WRONG_PARTITION,
        RefusalReason.ALTERED,
        RefusalReason.REPLAYED,
    }
)
"""It is not what it claims to be. Says nothing of the true command under the same id, and never reaches a ledger."""

WAITS_FOR_WORD: Final[frozenset[RefusalReason]] = frozenset(
    {
        RefusalReason.NOT_REHEARSED,
        RefusalReason.NOT_APPROVED,
        RefusalReason.APPROVAL_EXPIRED,
        RefusalReason.APPROVER_UNKNOWN,
        RefusalReason.SAME_PERSON,
        RefusalReason.SECOND_PERSON,
        RefusalReason.OSCILLATES,
        RefusalReason.QUARANTINED,
        RefusalReason.UNDONE,
        RefusalReason.GROUP_REFUSED,
    }
)
"""Held until a person speaks."""

STORE_SAYS_NO: Final[frozenset[RefusalReason]] = frozenset(
    {
        RefusalReason.NO_RIGHT,
        RefusalReason.TABLE_DIFFERS,
        RefusalReason.BARRED,
        RefusalReason.ROW_LOCKED,
        RefusalReason.VALUE_TAKEN,
        RefusalReason.UNIQUE_CONFLICT,
        RefusalReason.UNCOVERED_COLUMNS,
        RefusalReason.NOT_HELD_BY_COLUMN,
        RefusalReason.FOREIGN_KEY,
        RefusalReason.CONSTRAINT,
        RefusalReason.WIDER_THAN_ONE_ROW,
        RefusalReason.NOT_TRANSACTIONAL,
    }
)
"""The row is still to be repaired, and the store does not take it: none of its source transaction is written then."""

FINAL_REASONS: Final[frozenset[RefusalReason]] = (
    frozenset(RefusalReason)
    - DISTRUSTED
    - WAITS_FOR_WORD
    - {
        RefusalReason.CLOCKS_DISAGREE,
        # Repairs may have stood still for longer than it lives, and its row is still to be repaired.
        RefusalReason.EXPIRED,
        # The planner sends it again under the policy that its contracts have.
        RefusalReason.POLICY_DIFFERS,
        RefusalReason.OUTSIDE_HOURS,
        RefusalReason.STOPPED,
        RefusalReason.ANOTHER_SERVER,
        # The planner sends it again under the token that its settings name.
        RefusalReason.FENCED,
        RefusalReason.NO_RIGHT,
        RefusalReason.TABLE_DIFFERS,
        RefusalReason.BARRED,
        RefusalReason.KEY_NOT_HELD,
        RefusalReason.OVER_RATE,
        RefusalReason.OVER_BUDGET,
        RefusalReason.ROW_LOCKED,
        RefusalReason.VALUE_TAKEN,
        RefusalReason.FOREIGN_KEY,
        # Nobody knows what it would have come to: nothing may bar it for good.
        RefusalReason.APPLIER_FAILED,
    }
)

VALUE_WAITS_MS: Final = 60_000
"""How long after it was planned a command waits for a unique value: the row that has it may be repaired as well."""


@dataclass(frozen=True, slots=True)
class RepairCommand:
    """One guarded write, named by what it expects and what it leaves.

    Digests are row digests (`app.core.digest.row_digest`), empty for an absent row; those of a `transform`, and of what
    takes one back, are of how the row is spelled (`RowDigester.spelling`). `sealed_key` is the canonical key,
    sealed; `key_hash` its keyed hash; `partition` the row's in `observations` and in every topic that speaks of it.
    `needs_approval` says that policy asks for a person's word; `planned_at_ms` and `expires_at_ms` are wall-clock time.
    `columns` are the differing fields where they are known, of a `transform` all that it writes; `source_transaction`
    is the authority's that made the state to be copied, empty where unknown. `undoes` is the command that a `restore`
    takes back, else empty. `policy_id` names the policy that it was planned by, empty where a person asks for it, and
    of earlier commands. `key_id` names the key of the planner, or of the person who asks; `signature` is over all the
    rest (`app.core.signing`).
    """

    command_id: bytes
    finding_id: bytes
    incident_id: bytes
    entity: str
    contract_version: int
    authority: str
    target: str
    action: Action
    kind: str
    sealed_key: bytes
    key_hash: bytes
    partition: int
    expected_digest: bytes
    intended_digest: bytes
    authority_position: bytes
    needs_approval: bool
    reason: str
    expires_at_ms: int
    fence_token: int
    trace_id: bytes
    columns: tuple[str, ...] = ()
    source_transaction: str = ""
    planned_at_ms: int = 0
    undoes: bytes = b""
    policy_id: bytes = b""
    key_id: bytes = b""
    signature: bytes = b""

    @property
    def is_asked_for(self) -> bool:
        """Tell whether a person asks for it, who signs it instead of the planner: that is a word on it as well."""
        return bool(self.undoes) or self.action is Action.TRANSFORM


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word on one batch of commands: yes, no, or that it be rehearsed.

    A word that `rehearses` asks what would happen, and is neither a yes nor a no. `members` are the batch's commands
    (`app.core.signing.member_of`), `batch_id` the hash over them all. Times are wall-clock time; the word counts before
    `expires_at_ms`. Who spoke is said by the key, not by the record.
    """

    batch_id: bytes
    members: tuple[bytes, ...]
    approved: bool
    said_at_ms: int
    expires_at_ms: int
    why: str = ""
    rehearses: bool = False
    key_id: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What became of a command; `transaction` is the target's own id of the writing transaction, as text."""

    command_id: bytes
    finding_id: bytes
    entity: str
    target: str
    outcome: Outcome
    reason: RefusalReason | None
    at_ms: int
    transaction: str
    partition: int
    trace_id: bytes
    detail: str  # never a row value


def command_id(finding_id: bytes, target: str, expected_digest: bytes, intended_digest: bytes) -> bytes:
    """Name a command (16 bytes): the same damage a second time has another drift id, so it is a second command."""
    h = hashlib.blake2b(digest_size=16, person=b"driftline-repair")
    for part in (finding_id, target.encode(), expected_digest, intended_digest):
        h.update(len(part).to_bytes(4, "big"))
        h.update(part)
    return h.digest()


def inverse_id(original: bytes) -> bytes:
    """Name the inverse of an insert that the check after it took back."""
    return hashlib.blake2b(b"inverse", key=original, digest_size=16, person=b"driftline-repair").digest()


def undo_id(original: bytes) -> bytes:
    """Name the command that undoes another: a repair can be undone once."""
    return hashlib.blake2b(b"undo", key=original, digest_size=16, person=b"driftline-repair").digest()
