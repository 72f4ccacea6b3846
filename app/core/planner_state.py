"""What is kept of one open repair command, and how it is packed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.command import Action, RepairCommand

FORMAT: Final = 3
_EARLIER: Final = 2
"""Had no `policy_id`."""


class Standing(Enum):
    """Where a command stands, as far as the planner knows."""

    SENT = 0
    WAITS_FOR_PERSON = 1  # held(not_approved): sent again on approval
    WAITS_FOR_TIME = 2  # held for a passing reason: sent again when due, until its outcome comes
    WAITS_FOR_HOURS = 3  # the policy's hours are over: looked at again when due, and sent when they have come


@dataclass(frozen=True, slots=True)
class CommandState:
    """What is kept of one open command: the command itself, so that the very same one can be sent again.

    It is kept unsigned: each sending signs it anew. `due_at_ms` is wall-clock time, 0 where it waits for no time.
    """

    command: RepairCommand
    standing: Standing = Standing.SENT
    approved: bool = False
    attempts: int = 0
    due_at_ms: int = 0


_HEAD: Final = struct.Struct(">BBBIqqqqqq")
_SIZE: Final = struct.Struct(">I")


def encode(state: CommandState) -> bytes:
    """Pack a state; its first byte is the format's version."""
    c = state.command
    head = _HEAD.pack(
        FORMAT,
        state.standing.value,
        state.approved | (c.needs_approval << 1),
        c.partition,
        c.contract_version,
        c.planned_at_ms,
        c.expires_at_ms,
        c.fence_token,
        state.attempts,
        state.due_at_ms,
    )
    parts = [
        c.command_id,
        c.finding_id,
        c.incident_id,
        c.entity.encode(),
        c.authority.encode(),
        c.target.encode(),
        c.kind.encode(),
        c.sealed_key,
        c.key_hash,
        c.expected_digest,
        c.intended_digest,
        c.authority_position,
        c.reason.encode(),
        c.trace_id,
        c.action.value.encode(),
        c.source_transaction.encode(),
        c.policy_id,
        *(column.encode() for column in c.columns),
    ]
    return head + b"".join(_SIZE.pack(len(part)) + part for part in parts)


def decode(packed: bytes) -> CommandState:
    """Unpack a state; `ValueError` for a format that this version does not know."""
    if not packed or packed[0] not in {FORMAT, _EARLIER}:
        raise ValueError("a planner's state of an unknown format: rebuild the planner's table")
    _, standing, flags, partition, version, planned, expires, fence, attempts, due = _HEAD.unpack_from(packed)
    at = _HEAD.size
    parts: list[bytes] = []
    while at < len(packed):
        (size,) = _SIZE.unpack_from(packed, at)
        at += _SIZE.size
        parts.append(packed[at : at + size])
        at += size
    if packed[0] == _EARLIER:
        parts.insert(16, b"")
    command = RepairCommand(
        command_id=parts[0],
        finding_id=parts[1],
        incident_id=parts[2],
        entity=parts[3].decode(),
        contract_version=version,
        authority=parts[4].decode(),
        target=parts[5].decode(),
        action=Action(parts[14].decode()),
        kind=parts[6].decode(),
        sealed_key=parts[7],
        key_hash=parts[8],
        partition=partition,
        expected_digest=parts[9],
        intended_digest=parts[10],
        authority_position=parts[11],
        needs_approval=bool(flags & 2),
        reason=parts[12].decode(),
        expires_at_ms=expires,
        fence_token=fence,
        trace_id=parts[13],
        source_transaction=parts[15].decode(),
        policy_id=parts[16],
        columns=tuple(part.decode() for part in parts[17:]),
        planned_at_ms=planned,
    )
    return CommandState(command, Standing(standing), bool(flags & 1), attempts, due)
