"""One command on memory stores: every refusal, every order of crash, and never a newer value overwritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.adapters.memory_rows import Blocked, MemoryTransaction
from app.applier.failpoints import FAILPOINTS
from app.core.command import Action, Outcome, RefusalReason, RepairCommand, command_id, inverse_id
from app.core.contract import RepairMode
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.guard import Fence, Limits
from app.core.ledger import LedgerKind, check_id
from tests.property.applier_world import ENTITY, KEY, POLICY, World, digest, row, until_done
from tests.seals import SEALS

CASES = [("new", "old"), ("new", None), (None, "extra")]
"""Authority's and target's values: an update, an insert, a delete."""


@pytest.mark.parametrize(("authority", "target"), CASES)
def test_a_repair_leaves_what_the_authority_shows(authority: object, target: object) -> None:
    """Applied once, with a ledger row; asked again, the ledger answers and nothing is written."""
    world = World(authority, target)
    command = world.command(target, authority)
    outcome = world.applier().carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, None)
    assert world.value(world.target) == authority
    ledger = world.target.ledger[command.command_id]
    assert (ledger.found_digest, ledger.intended_digest) == (digest(target), digest(authority))
    assert (command_count := world.target.transactions) == 1
    again = world.applier().carry_out(command)
    assert (again.outcome, again.reason) == (Outcome.APPLIED, None)
    assert world.target.transactions == command_count


def test_columns_outside_the_contract_are_left_alone_and_kept_in_the_image() -> None:
    """The before-image is the whole row, sealed; the write is the contract's columns only."""
    world = World("new", "old")
    command = world.command("old", "new")
    world.applier().carry_out(command)
    assert world.target.rows[ENTITY, KEY] == row("new", "theirs")
    sealed = world.target.ledger[command.command_id].before_image
    assert b"theirs" not in sealed
    assert b"theirs" in SEALS.open_image(command.command_id, sealed)


@pytest.mark.parametrize(
    ("target_now", "authority_now", "reason"),
    [
        ("moved", "new", RefusalReason.ROW_MOVED),
        (None, "new", RefusalReason.ROW_MOVED),
        ("old", "newer", RefusalReason.AUTHORITY_MOVED),
        ("old", None, RefusalReason.AUTHORITY_MOVED),
        ("moved", "newer", RefusalReason.ROW_MOVED),
    ],
)
def test_a_row_that_moved_is_refused_for_good(target_now: object, authority_now: object, reason: RefusalReason) -> None:
    """A refusal is a ledger row before it is an outcome, and stands even if the row comes back."""
    world = World("new", "old")
    command = world.command("old", "new")
    world.target.put(ENTITY, KEY, None if target_now is None else row(target_now))
    world.authority.put(ENTITY, KEY, None if authority_now is None else row(authority_now))
    outcome = world.applier().carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, reason)
    assert world.value(world.target) == target_now
    assert world.target.ledger[command.command_id].kind is LedgerKind.REFUSAL
    world.target.put(ENTITY, KEY, row("old"))
    world.authority.put(ENTITY, KEY, row("new"))
    again = world.applier().carry_out(command)
    assert (again.outcome, again.reason) == (Outcome.REFUSED, reason)
    assert world.value(world.target) == "old"


def test_an_absent_row_that_came_is_refused_as_moved() -> None:
    """A duplicate key where no row was expected is a row that moved."""
    world = World("new", None)
    command = world.command(None, "new")
    world.target.put(ENTITY, KEY, row("came"))
    assert world.applier().carry_out(command).reason is RefusalReason.ROW_MOVED


def test_a_delete_waits_for_a_word_and_then_goes() -> None:
    """Held leaves no trace in the ledger; the word's owner stands in the ledger row."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    command = world.command("extra", None)
    held = world.applier().carry_out(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert world.target.ledger == {}
    world.say(command)
    assert world.applier().carry_out(command).outcome is Outcome.APPLIED
    assert world.value(world.target) is None
    assert world.target.ledger[command.command_id].approver == "anna"


def test_our_own_copy_of_the_policy_decides_not_the_command() -> None:
    """A forged command for what the contract forbids is refused, whatever it says of itself."""
    for policy in (replace(POLICY, deletes=False), replace(POLICY, mode=RepairMode.OBSERVE)):
        world = World(None, "extra", policy)
        outcome = world.applier().carry_out(replace(world.command("extra", None), needs_approval=False))
        assert outcome.reason is RefusalReason.OUTSIDE_CONTRACT
    world = World("new", "old")
    for forged in (
        replace(world.command("old", "new"), entity="other"),
        _renamed(replace(world.command("old", "new"), target="shop")),
        replace(world.command("old", "new"), authority="copy"),
        replace(world.command("old", "new"), contract_version=2),
        _renamed(replace(world.command("old", "new"), target="nowhere")),
        replace(world.command("old", "new"), action=Action.DELETE),
    ):
        assert world.applier().carry_out(forged).reason is RefusalReason.OUTSIDE_CONTRACT
    assert world.value(world.target) == "old"


def _renamed(command: RepairCommand) -> RepairCommand:
    """Give a command the id of its own content."""
    named = command_id(command.finding_id, command.target, command.expected_digest, command.intended_digest)
    return replace(command, command_id=named)


def test_a_command_under_a_false_id_does_not_bar_the_true_one() -> None:
    """What is not shaped as ours never reaches the ledger, so the true command of that id still goes through."""
    world = World("new", "old")
    true = world.command("old", "new")
    for forged in (
        replace(true, intended_digest=b"x" * 16),
        replace(true, expected_digest=b"x" * 16),
        replace(true, finding_id=b"x" * 16),
        replace(true, target="shop"),
        replace(true, command_id=b"short"),
        replace(true, key_hash=b"k" * 400),
        replace(true, trace_id=b"t" * 400),
        replace(true, sealed_key=b"s" * 10_000),
        _renamed(replace(true, intended_digest=b"long" * 10)),
    ):
        outcome = world.applier().carry_out(forged)
        assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.UNREADABLE)
    assert world.target.ledger == {}
    assert world.applier().carry_out(true).outcome is Outcome.APPLIED


def test_a_seal_that_does_not_open_is_a_refusal() -> None:
    """Neither a broken seal nor another entity's key is a reason to stop."""
    world = World("new", "old")
    for sealed in (b"broken", SEALS.seal_key("others", KEY)):
        broken = replace(world.command("old", "new"), sealed_key=sealed)
        assert world.applier().carry_out(broken).reason is RefusalReason.UNREADABLE
    assert world.value(world.target) == "old"


def test_a_fenced_applier_writes_nothing() -> None:
    """A token newer than the command's stops a survivor of a pause; under the new one the planner may send it again."""
    world = World("new", "old")
    command = world.command("old", "new")
    world.target.flags = Fence(1)
    held = world.applier().carry_out(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.FENCED)
    assert (world.value(world.target), world.target.ledger) == ("old", {})
    assert world.applier().carry_out(replace(command, fence_token=1)).outcome is Outcome.APPLIED
    assert world.value(world.target) == "new"


def test_a_row_that_somebody_is_writing_is_held_not_waited_for() -> None:
    """A lock conflict leaves nothing behind, and the same command goes through later."""
    world = World("new", "old")
    command = world.command("old", "new")
    let_go = world.target.hold(ENTITY, KEY)
    held = world.applier().carry_out(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.ROW_LOCKED)
    assert world.target.ledger == {}
    let_go()
    assert world.applier().carry_out(command).outcome is Outcome.APPLIED


def test_a_column_that_cannot_hold_the_value_is_a_refusal() -> None:
    """What is read back is not what was intended, so nothing stays written."""
    world = World("longer", "old")
    world.target.holds = lambda _column, value: str(value)[:4]
    command = world.command("old", "longer")
    assert world.applier().carry_out(command).reason is RefusalReason.NOT_HELD_BY_COLUMN
    assert world.value(world.target) == "old"


def test_an_expired_command_is_held_unless_it_was_done_before() -> None:
    """The ledger is asked first: what was written and then expired was written all the same.

    What is over leaves nothing in the ledger, where its id would bar the row's repair for ever.
    """
    world = World("new", "old")
    done, late = world.command("old", "new"), world.command("old", "new")
    assert world.applier().carry_out(done).outcome is Outcome.APPLIED
    world.now_ms = 10_000
    assert world.applier().carry_out(done).outcome is Outcome.APPLIED
    over = world.applier().carry_out(late)
    assert (over.outcome, over.reason) == (Outcome.HELD, RefusalReason.EXPIRED)
    assert late.command_id not in world.target.ledger
    world.target.put(ENTITY, KEY, row("old"))
    assert world.applier().carry_out(replace(late, expires_at_ms=20_000)).outcome is Outcome.APPLIED


def test_budget_and_breaker_hold_back_what_is_too_much() -> None:
    """Counted from the ledger, so that a restart forgets nothing."""
    world = World("new", "old")
    for _ in range(2):
        world.target.put(ENTITY, KEY, row("old"))
        assert world.applier().carry_out(world.command("old", "new")).outcome is Outcome.APPLIED
    world.target.put(ENTITY, KEY, row("old"))
    command = world.command("old", "new")
    over = world.applier(limits=Limits(writes_per_minute=2)).carry_out(command)
    assert (over.outcome, over.reason) == (Outcome.HELD, RefusalReason.OVER_BUDGET)
    fighting = world.applier(limits=Limits(same_row_per_hour=2)).carry_out(command)
    assert (fighting.outcome, fighting.reason) == (Outcome.HELD, RefusalReason.OSCILLATES)
    world.now_ms += 60_000
    later = world.applier(limits=Limits(writes_per_minute=2)).carry_out(replace(command, expires_at_ms=10**6))
    assert later.outcome is Outcome.APPLIED


def test_the_same_damage_three_times_is_three_ledger_rows() -> None:
    """Each drift has a command of its own."""
    world = World("new", "old")
    for _ in range(3):
        world.target.put(ENTITY, KEY, row("old"))
        assert world.applier().carry_out(world.command("old", "new")).outcome is Outcome.APPLIED
    assert len(world.target.ledger) == 3


def test_an_insert_is_taken_back_when_the_authority_moved_meanwhile() -> None:
    """An absent row cannot be locked, so the authority is read again, and the inverse has a ledger row of its own."""
    world = World("new", None)
    command = world.command(None, "new")

    def move(name: str) -> None:
        if name == "committed":
            world.authority.put(ENTITY, KEY, None)

    outcome = world.applier(move).carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED)
    assert world.value(world.target) is None
    assert set(world.target.ledger) == {
        command.command_id,
        inverse_id(command.command_id),
        check_id(command.command_id),
    }
    assert world.applier().carry_out(command).outcome is Outcome.INVERTED


def test_an_insert_that_the_pipeline_wrote_over_is_not_taken_back() -> None:
    """The row is no longer ours to delete."""
    world = World("new", None)

    def move(name: str) -> None:
        if name == "committed":
            world.authority.put(ENTITY, KEY, row("newer"))
            world.target.put(ENTITY, KEY, row("newer"))

    outcome = world.applier(move).carry_out(world.command(None, "new"))
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, RefusalReason.ROW_MOVED)
    assert world.value(world.target) == "newer"


@pytest.mark.parametrize("is_held", [False, True])
def test_an_insert_that_somebody_wrote_to_outside_the_contract_is_not_taken_back(is_held: bool) -> None:  # noqa: FBT001 - by name
    """No digest shows it, so the whole row must be what the insert left, also where a lock kept the applier waiting."""
    world = World("new", None)
    let_go: list[Callable[[], None]] = []

    def move(name: str) -> None:
        if name == "committed":
            world.authority.put(ENTITY, KEY, None)
            if is_held:
                let_go.append(world.target.hold(ENTITY, KEY))
            else:
                world.target.put(ENTITY, KEY, row("new", "picked by Bob"))

    applier, command = world.applier(move), world.command(None, "new")
    if is_held:
        with pytest.raises(Unready, match="row_locked"):
            applier.carry_out(command)
        let_go[0]()
        world.target.put(ENTITY, KEY, row("new", "picked by Bob"))
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, RefusalReason.ROW_MOVED)
    assert world.target.rows[ENTITY, KEY] == row("new", "picked by Bob")


def test_an_insert_without_its_check_is_checked_at_the_start() -> None:
    """A crash between commit and check leaves work that the ledger alone tells of."""
    world = World("new", None)
    command = world.command(None, "new")
    with pytest.raises(Unready):
        world.applier(lambda name: _die_at(name, "committed")).carry_out(command)
    world.authority.put(ENTITY, KEY, None)
    (outcome,) = world.applier().check_unchecked()
    assert outcome.outcome is Outcome.INVERTED
    assert world.value(world.target) is None
    assert world.applier().check_unchecked() == []


def _die_at(name: str, where: str) -> None:
    if name == where:
        raise Unready("killed")


FAULTS = [
    KeyError("secret"),
    IndexError("secret"),
    ValueError("secret"),
    TypeError("secret"),
    ArithmeticError("secret"),
    Undecodable("wrong_key", "secret"),
    ContractViolation("secret"),
]
WITHIN = FAILPOINTS[FAILPOINTS.index("before_transaction") : FAILPOINTS.index("committed")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("failpoint", WITHIN)
def test_what_nobody_foresaw_holds_its_command_and_leaves_nothing(fault: Exception, failpoint: str) -> None:
    """At any step of the transaction: rolled back, told without a value; mended, the same command goes."""
    world = World("new", "old")
    command = world.command("old", "new")

    def fail(name: str) -> None:
        if name == failpoint:
            raise fault

    outcome = world.applier(fail).carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.APPLIER_FAILED)
    assert outcome.detail.startswith(f"{type(fault).__name__} in app.")
    assert (world.value(world.target), world.target.ledger, world.target.locks) == ("old", {}, {})
    assert world.applier().carry_out(command).outcome is Outcome.APPLIED


KEYS = [bytes([1, number]) for number in range(7)]


@settings(max_examples=60, deadline=None)
@given(
    bad=st.sets(st.sampled_from(KEYS)),
    units=st.lists(st.sampled_from(["", "a", "b"]), min_size=len(KEYS), max_size=len(KEYS)),
)
def test_a_fault_of_one_row_stops_its_source_transaction_and_no_other(bad: set[bytes], units: list[str]) -> None:
    """However many of some rows the applier fails at, all others are written together with their own."""
    world = World(None, None)

    def holds(_column: str, value: object) -> object:
        return {key: key for key in KEYS if key not in bad}[value] if isinstance(value, bytes) else value

    world.target.holds = holds
    for key in KEYS:
        world.put(key, key, "old")
    commands = [world.command("old", key, key, unit) for key, unit in zip(KEYS, units, strict=True)]
    stopped = {unit for key, unit in zip(KEYS, units, strict=True) if key in bad and unit}
    for key, unit, outcome in zip(KEYS, units, world.applier().carry_out_all(commands), strict=True):
        held = key in bad or unit in stopped
        assert (outcome.outcome is Outcome.HELD, outcome.reason is RefusalReason.APPLIER_FAILED) == (held, held)
        assert world.value(world.target, key) == ("old" if held else key)
        assert (outcome.command_id in world.target.ledger) is not held


@pytest.mark.parametrize("took_place", [True, False])
def test_a_fault_of_a_commit_leaves_it_to_the_ledger(took_place: bool) -> None:  # noqa: FBT001 - a parameter
    """Whether it took place is not known there, so nothing is held that was written, and nothing is written twice."""
    world = World("new", "old")
    command = world.command("old", "new")

    def commit(self: MemoryTransaction) -> str:
        if took_place:
            real(self)
        raise IndexError

    real = MemoryTransaction.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryTransaction, "commit", commit)
        with pytest.raises(Unready, match="IndexError"):
            world.applier().carry_out(command)
    assert world.value(world.target) == ("new" if took_place else "old")
    assert world.target.locks == {}
    assert world.applier().carry_out(command).outcome is Outcome.APPLIED
    assert [row.kind for row in world.target.ledger.values()] == [LedgerKind.COMMAND]


@pytest.mark.parametrize(("authority", "target"), CASES)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_anywhere_it_is_done_once(authority: object, target: object, times: int, failpoint: str) -> None:
    """Kill it at any step, start it again: one ledger row, the row repaired, and no third state in between."""
    world = World(authority, target)
    command = world.command(target, authority)
    until_done(world, command, {failpoint: times})
    assert world.value(world.target) == authority
    kinds = sorted(r.kind.value for r in world.target.ledger.values())
    assert kinds == (["check", "command"] if target is None else ["command"])
    assert world.target.locks == {}


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_anywhere_an_insert_is_taken_back_once(failpoint: str) -> None:
    """The inverse survives a kill at any of its steps too."""
    world = World("new", None)
    command = world.command(None, "new")
    until_done(world, command, {failpoint: 1, "committed": 1})
    world = World("new", None)
    command = world.command(None, "new")
    with pytest.raises(Unready):
        world.applier(lambda name: _die_at(name, "committed")).carry_out(command)
    world.authority.put(ENTITY, KEY, None)
    until_done(world, command, {failpoint: 1})
    assert world.value(world.target) is None
    assert sorted(r.kind.value for r in world.target.ledger.values()) == ["check", "command", "inverse"]


def test_every_failpoint_is_passed_by_some_command() -> None:
    """A failpoint that nothing passes would test nothing."""
    passed: set[str] = set()
    for authority, target in CASES:
        world = World(authority, target)
        world.applier().carry_out(world.command(target, authority))
        passed |= set(world.steps)
    world = World("new", "old")
    world.applier().carry_out(world.command("else", "new"))
    passed |= set(world.steps)
    test_an_insert_is_taken_back_when_the_authority_moved_meanwhile()
    world = World("new", None)
    world.applier(lambda name: world.authority.put(ENTITY, KEY, None) if name == "committed" else None).carry_out(
        world.command(None, "new")
    )
    passed |= set(world.steps)
    assert passed == set(FAILPOINTS)


VALUES = st.sampled_from([None, "old", "new", "other"])
WRITE = st.tuples(st.sampled_from(["shop", "copy"]), VALUES)


@settings(max_examples=400, deadline=None)
@given(
    authority=VALUES,
    target=VALUES,
    expected=VALUES,
    intended=VALUES,
    writes=st.dictionaries(st.sampled_from(FAILPOINTS), st.lists(WRITE, max_size=3), max_size=6),
    killed=st.dictionaries(st.sampled_from(FAILPOINTS), st.just(1), max_size=3),
)
@example(authority=None, target=None, expected=None, intended=None, writes={"row_locked": [("copy", "old")]}, killed={})
def test_a_repair_never_overwrites_a_newer_value(
    authority: object,
    target: object,
    expected: object,
    intended: object,
    writes: dict[str, list[tuple[str, object]]],
    killed: dict[str, int],
) -> None:
    """However the application's writes fall between the steps, ours goes from expected to intended or not at all.

    The oracle is the target's own history: each of our commits must have found the expected value there, and each
    value that the application wrote stays until the application, or a repair that expected it, replaces it.
    """
    world = World(authority, target)
    command = world.command(expected, intended)
    shown: list[object] = [world.value(world.target)]
    left = {name: list(todo) for name, todo in writes.items()}

    def between(name: str) -> None:
        if world.value(world.target) != shown[-1]:
            before, after = shown[-1], world.value(world.target)
            took_back = expected is None and (before, after) == (intended, None)
            assert (before, after) == (expected, intended) or took_back
            shown.append(after)
        while left.get(name):
            store, value = left[name].pop(0)
            rows = world.target if store == "copy" else world.authority
            try:
                rows.put(ENTITY, KEY, None if value is None else row(value))
            except Blocked:
                continue
            if store == "copy":
                shown.append(value)
        if killed.pop(name, 0):
            raise Unready("killed")

    for _ in range(len(killed) + 1):
        try:
            outcome = world.applier(between).carry_out(command)
        except Unready:
            continue
        break
    between("end")
    applied = [r for r in world.target.ledger.values() if r.kind is LedgerKind.COMMAND]
    assert len(applied) <= 1
    assert bool(applied) == (outcome.outcome in {Outcome.APPLIED, Outcome.INVERTED})
    assert world.target.locks == {}
