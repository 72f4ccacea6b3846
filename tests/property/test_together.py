"""Many commands on memory stores: one transaction for many rows, split down to the row that says no."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.memory_rows import CHAIN_KEY, Blocked
from app.applier.failpoints import FAILPOINTS
from app.core.chain import breaks
from app.core.command import Outcome, RefusalReason, RepairCommand
from app.core.errors import Unready
from app.core.guard import Limits
from app.core.ledger import LedgerKind
from app.core.together import halves, together
from tests.property.applier_world import ENTITY, POLICY, World, row

KEYS = tuple(b"\x02key%d" % n for n in range(5))
ROWS = [("new0", "old0"), ("new1", None), (None, "extra"), ("new3", "old3"), ("new4", None)]
"""Authority's and target's values of each row: updates, inserts and a delete."""


def world_of_rows() -> tuple[World, list[RepairCommand]]:
    """Return a world of several differing rows, and a command for each."""
    world = World(None, None)
    commands = []
    for key, (authority, target) in zip(KEYS, ROWS, strict=True):
        world.put(key, authority, target)
        commands.append(world.command(target, authority, key))
    return world, commands


def values(world: World) -> list[object]:
    """Return what the target shows of each row."""
    return [world.value(world.target, key) for key in KEYS]


WANTED = [authority for authority, _ in ROWS]


def test_many_rows_are_written_by_one_transaction() -> None:
    """One transaction, a chained ledger row each, and the checks of the inserts beside them."""
    world, commands = world_of_rows()
    outcomes = world.applier().carry_out_all(commands)
    assert [(o.command_id, o.outcome) for o in outcomes] == [(c.command_id, Outcome.APPLIED) for c in commands]
    assert values(world) == WANTED
    assert world.target.transactions == 1
    assert len({o.transaction for o in outcomes}) == 1
    assert sorted(r.kind.value for r in world.target.ledger.values()) == ["check"] * 2 + ["command"] * 5
    assert list(breaks(CHAIN_KEY, world.target.ledger_rows())) == []


def test_all_rows_are_locked_before_one_is_written() -> None:
    """After the locks nothing is written yet, and nobody else may write any of the rows that are there."""
    world, commands = world_of_rows()
    locked: list[set[bytes]] = []

    def look(name: str) -> None:
        if name == "row_locked":
            locked.append({key for _, key in world.target.locks})
            assert values(world) == [target for _, target in ROWS]

    world.applier(look).carry_out_all(commands)
    assert locked == [{KEYS[0], KEYS[2], KEYS[3]}]


def test_a_row_that_moved_is_left_out_and_the_others_are_written_together() -> None:
    """The row that says no is refused with its own reason; two transactions in all, the first rolled back."""
    world, commands = world_of_rows()
    world.target.put(ENTITY, KEYS[3], row("moved"))
    outcomes = world.applier().carry_out_all(commands)
    reasons = [o.reason for o in outcomes]
    assert reasons == [None, None, None, RefusalReason.ROW_MOVED, None]
    assert values(world) == ["new0", "new1", None, "moved", "new4"]
    assert world.target.transactions == 2
    assert list(breaks(CHAIN_KEY, world.target.ledger_rows())) == []


def test_of_rows_that_the_store_refuses_the_one_is_found() -> None:
    """A store that says no to some row or other: the others are written, and the one is refused alone."""
    world, commands = world_of_rows()
    world.target.holds = lambda _column, value: "cut" if value == "new3" else value
    outcomes = world.applier().carry_out_all(commands)
    assert [o.reason for o in outcomes] == [None, None, None, RefusalReason.NOT_HELD_BY_COLUMN, None]
    assert values(world) == ["new0", "new1", None, "old3", "new4"]


def test_a_locked_row_holds_back_nobody_else() -> None:
    """Not waited for, and not refused for good."""
    world, commands = world_of_rows()
    let_go = world.target.hold(ENTITY, KEYS[0])
    outcomes = world.applier().carry_out_all(commands)
    assert [o.outcome for o in outcomes] == [Outcome.HELD] + [Outcome.APPLIED] * 4
    let_go()
    assert world.applier().carry_out(commands[0]).outcome is Outcome.APPLIED


def test_the_budget_counts_what_the_same_transaction_writes() -> None:
    """Three fit, of which one delete; the rest is held, as if each had been carried out alone."""
    world, commands = world_of_rows()
    outcomes = world.applier(limits=Limits(writes_per_minute=3)).carry_out_all(commands)
    assert [o.reason for o in outcomes] == [None] * 3 + [RefusalReason.OVER_BUDGET] * 2
    world, commands = world_of_rows()
    outcomes = world.applier(limits=Limits(deletes_per_minute=0)).carry_out_all(commands)
    assert [o.reason for o in outcomes] == [None, None, RefusalReason.OVER_BUDGET, None, None]
    world, commands = world_of_rows()
    world.policy = replace(POLICY, automatic_per_minute=2)
    outcomes = world.applier().carry_out_all(commands)
    assert [o.reason for o in outcomes] == [None] * 2 + [RefusalReason.OVER_BUDGET] * 3


def test_two_commands_on_one_row_are_carried_out_one_after_the_other() -> None:
    """Never in one transaction: the second finds what the first left."""
    world, commands = world_of_rows()
    again = world.command("old0", "new0", KEYS[0])
    outcomes = world.applier().carry_out_all([*commands, again, commands[1]])
    assert [o.reason for o in outcomes[5:]] == [RefusalReason.ROW_MOVED, None]
    assert sum(r.kind is LedgerKind.COMMAND for r in world.target.ledger.values()) == 5


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_anywhere_each_row_is_repaired_once(failpoint: str, times: int) -> None:
    """Kill it at any step, start it again: a ledger row for each command, a check for each insert, no lock left."""
    world, commands = world_of_rows()
    left = [times]

    def die(name: str) -> None:
        if name == failpoint and left[0]:
            left[0] -= 1
            raise Unready("killed")

    for _ in range(times + 1):
        try:
            world.applier(die).carry_out_all(commands)
        except Unready:
            continue
    assert values(world) == WANTED
    assert sorted(r.kind.value for r in world.target.ledger.values()) == ["check"] * 2 + ["command"] * 5
    assert world.target.locks == {}


SHOWN = st.sampled_from([None, "a", "b", "c"])
PLACE = st.integers(0, 2)
WRITES = st.lists(st.tuples(PLACE, st.sampled_from(["shop", "copy"]), SHOWN), max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(SHOWN, SHOWN, SHOWN, SHOWN), min_size=3, max_size=3),
    writes=st.dictionaries(st.sampled_from(FAILPOINTS), WRITES, max_size=6),
    killed=st.dictionaries(st.sampled_from(FAILPOINTS), st.just(1), max_size=3),
    unit=st.booleans(),
)
def test_no_row_of_many_is_overwritten_with_an_older_value(
    rows: list[tuple[object, object, object, object]],
    writes: dict[str, list[tuple[int, str, object]]],
    killed: dict[str, int],
    unit: bool,  # noqa: FBT001 - drawn
) -> None:
    """However the application's writes fall between the steps, each row goes from expected to intended or not at all.

    The oracle is the target's own history of each row: whatever we committed must have found the expected value.
    """
    world = World(None, None)
    commands = []
    for place, (authority, target, expected, intended) in enumerate(rows):
        world.put(KEYS[place], authority, target)
        commands.append(world.command(expected, intended, KEYS[place], "one" if unit else ""))
    shown = [world.value(world.target, key) for key in KEYS[:3]]
    left = {name: list(todo) for name, todo in writes.items()}

    def between(name: str) -> None:
        for place, key in enumerate(KEYS[:3]):
            now = world.value(world.target, key)
            _, _, expected, intended = rows[place]
            took_back = expected is None and (shown[place], now) == (intended, None)
            assert now == shown[place] or (shown[place], now) == (expected, intended) or took_back
            shown[place] = now
        for place, store, value in left.pop(name, ()):
            stored = world.target if store == "copy" else world.authority
            try:
                stored.put(ENTITY, KEYS[place], None if value is None else row(value))
            except Blocked:
                continue
            if store == "copy":
                shown[place] = value
        if killed.pop(name, 0):
            raise Unready("killed")

    outcomes = []
    for _ in range(len(killed) + 1):
        try:
            outcomes = world.applier(between).carry_out_all(commands)
        except Unready:
            continue
        break
    between("end")
    applied = {r.row_id for r in world.target.ledger.values() if r.kind is LedgerKind.COMMAND}
    told = {o.command_id for o in outcomes if o.outcome in {Outcome.APPLIED, Outcome.INVERTED}}
    assert applied == told
    assert world.target.locks == {}
    assert list(breaks(CHAIN_KEY, world.target.ledger_rows())) == []


def test_rows_of_one_source_transaction_are_not_parted() -> None:
    """They come together in one transaction of their target, wherever they stood, and are cut only where too many."""
    world = World(None, None)
    commands = [
        world.command("a", "b", b"key%d" % n, source) for n, source in enumerate(["s1", "", "s2", "s1", "s2", "s2"])
    ]
    assert together(commands, 4) == [[0, 3, 1], [2, 4, 5]]
    assert together(commands, 6) == [[0, 3, 1, 2, 4, 5]]
    assert together(commands, 2) == [[0, 3], [1], [2, 4], [5]]


def test_stores_and_repeated_rows_are_kept_apart() -> None:
    """A transaction is in one store, and names no row and no command twice."""
    world = World(None, None)
    one, other, same = (world.command("a", "b", key) for key in (b"k1", b"k2", b"k1"))
    elsewhere = replace(world.command("a", "b", b"k3"), target="third")
    assert sorted(together([one, elsewhere, other, same, other], 9)) == [[0, 2], [1], [4, 3]]


def test_halves_are_cut_between_units_and_never_empty() -> None:
    """A unit is parted only where there is no other."""
    world = World(None, None)
    unit = [world.command("a", "b", b"key%d" % n, "s") for n in range(3)]
    single = world.command("a", "b", b"other")
    assert halves([*unit, single]) == (unit, [single])
    assert halves([single, *unit]) == ([single], unit)
    assert halves(unit) == (unit[:1], unit[1:])
