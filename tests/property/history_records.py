"""Records for tests of the history: a drift, its signed command, words on it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.adapters.signing import SigningKey, verify
from app.codec.control import decode_control, encode_control
from app.codec.records import FixedSchemas, RecordCodec
from app.core.command import Action, Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.history.changes import Belief
from app.core.rehearsal import Rehearsal, Touched
from app.core.signing import member_of
from app.core.switch import Control, Said
from app.history.projection import Readers
from app.topics import APPROVALS, CONTROL, DRIFTS, OUTCOMES, REHEARSALS, REPAIRS, Topic
from tests.signatures import ANNA, SIGNERS, signed, word_on

DEPLOYMENT = "shop"
NOW_MS = 1_795_460_400_000
CODEC = RecordCodec(DEPLOYMENT, FixedSchemas())
BELIEF = Belief(DEPLOYMENT, SIGNERS, verify)
READERS: Readers = {
    DRIFTS.dataset: CODEC.read_finding,
    REPAIRS.dataset: CODEC.read_command,
    APPROVALS.dataset: CODEC.read_approval,
    REHEARSALS.dataset: CODEC.read_rehearsal,
    OUTCOMES.dataset: CODEC.read_outcome,
    CONTROL.dataset: decode_control,
}

COMMAND = signed(
    RepairCommand(
        command_id=b"c" * 16,
        finding_id=b"f" * 16,
        incident_id=b"",
        entity="orders",
        contract_version=1,
        authority="pg",
        target="my",
        action=Action.UPSERT,
        kind="stale",
        sealed_key=b"sealed",
        key_hash=b"h" * 16,
        partition=0,
        expected_digest=b"o" * 16,
        intended_digest=b"n" * 16,
        authority_position=b"",
        needs_approval=True,
        reason="overtaken",
        expires_at_ms=NOW_MS + 3_600_000,
        fence_token=0,
        trace_id=b"t" * 16,
        columns=("amount",),
        source_transaction="70",
        planned_at_ms=NOW_MS,
    ),
    deployment=DEPLOYMENT,
)


def word(commands: Sequence[RepairCommand], key: SigningKey = ANNA, *, approved: bool = True) -> Approval:
    """Return a person's signed word."""
    return word_on(commands, key, approved=approved, said_at_ms=NOW_MS, deployment=DEPLOYMENT)


def outcome(
    command: RepairCommand = COMMAND, what: Outcome = Outcome.APPLIED, reason: RefusalReason | None = None
) -> CommandOutcome:
    """Return what became of a command."""
    return CommandOutcome(
        command.command_id, command.finding_id, "orders", "my", what, reason, NOW_MS, "0-1-9", 0, b"", ""
    )


def rehearsal(command: RepairCommand = COMMAND, reason: RefusalReason | None = None) -> Rehearsal:
    """Return what came of trying a command."""
    member, touched = member_of(DEPLOYMENT, command), (Touched("shop.orders", updated=1),)
    return Rehearsal(
        batch_id=b"b" * 32,
        command_id=member[:16],
        content=member[16:],
        entity="orders",
        target="my",
        reason=reason,
        detail="",
        touched=() if reason else touched,
        is_complete=True,
        partition=0,
        at_ms=NOW_MS,
        trace_id=b"t" * 16,
    )


def another(command: RepairCommand, number: int) -> RepairCommand:
    """Return a command of another drift, signed."""
    changed = replace(command, command_id=bytes([number]) * 16, finding_id=bytes([number, 1]) * 8)
    return signed(changed, deployment=DEPLOYMENT)


def stop() -> bytes:
    """Return a person's word that stops repairs, as its topic has it."""
    return encode_control(Control(Said.PAUSE, "anna", NOW_MS, "why not"))


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A Kafka record."""

    topic: str
    partition: int
    offset: int
    at_wall_ms: int
    value: bytes | None


def record(topic: Topic, partition: int, offset: int, value: bytes | None) -> LogRecord:
    """Return a record at a place."""
    return LogRecord(topic.name(DEPLOYMENT), partition, offset, NOW_MS + offset, value)
