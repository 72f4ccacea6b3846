"""One row of the ledger in the target: what was done or refused, in the transaction that did it.

The ledger is only ever added to. A refusal takes the command's own id, so that a refused command can never be applied
later; an inverse and the check after an insert have ids of their own, derived from the command's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from app.core.command import Action, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract

APPROVERS_JOINED_BY: Final = " and "
APPROVERS_MAX: Final = 3
"""How many persons a row names: as many as its column holds, and more than any policy asks for."""


class LedgerKind(Enum):
    """What a ledger row records."""

    COMMAND = "command"
    UNDO = "undo"  # the taking back of a command, at a person's word
    INVERSE = "inverse"  # the taking back of an insert that the check after it found wrong
    CHECK = "check"  # the result of that check
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A ledger row as it is written and read.

    `row_id` is the command's id, or one derived from it for an inverse or a check; `original_id` is the command that
    it speaks of. `before_image` is the sealed whole row, empty where there was none; a check's is the row as the insert
    left it, since nothing but that row may be deleted by an undo. `written_at_ms` is wall-clock time; `transaction` is
    the store's own id of the writing transaction where it can be told afterwards, else empty.
    `approver` are the persons who let it go, or who said no, by their names.
    `sequence` counts the rows of the row's partition from 1, and `chain` binds it to the one before
    (`app.core.chain`); the store fills both.
    """

    row_id: bytes
    original_id: bytes
    kind: LedgerKind
    finding_id: bytes
    entity: str
    target: str
    key_hash: bytes
    sealed_key: bytes
    partition: int
    action: Action
    outcome: Outcome
    reason: RefusalReason | None
    expected_digest: bytes
    found_digest: bytes
    intended_digest: bytes
    before_image: bytes
    fence_token: int
    trace_id: bytes
    approver: str
    written_at_ms: int
    transaction: str = ""
    sequence: int = 0
    chain: bytes = b""


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """What the ledger of one target says of the last minute, and of one row in the last hour.

    `automatic_in_minute` are the rows of the command's entity that were written without a person, and `newest_at_ms`
    is when the newest of the minute's rows was written, 0 where there is none: no clock may stand before it.
    `was_undone`: the last thing that was done to the row was undoing a repair of it.
    """

    writes_in_minute: int
    deletes_in_minute: int
    same_row_in_hour: int
    automatic_in_minute: int = 0
    newest_at_ms: int = 0
    was_undone: bool = False

    def with_more(self, writes: int, deletes: int, automatic: int) -> LedgerCounts:
        """Return the counts once so many more will have been written."""
        return replace(
            self,
            writes_in_minute=self.writes_in_minute + writes,
            deletes_in_minute=self.deletes_in_minute + deletes,
            automatic_in_minute=self.automatic_in_minute + automatic,
        )


UNCHECKED_AMONG: Final = 4_000
"""How many rows of a partition, counted from its last, an insert without its check can be among.

Behind it stands only what its applier had in hand when it died, for whoever has the partition next gets its commands
again, before any others. To look through all of a ledger took longer than a statement may, once it had grown.
"""


def check_id(original: bytes) -> bytes:
    """Name the check after an insert (16 bytes)."""
    return hashlib.blake2b(b"check", key=original, digest_size=16, person=b"driftline-repair").digest()


def recorded_command(row: LedgerRow, contract: EntityContract | None) -> RepairCommand:
    """Return as much of a command as the ledger row of its repair tells; without a contract it has no authority."""
    return RepairCommand(
        command_id=row.original_id,
        finding_id=row.finding_id,
        incident_id=b"",
        entity=row.entity,
        contract_version=contract.version if contract else 0,
        authority=contract.authority if contract else "",
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
