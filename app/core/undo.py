"""Undoing a repair: a command of its own that leaves the row as it was, guarded like any other.

It expects what the repair left and intends what the repair found; if either the row or the ledger says otherwise,
nothing is written. It is a person's word and signed by that person. Afterwards the row differs again, so that its next
repair waits for a person: else the planner would do again what was just undone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from app.core.command import Action, Outcome, RefusalReason, RepairCommand, undo_id
from app.core.contract import EntityContract
from app.core.guard import Refused
from app.core.ledger import LedgerKind, LedgerRow, recorded_command


def undo_of(row: LedgerRow, contract: EntityContract, now_wall_ms: int, life_ms: int) -> RepairCommand:
    """Return the unsigned command that takes back what a ledger row says was done."""
    return replace(
        recorded_command(row, contract),
        command_id=undo_id(row.row_id),
        action=Action.RESTORE,
        expected_digest=row.intended_digest,
        intended_digest=row.expected_digest,
        needs_approval=True,
        reason="a person undoes a repair",
        expires_at_ms=now_wall_ms + life_ms,
        planned_at_ms=now_wall_ms,
        undoes=row.row_id,
    )


def is_applied_repair(row: LedgerRow) -> bool:
    """Tell whether a ledger row is of a repair that stands, and so can be undone."""
    return row.kind is LedgerKind.COMMAND and row.outcome is Outcome.APPLIED and row.partition >= 0


def undoes(command: RepairCommand, row: LedgerRow) -> bool:
    """Tell whether a command takes back exactly what a ledger row says was done."""
    return (
        is_applied_repair(row)
        and (command.undoes, command.entity, command.target) == (row.row_id, row.entity, row.target)
        and (command.key_hash, command.sealed_key) == (row.key_hash, row.sealed_key)
        and (command.expected_digest, command.intended_digest) == (row.intended_digest, row.expected_digest)
    )


def must_have(image: Collection[str], columns: Iterable[str]) -> None:
    """Raise `Refused` where a before-image lacks a column of the contract: nobody knows what it held."""
    for column in columns:
        if column not in image:
            hint = "was it renamed, or put into the contract, since the repair? put the row right by hand"
            raise Refused(RefusalReason.NOT_UNDOABLE, f'its before-image has no column "{column}": {hint}')
