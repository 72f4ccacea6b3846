"""What the planner remembers of its commands, and when it sends one again.

State in, event in; writes to the state and commands to send out. The shell (`app.agents`) keeps the state in a
key-value table of the same partition as the findings, and sends before it commits the event's offset. Sending a
command twice is harmless: the applier's ledger knows it.

The life of a command here is the table `NEXT`; a cell that is not there changes nothing, because an outcome or an
approval may arrive twice, or late. A command that is done is forgotten.

Keys of the table: `f` + finding id -> id of the finding's newest command; `c` + command id -> `CommandState`;
`w` + due time + command id -> nothing, so that a range read in the order of keys finds what is due; `n` + entity and
replica -> how many commands are open, for the policy's limit on mass repairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from app.core.command import (
    DISTRUSTED,
    FINAL_REASONS,
    WAITS_FOR_WORD,
    Approval,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
)
from app.core.contract import EntityContract
from app.core.finding import Finding, Stage
from app.core.guard import repair_policy
from app.core.plan import Refusal, plan
from app.core.planner_state import CommandState, Standing, decode, encode
from app.core.policy import is_open
from app.core.shard import UNFENCED, FenceTokens
from app.core.signing import id_of_member, member_of

RESEND_FIRST_MS: Final = 1_000
RESEND_MOST_MS: Final = 30_000
RENEWED_MS: Final = 3_600_000
"""How long a command lives on that expired while it waited for a person, its hours or its target: nobody refused it."""
HOURS_LOOK_MS: Final = 60_000
"""How often it is looked whether the policy's hours have come."""

Get = Callable[[bytes], bytes | None]


class Happening(Enum):
    """What can happen to a command that was sent."""

    HELD_FOR_PERSON = 0
    HELD_FOR_A_WHILE = 1
    HELD_FOR_HOURS = 2
    SPOKEN_OF = 3
    DUE = 4


NEXT: Final[dict[tuple[Standing, Happening], Standing]] = {
    (Standing.SENT, Happening.HELD_FOR_PERSON): Standing.WAITS_FOR_PERSON,
    (Standing.SENT, Happening.HELD_FOR_A_WHILE): Standing.WAITS_FOR_TIME,
    (Standing.SENT, Happening.HELD_FOR_HOURS): Standing.WAITS_FOR_HOURS,
    # The word can be faster than the outcome that asks for it.
    (Standing.SENT, Happening.SPOKEN_OF): Standing.SENT,
    (Standing.WAITS_FOR_PERSON, Happening.SPOKEN_OF): Standing.SENT,
    (Standing.WAITS_FOR_PERSON, Happening.HELD_FOR_A_WHILE): Standing.WAITS_FOR_TIME,
    (Standing.WAITS_FOR_PERSON, Happening.HELD_FOR_HOURS): Standing.WAITS_FOR_HOURS,
    # It has expired unanswered. Nothing was recorded under its id, so it may be offered again.
    (Standing.WAITS_FOR_PERSON, Happening.DUE): Standing.WAITS_FOR_PERSON,
    (Standing.WAITS_FOR_TIME, Happening.HELD_FOR_PERSON): Standing.WAITS_FOR_PERSON,
    (Standing.WAITS_FOR_TIME, Happening.HELD_FOR_A_WHILE): Standing.WAITS_FOR_TIME,
    (Standing.WAITS_FOR_TIME, Happening.HELD_FOR_HOURS): Standing.WAITS_FOR_HOURS,
    # It waits on until its outcome comes: a crash may have lost it, and no event would bring it back.
    (Standing.WAITS_FOR_TIME, Happening.DUE): Standing.WAITS_FOR_TIME,
    (Standing.WAITS_FOR_HOURS, Happening.DUE): Standing.WAITS_FOR_TIME,
}


@dataclass(slots=True)
class Step:
    """What one event leads to: writes to the table (None deletes), commands to send, and why nothing was planned."""

    writes: dict[bytes, bytes | None] = field(default_factory=dict)
    commands: list[RepairCommand] = field(default_factory=list)
    refusal: Refusal | None = None


def finding_key(finding_id: bytes) -> bytes:
    """Where the newest command of a finding is noted."""
    return b"f" + finding_id


def command_key(command_id: bytes) -> bytes:
    """Where a command's state is kept."""
    return b"c" + command_id


def due_range(now_wall_ms: int) -> tuple[bytes, bytes]:
    """Return the range of keys [start, end) that are due."""
    return b"w", b"w" + (now_wall_ms + 1).to_bytes(8, "big")


def _due_key(state: CommandState) -> bytes:
    return b"w" + state.due_at_ms.to_bytes(8, "big") + state.command.command_id


def _open_key(entity: str, replica: str) -> bytes:
    name = len(entity).to_bytes(4, "big") + entity.encode() + replica.encode()
    return b"n" + hashlib.blake2b(name, digest_size=16).digest()


def _read(get: Get, step: Step, key: bytes) -> bytes | None:
    """Read through what this step has already written."""
    return step.writes[key] if key in step.writes else get(key)


def _count(get: Get, step: Step, key: bytes) -> int:
    return int.from_bytes(_read(get, step, key) or b"", "big")


def _save(step: Step, held: CommandState | None, state: CommandState) -> None:
    if held is not None and held.due_at_ms:
        step.writes[_due_key(held)] = None
    if state.due_at_ms:
        step.writes[_due_key(state)] = b""
    step.writes[command_key(state.command.command_id)] = encode(state)


def _forget(get: Get, step: Step, state: CommandState) -> None:
    command = state.command
    step.writes[command_key(command.command_id)] = None
    if state.due_at_ms:
        step.writes[_due_key(state)] = None
    if _read(get, step, finding_key(command.finding_id)) == command.command_id:
        step.writes[finding_key(command.finding_id)] = None
    key = _open_key(command.entity, command.target)
    left = _count(get, step, key) - 1
    step.writes[key] = left.to_bytes(4, "big") if left > 0 else None


def _state_of(get: Get, step: Step, command_id: bytes | None) -> CommandState | None:
    packed = _read(get, step, command_key(command_id)) if command_id else None
    return decode(packed) if packed else None


def _move(state: CommandState, happening: Happening) -> CommandState | None:
    """Return the state after a happening that its table knows; None where nothing changes."""
    standing = NEXT.get((state.standing, happening))
    return None if standing is None else replace(state, standing=standing, due_at_ms=0)


def on_finding(
    get: Get,
    finding: Finding,
    contract: EntityContract,
    key_hash: bytes,
    sealed_key: bytes,
    now_wall_ms: int,
    *,
    partitions: int = 1,
    fence_token: int = 0,
) -> Step:
    """Plan on an overtaken drift; withdraw what waits for one that has ended.

    The policy's `mass_rows` is shared out evenly over `partitions`, since each counts only its own open commands.
    """
    step = Step()
    held = _state_of(get, step, get(finding_key(finding.finding_id)))
    if finding.stage in {Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED}:
        if held is not None:
            _forget(get, step, held)
        return step
    policy = repair_policy(contract, finding.replica)
    key = _open_key(finding.entity, finding.replica)
    is_mass = policy is not None and _count(get, step, key) >= max(1, policy.mass_rows // partitions)
    planned = plan(
        finding, contract, key_hash, sealed_key, now_wall_ms, is_mass=is_mass and held is None, fence_token=fence_token
    )
    if isinstance(planned, Refusal):
        step.refusal = planned
        return step
    if held is not None and held.command.command_id == planned.command_id:
        # The same finding again: after a crash nobody knows whether the command had left. One that was answered had.
        if held.standing is Standing.SENT:
            step.commands.append(held.command)
        return step
    if held is not None:
        _forget(get, step, held)
    # What waits for a person is shown to people at any hour.
    is_for_now = planned.needs_approval or policy is None or is_open(policy, now_wall_ms)
    if is_for_now:
        step.commands.append(planned)
        _save(step, None, CommandState(planned))
    else:
        _save(step, None, CommandState(planned, Standing.WAITS_FOR_HOURS, due_at_ms=now_wall_ms + HOURS_LOOK_MS))
    step.writes[finding_key(finding.finding_id)] = planned.command_id
    step.writes[key] = (_count(get, step, key) + 1).to_bytes(4, "big")
    return step


def on_outcome(get: Get, outcome: CommandOutcome, now_wall_ms: int) -> Step:
    """Forget a command that is done; let one that is held wait for its reason to go.

    What was refused because it was not ours says nothing of our own command under the same id: that is sent again.
    """
    step = Step()
    state = _state_of(get, step, outcome.command_id)
    if state is None:
        return step
    is_done = outcome.outcome is not Outcome.HELD or outcome.reason in FINAL_REASONS
    if is_done and outcome.reason not in DISTRUSTED:
        _forget(get, step, state)
        return step
    if outcome.reason is RefusalReason.GROUP_REFUSED and not state.command.needs_approval:
        # Sent alone it would be written: from now on it says itself that it waits.
        asks = replace(state.command, needs_approval=True, reason="a row of its source transaction was refused")
        _save(step, state, replace(state, command=asks, standing=Standing.SENT, due_at_ms=0))
        step.commands.append(asks)
        return step
    moved = _move(state, _held(outcome.reason, state))
    if moved is None:
        return step
    if moved.standing is Standing.WAITS_FOR_TIME:
        delay_ms = min(RESEND_FIRST_MS << min(moved.attempts, 10), RESEND_MOST_MS)
        moved = replace(moved, attempts=moved.attempts + 1, due_at_ms=now_wall_ms + delay_ms)
    elif moved.standing is Standing.WAITS_FOR_HOURS:
        moved = replace(moved, due_at_ms=now_wall_ms + HOURS_LOOK_MS)
    else:
        moved = replace(moved, approved=False, due_at_ms=state.command.expires_at_ms)
    _save(step, state, moved)
    return step


def _held(reason: RefusalReason | None, state: CommandState) -> Happening:
    if reason is RefusalReason.OUTSIDE_HOURS:
        return Happening.HELD_FOR_HOURS
    if reason in {RefusalReason.NOT_APPROVED, RefusalReason.NOT_REHEARSED} and state.approved:
        # The applier will hear in a moment of what was heard here.
        return Happening.HELD_FOR_A_WHILE
    return Happening.HELD_FOR_PERSON if reason in WAITS_FOR_WORD else Happening.HELD_FOR_A_WHILE


def on_approval(get: Get, word: Approval, deployment: str) -> Step:
    """Send again what a person has spoken of, in the batch's order: a yes lets it be written, a no is recorded.

    What is to be rehearsed is sent as well, and waits on as it did. The word must have been found to be an approver's.
    A member that is not exactly the command that is kept here is left alone.
    """
    step = Step()
    for member in word.members:
        state = _state_of(get, step, id_of_member(member))
        if state is None or member_of(deployment, state.command) != member:
            continue
        if word.rehearses:
            step.commands.append(state.command)
            continue
        moved = _move(state, Happening.SPOKEN_OF)
        if moved is None:
            _save(step, None, replace(state, approved=word.approved))
            continue
        _save(step, state, replace(moved, approved=word.approved))
        step.commands.append(state.command)
    return step


def on_time(
    get: Get,
    due: Iterable[bytes],
    contracts: Mapping[str, EntityContract],
    now_wall_ms: int,
    fences: FenceTokens = UNFENCED,
) -> Step:
    """Send again what is due; `due` are keys from `due_range`.

    A command under another token than its fence's, or planned by another policy than stands now, goes under these:
    nobody has spoken of that yet.
    """
    step = Step()
    for key in due:
        state = _state_of(get, step, key[9:])
        if state is None or state.due_at_ms > now_wall_ms or (moved := _move(state, Happening.DUE)) is None:
            step.writes[key] = None
            continue
        policy = repair_policy(contracts.get(state.command.entity), state.command.target)
        if state.standing is Standing.WAITS_FOR_HOURS and policy is not None and not is_open(policy, now_wall_ms):
            _save(step, state, replace(state, due_at_ms=now_wall_ms + HOURS_LOOK_MS))
            continue
        # Its time ran out while nothing could be done; a person's word on it is void with another time.
        is_over = state.command.expires_at_ms <= now_wall_ms
        expires_at_ms = now_wall_ms + RENEWED_MS if is_over else state.command.expires_at_ms
        is_for_person = moved.standing is Standing.WAITS_FOR_PERSON
        moved = replace(moved, due_at_ms=expires_at_ms if is_for_person else now_wall_ms + RESEND_MOST_MS)
        again = replace(
            state.command,
            expires_at_ms=expires_at_ms,
            fence_token=fences.of(state.command.entity, state.command.target, state.command.partition),
            policy_id=policy.policy_id if policy is not None else state.command.policy_id,
        )
        if again != state.command:
            moved = replace(moved, command=again, approved=False)
        _save(step, state, moved)
        step.commands.append(moved.command)
    return step
