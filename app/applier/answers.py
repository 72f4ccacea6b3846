"""What the applier says of a command: to the ledger, and on the topic of outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.core.approval import Said
from app.core.command import CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.ledger import APPROVERS_JOINED_BY, APPROVERS_MAX, LedgerKind, LedgerRow
from app.ports import RowRead, Seals, WholeRow


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes ledger rows and outcomes, with seals, people's words and the wall clock."""

    seals: Seals
    said: Callable[[RepairCommand], Said]
    now_wall_ms: Callable[[], int]

    def row(
        self,
        command: RepairCommand,
        kind: LedgerKind,
        outcome: Outcome,
        *,
        row_id: bytes = b"",
        reason: RefusalReason | None = None,
        looked: WholeRow | None = None,
    ) -> LedgerRow:
        """Return the ledger row that speaks of a command, under the command's own id if no other is given."""
        row_id, looked = row_id or command.command_id, looked or WholeRow(RowRead())
        said = self.said(command)
        is_told = said.refusal is None or reason is RefusalReason.REJECTED
        return LedgerRow(
            row_id=row_id,
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
            before_image=self.seals.seal_image(row_id, looked.image) if looked.image else b"",
            fence_token=command.fence_token,
            trace_id=command.trace_id,
            approver=APPROVERS_JOINED_BY.join(said.persons[:APPROVERS_MAX]) if is_told else "",
            written_at_ms=self.now_wall_ms(),
        )

    def outcome(
        self,
        command: RepairCommand,
        outcome: Outcome,
        reason: RefusalReason | None,
        *,
        transaction: str = "",
        detail: str = "",
        at_ms: int | None = None,
    ) -> CommandOutcome:
        """Return an outcome; `at_ms` is now, unless the ledger tells when it was."""
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
