"""A rehearsal says what carrying a command out would come to, leaves nothing behind, and is asked for by a person."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.memory_rows import MemoryRows
from app.applier.failpoints import FAILPOINTS
from app.applier.rehearse import Rehearsing
from app.core.command import Approval, CommandOutcome, RefusalReason, RepairCommand
from app.core.contract import RehearsalRule
from app.core.guard import Fence
from app.core.rehearsal import Touched
from app.core.switch import Said
from tests.property.applier_rig import CODEC, Rig
from tests.property.applier_world import ENTITY, KEY, POLICY, Killed, World, row
from tests.signatures import ANNA, PLANNER, STRANGER, signed, signed_word, word_on

CASES = {
    "update": ("new", "old", Touched(ENTITY, updated=1)),
    "insert": ("new", None, Touched(ENTITY, inserted=1)),
    "delete": (None, "extra", Touched(ENTITY, deleted=1)),
}
WAITS = replace(POLICY, deletes_wait=True)
WANTED = replace(WAITS, rehearsal=RehearsalRule.REQUIRED)


def asking(commands: list[RepairCommand], **how: object) -> Approval:
    """Return a person's word that asks for a rehearsal."""
    return word_on(commands, **{"approved": False, "rehearses": True, "life_ms": 600_000, **how})  # type: ignore[arg-type]  # by name


def heard(rig: Rig, commands: list[RepairCommand], words: list[Approval], turns: int = 6) -> list[CommandOutcome]:
    """Let the loop hear words and take commands; return the outcomes."""
    rig.broker.say(Said.RESUME)
    for word in words:
        rig.broker.hear(CODEC.approval(word))
    for command in commands:
        rig.broker.command(command)
    return rig.run(turns)


@pytest.mark.parametrize("case", CASES)
def test_what_is_rehearsed_is_told_and_not_done(case: str) -> None:
    """Table by table what would be written; the row, the ledger and the locks are as before, and the command waits."""
    authority, target, touched = CASES[case]
    world = World(authority, target, WAITS)
    rig = Rig(world)
    command = replace(world.command(target, authority), needs_approval=True)
    word = asking([command])
    (outcome,) = heard(rig, [command], [word])
    (shown,) = rig.rehearsals()
    assert (shown.reason, shown.touched, shown.is_complete) == (None, (touched,), True)
    assert (shown.batch_id, shown.member) == (word.batch_id, word.members[0])
    assert outcome.reason is RefusalReason.NOT_APPROVED
    assert (world.value(world.target), world.target.ledger, world.target.locks) == (target, {}, {})


@dataclass(frozen=True)
class State:
    """What a rehearsal may meet."""

    authority: object
    target: object
    expected: object
    intended: object
    is_locked: bool
    fence: int
    is_stopped: bool
    is_another_server: bool
    expires_at_ms: int


STATES = st.builds(
    State,
    authority=st.sampled_from([None, "a", "b"]),
    target=st.sampled_from([None, "a", "b"]),
    expected=st.sampled_from([None, "a", "b"]),
    intended=st.sampled_from([None, "a", "b"]),
    is_locked=st.booleans(),
    fence=st.integers(0, 1),
    is_stopped=st.booleans(),
    is_another_server=st.booleans(),
    expires_at_ms=st.sampled_from([1_000, 10_000]),
)


def made(state: State) -> tuple[World, RepairCommand]:
    """Return a world in that state, and the command."""
    world = World(state.authority, state.target)
    world.target.flags = Fence(state.fence, state.is_stopped, state.is_another_server)
    if state.is_locked:
        world.target.hold(ENTITY, KEY)
    return world, replace(world.command(state.expected, state.intended), expires_at_ms=state.expires_at_ms)


@settings(max_examples=300, deadline=None)
@given(STATES)
def test_a_rehearsal_comes_to_what_carrying_it_out_comes_to(state: State) -> None:
    """In any state, the first check that says no is the same one, and nothing was written."""
    world, command = made(state)
    shown = Rehearsing(world.applier()).rehearse(b"b" * 32, signed(command), 0)
    assert shown is not None
    assert world.target.ledger == {}
    assert world.value(world.target) == state.target
    done = world.applier().carry_out(command)
    assert (shown.reason, shown.detail) == (done.reason, done.detail)
    assert (shown.touched != ()) is (world.value(world.target) != state.target)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", FAILPOINTS)
def test_killed_at_any_step_a_rehearsal_leaves_nothing(case: str, step: str) -> None:
    """What the dead client had in hand its server rolls back, and there was nothing else."""
    authority, target, _ = CASES[case]
    world = World(authority, target)

    def die(name: str) -> None:
        if name == step:
            raise Killed(name)

    command = signed(world.command(target, authority))
    with suppress(Killed):
        Rehearsing(world.applier(die)).rehearse(b"b" * 32, command, 0)
    assert (world.value(world.target), world.target.ledger, world.target.locks) == (target, {}, {})
    assert world.applier().apply(command, 0).reason is None


def test_what_is_done_already_is_not_rehearsed() -> None:
    """Its outcome stands, and is said again."""
    world = World("new", "old")
    command = signed(world.command("old", "new"))
    world.applier().apply(command, 0)
    assert Rehearsing(world.applier()).rehearse(b"b" * 32, command, 0) is None


def test_a_staging_copy_is_written_instead() -> None:
    """The target itself sees no transaction."""
    world = World("new", "old")
    copy = MemoryRows(("value",))
    copy.put(ENTITY, KEY, row("another"))
    shown = Rehearsing(world.applier(), {"copy": copy}).rehearse(b"b" * 32, signed(world.command("old", "new")), 0)
    assert shown is not None
    assert shown.reason is RefusalReason.ROW_MOVED
    assert (world.target.transactions, copy.transactions) == (0, 1)


def test_a_staging_copy_may_be_another_server() -> None:
    """It has the flags of the store that it is a copy of, and those of them that hold repairs hold here too."""
    world = World("new", "old")
    copy = MemoryRows(("value",))
    copy.put(ENTITY, KEY, row("old"))
    reasons = []
    for flags in (Fence(0, is_another_server=True), Fence(0, is_stopped=True, is_another_server=True), Fence(1)):
        copy.flags = flags
        rehearsing = Rehearsing(world.applier(), {"copy": copy})
        shown = rehearsing.rehearse(b"b" * 32, signed(world.command("old", "new")), 0)
        assert shown is not None
        reasons.append(shown.reason)
    assert reasons == [None, RefusalReason.STOPPED, RefusalReason.FENCED]


def test_in_a_quarantined_shard_a_rehearsal_shows_what_a_yes_would_come_to() -> None:
    """The command itself is held; tried as if a person had said yes, it would be written."""
    world = World("new", "old")
    applier = replace(world.applier(), is_quarantined=lambda _: True)
    command = signed(world.command("old", "new"))
    shown = Rehearsing(applier).rehearse(b"b" * 32, command, 0)
    assert shown is not None
    assert (shown.reason, shown.touched) == (None, (Touched(ENTITY, updated=1),))
    assert applier.apply(command, 0).reason is RefusalReason.QUARANTINED


Ask = Callable[[RepairCommand], list[Approval]]
BAD: dict[str, tuple[Ask, list[RefusalReason]]] = {
    "nobody": (lambda _: [], []),
    "a stranger": (lambda c: [signed_word(asking([c]), STRANGER)], [RefusalReason.UNKNOWN_KEY]),
    "the planner": (lambda c: [signed_word(asking([c]), PLANNER)], [RefusalReason.WRONG_ROLE]),
    "another deployment's approver": (
        lambda c: [signed_word(asking([c]), ANNA, "other")],
        [RefusalReason.FORGED],
    ),
    "on a batch that was altered": (
        lambda c: [signed_word(replace(asking([c]), batch_id=b"b" * 32))],
        [RefusalReason.ALTERED],
    ),
    "on the command before it was altered": (lambda c: [asking([replace(c, fence_token=1)])], []),
    "a no made a question": (
        lambda c: [replace(word_on([c], approved=False, life_ms=600_000), rehearses=True)],
        [RefusalReason.FORGED],
    ),
    "a yes and a question at once": (lambda c: [asking([c], approved=True)], [RefusalReason.UNREADABLE]),
    "for longer than a rehearsal": (lambda c: [asking([c], life_ms=600_001)], [RefusalReason.UNREADABLE]),
    "over": (lambda c: [asking([c], life_ms=1_000)], [RefusalReason.APPROVAL_EXPIRED]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_question_that_is_not_an_approvers_on_this_batch_is_not_answered(name: str) -> None:
    """Refused with its own reason where it claims what it is not; no transaction is begun."""
    ask, refused = BAD[name]
    world = World(None, "extra", WAITS)
    rig = Rig(world)
    command = replace(world.command("extra", None), needs_approval=True)
    outcomes = heard(rig, [command], ask(command))
    assert [o.reason for o in outcomes if o.command_id != command.command_id] == refused
    assert rig.rehearsals() == []
    assert world.target.transactions == 0


def test_a_question_is_no_yes_whatever_is_made_of_it() -> None:
    """Its signature is for another purpose; a copy of it in the same partition is a replay."""
    world = World(None, "extra", WAITS)
    rig = Rig(world)
    command = replace(world.command("extra", None), needs_approval=True)
    word = asking([command])
    told = heard(rig, [command], [replace(word, rehearses=False, approved=True), word, word])
    reasons = {o.reason for o in told if o.command_id == word.batch_id}
    assert reasons == {RefusalReason.FORGED, RefusalReason.REPLAYED}
    assert [o.reason for o in told if o.command_id == command.command_id] == [RefusalReason.NOT_APPROVED]
    assert len(rig.rehearsals()) == 1
    assert world.value(world.target) == "extra"


def test_a_forged_command_is_not_rehearsed() -> None:
    """The person asked about the planner's command; a copy without its signature is an alarm and no more."""
    world = World(None, "extra", WAITS)
    rig = Rig(world)
    command = replace(world.command("extra", None), needs_approval=True)
    heard(rig, [signed(command, STRANGER)], [asking([command])])
    assert rig.rehearsals() == []
    assert (rig.meter.alarms, world.target.transactions) == (["unknown_key"], 0)


def test_where_the_policy_wants_a_rehearsal_a_yes_counts_from_then_on() -> None:
    """Held without one, whoever said yes; rehearsed, the earlier yes still does not count, and a later one does."""
    world = World(None, "extra", WANTED)
    command = replace(world.command("extra", None), needs_approval=True)
    early = word_on([command], said_at_ms=world.now_ms - 1)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    rig.broker.hear(CODEC.approval(early))
    rig.broker.command(command)

    def turn(number: int) -> None:
        if number == 3:
            rig.broker.hear(CODEC.approval(asking([command])))
            rig.broker.command(command)
        if number == 5:
            rig.broker.command(command)
        if number == 7:
            rig.broker.hear(CODEC.approval(word_on([command], said_at_ms=world.now_ms)))
            rig.broker.command(command)

    reasons = [o.reason for o in rig.run(9, turn)]
    assert reasons == [
        RefusalReason.NOT_REHEARSED,
        RefusalReason.NOT_REHEARSED,
        RefusalReason.NOT_APPROVED,
        None,
    ]
    assert len(rig.rehearsals()) == 1
    assert world.value(world.target) is None
