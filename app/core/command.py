"""Repair commands and what became of them, as values. No command carries a row value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What a command asks the applier to do with one row of the target."""

    UPSERT = "upsert"  # INSERT where the target shows no row, else UPDATE
    DELETE = "delete"


class Outcome(Enum):
    """How a command ended, or why it waits."""

    APPLIED = "applied"
    REFUSED = "refused"  # final
    HELD = "held"  # the planner sends it again once the reason is gone
    INVERTED = "inverted"  # applied, found wrong by the check after an insert, and taken back


class RefusalReason(Enum):
    """The first check that said no. The order is the order of the checks (`app.core.guard`)."""

    EXPIRED = "expired"
    NOT_APPROVED = "not_approved"  # held
    BREAKER_OPEN = "breaker_open"  # held
    OVER_BUDGET = "over_budget"  # held
    FENCED = "fenced"
    ROW_LOCKED = "row_locked"  # held: somebody is writing the row right now
    ROW_MOVED = "row_moved"
    AUTHORITY_MOVED = "authority_moved"
    UNIQUE_CONFLICT = "unique_conflict"
    UNCOVERED_COLUMNS = "uncovered_columns"  # a missing row needs values that the contract does not know
    NOT_HELD_BY_COLUMN = "not_held_by_column"  # read back, the row is not what was intended
    CONSTRAINT = "constraint"
    WIDER_THAN_ONE_ROW = "wider_than_one_row"  # another row or table was touched
    NOT_TRANSACTIONAL = "not_transactional"
    OUTSIDE_CONTRACT = "outside_contract"
    UNREADABLE = "unreadable"  # the command itself, or its sealed key


FINAL_REASONS: frozenset[RefusalReason] = frozenset(RefusalReason) - {
    RefusalReason.NOT_APPROVED,
    RefusalReason.BREAKER_OPEN,
    RefusalReason.OVER_BUDGET,
    RefusalReason.ROW_LOCKED,
}


@dataclass(frozen=True, slots=True)
class RepairCommand:
    """One guarded write, named by what it expects and what it leaves.

    Digests are row digests (`app.core.digest.row_digest`), empty for an absent row. `sealed_key` is the canonical key,
    sealed; `key_hash` its keyed hash; `partition` the row's in `observations` and in every topic that speaks of it.
    `needs_approval` says that policy asks for a person's word; `expires_at_ms` is wall-clock time.
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


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's recorded word on one command. `signature` and `batch_id` are the places of what is to come."""

    command_id: bytes
    approver: str
    approved: bool
    said_at_ms: int
    batch_id: bytes
    signature: bytes
    partition: int


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
