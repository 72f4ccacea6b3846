"""Many commands on memory stores: one transaction for many rows, split down to the row that says no."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.memory_rows import CHAIN_KEY, Blocked, MemoryRows, plain_digest
from app.applier.failpoints import FAILPOINTS
from app.core.chain import breaks
from app.core.command import VALUE_WAITS_MS, CommandOutcome, Outcome, RefusalReason, RepairCommand, command_id
from app.core.errors import Unready
from app.core.guard import Limits, Refused
from app.core.ledger import LedgerKind
from app.core.together import exchanged, freed_first, halves, in_turns, together
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
    # The delete comes first.
    assert [o.reason for o in outcomes] == [None, RefusalReason.OVER_RATE, None] + [RefusalReason.OVER_RATE] * 2


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
    assert together(commands, 4, {}) == [[0, 3, 1], [2, 4, 5]]
    assert together(commands, 6, {}) == [[0, 3, 1, 2, 4, 5]]
    assert together(commands, 2, {}) == [[0, 3], [1], [2, 4], [5]]


def test_stores_and_repeated_rows_are_kept_apart() -> None:
    """A transaction is in one store, and names no row and no command twice."""
    world = World(None, None)
    one, other, same = (world.command("a", "b", key) for key in (b"k1", b"k2", b"k1"))
    elsewhere = replace(world.command("a", "b", b"k3"), target="third")
    assert sorted(together([one, elsewhere, other, same, other], 9, {})) == [[0, 2], [1], [4, 3]]


def test_halves_are_cut_between_units_and_never_empty() -> None:
    """A unit is parted only where there is no other."""
    world = World(None, None)
    unit = [world.command("a", "b", b"key%d" % n, "s") for n in range(3)]
    single = world.command("a", "b", b"other")
    assert halves([*unit, single]) == (unit, [single])
    assert halves([single, *unit]) == ([single], unit)
    assert halves(unit) == (unit[:1], unit[1:])


# -- rows that stand in each other's way ------------------------------------------------------------------------------


def world_of_values(*rows: tuple[str, str], source: str = "") -> tuple[World, list[RepairCommand]]:
    """Return a world whose values are unique, and a command for each row of authority's and target's value."""
    world = World(None, None)
    world.target.unique = "value"
    for key, (authority, target) in zip(KEYS, rows, strict=False):
        world.put(key, authority, target)
    commands = zip(KEYS, rows, strict=False)
    return world, [world.command(target, authority, key, source) for key, (authority, target) in commands]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_value_is_freed_before_it_is_taken(order: tuple[int, int, int]) -> None:
    """Each row takes what the next one has: whatever order they come in, one transaction writes them all."""
    world, commands = world_of_values(("b", "a"), ("c", "b"), ("d", "c"))
    outcomes = world.applier().carry_out_all([commands[place] for place in order])
    assert [o.reason for o in outcomes] == [None] * 3
    assert values(world)[:3] == ["b", "c", "d"]
    assert len({o.transaction for o in outcomes}) == 1
    assert list(breaks(CHAIN_KEY, world.target.ledger_rows())) == []


def test_rows_that_exchange_a_unique_value_are_refused_and_told_so() -> None:
    """No order helps them, so nothing of them is written; the row that took a value from nobody is."""
    world, commands = world_of_values(("b", "a"), ("a", "b"), ("d", "c"))
    outcomes = world.applier().carry_out_all(commands)
    assert [o.reason for o in outcomes] == [RefusalReason.UNIQUE_CONFLICT] * 2 + [None]
    assert all(o.detail.endswith('rows exchange the values of field "value"') for o in outcomes[:2])
    assert values(world)[:3] == ["a", "b", "d"]


def test_a_value_that_another_row_keeps_refuses_the_one_that_wants_it() -> None:
    """Found exactly, without trying in halves: two transactions, the first rolled back."""
    world, commands = world_of_values(("x", "a"), ("c", "b"), ("b", "y"))
    world.put(b"keeps it", "x", "x")
    outcomes = world.applier().carry_out_all(commands)
    assert [(o.reason, "exchange" in o.detail) for o in outcomes] == [
        (RefusalReason.UNIQUE_CONFLICT, False),
        (None, False),
        (None, False),
    ]
    assert values(world)[:3] == ["a", "c", "b"]
    assert world.target.transactions == 2


def young(command: RepairCommand) -> RepairCommand:
    """Return a command as if it had been planned a minute ago, but for the last millisecond."""
    return replace(command, planned_at_ms=1_001 - VALUE_WAITS_MS)


def test_a_value_that_comes_free_by_the_next_poll_is_waited_for() -> None:
    """The row that has it is repaired a moment later, in a transaction of its own; then the first one goes."""
    world, commands = world_of_values(("b", "a"), ("c", "b"))
    taking, freeing = map(young, commands)
    applier = world.applier()
    held = applier.carry_out(taking)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.VALUE_TAKEN)
    assert world.target.ledger == {}
    assert [applier.carry_out(each).reason for each in (freeing, taking)] == [None, None]
    assert values(world)[:2] == ["b", "c"]


def test_a_value_that_does_not_come_free_is_waited_for_no_longer_than_a_minute() -> None:
    """Then the refusal stands in the ledger; rows that exchange a value are told at once that no waiting helps."""
    world, (taking, _) = world_of_values(("b", "a"), ("b", "b"))
    assert world.applier().carry_out(young(taking)).outcome is Outcome.HELD
    world.now_ms += 1
    assert world.applier().carry_out(young(taking)).outcome is Outcome.REFUSED
    assert world.target.ledger.keys() == {taking.command_id}
    world, commands = world_of_values(("b", "a"), ("a", "b"))
    outcomes = world.applier().carry_out_all([young(command) for command in commands])
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.REFUSED, RefusalReason.UNIQUE_CONFLICT)] * 2


def test_rows_of_a_source_transaction_wait_together_for_a_value() -> None:
    """None is written, none is refused, and nobody is asked: the value may come free."""
    world, commands = world_of_values(("b", "a"), ("x", "y"), source="s")
    world.put(b"keeps it", "b", "b")
    outcomes = world.applier().carry_out_all([young(command) for command in commands])
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.HELD, RefusalReason.VALUE_TAKEN)] * 2
    assert values(world)[:2] == ["a", "y"]


def test_what_waits_for_another_row_comes_behind_it() -> None:
    """A parent before its child, though it was named after it; what no order helps is told with its reason."""
    there: list[int] = []
    needs = {0: 1, 1: 3, 4: 9}

    def write(place: int) -> None:
        if place == 2:
            raise Refused(RefusalReason.CONSTRAINT)
        if place in needs and needs[place] not in there:
            raise Refused(RefusalReason.FOREIGN_KEY)
        there.append(place)

    order, refused = in_turns(5, write)
    assert order == there == [3, 1, 0]
    assert {place: no.reason for place, no in refused.items()} == {
        2: RefusalReason.CONSTRAINT,
        4: RefusalReason.FOREIGN_KEY,
    }


def test_a_circle_is_of_one_index_whose_values_go_around() -> None:
    """Three rows may exchange too; a row that keeps its value is in no circle, nor one that takes a free value."""

    def rows(*pairs: tuple[str, str]) -> dict[int, tuple[str, str, str]]:
        return {place: ("code", now, then) for place, (now, then) in enumerate(pairs)}

    assert exchanged(rows(("a", "b"), ("b", "c"), ("c", "a"))) == {0, 1, 2}
    assert exchanged(rows(("a", "b"), ("b", "a"), ("c", "b"))) == {0, 1}
    assert exchanged(rows(("a", "b"), ("b", "c"), ("c", "d"), ("e", "e"))) == set()
    assert exchanged({0: ("code", "a", "b"), 1: ("other", "b", "a")}) == set()


FIELDS = ("value", "active", "rank")


def world_of_fields(*rows: tuple[tuple[object, ...], tuple[object, ...]]) -> tuple[World, list[RepairCommand]]:
    """Return a world of rows of several fields, of which the first is unique, and a young command for each."""
    world = World(None, None)
    world.authority, world.target = MemoryRows(FIELDS), MemoryRows(FIELDS, unique="value")
    commands = []
    for key, shown in zip(KEYS, rows, strict=False):
        right, wrong = (dict(zip(FIELDS, each, strict=True)) for each in shown)
        world.authority.put(ENTITY, key, right)
        world.target.put(ENTITY, key, wrong)
        planned = world.command("x", "y", key)
        expected, intended = plain_digest(wrong), plain_digest(right)
        named = command_id(planned.finding_id, planned.target, expected, intended)
        commands.append(young(replace(planned, command_id=named, expected_digest=expected, intended_digest=intended)))
    return world, commands


def test_rows_that_exchange_values_of_other_fields_wait_for_theirs() -> None:
    """Both want values that others still have; that they exchange what is not unique ends neither of them."""
    world, commands = world_of_fields((("x", False, 1), ("a", True, 2)), (("y", True, 2), ("b", False, 1)))
    for key, value in ((b"c", "x"), (b"d", "y")):
        world.target.put(ENTITY, key, dict(zip(FIELDS, (value, True, 3), strict=True)))
    outcomes = world.applier().carry_out_all(commands)
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.HELD, RefusalReason.VALUE_TAKEN)] * 2
    assert world.target.ledger == {}
    for key in (b"c", b"d"):
        world.target.put(ENTITY, key, None)
    assert [o.reason for o in world.applier().carry_out_all(commands)] == [None] * 2


def test_of_several_fields_the_unique_one_is_told_to_be_exchanged() -> None:
    """No waiting helps them, whatever else differs."""
    world, commands = world_of_fields((("b", True, 1), ("a", True, 2)), (("a", True, 1), ("b", False, 2)))
    outcomes = world.applier().carry_out_all(commands)
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.REFUSED, RefusalReason.UNIQUE_CONFLICT)] * 2
    assert all(o.detail.endswith('rows exchange the values of field "value"') for o in outcomes)


# -- rows of one source transaction: all or none ----------------------------------------------------------------------

OTHER = b"\x02other"


def world_of_a_group() -> tuple[World, list[RepairCommand]]:
    """Return rows that one source transaction changed, then one that another changed; each value is unique."""
    world, commands = world_of_values(("x", "a"), ("c", "b"), ("e", "d"), source="of one")
    world.put(OTHER, "new", "old")
    return world, [*commands, world.command("old", "new", OTHER, "of another")]


def reasons(outcomes: list[CommandOutcome]) -> list[RefusalReason | None]:
    """Return why, in order."""
    return [outcome.reason for outcome in outcomes]


HELD = RefusalReason.GROUP_REFUSED


def test_of_rows_of_one_source_transaction_all_are_written_or_none() -> None:
    """The store refuses one: it is told why, the others wait for a person, and other transactions' rows go."""
    world, commands = world_of_a_group()
    world.put(b"keeps it", "x", "x")
    outcomes = world.applier().carry_out_all(commands)
    assert reasons(outcomes) == [RefusalReason.UNIQUE_CONFLICT, HELD, HELD, None]
    assert [o.outcome for o in outcomes[1:3]] == [Outcome.HELD] * 2
    assert all("unique_conflict" in o.detail for o in outcomes[1:3])
    assert values(world)[:3] == ["a", "b", "d"]
    assert world.value(world.target, OTHER) == "new"


def test_where_nobody_knows_which_row_it_was_none_is_refused_for_good() -> None:
    """All of them wait; a person's word lets each stand for itself, and then the one is found."""
    world, commands = world_of_a_group()
    world.target.holds = lambda _column, value: "cut" if value == "c" else value
    assert reasons(world.applier().carry_out_all(commands)) == [HELD, HELD, HELD, None]
    assert values(world)[:3] == ["a", "b", "d"]
    for command in commands[:3]:
        world.say(command)
    outcomes = world.applier().carry_out_all(commands[:3])
    assert reasons(outcomes) == [None, RefusalReason.NOT_HELD_BY_COLUMN, None]
    assert values(world)[:3] == ["x", "b", "e"]


def test_a_locked_row_holds_its_source_transaction_until_it_is_free() -> None:
    """For a while, and not for a person; then they are written together."""
    world, commands = world_of_a_group()
    let_go = world.target.hold(ENTITY, KEYS[1])
    outcomes = world.applier().carry_out_all(commands)
    assert reasons(outcomes) == [RefusalReason.ROW_LOCKED] * 3 + [None]
    assert values(world)[:3] == ["a", "b", "d"]
    let_go()
    outcomes = world.applier().carry_out_all(commands[:3])
    assert reasons(outcomes) == [None] * 3
    assert len({o.transaction for o in outcomes}) == 1


def test_a_row_that_moved_on_leaves_the_others_of_its_source_transaction() -> None:
    """What came after is newer than that transaction, which nobody can have as a whole any more."""
    world, commands = world_of_a_group()
    world.target.put(ENTITY, KEYS[0], row("moved"))
    outcomes = world.applier().carry_out_all(commands)
    assert reasons(outcomes) == [RefusalReason.ROW_MOVED, None, None, None]


@pytest.mark.parametrize("step", FAILPOINTS)
def test_a_crash_between_a_refusal_and_its_outcome_parts_no_source_transaction(step: str) -> None:
    """Asked again, the ledger says that one was refused, and the others wait as if nothing had happened."""
    world, commands = world_of_a_group()
    world.put(b"keeps it", "x", "x")

    def die(name: str) -> None:
        if name == step:
            raise Unready("killed")

    with suppress(Unready):
        world.applier(die).carry_out_all(commands)
    outcomes = world.applier().carry_out_all(commands)
    assert reasons(outcomes) == [RefusalReason.UNIQUE_CONFLICT, HELD, HELD, None]
    assert values(world)[:3] == ["a", "b", "d"]


@given(st.permutations(range(6)), st.lists(st.integers(0, 9), min_size=6, max_size=6, unique=True))
def test_an_order_frees_each_unique_value_before_it_is_taken(has: list[int], wants: list[int]) -> None:
    """Written in that order no two rows ever have one value; what is left out is, or waits for, a circle."""
    rows = {n: ({"code": had}, {"code": wanted}) for n, (had, wanted) in enumerate(zip(has, wants, strict=True))}
    order, stuck = freed_first(rows)
    assert sorted([*order, *stuck]) == [*rows]
    held = {n: now["code"] for n, (now, _) in rows.items()}
    for n in order:
        wanted = rows[n][1]["code"]
        assert wanted not in [value for other, value in held.items() if other != n]
        held[n] = wanted
    for n in stuck:
        assert any(held[other] == rows[n][1]["code"] for other in stuck - {n})


def test_rows_that_nothing_stands_in_the_way_of_stay_in_their_order() -> None:
    """One that is inserted has no value yet, and one that is deleted none any more."""
    rows = {3: ({}, {"code": "a"}), 1: ({"code": "a"}, {}), 2: ({"code": "x"}, {"code": "x"}), 0: ({}, {})}
    assert freed_first(rows) == ([1, 2, 0, 3], frozenset())
