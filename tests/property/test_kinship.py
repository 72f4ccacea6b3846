"""Parents before children and children's deletes before parents', whatever comes in which order.

Three generations of entities live in one store in memory: `items` name `orders` as their parents and these `customers`,
and `notes` name nobody. A row's value is the key of its parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.memory_rows import MemoryRows, MemoryTransaction
from app.applier.failpoints import no_failpoint
from app.applier.rehearse import Rehearsing
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import EntityContract, Replica, StoreTable
from app.core.guard import DEFAULT_LIMITS, Limits, Refused
from app.core.kinship import tables_below
from app.core.ledger import LedgerKind
from app.core.switch import Said
from app.core.together import together, unit_of, within
from app.core.undo import undo_of
from app.ports import RowName, RowWrite, Way
from tests.property.applier_rig import Rig
from tests.property.applier_world import POLICY, World, row
from tests.seals import SEALS
from tests.signatures import ANNA, PlannedApplier, signed

PARENTS = {"customers": "", "orders": "customers", "items": "orders", "notes": ""}
GENERATION = {"customers": 0, "orders": 1, "items": 2, "notes": 0}


def contract_of(entity: str) -> EntityContract:
    """Return an entity's contract; only in the store that is repaired here anybody has parents."""
    policies = {"copy": replace(POLICY, parents=tuple(filter(None, [PARENTS[entity]]))), "third": POLICY}
    replicas = [Replica(name, window_ms=3_000, quiet_for_ms=30_000, repair=each) for name, each in policies.items()]
    tables = [StoreTable(store, f"{store}.{entity}", "unused") for store in ("shop", "copy", "third")]
    return EntityContract(entity, 1, 1, (), (), "shop", tuple(tables), tuple(replicas))


CONTRACTS = {entity: contract_of(entity) for entity in PARENTS}


class Family(MemoryRows):
    """A store that knows its rows' parents: by a foreign key, by one that cascades, or not at all."""

    foreign_key = ""
    audits = False

    def begin(self, rows: Sequence[RowName]) -> FamilyTransaction:
        """Begin a transaction that heeds the foreign key."""
        self.reach()
        return FamilyTransaction(self, rows)

    def orphans(self) -> list[RowName]:
        """Return the rows whose parents are not there."""
        return [at for at, held in self.rows.items() if _parent(at, held["value"]) not in {None, *self.rows}]


def _parent(at: RowName, value: object) -> RowName | None:
    return (PARENTS[at[0]], str(value).encode()) if PARENTS[at[0]] else None


class FamilyTransaction(MemoryTransaction):
    """A transaction in such a store."""

    _store: Family

    def __init__(self, store: Family, rows: Sequence[RowName]) -> None:
        super().__init__(store, rows)
        self._taken: set[str] = set()

    def _write(self, at: RowName, write: RowWrite) -> int:
        children = [
            child
            for child in {**self._store.rows, **self._written}
            if (now := self._now(child)) is not None and _parent(child, now["value"]) == at
        ]
        if write.way is Way.DELETE and self._store.foreign_key == "cascades":
            self._taken |= {f"copy.{entity}" for entity, _ in children}
            for child in children:
                self._write(child, write)
        elif write.way is Way.DELETE and self._store.foreign_key and children:
            raise Refused(RefusalReason.FOREIGN_KEY)
        written = super()._write(at, write)
        left = self._now(at)
        parent = left and _parent(at, left["value"])
        if parent and self._store.foreign_key and self._now(parent) is None:
            self._written.pop(at)
            raise Refused(RefusalReason.FOREIGN_KEY)
        return written

    def other_tables(self) -> tuple[str, ...]:
        """Name the tables that a cascade took rows from."""
        return (*sorted(self._taken), *(["copy.audit"] if self._store.audits else []))


class Families(World):
    """An authority, and a store of families that is repaired from it."""

    def __init__(self, foreign_key: str = "", rows_per_transaction: int = 1) -> None:
        super().__init__(None, None)
        self.target: Family = Family(("value",))
        self.target.foreign_key = foreign_key
        self.limits = replace(DEFAULT_LIMITS, rows_per_transaction=rows_per_transaction)
        self.orphans: list[RowName] = []

    def applier(
        self, failpoint: Callable[[str], None] = no_failpoint, limits: Limits = DEFAULT_LIMITS
    ) -> PlannedApplier:
        """Start an applier for all entities, and note after each commit who has no parent."""
        del limits

        def step(name: str) -> None:
            if name == "committed":
                self.orphans += self.target.orphans()
            failpoint(name)

        return replace(super().applier(step, self.limits), contracts=CONTRACTS)

    def repairs(
        self, entity: str, key: bytes, authority: str | None, target: str | None, source: str = ""
    ) -> RepairCommand:
        """Let a row stand so in both stores, and return the command that repairs it."""
        for store, value in ((self.authority, authority), (self.target, target)):
            store.put(entity, key, None if value is None else row(value))
        return of(entity, self.command(target, authority, key, source), key)


def of(entity: str, command: RepairCommand, key: bytes) -> RepairCommand:
    """Return a command for an entity's row."""
    return replace(command, entity=entity, sealed_key=SEALS.seal_key(entity, key))


def told(outcomes: Sequence[CommandOutcome]) -> list[tuple[Outcome, RefusalReason | None]]:
    """Return what became of each."""
    return [(outcome.outcome, outcome.reason) for outcome in outcomes]


APPLIED = (Outcome.APPLIED, None)
HELD = (Outcome.HELD, RefusalReason.FOREIGN_KEY)
EXTRAS = [("customers", b"anna", "-"), ("orders", b"o1", "anna"), ("items", b"i1", "o1"), ("items", b"i2", "o1")]


# -- the order ---------------------------------------------------------------------------------------------------------


@st.composite
def polls(draw: st.DrawFn) -> list[RepairCommand]:
    """Draw commands as a poll brings them: any row again and again, alone or of some source transaction."""
    world = World(None, None)
    found = []
    for entity, number, source, target, is_delete in draw(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(PARENTS)),
                st.integers(0, 5),
                st.sampled_from(["", "", "s1", "s2"]),
                st.sampled_from(["copy", "copy", "third"]),
                st.booleans(),
            ),
            max_size=25,
        )
    ):
        key = b"key%d" % number
        command = of(entity, world.command("a", None if is_delete else "b", key, source), key)
        undone = replace(command, action=Action.RESTORE, undoes=command.command_id)
        found.append(replace(undone if draw(st.booleans()) else command, target=target))
    return found


def row_of(command: RepairCommand) -> tuple[str, str, bytes]:
    """Return which row a command is on."""
    return command.target, command.entity, command.key_hash


def place_in_line(command: RepairCommand) -> tuple[int, int]:
    """Return what goes before what between transactions, written down once more."""
    generation = GENERATION[command.entity] if command.target == "copy" else 0
    return (1, generation) if command.intended_digest else (0, -generation)


@settings(max_examples=400, deadline=None)
@given(commands=polls(), rows_max=st.integers(1, 8))
def test_the_order_of_a_poll(commands: list[RepairCommand], rows_max: int) -> None:
    """All are there once; no unit is torn, no row twice in a transaction, and one row's commands stay in line."""
    parts = together(commands, rows_max, CONTRACTS)
    assert sorted(place for part in parts for place in part) == list(range(len(commands)))
    for part in parts:
        rows = [row_of(commands[place]) for place in part]
        assert len(set(rows)) == len(rows) <= rows_max
        assert len({target for target, _, _ in rows}) == 1
    for target in ("copy", "third"):
        mine = [part for part in parts if commands[part[0]].target == target]
        assert_in_line(commands, mine, rows_max)


def assert_in_line(commands: Sequence[RepairCommand], parts: Sequence[Sequence[int]], rows_max: int) -> None:
    """Hold the transactions of one target against what is said of units, rows and generations."""
    line = [place for part in parts for place in part]
    at = {place: number for number, place in enumerate(line)}
    units: dict[object, list[int]] = {}
    for place in sorted(line):
        units.setdefault(unit_of(commands[place]), []).append(place)
    for unit in units.values():
        places = sorted(at[place] for place in unit)
        assert places == list(range(places[0], places[0] + len(unit)))
        if len({row_of(commands[place]) for place in unit}) == len(unit) <= rows_max:
            assert sum(not set(unit).isdisjoint(part) for part in parts) == 1
    came = {place: (units[unit_of(commands[place])][0], place) for place in line}
    for one, other in combinations(line, 2):
        if row_of(commands[one]) == row_of(commands[other]):
            assert came[one] < came[other]
    # What is alone with its row stands exactly where it belongs, equals as they came.
    named = Counter(row_of(command) for command in commands)
    alone = [p for p in line if len(units[unit_of(commands[p])]) == 1 and named[row_of(commands[p])] == 1]
    assert alone == sorted(alone, key=lambda place: (place_in_line(commands[place]), place))


@settings(max_examples=200, deadline=None)
@given(commands=polls())
def test_the_order_within_a_transaction(commands: list[RepairCommand]) -> None:
    """Rows without children go first, then parents are written before children, then parents go, the youngest first."""
    commands = [command for command in commands if command.target == "copy"]
    line = [(commands[place], place) for place in within(commands, CONTRACTS)]
    assert sorted(place for _, place in line) == list(range(len(commands)))

    def rank(command: RepairCommand) -> tuple[int, int]:
        deletes, generation = place_in_line(command)
        return (2, generation) if deletes == 0 and command.entity in {"customers", "orders"} else (deletes, generation)

    assert line == sorted(line, key=lambda each: (rank(each[0]), each[1]))


def test_a_unit_of_several_ranks_comes_with_its_first() -> None:
    """And of those with the same first the one whose last is earlier, so that a parent's unit is before a child's."""
    world = World(None, None)

    def command(entity: str, intended: str | None, source: str = "") -> RepairCommand:
        key = b"%d" % world.drifts
        return of(entity, world.command("a", intended, key, source), key)

    item, both = command("items", "b"), [command("items", "b", "s"), command("orders", "b", "s")]
    going, parent = [command("customers", None, "t"), command("items", None, "t")], command("orders", None)
    order = command("orders", "b")
    commands = [item, *both, *going, parent, order]
    line = [commands[place] for part in together(commands, 9, CONTRACTS) for place in part]
    assert line == [going[1], going[0], parent, order, both[1], both[0], item]


def test_tables_below_an_entity() -> None:
    """Of all generations, in the one store; in another one the same entity may have no children."""
    assert tables_below(["customers"], "copy", CONTRACTS) == {"copy.orders", "copy.items"}
    assert (
        tables_below(["items", "notes"], "copy", CONTRACTS) == tables_below(["customers"], "third", CONTRACTS) == set()
    )


# -- on a store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign_key", ["", "restricts", "cascades"])
@pytest.mark.parametrize("rows_per_transaction", [1, 2, 9])
def test_extra_rows_go_children_first(foreign_key: str, rows_per_transaction: int) -> None:
    """Named parents first, all are gone after one round, and no row was without its parent meanwhile."""
    world = Families(foreign_key, rows_per_transaction)
    commands = [world.repairs(entity, key, None, value) for entity, key, value in EXTRAS]
    outcomes = world.applier().carry_out_all(commands)
    assert [o.command_id for o in outcomes] == [c.command_id for c in commands]
    assert told(outcomes) == [APPLIED] * 4
    assert (world.target.rows, world.orphans) == ({}, [])


@pytest.mark.parametrize("foreign_key", ["", "restricts", "cascades"])
@pytest.mark.parametrize("rows_per_transaction", [1, 2, 9])
def test_missing_rows_come_parents_first(foreign_key: str, rows_per_transaction: int) -> None:
    """Named children first, all are there after one round, and no row was without its parent meanwhile."""
    world = Families(foreign_key, rows_per_transaction)
    commands = [world.repairs(entity, key, value, None) for entity, key, value in reversed(EXTRAS)]
    applier = world.applier()
    assert told(applier.carry_out_all(commands)) == [APPLIED] * 4
    assert (len(world.target.rows), world.orphans) == (4, [])
    written = [r for r in world.target.ledger_rows() if r.kind is LedgerKind.COMMAND]
    assert [r.entity for r in written] == ["customers", "orders", "items", "items"]
    # Taken back, they go the other way, whoever is named first: an undo of an insert is a delete.
    undos = [undo_of(r, CONTRACTS[r.entity], world.now_ms, 9_000) for r in written]
    assert told(applier.apply_all([(signed(undo, ANNA), undo.partition) for undo in undos])) == [APPLIED] * 4
    assert (world.target.rows, world.orphans) == ({}, [])


def test_a_parent_whose_children_are_still_there_is_held_and_not_refused() -> None:
    """Its delete would take them too; once they are gone it goes, by the same command."""
    world = Families("cascades")
    parent, *children = [world.repairs(entity, key, None, value) for entity, key, value in EXTRAS]
    shown = Rehearsing(world.applier()).rehearse(b"b" * 32, signed(parent), parent.partition)
    assert shown is not None
    assert (shown.reason, shown.detail) == (RefusalReason.FOREIGN_KEY, "rows of child entities are still there")
    outcome = world.applier().carry_out(parent)
    assert told([outcome]) == [HELD]
    assert outcome.detail == "rows of child entities are still there"
    assert len(world.target.rows) == 4
    assert world.target.ledger == {}
    assert told(world.applier().carry_out_all(children)) == [APPLIED] * 3
    assert told([world.applier().carry_out(parent)]) == [APPLIED]


def test_whatever_else_a_delete_touches_refuses_it() -> None:
    """A table of nobody's, also beside those of children; and a write takes no children with it."""
    world = Families("cascades")
    world.target.audits = True
    refused = (Outcome.REFUSED, RefusalReason.WIDER_THAN_ONE_ROW)
    parent, *_ = [world.repairs(entity, key, None, value) for entity, key, value in EXTRAS]
    assert told([world.applier().carry_out(parent)]) == [refused]
    assert told([world.applier().carry_out(world.repairs("notes", b"n", None, "-"))]) == [refused]
    assert told([world.applier().carry_out(world.repairs("customers", b"bert", "new", "old"))]) == [refused]


def test_a_source_transaction_waits_for_a_child_that_it_does_not_name() -> None:
    """All of it is held, nobody is asked, and it goes when the child is gone."""
    world = Families("cascades", 9)
    parent, order, item, other = [world.repairs(entity, key, None, value, "s") for entity, key, value in EXTRAS]
    outcomes = world.applier().carry_out_all([parent, order, item])
    assert told(outcomes) == [HELD] * 3
    assert len(world.target.rows) == 4
    alone = replace(other, source_transaction="")
    assert told(world.applier().carry_out_all([parent, order, item, alone])) == [APPLIED] * 4


@pytest.mark.parametrize("foreign_key", ["", "restricts", "cascades"])
@pytest.mark.parametrize("source", ["", "s"])
def test_a_child_is_handed_on_before_its_former_parent_goes(foreign_key: str, source: str) -> None:
    """Two customers were made one: in one transaction nothing is taken away that was to be kept."""
    world = Families(foreign_key, 9)
    world.repairs("customers", b"bert", "-", "-")
    going = world.repairs("customers", b"anna", None, "-", source)
    handed = world.repairs("orders", b"o1", "bert", "anna", source)
    assert told(world.applier().carry_out_all([going, handed])) == [APPLIED] * 2
    assert world.target.rows["orders", b"o1"] == row("bert")


def test_a_delete_of_another_transaction_waits_until_its_child_is_handed_on() -> None:
    """Between transactions deletes come first: what comes too early so is held, and right the next time."""
    world = Families("cascades")
    world.repairs("customers", b"bert", "-", "-")
    going = world.repairs("customers", b"anna", None, "-")
    handed = world.repairs("orders", b"o1", "bert", "anna")
    assert told(world.applier().carry_out_all([handed, going])) == [APPLIED, HELD]
    assert told([world.applier().carry_out(going)]) == [APPLIED]
    assert world.target.rows["orders", b"o1"] == row("bert")


@pytest.mark.parametrize("entity", ["notes", "customers"])
@pytest.mark.parametrize("rows_per_transaction", [1, 9])
def test_a_value_that_a_delete_frees_is_there_for_whoever_takes_it(entity: str, rows_per_transaction: int) -> None:
    """The command is old, so it would be refused for good if it came first, in a transaction of its own."""
    world = Families("", rows_per_transaction)
    world.target.unique = "value"
    taking = world.repairs(entity, b"new", "the value", None)
    freeing = world.repairs(entity, b"old", None, "the value")
    assert told(world.applier().carry_out_all([taking, freeing])) == [APPLIED] * 2


def test_a_row_that_is_repaired_twice_keeps_its_order() -> None:
    """Written and then deleted, though deletes come first, and what is another row's does."""
    world = Families()
    first = world.repairs("orders", b"o1", "anna", None)
    other = world.repairs("orders", b"o2", None, "anna")
    second = of("orders", world.command("anna", None, b"o1"), b"o1")
    steps: list[int] = []

    def let_go(name: str) -> None:
        if name == "check_recorded":
            # Meanwhile the authority's row goes.
            world.authority.put("orders", b"o1", None)
            steps.append(len(world.target.rows))

    outcomes = world.applier(let_go).carry_out_all([first, second, other])
    assert told(outcomes) == [APPLIED] * 3
    assert (steps, world.target.rows) == ([1], {})


def test_the_loop_carries_parents_out_first_and_commits_nothing_that_is_left() -> None:
    """Stopped between the two, it has committed neither: the child came first, and is still to be done."""
    world = Families("restricts")
    parent = world.repairs("customers", b"anna", "-", None)
    child = world.repairs("orders", b"o1", "anna", None)

    def rig_of(stop_at: str) -> Rig:
        rig = Rig(world)
        rig.broker.say(Said.RESUME)
        for command in (child, parent):
            rig.broker.command(command)

        def stop(name: str) -> None:
            if name == stop_at:
                rig.loop.stopping.set()

        object.__setattr__(rig.loop.applier, "failpoint", stop)
        return rig

    rig = rig_of("outcome_sent")
    rig.run(5)
    assert (list(world.target.rows), rig.broker.committed) == ([("customers", b"anna")], {})
    rig = rig_of("")
    assert [o.command_id for o in rig.run(5)] == [parent.command_id, child.command_id]
    assert (len(world.target.rows), rig.broker.committed) == (2, {0: 2})
