# ruff: noqa: S608 - constants of these tests stand in the statements, never input
"""What only real databases show: rights, triggers, lost answers, cut connections, columns that cannot hold a value."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from app.adapters.memory_rows import MemoryRows
from app.adapters.own_tables import accepts_server, raises_fence, run, statements
from app.adapters.preflight_fences import read_fence
from app.adapters.side_effects import side_effects
from app.adapters.sql_clients import Use
from app.applier.rehearse import Rehearsing
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, command_id
from app.core.contract import EntityContract, Field, FieldKind, FieldType
from app.core.errors import Unready
from app.core.guard import Fence, Limits, Refused
from app.core.rehearsal import UNCOUNTED, Rehearsal, Touched
from app.core.shard import shard_of
from app.core.store import StoreKind
from app.core.transform import aligned, transform_of
from app.core.undo import undo_of
from app.ports import RowName, RowRead, RowsRefused, RowWrite, Way
from tests.contract.row_worlds import (
    COLUMNS,
    DIGEST_KEY,
    ENTITY,
    OWN_SCHEMA,
    SCHEMA,
    MariadbWorld,
    PostgresWorld,
    SqlWorld,
    contract,
    key_of,
    settings_of,
    thing,
)
from tests.contract.test_rows import ledger_row
from tests.integration.running_stack import running_stack
from tests.seals import SEALS
from tests.signatures import ANNA, BELIEF, PlannedApplier, signed

pytestmark = pytest.mark.stack

KEY = key_of(1)
KINDS = [StoreKind.POSTGRES, StoreKind.MARIADB]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., SqlWorld]]:
    """Yield a maker of a table of things whose store is a replica."""
    kind: StoreKind = request.param
    told = running_stack(kind.value)[kind.value]
    made: list[SqlWorld] = []

    def maker(*, deletes: bool = True, ignores: tuple[str, ...] = ()) -> SqlWorld:
        authority = StoreKind.MARIADB if kind is StoreKind.POSTGRES else StoreKind.POSTGRES
        world = PostgresWorld if kind is StoreKind.POSTGRES else MariadbWorld
        agreed = contract(authority, deletes=deletes)
        fields = [replace(f, normalise=ignores) if f.type.kind is FieldKind.STRING else f for f in agreed.fields]
        made.append(world(settings_of(kind, told, tmp_path), replace(agreed, fields=tuple(fields))))
        return made[-1]

    yield maker
    for world in made:
        world.close()


class Authority(MemoryRows):
    """An authority that shows what it is told, with the target's own digests."""

    def __init__(self) -> None:
        super().__init__(())
        self.shown = RowRead()

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Return what it was told to show."""
        return [self.shown for _ in rows]


def repair(
    world: SqlWorld, values: dict[str, object] | None, finding_id: bytes = b"f" * 16
) -> tuple[PlannedApplier, RepairCommand]:
    """Return an applier, and the command that leaves these values in the target's row."""
    agreed: EntityContract = world.agreed
    target = agreed.replicas[0].store
    expected = world.store.read([(ENTITY, KEY)])[0].digest
    authority = Authority()
    if values is not None:
        table = world.sql.table(ENTITY)
        authority.shown = RowRead(_digest_of(table, values), values)
    command = RepairCommand(
        command_id=command_id(finding_id, target, expected, authority.shown.digest),
        finding_id=finding_id,
        incident_id=b"",
        entity=ENTITY,
        contract_version=agreed.version,
        authority=agreed.authority,
        target=target,
        action=Action.DELETE if values is None else Action.UPSERT,
        kind="different",
        sealed_key=SEALS.seal_key(ENTITY, KEY),
        key_hash=b"h" * 16,
        partition=0,
        expected_digest=expected,
        intended_digest=authority.shown.digest,
        authority_position=b"",
        needs_approval=False,
        reason="",
        expires_at_ms=10**15,
        fence_token=0,
        trace_id=b"t" * 16,
    )
    applier = PlannedApplier(
        contracts={ENTITY: agreed},
        stores={agreed.authority: authority, target: world.store},
        targets=frozenset({target}),
        seals=SEALS,
        belief=BELIEF,
        words_on=lambda _: (),
        now_wall_ms=lambda: 1_800_000_000_000,
    )
    return applier, command


def _digest_of(table: Any, values: dict[str, object]) -> bytes:  # noqa: ANN401 - the adapter's own
    """Digest values as a store would show them that holds them all."""
    from app.core.digest import Dialect, RowDigester, row_digest
    from tests.contract.row_worlds import DIGEST_KEY

    digester = RowDigester(table.contract, "pg", Dialect.POSTGRES_SQL, DIGEST_KEY)
    raw = {COLUMNS[name]: value for name, value in values.items()}
    raw[COLUMNS["seen"]] = "2023-11-14 22:13:20.123456+00"
    return row_digest(digester.groups(raw))


def test_the_digest_of_these_tests_is_the_stores_own(make: Callable[..., SqlWorld]) -> None:
    """What the authority is made to show has the digest that the target has for the same values."""
    world = make()
    world.put(1, thing())
    assert world.store.read([(ENTITY, KEY)])[0].digest == _digest_of(world.sql.table(ENTITY), thing())


def test_a_spelling_is_aligned_and_taken_back(make: Callable[..., SqlWorld]) -> None:
    """Blanks and case of the named column alone, by a real UPDATE and its undo; the digest never moves."""
    world = make(ignores=("trim_end", "lower"))
    world.put(1, thing(name="Anna ", code="C"))
    (shown,) = world.store.read([(ENTITY, KEY)])
    world.put(1, thing(name="anna"))
    applier, upsert = repair(world, None)
    authority = applier.stores[world.agreed.authority]
    assert isinstance(authority, Authority)
    authority.shown = shown
    (policy,) = (replace(each.repair, transform=frozenset({"name"})) for each in world.agreed.replicas)
    agreed = replace(world.agreed, replicas=(replace(world.agreed.replicas[0], repair=policy),))
    applier = replace(applier, contracts={ENTITY: agreed})
    (before,) = world.store.read([(ENTITY, KEY)])
    command = transform_of(
        agreed,
        upsert.target,
        key_hash=upsert.key_hash,
        sealed_key=upsert.sealed_key,
        partition=0,
        columns=("name",),
        expected_spelling=world.store.spelling(ENTITY, before.values),
        intended_spelling=world.store.spelling(ENTITY, aligned(before.values, shown.values, ["name"])),
        now_wall_ms=1_800_000_000_000,
        life_ms=3_600_000,
    )
    assert applier.apply(signed(command, ANNA), 0).reason is None
    (after,) = world.store.read([(ENTITY, KEY)])
    assert (after.values["name"], after.values["code"], after.digest) == ("Anna ", "c", before.digest)
    undo = undo_of(world.store.recorded([command.command_id])[command.command_id], agreed, 1_800_000_000_000, 3_600_000)
    assert applier.apply(signed(undo, ANNA), 0).reason is None
    assert world.store.read([(ENTITY, KEY)]) == [before]


def test_a_parent_of_the_same_transaction_is_written_before_its_child(make: Callable[..., SqlWorld]) -> None:
    """Named after it, by a real foreign key; and one whose parent comes nowhere is refused alone."""
    world = make()
    name = world.quoted(COLUMNS["name"]).replace("%%", "%")
    world.execute(f"ALTER TABLE {SCHEMA}.things ADD CONSTRAINT names UNIQUE ({name})")
    collated = "" if world.settings.kind is StoreKind.POSTGRES else "MODIFY code varchar(20), "
    world.execute(
        f"ALTER TABLE {SCHEMA}.things {collated}ADD CONSTRAINT named FOREIGN KEY (code)"
        f" REFERENCES {SCHEMA}.things ({name})"
    )
    transaction = world.store.begin([(ENTITY, key_of(number)) for number in (1, 2, 3)])
    transaction.record([ledger_row()])
    child, parent = thing(name="child", code="parent"), {**thing(name="parent"), "code": None}
    rows = [RowWrite(Way.INSERT, child), RowWrite(Way.INSERT, parent)]
    with pytest.raises(RowsRefused) as no:
        transaction.write([*rows, RowWrite(Way.INSERT, thing(name="lost", code="nobody"))])
    assert {at: why.reason for at, why in no.value.by_place.items()} == {2: RefusalReason.FOREIGN_KEY}
    transaction.rollback()
    transaction = world.store.begin([(ENTITY, key_of(number)) for number in (1, 2)])
    transaction.record([ledger_row()])
    assert transaction.write(rows) == 2
    assert transaction.other_tables() == ()
    transaction.commit()
    read = world.store.read([(ENTITY, key_of(number)) for number in (1, 2)])
    assert [each.values["name"] for each in read] == ["child", "parent"]


CHILDREN = "children"


class Family:
    """Things and their children, in tables of one store, and what repairs both."""

    def __init__(self, world: SqlWorld, *, cascades: bool, rows_per_transaction: int) -> None:
        self.world = world
        key = f", FOREIGN KEY (parent) REFERENCES {SCHEMA}.things (id) ON DELETE CASCADE" if cascades else ""
        world.execute(f"CREATE TABLE {SCHEMA}.child (id bigint PRIMARY KEY, parent bigint{key})")
        agreed = world.agreed
        (replica,) = agreed.replicas
        columns = dict.fromkeys((table.store for table in agreed.stores), "parent")
        children = replace(
            agreed,
            entity=CHILDREN,
            number=agreed.number + 1,
            fields=(Field("parent", FieldType(FieldKind.INT64), columns),),
            stores=tuple(replace(table, table=f"{SCHEMA}.child") for table in agreed.stores),
            replicas=(replace(replica, repair=replace(replica.repair, parents=(ENTITY,))),),
        )
        self.contracts = {ENTITY: agreed, CHILDREN: children}
        assert run(world.settings, statements(world.settings, self.contracts.values())) == []
        self.store = type(world.sql)(world.settings, self.contracts.values(), DIGEST_KEY)
        self.authority = Told()
        applier, self.like = repair(world, None)
        self.applier = replace(
            applier,
            contracts=self.contracts,
            stores={agreed.authority: self.authority, replica.store: self.store},
            limits=Limits(rows_per_transaction=rows_per_transaction),
        )

    def put(self, things: Sequence[int], children: Sequence[tuple[int, int]]) -> None:
        """Write rows as the application does: things by their numbers, and children with their parents' numbers."""
        for number in things:
            self.world.put(number, thing(code=f"code {number}"))
        for number, parent in children:
            self.world.execute(f"INSERT INTO {SCHEMA}.child VALUES (%s, %s)", number, parent)

    def there(self) -> tuple[list[int], list[int]]:
        """Return the things and the children that there are."""
        things, children = (
            [number for (number,) in self.world.execute(f"SELECT id FROM {SCHEMA}.{table} ORDER BY id")]
            for table in ("things", "child")
        )
        return things, children

    def repair(self, entity: str, number: int) -> RepairCommand:
        """Return the command that makes a row what the authority shows."""
        key = key_of(number)
        (expected,), (intended,) = self.store.read([(entity, key)]), self.authority.read([(entity, key)])
        finding_id = f"{entity} {number}".encode().ljust(16)
        return replace(
            self.like,
            command_id=command_id(finding_id, self.like.target, expected.digest, intended.digest),
            finding_id=finding_id,
            entity=entity,
            action=Action.UPSERT if intended.digest else Action.DELETE,
            sealed_key=SEALS.seal_key(entity, key),
            key_hash=finding_id,
            expected_digest=expected.digest,
            intended_digest=intended.digest,
        )

    def carry_out(self, *rows: tuple[str, int]) -> list[tuple[Outcome, RefusalReason | None, str]]:
        """Repair rows by entity and number, in the order in which they are named; return what became of each."""
        outcomes = self.applier.carry_out_all([self.repair(entity, number) for entity, number in rows])
        return [(outcome.outcome, outcome.reason, outcome.detail) for outcome in outcomes]


class Told(MemoryRows):
    """An authority that shows of each row what it was told, and of others that they are not there."""

    def __init__(self) -> None:
        super().__init__(())
        self.shown: dict[RowName, RowRead] = {}

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Return what it was told."""
        return [self.shown.get(name, RowRead()) for name in rows]


@pytest.fixture
def family(make: Callable[..., SqlWorld]) -> Iterator[Callable[..., Family]]:
    """Yield a maker of things with children."""
    made: list[Family] = []

    def maker(*, cascades: bool, rows_per_transaction: int = 1) -> Family:
        made.append(Family(make(), cascades=cascades, rows_per_transaction=rows_per_transaction))
        return made[-1]

    yield maker
    for each in made:
        each.store.close()


APPLIED = (Outcome.APPLIED, None, "")


@pytest.mark.parametrize("rows_per_transaction", [1, 200])
@pytest.mark.parametrize("cascades", [False, True])
def test_extra_children_go_before_their_extra_parents(
    family: Callable[..., Family],
    rows_per_transaction: int,
    cascades: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Though they are named behind them: each by its own command, also where the parent's would take them along."""
    rows = family(cascades=cascades, rows_per_transaction=rows_per_transaction)
    rows.put([1, 2], [(11, 1), (12, 1), (21, 2)])
    assert rows.carry_out((ENTITY, 1), (ENTITY, 2), (CHILDREN, 11), (CHILDREN, 21), (CHILDREN, 12)) == [APPLIED] * 5
    assert rows.there() == ([], [])
    assert rows_in_order(rows) == [CHILDREN] * 3 + [ENTITY] * 2


def rows_in_order(rows: Family) -> list[str]:
    """Return the entities of the repairs in the ledger, in the order in which they were written."""
    found = rows.world.execute(
        f"SELECT entity FROM {OWN_SCHEMA}.driftline_ledger WHERE kind = 'command' ORDER BY sequence"
    )
    return [entity for (entity,) in found]


@pytest.mark.parametrize("rows_per_transaction", [1, 200])
@pytest.mark.parametrize("cascades", [False, True])
def test_a_missing_parent_is_written_before_its_missing_children(
    family: Callable[..., Family],
    rows_per_transaction: int,
    cascades: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Though it is named behind them, and also where no foreign key asks for it."""
    rows = family(cascades=cascades, rows_per_transaction=rows_per_transaction)
    rows.put([1], [(11, 1), (12, 1)])
    names = [(ENTITY, 1), (CHILDREN, 11), (CHILDREN, 12)]
    keys = [(entity, key_of(number)) for entity, number in names]
    rows.authority.shown = dict(zip(keys, rows.store.read(keys), strict=True))
    for table in ("child", "things"):
        rows.world.execute(f"DELETE FROM {SCHEMA}.{table}")
    assert rows.carry_out(*reversed(names)) == [APPLIED] * 3
    assert rows.there() == ([1], [11, 12])
    assert rows_in_order(rows) == [ENTITY] + [CHILDREN] * 2


def test_an_extra_parent_that_would_take_its_children_is_held_until_they_are_gone(
    family: Callable[..., Family],
) -> None:
    """It came by an earlier poll than they did; nothing is written then, and nothing is refused for good."""
    rows = family(cascades=True)
    rows.put([1], [(11, 1)])
    held = (Outcome.HELD, RefusalReason.FOREIGN_KEY, "rows of child entities are still there")
    assert rows.carry_out((ENTITY, 1)) == [held]
    assert rows.there() == ([1], [11])
    assert list(rows.store.ledger_rows()) == []
    assert rows.carry_out((CHILDREN, 11)) == [APPLIED]
    assert rows.carry_out((ENTITY, 1)) == [APPLIED]
    assert rows.there() == ([], [])


def test_an_extra_parent_that_would_take_more_than_children_is_refused(family: Callable[..., Family]) -> None:
    """A table that no contract names hangs on it as well."""
    rows = family(cascades=True)
    rows.put([1], [(11, 1)])
    key = f"FOREIGN KEY (parent) REFERENCES {SCHEMA}.things (id) ON DELETE CASCADE"
    rows.world.execute(f"CREATE TABLE {SCHEMA}.other (parent bigint, {key})")
    assert run(rows.world.settings, statements(rows.world.settings, rows.contracts.values())) == []
    rows.world.execute(f"INSERT INTO {SCHEMA}.other VALUES (1)")
    ((outcome, reason, detail),) = rows.carry_out((ENTITY, 1))
    assert (outcome, reason) == (Outcome.REFUSED, RefusalReason.WIDER_THAN_ONE_ROW)
    assert {f"{SCHEMA}.child", f"{SCHEMA}.other"} == set(detail.removeprefix("touched besides: ").split(", "))
    assert rows.there() == ([1], [11])


def test_a_child_that_is_handed_on_outlives_its_former_parent(family: Callable[..., Family]) -> None:
    """In one transaction, though the foreign key would take it away with the parent, which is named first."""
    rows = family(cascades=True, rows_per_transaction=200)
    rows.put([1, 2], [(11, 2)])
    child = (CHILDREN, key_of(11))
    rows.authority.shown = dict(zip([child], rows.store.read([child]), strict=True))
    rows.world.execute(f"UPDATE {SCHEMA}.child SET parent = 1")
    assert rows.carry_out((ENTITY, 1), (CHILDREN, 11)) == [APPLIED] * 2
    assert rows.there() == ([2], [11])


def test_the_fields_of_the_index_that_says_no_are_known(make: Callable[..., SqlWorld]) -> None:
    """Of one over several columns all, in the catalogue's order; of one over more or less than whole columns none."""
    world = make()
    name = world.quoted(COLUMNS["name"]).replace("%%", "%")
    world.execute(f"ALTER TABLE {SCHEMA}.things {DROP_CODE[world.settings.kind]}")
    for number, code in ((1, "a"), (2, "b"), (3, "c")):
        world.put(number, thing(name="n", code=code))

    def told() -> dict[int, tuple[str, ...]]:
        transaction = world.store.begin([(ENTITY, key_of(number)) for number in (1, 2)])
        transaction.lock()
        with pytest.raises(RowsRefused) as no:
            transaction.write([RowWrite(Way.UPDATE, thing(name="n", code=code)) for code in ("c", "a")])
        transaction.rollback()
        assert {at: why.reason for at, why in no.value.by_place.items()} == dict.fromkeys(
            no.value.by_place, RefusalReason.UNIQUE_CONFLICT
        )
        return dict(no.value.unique_fields)

    is_postgres = world.settings.kind is StoreKind.POSTGRES
    kinds = {
        f"code, {name}": ("code", "name"),
        "code, outside" if is_postgres else "code, outside(9)": (),
        "lower(code)" if is_postgres else "code(1)": (),
        "code) WHERE (id > 0" if is_postgres else "code(2), amount": (),
    }
    for columns, fields in kinds.items():
        world.execute(f"CREATE UNIQUE INDEX tried ON {SCHEMA}.things ({columns})")
        assert told() == (dict.fromkeys(range(2), fields) if fields else {})
        world.execute(f"DROP INDEX {SCHEMA}.tried" if is_postgres else f"DROP INDEX tried ON {SCHEMA}.things")


DROP_CODE = {StoreKind.POSTGRES: "DROP CONSTRAINT things_code_key", StoreKind.MARIADB: "DROP INDEX code"}


class Authorities(Authority):
    """An authority that shows each row as it is told, by its key."""

    def __init__(self) -> None:
        super().__init__()
        self.by_key: dict[bytes, RowRead] = {}

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Return what it was told to show."""
        return [self.by_key[key] for _, key in rows]


def repairs_of(world: SqlWorld, wanted: dict[int, dict[str, object]]) -> tuple[PlannedApplier, list[RepairCommand]]:
    """Return an applier, and commands just planned that leave these values in rows, by their numbers."""
    applier, like = repair(world, None)
    authority = Authorities()
    commands = []
    for number, values in wanted.items():
        key, finding_id = key_of(number), bytes([number]) * 16
        shown = authority.by_key[key] = RowRead(_digest_of(world.sql.table(ENTITY), values), values)
        expected = world.store.read([(ENTITY, key)])[0].digest
        commands.append(
            replace(
                like,
                command_id=command_id(finding_id, like.target, expected, shown.digest),
                finding_id=finding_id,
                action=Action.UPSERT,
                sealed_key=SEALS.seal_key(ENTITY, key),
                key_hash=finding_id,
                expected_digest=expected,
                intended_digest=shown.digest,
                planned_at_ms=1_800_000_000_000,
            )
        )
    return replace(applier, stores={**applier.stores, world.agreed.authority: authority}), commands


def test_rows_wait_for_unique_values_whatever_else_they_exchange(make: Callable[..., SqlWorld]) -> None:
    """Two that want others' codes and exchange names are held, and go once those are free; exchanged codes end them."""
    world = make()
    for number, name, code in ((1, "m", "a"), (2, "n", "b"), (3, "o", "x"), (4, "o", "y")):
        world.put(number, thing(name=name, code=code))
    applier, commands = repairs_of(world, {1: thing(name="n", code="x"), 2: thing(name="m", code="y")})
    outcomes = applier.carry_out_all(commands)
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.HELD, RefusalReason.VALUE_TAKEN)] * 2
    for number, code in ((3, "p"), (4, "q")):
        world.put(number, thing(name="o", code=code))
    assert [o.reason for o in applier.carry_out_all(commands)] == [None] * 2
    applier, commands = repairs_of(world, {1: thing(name="n", code="y"), 2: thing(name="k", code="x")})
    outcomes = applier.carry_out_all(commands)
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.REFUSED, RefusalReason.UNIQUE_CONFLICT)] * 2
    assert all(o.detail.endswith('rows exchange the values of field "code"') for o in outcomes)


OF_POSTGRES = {
    # Each with what the role has by itself here, and what the connection has all the same.
    "transaction_isolation": ("serializable", "read committed"),
    "statement_timeout": ("0", "10s"),
    "lock_timeout": ("0", "1ms"),
    "idle_in_transaction_session_timeout": ("0", "20s"),
    "synchronous_commit": ("off", "on"),
    "row_security": ("on", "off"),
    "TimeZone": ("Europe/Zurich", "UTC"),
    "DateStyle": ("German", "ISO, YMD"),
    "IntervalStyle": ("postgres", "iso_8601"),
    "bytea_output": ("escape", "hex"),
    "extra_float_digits": ("0", "1"),
    "search_path": ("public", "pg_catalog"),
    "standard_conforming_strings": ("off", "on"),
}
OF_MARIADB = {
    # Each with what the server has by itself here, and what the connection has all the same.
    "tx_isolation": ("'SERIALIZABLE'", "READ-COMMITTED"),
    "max_statement_time": ("0", 10),
    "innodb_lock_wait_timeout": ("50", 0),
    "lock_wait_timeout": ("50", 0),
    "idle_transaction_timeout": ("0", 20),
    "sql_mode": ("''", "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"),
    "time_zone": ("'+05:00'", "+00:00"),
    "foreign_key_checks": ("0", 1),
    "unique_checks": ("0", 1),
}


def test_a_writing_connection_has_its_own_settings_whatever_the_servers_are(make: Callable[..., SqlWorld]) -> None:
    """It reads what was committed, waits for no lock, and neither its statements nor its silence last."""
    world = make()
    if world.settings.kind is StoreKind.POSTGRES:
        for name, (by_itself, _) in OF_POSTGRES.items():
            set_name = f"default_{name}" if name == "transaction_isolation" else name
            world.execute(f"ALTER ROLE applier_test_apply SET {set_name} = '{by_itself}'")
        cursor = world.sql.writing().cursor()
        found = {name: cursor.execute(f"SHOW {name}").fetchone()[0] for name in OF_POSTGRES}
        assert found == {name: pinned for name, (_, pinned) in OF_POSTGRES.items()}
        assert not world.sql.writing().autocommit
        return
    ((*before,),) = world.execute("SELECT " + ", ".join(f"@@global.{name}" for name in OF_MARIADB))
    assign = ", ".join(f"GLOBAL {name} = %s" for name in OF_MARIADB)
    try:
        world.execute("SET " + ", ".join(f"GLOBAL {name} = {by_itself}" for name, (by_itself, _) in OF_MARIADB.items()))
        cursor = world.sql.writing().cursor()
        cursor.execute("SELECT " + ", ".join(f"@@session.{name}" for name in OF_MARIADB))
        found = dict(zip(OF_MARIADB, cursor.fetchone(), strict=True))
    finally:
        world.execute(f"SET {assign}", *before)
    assert found == {name: pinned for name, (_, pinned) in OF_MARIADB.items()}
    assert not world.sql.writing().get_autocommit()


FORBIDDEN = [
    # The contract's table, beyond what a repair writes.
    "UPDATE {schema}.things SET outside = 'x'",
    "UPDATE {schema}.things SET id = 9",
    "INSERT INTO {schema}.things (id, outside) VALUES (9, 'x')",
    "DELETE FROM {schema}.things",
    "DROP TABLE {schema}.things",
    "TRUNCATE TABLE {schema}.things",
    "ALTER TABLE {schema}.things ADD COLUMN mine integer",
    "CREATE INDEX mine ON {schema}.things (code)",
    # Other tables, and new ones.
    "SELECT * FROM {schema}.audit",
    "INSERT INTO {schema}.audit VALUES ('x')",
    "UPDATE {schema}.audit SET what = 'x'",
    "DELETE FROM {schema}.audit",
    "DROP TABLE {schema}.audit",
    "CREATE TABLE {schema}.mine (id integer)",
    "CREATE TABLE {own}.mine (id integer)",
    "CREATE VIEW {schema}.mine AS SELECT 1 AS one",
    # The ledger: rows are added, and never anything else.
    "UPDATE {own}.driftline_ledger SET outcome = 'applied'",
    "UPDATE {own}.driftline_ledger SET chain = ''",
    "DELETE FROM {own}.driftline_ledger",
    "TRUNCATE TABLE {own}.driftline_ledger",
    "DROP TABLE {own}.driftline_ledger",
    "ALTER TABLE {own}.driftline_ledger ADD COLUMN mine integer",
    # The flags and the signs of other roles.
    "UPDATE {own}.driftline_fence SET token = 0 WHERE scope = 'stop'",
    "UPDATE {own}.driftline_fence SET token = 9",
    "INSERT INTO {own}.driftline_fence (scope, token) VALUES ('mine', 0)",
    "DELETE FROM {own}.driftline_fence",
    "UPDATE {own}.driftline_beacon SET sequence = 9",
    "SELECT * FROM {own}.driftline_beacon",
    "INSERT INTO {own}.driftline_signal (id, type) VALUES ('x', 'execute-snapshot')",
]
ONLY_POSTGRES = [
    "INSERT INTO {schema}.things (id, code) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET outside = 'x'",
    "MERGE INTO {schema}.things t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "COPY {schema}.things TO PROGRAM 'true'",
    "COPY {schema}.things TO '/tmp/x'",
    "COPY {schema}.things (code) FROM '/etc/hostname'",
    "COPY {schema}.audit TO STDOUT",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' LIMIT 1",
    "SELECT * FROM pg_authid",
    "ALTER ROLE applier_test_apply SUPERUSER",
    "GRANT pg_read_all_data TO applier_test_apply",
    "CREATE ROLE applier_test_more",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION file_fdw",
    "CREATE TABLE public.mine (id integer)",
    "ALTER TABLE {own}.driftline_ledger RENAME TO mine",
    "CREATE TRIGGER mine AFTER UPDATE ON {schema}.things EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE TRIGGER mine BEFORE INSERT ON {own}.driftline_ledger EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON INSERT TO {own}.driftline_ledger DO INSTEAD NOTHING",
    "ALTER TABLE {own}.driftline_ledger DISABLE TRIGGER ALL",
    "ALTER TABLE {own}.driftline_ledger OWNER TO applier_test_apply",
    "ALTER SYSTEM SET fsync = off",
    # What tells how far the standbys are runs with its owner's rights.
    "ALTER FUNCTION {own}.driftline_standbys() OWNER TO applier_test_apply",
    "ALTER FUNCTION {own}.driftline_standbys() SET search_path = {schema}",
    "GRANT pg_read_all_stats TO applier_test_apply",
    "SELECT pg_ls_dir('.')",
    "BEGIN; LOCK TABLE {own}.driftline_ledger IN ACCESS EXCLUSIVE MODE",
]
ONLY_MARIADB = [
    "REPLACE INTO {schema}.things (id, code) VALUES (1, 'x')",
    "INSERT INTO {schema}.things (id) VALUES (1) ON DUPLICATE KEY UPDATE outside = 'x'",
    "REPLACE INTO {own}.driftline_ledger (command_id) VALUES ('x')",
    "SET SESSION sql_log_bin = 0",
    "SET GLOBAL read_only = 0",
    "SET ROLE root",
    "SELECT code FROM {schema}.things INTO OUTFILE '/tmp/driftline-x'",
    "LOAD DATA INFILE '/etc/hostname' INTO TABLE {schema}.things (code)",
    "SELECT * FROM mysql.user",
    "GRANT SELECT ON *.* TO applier_test_apply@'%'",
    "GRANT SELECT ON {own}.driftline_ledger TO applier_test_beacon@'%'",
    "CREATE USER applier_test_more",
    "CREATE DATABASE applier_test_more",
    "RENAME TABLE {own}.driftline_ledger TO {own}.mine",
    "ALTER TABLE {own}.driftline_ledger RENAME TO {own}.mine",
    "CREATE TRIGGER {schema}.mine AFTER UPDATE ON {schema}.things FOR EACH ROW SET @x = 1",
    "CREATE TRIGGER {own}.mine BEFORE INSERT ON {own}.driftline_ledger FOR EACH ROW SET @x = 1",
    "LOCK TABLES {own}.driftline_ledger WRITE",
    "FLUSH TABLES WITH READ LOCK",
    "PURGE BINARY LOGS BEFORE now()",
]


def test_the_apply_role_may_do_no_more_than_its_work(make: Callable[..., SqlWorld]) -> None:
    """No delete that the contract does not allow, no column outside it, and never the ledger's rows or the token."""
    world = make(deletes=False)
    world.put(1, thing())
    transaction = world.store.begin([(ENTITY, KEY)])
    transaction.record([ledger_row()])
    transaction.commit()
    before = _all_that_is_there(world)
    is_postgres = world.settings.kind is StoreKind.POSTGRES
    connection = world.sql.connect(Use.WRITE)
    if is_postgres:
        # Some statements are refused within a transaction whoever says them.
        connection.autocommit = True
    tried = FORBIDDEN + (ONLY_POSTGRES if is_postgres else ONLY_MARIADB)
    assert [text for text in tried if not _may_not(connection, text)] == []
    connection.close()
    reading = world.sql.connect(Use.READ)
    tried = [*FORBIDDEN, f"UPDATE {SCHEMA}.things SET code = 'x'"]
    assert [text for text in tried if not _may_not(reading, text)] == []
    reading.close()
    assert _all_that_is_there(world) == before


@pytest.mark.parametrize("make", [StoreKind.POSTGRES], ids=["postgres"], indirect=True)
def test_nothing_of_the_apply_roles_own_runs_with_the_rights_of_the_standbys_function(
    make: Callable[..., SqlWorld],
) -> None:
    """A temporary view by the name of what the function reads would, if it were found before the catalogue's.

    A database lets everybody make one, where nobody has taken that right away.
    """
    world = make()
    world.execute(f"GRANT TEMPORARY ON DATABASE {world.settings.database} TO applier_test_apply")
    evil = "BEGIN INSERT INTO pg_temp.calls VALUES (current_user); RETURN '0/0'; END"
    shown = "pg_temp.evil() AS replay_lsn, interval '0' AS replay_lag, 1 AS pid"
    connection = world.sql.connect(Use.WRITE)
    for text in (
        "CREATE TABLE pg_temp.calls (who text)",
        "GRANT INSERT ON pg_temp.calls TO PUBLIC",
        f"CREATE FUNCTION pg_temp.evil() RETURNS pg_lsn LANGUAGE plpgsql AS $e$ {evil} $e$",
        f"CREATE TEMP VIEW pg_stat_replication AS SELECT {shown}",
        "GRANT SELECT ON pg_temp.pg_stat_replication TO PUBLIC",
        f"SELECT * FROM {OWN_SCHEMA}.driftline_standbys()",
    ):
        connection.cursor().execute(text)
    assert connection.cursor().execute("SELECT * FROM pg_temp.calls").fetchall() == []
    connection.close()
    world.execute(f"REVOKE TEMPORARY ON DATABASE {world.settings.database} FROM applier_test_apply")


def test_rows_that_take_too_long_together_are_written_one_by_one(make: Callable[..., SqlWorld]) -> None:
    """One statement on twenty rows has the time of one; its end is no end of the store."""
    world = make()
    rows = [(ENTITY, key_of(number)) for number in range(1, 21)]
    for number in range(1, 21):
        world.put(number, thing(code=f"code {number}"))
    if world.settings.kind is StoreKind.POSTGRES:
        sleeping = "BEGIN PERFORM pg_sleep(0.04); RETURN NEW; END"
        world.execute(f"CREATE FUNCTION {SCHEMA}.slow() RETURNS trigger LANGUAGE plpgsql AS '{sleeping}'")
        world.execute(
            f"CREATE TRIGGER slow BEFORE UPDATE ON {SCHEMA}.things FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.slow()"
        )
        limit = "SET LOCAL statement_timeout = '400ms'"
    else:
        world.execute(f"CREATE TRIGGER {SCHEMA}.slow BEFORE UPDATE ON {SCHEMA}.things FOR EACH ROW DO SLEEP(0.04)")
        limit = "SET SESSION max_statement_time = 0.4"
    transaction = world.sql.begin(rows)
    transaction.execute(limit)
    transaction.lock()
    assert transaction.write([RowWrite(Way.UPDATE, {"name": "new"})] * len(rows)) == len(rows)
    assert {read.values["name"] for read in transaction.read_back()} == {"new"}
    transaction.commit()


def _all_that_is_there(world: SqlWorld) -> list[list[tuple[Any, ...]]]:
    """Read the tables that nobody may have touched."""
    tables = [f"{SCHEMA}.things", f"{SCHEMA}.audit", f"{OWN_SCHEMA}.driftline_ledger", f"{OWN_SCHEMA}.driftline_fence"]
    return [world.execute(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


def _may_not(connection: Any, text: str) -> bool:  # noqa: ANN401 - either driver's
    """Tell whether the server refuses a statement for want of a right, and for nothing else."""
    connection.rollback()
    try:
        connection.cursor().execute(text.format(schema=SCHEMA, own=OWN_SCHEMA))
    except psycopg.errors.InsufficientPrivilege:
        return True
    except pymysql.MySQLError as error:
        # Denied: command, column, database, administration, the account, a trigger, or a role that was not granted.
        return error.args[0] in {1142, 1143, 1044, 1227, 1045, 1419, 1959}
    return False


def test_a_right_that_is_missing_holds_and_does_not_refuse_for_good(make: Callable[..., SqlWorld]) -> None:
    """Only a person can give rights, so the command waits for them, and the ledger says nothing."""
    world = make()
    world.put(1, thing())
    user = "applier_test_apply" if world.settings.kind is StoreKind.POSTGRES else "applier_test_apply@'%'"
    world.execute(f"REVOKE DELETE ON {SCHEMA}.things FROM {user}")
    applier, command = repair(world, None)
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.NO_RIGHT)
    world.execute(f"GRANT DELETE ON {SCHEMA}.things TO {user}")
    world.sql.close()
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def undone(world: SqlWorld, applier: PlannedApplier, command: RepairCommand) -> CommandOutcome:
    """Take a repair back, as Anna asks for it."""
    (row,) = world.store.recorded([command.command_id]).values()
    return applier.apply(signed(undo_of(row, world.agreed, 1_800_000_000_000, 3_600_000), ANNA), 0)


def test_a_deleted_row_comes_back_though_its_table_has_got_a_column_since(make: Callable[..., SqlWorld]) -> None:
    """What its before-image does not have is left to the database: a default, or a refusal where there is none."""
    world = make()
    for number, name in enumerate(("kept", "lost")):
        world.put(1, thing(name=name))
        applier, command = repair(world, None, bytes([number]) * 16)
        applier = replace(applier, limits=Limits(same_row_per_hour=9))
        command = replace(command, key_hash=bytes([number]) * 16)
        assert applier.carry_out(command).outcome is Outcome.APPLIED
        if name == "kept":
            world.execute(f"ALTER TABLE {SCHEMA}.things ADD COLUMN since integer NOT NULL DEFAULT 7")
            assert undone(world, applier, command).outcome is Outcome.APPLIED
            assert world.store.read([(ENTITY, KEY)])[0].values["name"] == name
            assert world.execute(f"SELECT since, outside FROM {SCHEMA}.things") == [(7, "theirs")]
        else:
            world.require_a_column()
            outcome = undone(world, applier, command)
            assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.UNCOVERED_COLUMNS)
            assert world.execute(f"SELECT 1 FROM {SCHEMA}.things") == []


@pytest.mark.parametrize("after", ["new", None])
def test_a_repair_from_before_a_column_was_renamed_is_not_undone(
    make: Callable[..., SqlWorld], after: str | None
) -> None:
    """Of an update and of a delete: refused for good and said why, and the applier goes on with others."""
    world = make()
    world.put(1, thing(name="old", code="code"))
    applier, command = repair(world, None if after is None else thing(name=after, code="code"))
    assert applier.carry_out(command).outcome is Outcome.APPLIED
    _renamed(world, "column")
    world.agreed = _with_code_as(world.agreed, "gone")
    world.sql.close()
    world.sql = type(world.sql)(world.settings, [world.agreed], world.chain_key)
    world.store = world.sql
    target = world.agreed.replicas[0].store
    applier = replace(applier, contracts={ENTITY: world.agreed}, stores={**applier.stores, target: world.sql})
    outcome = undone(world, applier, command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.NOT_UNDOABLE)
    assert '"gone"' in outcome.detail
    shown = world.store.read([(ENTITY, KEY)])[0].values
    assert shown.get("name") == after


def _with_code_as(agreed: EntityContract, column: str) -> EntityContract:
    """Return the contract with another column for its field `code`."""
    fields = (replace(f, columns=dict.fromkeys(f.columns, column)) if f.name == "code" else f for f in agreed.fields)
    return replace(agreed, fields=tuple(fields))


def _renamed(world: SqlWorld, what: str, *, back: bool = False) -> None:
    """Take a table or a column of the contract away by another name, or give it its name back."""
    if what == "table":
        names = (f"{SCHEMA}.gone", "things") if back else (f"{SCHEMA}.things", "gone")
        new = names[1] if world.settings.kind is StoreKind.POSTGRES else f"{SCHEMA}.{names[1]}"
        world.execute(f"ALTER TABLE {names[0]} RENAME TO {new}")
        return
    old, new = ("gone", "code") if back else ("code", "gone")
    is_postgres = world.settings.kind is StoreKind.POSTGRES
    renames = f"RENAME COLUMN {old} TO {new}" if is_postgres else f"CHANGE {old} {new} varchar(190)"
    world.execute(f"ALTER TABLE {SCHEMA}.things {renames}")


@pytest.mark.parametrize("what", ["column", "table"])
def test_what_is_not_there_holds_its_commands_and_no_others(make: Callable[..., SqlWorld], what: str) -> None:
    """A table of the contract, or a column: nothing refused for good, nothing waited for; once back, it goes."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    another = command_id(b"a" * 16, command.target, command.expected_digest, command.intended_digest)
    other = replace(
        command,
        command_id=another,
        finding_id=b"a" * 16,
        sealed_key=SEALS.seal_key(ENTITY, key_of(2)),
        key_hash=b"a" * 16,
    )
    _renamed(world, what)
    for outcome in applier.carry_out_all([command, other]):
        assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.TABLE_DIFFERS)
    assert world.store.recorded([command.command_id]) == {}
    with pytest.raises(Refused) as no:
        world.store.read([(ENTITY, KEY)])
    assert no.value.reason is RefusalReason.TABLE_DIFFERS
    assert world.sql.where in no.value.what
    if what == "table":
        # What is counted of a table for a policy's shares asks the catalogue.
        with pytest.raises(Refused) as no:
            world.store.table_rows(ENTITY)
        assert no.value.reason is RefusalReason.TABLE_DIFFERS
    _renamed(world, what, back=True)
    assert applier.carry_out(command).outcome is Outcome.APPLIED
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "new"


def test_an_authority_whose_table_differs_holds_the_command(make: Callable[..., SqlWorld]) -> None:
    """It is read in the middle of the target's transaction, of which nothing stays."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    elsewhere = type(world.sql)(world.settings, [_with_code_as(world.agreed, "nowhere")], world.chain_key)
    differs = replace(applier, stores={**applier.stores, world.agreed.authority: elsewhere})
    outcome = differs.carry_out(command)
    elsewhere.close()
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.TABLE_DIFFERS)
    assert world.store.recorded([command.command_id]) == {}
    assert applier.carry_out(command).outcome is Outcome.APPLIED


@pytest.mark.parametrize("own", ["driftline_ledger", "driftline_fence"])
def test_without_its_own_tables_an_applier_waits(make: Callable[..., SqlWorld], own: str) -> None:
    """Of these every command is in need, and who says `driftline init` gives them back: nothing is held for one row."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    world.execute(f"ALTER TABLE {OWN_SCHEMA}.{own} RENAME TO {_in_own(world, 'gone')}")
    with pytest.raises(Unready, match="driftline init"):
        applier.carry_out(command)
    world.execute(f"ALTER TABLE {OWN_SCHEMA}.gone RENAME TO {_in_own(world, own)}")
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def _in_own(world: SqlWorld, table: str) -> str:
    return table if world.settings.kind is StoreKind.POSTGRES else f"{OWN_SCHEMA}.{table}"


@pytest.mark.parametrize("changed", ["key", "table"])
def test_an_insert_from_before_its_table_changed_hinders_no_start(make: Callable[..., SqlWorld], changed: str) -> None:
    """Killed behind its commit, and by the next start the key has another type, or the table is gone."""
    world = make()
    applier, command = repair(world, thing(name="new"))

    def die(name: str) -> None:
        if name == "committed":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        replace(applier, failpoint=die).carry_out(command)
    authority = applier.stores[world.agreed.authority]
    assert isinstance(authority, Authority)
    authority.shown = RowRead()
    if changed == "key":
        (part,) = world.agreed.key
        agreed = replace(world.agreed, key=(replace(part, type=FieldType(FieldKind.UUID)),))
        world.sql.close()
        world.sql = type(world.sql)(world.settings, [agreed], world.chain_key)
        applier = replace(
            applier, contracts={ENTITY: agreed}, stores={**applier.stores, agreed.replicas[0].store: world.sql}
        )
    else:
        _renamed(world, "table")
    reason = RefusalReason.UNREADABLE if changed == "key" else RefusalReason.TABLE_DIFFERS
    (outcome,) = applier.check_unchecked()
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, reason)
    assert applier.check_unchecked() == []
    if changed == "table":
        _renamed(world, "table", back=True)
    assert world.execute(f"SELECT id FROM {SCHEMA}.things") == [(1,)]


def test_behind_a_locked_table_commands_are_held_and_go_when_it_is_free(make: Callable[..., SqlWorld]) -> None:
    """Nobody waits in the way of the lock's holder, nothing is refused for good, and the next try goes through."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    mode = "IN ACCESS EXCLUSIVE MODE" if world.settings.kind is StoreKind.POSTGRES else "WRITE"
    world.other.cursor().execute(f"LOCK TABLE {SCHEMA}.things {mode}")
    began = time.monotonic()
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.ROW_LOCKED)
    assert time.monotonic() - began < 2
    world.other.rollback()
    world.other.cursor().execute("UNLOCK TABLES" if world.settings.kind is StoreKind.MARIADB else "SELECT 1")
    assert applier.carry_out(command).outcome is Outcome.APPLIED
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "new"


def test_behind_a_vacuum_of_a_catalog_a_repair_is_held_and_goes_when_it_is_done(postgres: SqlWorld) -> None:
    """Every plan reads pg_statistic; a vacuum locks it to give pages back, and the target's own work goes first."""
    postgres.put(1, thing(name="old"))
    applier, command = repair(postgres, thing(name="new"))
    postgres.other.cursor().execute("LOCK TABLE pg_catalog.pg_statistic IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(Unready, match="row_locked") as raised:
        applier.carry_out(command)
    assert "init" not in raised.value.hint
    postgres.other.rollback()
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def test_a_target_that_takes_no_writes_is_waited_for(make: Callable[..., SqlWorld]) -> None:
    """A standby, or a server that was set read-only: no refusal, no ledger row; it goes once writes are taken."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    world.sql.close()
    is_postgres = world.settings.kind is StoreKind.POSTGRES
    switch = (
        "ALTER ROLE applier_test_apply SET default_transaction_read_only = {}"
        if is_postgres
        else ("SET GLOBAL read_only = {}")
    )
    world.execute(switch.format("on" if is_postgres else 1))
    try:
        with pytest.raises(Unready):
            applier.carry_out(command)
    finally:
        world.execute(switch.format("off" if is_postgres else 0))
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "old"
    assert world.store.recorded([command.command_id]) == {}
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def test_on_another_server_nothing_is_written_before_a_person_accepts_it(make: Callable[..., SqlWorld]) -> None:
    """A promoted standby and a restored backup carry the flags of the server they come from, and are not that server.

    Running init again accepts nothing by itself, and only a staging copy may be such a server.
    """
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    world.execute(f"UPDATE {OWN_SCHEMA}.driftline_fence SET token = token + 1 WHERE scope = 'server'")
    for _ in range(2):
        outcome = applier.carry_out(command)
        assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.ANOTHER_SERVER)
        assert run(world.settings, statements(world.settings, [world.agreed])) == []
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "old"
    for copies, reason in (({}, RefusalReason.ANOTHER_SERVER), ({command.target: world.store}, None)):
        shown = Rehearsing(applier, copies).rehearse(b"b" * 32, signed(command), 0)
        assert shown is not None
        assert shown.reason is reason
    assert world.store.recorded([command.command_id]) == {}
    assert run(world.settings, accepts_server(world.settings)) == []
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def test_a_fence_that_init_raised_voids_what_was_planned_before_and_is_never_lowered(
    make: Callable[..., SqlWorld],
) -> None:
    """Who has older settings, or runs it twice, lets nothing through again; a command of the new token is written."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))
    for token in (2, 1, 2):
        settings = replace(world.settings, fence_token=token)
        assert run(settings, raises_fence(settings)) == []
        for older in (0, 1):
            outcome = applier.carry_out(replace(command, fence_token=older))
            assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.FENCED)
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "old"
    assert applier.carry_out(replace(command, fence_token=2)).outcome is Outcome.APPLIED


def test_the_fence_of_a_shard_voids_what_was_planned_for_it_and_nothing_else(make: Callable[..., SqlWorld]) -> None:
    """Raised by init, never lowered; what is under way is waited for, and a raise of the store's own comes to it."""
    world = make()
    world.put(1, thing(name="old"))
    assert read_fence(world.settings) == Fence(0)
    applier, command = repair(world, thing(name="new"))
    for token in (2, 1):
        settings = replace(world.settings, shard_fence_tokens={shard_of(command): token})
        assert run(settings, raises_fence(settings, shard_of(command))) == []
        for older in (0, 1):
            outcome = applier.carry_out(replace(command, fence_token=older))
            assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.FENCED)
    assert read_fence(world.settings) == Fence(0, shards={shard_of(command): 2})
    other = replace(command, partition=command.partition + 1)
    ahead = applier.carry_out(replace(other, fence_token=2))
    assert (ahead.outcome, ahead.reason) == (Outcome.HELD, RefusalReason.FENCED)
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "old"
    assert applier.carry_out(other).outcome is Outcome.APPLIED
    world.put(1, thing(name="old"))
    applier, again = repair(world, thing(name="new"), b"g" * 16)
    world.execute(f"UPDATE {OWN_SCHEMA}.driftline_fence SET token = 1 WHERE scope = '*'")
    held = applier.carry_out(replace(again, fence_token=2))
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.FENCED)
    assert applier.carry_out(replace(again, fence_token=3)).outcome is Outcome.APPLIED


def test_the_first_fence_of_a_shard_waits_for_whoever_has_read_that_there_is_none(
    make: Callable[..., SqlWorld],
) -> None:
    """Once it is said to stand, nothing that was planned before is written, also by an applier that slept meanwhile."""
    world = make()
    settings = replace(world.settings, shard_fence_tokens={"things/copy/3": 1})
    slept = world.store.begin([(ENTITY, KEY)])
    assert slept.fence() == Fence(0)
    with ThreadPoolExecutor(1) as threads:
        raised = threads.submit(run, settings, raises_fence(settings, "things/copy/3"))
        deadline = time.monotonic() + 10
        while not world.waiting_sessions():
            assert time.monotonic() < deadline, "nobody waits"
            assert not raised.done()
            time.sleep(0.01)
        slept.rollback()
        assert raised.result(timeout=10) == []
    assert read_fence(world.settings) == Fence(0, shards={"things/copy/3": 1})


@pytest.mark.parametrize("before", [None, "old"])
def test_a_lost_answer_to_a_commit_is_no_second_write(make: Callable[..., SqlWorld], before: str | None) -> None:
    """The commit took place and its answer did not come: the ledger is asked, and the row is not touched again."""
    world = make()
    if before is not None:
        world.put(1, thing(name=before))
    applier, command = repair(world, thing(name="new"))
    world.sql.writing()
    real = world.sql._writer

    class Cut:
        """A connection whose answer to the commit is lost."""

        def commit(self) -> None:
            real.commit()
            real.close()
            raise world.sql.errors("the connection was lost")

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the driver has
            return getattr(real, name)

    world.sql._writer = Cut()
    with pytest.raises(Unready):
        applier.carry_out(command)
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "new"
    world.execute(f"UPDATE {SCHEMA}.things SET outside = 'touched since' WHERE id = 1")
    again = applier.carry_out(command)
    assert (again.outcome, again.reason) == (Outcome.APPLIED, None)
    assert len(world.execute(f"SELECT 1 FROM {OWN_SCHEMA}.driftline_ledger WHERE kind = 'command'")) == 1


def test_a_session_that_the_server_ends_leaves_nothing(make: Callable[..., SqlWorld]) -> None:
    """Cut in the middle of the transaction: nothing is written, and the next try goes through."""
    world = make()
    world.put(1, thing(name="old"))
    applier, command = repair(world, thing(name="new"))

    def cut(name: str) -> None:
        if name != "row_written":
            return
        if world.settings.kind is StoreKind.POSTGRES:
            world.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftline-apply'"
            )
        else:
            found = world.execute("SELECT id FROM information_schema.processlist WHERE user = 'applier_test_apply'")
            for (thread,) in found:
                world.execute(f"KILL {int(thread)}")

    with pytest.raises(Unready):
        replace(applier, failpoint=cut).carry_out(command)
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "old"
    assert world.store.recorded([command.command_id]) == {}
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def test_two_appliers_at_one_command_write_once(make: Callable[..., SqlWorld]) -> None:
    """The second meets the first's uncommitted ledger row at once, and waits for nothing."""
    world = make()
    world.put(1, thing())
    first = world.store.begin([(ENTITY, KEY)])
    first.record([ledger_row()])
    second = type(world.sql)(world.settings, [world.agreed], b"d" * 32)
    transaction = second.begin([(ENTITY, KEY)])
    began = time.monotonic()
    with pytest.raises(Refused) as no:
        transaction.record([ledger_row()])
    assert no.value.reason is RefusalReason.ROW_LOCKED
    assert time.monotonic() - began < 0.5
    transaction.rollback()
    first.rollback()
    second.close()


def test_two_appliers_of_one_target_share_its_budget_and_count_a_fight_together(make: Callable[..., SqlWorld]) -> None:
    """Both count by the target's ledger: what one has written is spent for the other, which has written nothing."""
    world = make()
    world.put(1, thing())
    for name in (b"first", b"second"):
        applier, command = repair(world, thing(name=name.decode()), name.ljust(16))
        assert applier.carry_out(command).outcome is Outcome.APPLIED
    applier, command = repair(world, thing(name="third"), b"third".ljust(16))
    second = type(world.sql)(world.settings, [world.agreed], b"d" * 32)
    beside = replace(applier, stores={**applier.stores, command.target: second})
    few = (Limits(writes_per_minute=2), Limits(same_row_per_hour=2))
    held = [replace(beside, limits=limits).carry_out(command) for limits in few]
    assert [(o.outcome, o.reason) for o in held] == [
        (Outcome.HELD, RefusalReason.OVER_BUDGET),
        (Outcome.HELD, RefusalReason.OSCILLATES),
    ]
    assert beside.carry_out(command).outcome is Outcome.APPLIED
    second.close()


@pytest.mark.parametrize("amount", ["12345678901234567.89", "NaN"])
def test_a_number_squeezed_into_a_double_is_refused(make: Callable[..., SqlWorld], amount: str) -> None:
    """The column takes something, but not the value: read back, it is not what was intended, and nothing stays."""
    world = make()
    kind = "double precision" if world.settings.kind is StoreKind.POSTGRES else "double"
    change = (
        f"ALTER COLUMN amount TYPE {kind}" if world.settings.kind is StoreKind.POSTGRES else f"MODIFY amount {kind}"
    )
    world.execute(f"ALTER TABLE {SCHEMA}.things {change}")
    world.put(1, thing())
    applier, command = repair(world, thing(amount=amount))
    outcome = applier.carry_out(command)
    if world.settings.kind is StoreKind.POSTGRES and amount == "NaN":
        # This column holds it, so this is no squeeze.
        assert outcome.outcome is Outcome.APPLIED
        return
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.NOT_HELD_BY_COLUMN)
    assert world.store.read([(ENTITY, KEY)])[0].values["amount"] == "1.5"


def test_an_insert_goes_through_with_its_check(make: Callable[..., SqlWorld]) -> None:
    """The whole order on a real store: fence, ledger row, insert, read back, commit, check."""
    world = make()
    applier, command = repair(world, thing())
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, None)
    assert outcome.transaction
    kinds = world.execute(f"SELECT kind FROM {OWN_SCHEMA}.driftline_ledger ORDER BY kind")
    assert [row[0] for row in kinds] == ["check", "command"]


def _inserts(world: SqlWorld, meanwhile: Callable[[], object]) -> tuple[PlannedApplier, RepairCommand]:
    """Return an applier and an insert; once it is committed the authority loses the row, and something else happens."""
    applier, command = repair(world, thing())
    authority = applier.stores[world.agreed.authority]
    assert isinstance(authority, Authority)

    def step(name: str) -> None:
        if name == "committed":
            authority.shown = RowRead()
            meanwhile()

    return replace(applier, failpoint=step), command


@pytest.mark.parametrize(
    "held",
    [
        f"UPDATE {SCHEMA}.things SET outside = outside WHERE id = 1",
        f"UPDATE {OWN_SCHEMA}.driftline_fence SET token = token WHERE scope = '*'",
    ],
)
def test_an_insert_is_taken_back_once_who_holds_its_row_or_the_flags_lets_go(
    make: Callable[..., SqlWorld], held: str
) -> None:
    """Nobody waits in the lock's way, and nothing is recorded by which the check would count as made."""
    world = make()
    applier, command = _inserts(world, lambda: world.other.cursor().execute(held))
    with pytest.raises(Unready, match="row_locked"):
        applier.carry_out(command)
    with pytest.raises(Unready, match="row_locked"):
        applier.carry_out(command)
    kinds = f"SELECT kind FROM {OWN_SCHEMA}.driftline_ledger ORDER BY kind"
    assert [row[0] for row in world.execute(kinds)] == ["command"]
    world.other.rollback()
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED)
    assert [row[0] for row in world.execute(kinds)] == ["check", "command", "inverse"]
    assert world.execute(f"SELECT count(*) FROM {SCHEMA}.things") == [(0,)]


def test_an_insert_that_somebody_wrote_to_outside_the_contract_stays(make: Callable[..., SqlWorld]) -> None:
    """Neither the check behind it nor an undo deletes what stands in a column that no digest covers."""
    world = make()
    picked = f"UPDATE {SCHEMA}.things SET outside = 'Bob' WHERE id = 1"
    applier, command = _inserts(world, lambda: world.execute(picked))
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, RefusalReason.ROW_MOVED)
    undo = undo_of(
        world.store.recorded([command.command_id])[command.command_id], world.agreed, 1_800_000_000_000, 3_600_000
    )
    outcome = applier.apply(signed(undo, ANNA), undo.partition)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.ROW_MOVED)
    assert world.execute(f"SELECT outside FROM {SCHEMA}.things") == [("Bob",)]


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        ("UPDATE {things} SET outside = 'Bob'", RefusalReason.ROW_MOVED),
        ("ALTER TABLE {things} ADD COLUMN picked_by varchar(9)", RefusalReason.ROW_MOVED),
        ("UPDATE {things} SET outside = outside", None),
    ],
)
def test_an_undo_deletes_only_the_very_row_that_an_insert_left(
    make: Callable[..., SqlWorld], meanwhile: str, reason: RefusalReason | None
) -> None:
    """A column that came since may hold what somebody wrote, and nobody knows; written as it was, it is the same."""
    world = make()
    applier, command = repair(world, thing())
    assert applier.carry_out(command).reason is None
    world.execute(meanwhile.format(things=f"{SCHEMA}.things"))
    row = world.store.recorded([command.command_id])[command.command_id]
    undo = undo_of(row, world.agreed, 1_800_000_000_000, 3_600_000)
    outcome = applier.apply(signed(undo, ANNA), undo.partition)
    assert outcome.reason is reason
    assert world.execute(f"SELECT count(*) FROM {SCHEMA}.things") == [(1 if reason else 0,)]


def test_an_insert_that_the_role_may_not_delete_stays_and_is_told(make: Callable[..., SqlWorld]) -> None:
    """A policy without deletes gives the role none, so that no waiting helps: the ledger and the outcome say so."""
    world = make(deletes=False)
    applier, command = _inserts(world, lambda: None)
    for outcome in (applier.carry_out(command), applier.carry_out(command)):
        assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, RefusalReason.NO_RIGHT)
        assert "delete it by hand" in outcome.detail
    checks = world.execute(f"SELECT outcome, reason FROM {OWN_SCHEMA}.driftline_ledger WHERE kind = 'check'")
    assert checks == [("applied", "no_right")]
    assert world.execute(f"SELECT count(*) FROM {SCHEMA}.things") == [(1,)]


def test_the_image_holds_the_whole_row_without_loss(make: Callable[..., SqlWorld]) -> None:
    """Floats keep every digit and bytes every bit, also of columns that the contract does not know."""
    world = make()
    world.put(1, thing())
    transaction = world.store.begin([(ENTITY, KEY)])
    image = transaction.look()[0].image
    transaction.rollback()
    assert b"theirs" in image
    if world.settings.kind is StoreKind.MARIADB:
        assert b"0.10000000149011612" in image
        assert b"00FF" in image


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[SqlWorld]:
    """Yield things in PostgreSQL alone: only there the store tells of other tables."""
    told = running_stack("postgres")["postgres"]
    made = PostgresWorld(settings_of(StoreKind.POSTGRES, told, tmp_path), contract(StoreKind.MARIADB))
    yield made
    made.close()


@pytest.mark.parametrize(
    "body",
    [
        f"INSERT INTO {SCHEMA}.audit VALUES ('seen')",
        f"UPDATE {SCHEMA}.audit SET what = 'seen'",
        f"DELETE FROM {SCHEMA}.audit",
    ],
)
@pytest.mark.parametrize("verb", ["INSERT", "UPDATE"])
def test_a_trigger_that_writes_more_than_the_row_is_a_refusal(
    make: Callable[..., SqlWorld], body: str, verb: str
) -> None:
    """Another table was touched: nothing stays written."""
    world = make()
    world.execute(f"INSERT INTO {SCHEMA}.audit VALUES ('kept')")
    world.put(1, thing(name="old") if verb == "UPDATE" else None)
    _on_each(world, verb, body)
    applier, command = repair(world, thing(name="new"))
    before = world.store.read([(ENTITY, KEY)])
    outcome = applier.carry_out(command)
    assert outcome.reason is RefusalReason.WIDER_THAN_ONE_ROW
    is_postgres = world.settings.kind is StoreKind.POSTGRES
    assert outcome.detail == f"touched besides: {f'{SCHEMA}.audit' if is_postgres else 'what triggers write'}"
    assert world.store.read([(ENTITY, KEY)]) == before
    assert world.execute(f"SELECT what FROM {SCHEMA}.audit") == [("kept",)]


def _on_each(world: SqlWorld, verb: str, body: str) -> None:
    """Let a trigger run a statement after each row, with its owner's rights."""
    name = f"after_{verb.lower()}"
    if world.settings.kind is StoreKind.MARIADB:
        world.execute(f"CREATE TRIGGER {SCHEMA}.{name} AFTER {verb} ON {SCHEMA}.things FOR EACH ROW {body}")
        return
    world.execute(
        f"CREATE FUNCTION {SCHEMA}.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" AS $$ BEGIN {body}; RETURN NULL; END $$"
    )
    world.execute(
        f"CREATE TRIGGER {name} AFTER {verb} ON {SCHEMA}.things FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.{name}()"
    )


def test_a_trigger_that_writes_another_row_is_a_refusal(postgres: SqlWorld) -> None:
    """Also one of the same table, which a trigger of MariaDB cannot write."""
    postgres.put(1, thing(name="old"))
    postgres.put(2, thing(code="d"))
    body = f"IF NEW.id = 1 THEN UPDATE {SCHEMA}.things SET outside = 'x' WHERE id = 2; END IF"
    _on_each(postgres, "UPDATE", body)
    applier, command = repair(postgres, thing(name="new"))
    assert applier.carry_out(command).reason is RefusalReason.WIDER_THAN_ONE_ROW
    assert postgres.store.read([(ENTITY, KEY)])[0].values["name"] == "old"


def _refer(world: SqlWorld, column: str, rule: str, right: str = "") -> None:
    """Make a table whose rows refer to things, and give the role apply a right on it, by default what init gives."""
    text = "text" if world.settings.kind is StoreKind.POSTGRES else "varchar(190)"
    world.execute(
        f"CREATE TABLE {SCHEMA}.child (id integer PRIMARY KEY, parent {'bigint' if column == 'id' else text},"
        f" CONSTRAINT parents FOREIGN KEY (parent) REFERENCES {SCHEMA}.things ({column}) {rule})"
    )
    if right:
        world.execute(f"GRANT {right} ON {SCHEMA}.child TO applier_test_apply@'%'")
    else:
        assert run(world.settings, statements(world.settings, [world.agreed])) == []
    # What the catalogue told is kept for a moment.
    world.sql.close()


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
def test_a_delete_that_cascades_is_a_refusal(make: Callable[..., SqlWorld], rule: str) -> None:
    """A child row that would go too, or lose its parent, keeps it; without one the row goes."""
    world = make()
    world.put(1, thing())
    world.put(2, thing(code="d"))
    _refer(world, "id", f"ON DELETE {rule}")
    world.execute(f"INSERT INTO {SCHEMA}.child VALUES (7, 1), (8, 2)")
    applier, command = repair(world, None)
    outcome = applier.carry_out(command)
    assert (outcome.reason, outcome.detail) == (
        RefusalReason.WIDER_THAN_ONE_ROW,
        f"touched besides: {SCHEMA}.child",
    )
    assert sorted(world.execute(f"SELECT * FROM {SCHEMA}.child")) == [(7, 1), (8, 2)]
    world.execute(f"DELETE FROM {SCHEMA}.child WHERE parent = 1")
    applier, command = repair(world, None, b"later".ljust(16))
    assert applier.carry_out(command).outcome is Outcome.APPLIED


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
def test_an_update_that_cascades_is_a_refusal(make: Callable[..., SqlWorld], rule: str) -> None:
    """Only where the value that is referred to becomes another, and only of a row that another refers to."""
    world = make()
    world.put(1, thing(name="old"))
    _refer(world, "code", f"ON UPDATE {rule}")
    world.execute(f"INSERT INTO {SCHEMA}.child VALUES (7, 'c')")
    applier, command = repair(world, thing(name="new"), b"name".ljust(16))
    assert applier.carry_out(command).outcome is Outcome.APPLIED
    applier, command = repair(world, thing(name="new", code="d"))
    outcome = applier.carry_out(command)
    assert (outcome.reason, outcome.detail) == (
        RefusalReason.WIDER_THAN_ONE_ROW,
        f"touched besides: {SCHEMA}.child",
    )
    assert world.execute(f"SELECT * FROM {SCHEMA}.child") == [(7, "c")]
    world.execute(f"DELETE FROM {SCHEMA}.child")
    applier, command = repair(world, thing(name="new", code="d"), b"later".ljust(16))
    assert applier.carry_out(command).outcome is Outcome.APPLIED


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[SqlWorld]:
    """Yield things in MariaDB alone."""
    told = running_stack("mariadb")["mariadb"]
    made = MariadbWorld(settings_of(StoreKind.MARIADB, told, tmp_path), contract(StoreKind.POSTGRES))
    yield made
    made.close()


@pytest.mark.parametrize("values", [None, thing(code="d")], ids=["delete", "update"])
def test_what_refers_to_a_row_and_may_not_be_read_holds_it(mariadb: SqlWorld, values: dict[str, object] | None) -> None:
    """Nothing shows that no row would go along; the right that is missing is told, and with it the repair goes.

    A key that lets nothing go along stands in no way.
    """
    mariadb.put(1, thing())
    _refer(mariadb, "code", "ON DELETE CASCADE ON UPDATE SET NULL", "UPDATE")
    mariadb.execute(f"INSERT INTO {SCHEMA}.child VALUES (7, 'c')")
    applier, command = repair(mariadb, values)
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.NO_RIGHT)
    assert outcome.detail == f"the role apply needs SELECT on {SCHEMA}.child, whose rows may go along"
    assert mariadb.execute(f"SELECT * FROM {SCHEMA}.child") == [(7, "c")]
    mariadb.execute(f"UPDATE {SCHEMA}.child SET parent = NULL")
    mariadb.execute(f"GRANT SELECT (parent) ON {SCHEMA}.child TO applier_test_apply@'%'")
    assert applier.carry_out(command).outcome is Outcome.APPLIED
    mariadb.execute(f"DROP TABLE {SCHEMA}.child")
    mariadb.execute(f"REVOKE ALL ON {SCHEMA}.child FROM applier_test_apply@'%'")
    mariadb.put(1, thing())
    _refer(mariadb, "code", "ON DELETE RESTRICT", "UPDATE")
    applier, command = repair(mariadb, values, b"later".ljust(16))
    assert applier.carry_out(command).outcome is Outcome.APPLIED


def test_of_what_would_go_along_the_role_sees_the_key_alone(mariadb: SqlWorld) -> None:
    """Init lets it read the columns that refer, of tables that would be touched, and nothing else."""
    mariadb.execute(f"CREATE TABLE {SCHEMA}.strict (parent bigint REFERENCES things (id))")
    _refer(mariadb, "id", "ON DELETE CASCADE")
    connection = mariadb.sql.connect(Use.WRITE)
    assert not _may_not(connection, "SELECT parent FROM {schema}.child")
    tried = [
        "SELECT id FROM {schema}.child",
        "SELECT parent FROM {schema}.strict",
        "INSERT INTO {schema}.child VALUES (9, NULL)",
        "UPDATE {schema}.child SET parent = NULL",
        "DELETE FROM {schema}.child",
        "CREATE INDEX mine ON {schema}.child (parent)",
        "CREATE TABLE {schema}.mine (child integer REFERENCES child (id))",
        "ALTER TABLE {schema}.things ADD FOREIGN KEY (id) REFERENCES {schema}.child (id)",
    ]
    assert [text for text in tried if not _may_not(connection, text)] == []
    connection.close()


def test_rows_of_one_table_that_refer_to_each_other_go_together_and_not_one_with_the_other(mariadb: SqlWorld) -> None:
    """Those that the transaction deletes itself are in its ledger; another that would go with them is not."""
    mariadb.execute(f"ALTER TABLE {SCHEMA}.things ADD COLUMN parent bigint REFERENCES things (id) ON DELETE CASCADE")
    for number, parent in ((1, None), (2, 1), (3, 2)):
        mariadb.put(number, thing(code=str(number)))
        mariadb.execute(f"UPDATE {SCHEMA}.things SET parent = %s WHERE id = %s", parent, number)
    for numbers, others in (
        ((3, 2, 1), ()),
        ((3, 2), ()),
        ((2, 1), (f"{SCHEMA}.things",)),
        ((3, 1), (f"{SCHEMA}.things",)),
    ):
        transaction = mariadb.store.begin([(ENTITY, key_of(number)) for number in numbers])
        transaction.record([ledger_row()])
        transaction.lock()
        assert transaction.write([RowWrite(Way.DELETE)] * len(numbers)) == len(numbers)
        assert transaction.other_tables() == others
        transaction.rollback()


def test_what_was_tried_in_vain_touches_nothing(mariadb: SqlWorld) -> None:
    """A parent that cannot go before its child goes behind it, and then nothing goes along."""
    mariadb.execute(
        f"ALTER TABLE {SCHEMA}.things ADD COLUMN parent bigint,"
        " ADD CONSTRAINT at_first FOREIGN KEY (parent) REFERENCES things (id),"
        " ADD CONSTRAINT behind FOREIGN KEY (parent) REFERENCES things (id) ON DELETE CASCADE"
    )
    mariadb.put(1, thing())
    mariadb.put(2, thing(code="d"))
    mariadb.execute(f"UPDATE {SCHEMA}.things SET parent = 1 WHERE id = 2")
    transaction = mariadb.store.begin([(ENTITY, key_of(number)) for number in (1, 2)])
    transaction.record([ledger_row()])
    transaction.lock()
    assert transaction.write([RowWrite(Way.DELETE)] * 2) == 2
    assert transaction.other_tables() == ()
    transaction.commit()


HEALTHY = {
    "nothing": [],
    "trigger": [
        f"CREATE TRIGGER {SCHEMA}.{verb} BEFORE {verb} ON {SCHEMA}.things FOR EACH ROW SET NEW.outside = 'x'"
        for verb in ("insert", "update")
    ],
    "virtual": [
        f"ALTER TABLE {SCHEMA}.things ADD COLUMN twice decimal(12,2) AS (amount * 2) VIRTUAL, ADD INDEX (twice)"
    ],
    "stored": [f"ALTER TABLE {SCHEMA}.things ADD COLUMN twice decimal(12,2) AS (amount * 2) STORED, ADD INDEX (twice)"],
    "touched": [f"ALTER TABLE {SCHEMA}.things ADD COLUMN touched datetime(6) DEFAULT now(6) ON UPDATE now(6)"],
    "partitioned": [
        f"ALTER TABLE {SCHEMA}.things DROP INDEX code PARTITION BY HASH (id) PARTITIONS 4",
    ],
    "drawn": [
        f"CREATE SEQUENCE {SCHEMA}.drawn NOCACHE",
        f"ALTER TABLE {SCHEMA}.things ADD COLUMN number bigint DEFAULT (NEXT VALUE FOR {SCHEMA}.drawn)",
        f"GRANT SELECT, INSERT ON {SCHEMA}.drawn TO applier_test_apply@'%'",
    ],
    "referring": [
        f"CREATE TABLE {SCHEMA}.codes (code varchar(190) PRIMARY KEY)",
        f"INSERT INTO {SCHEMA}.codes VALUES ('a'), ('b'), ('c'), ('d')",
        f"ALTER TABLE {SCHEMA}.things ADD FOREIGN KEY (code) REFERENCES {SCHEMA}.codes (code) ON DELETE CASCADE",
    ],
}


@pytest.mark.parametrize("changes", HEALTHY.values(), ids=HEALTHY)
def test_what_a_table_does_to_its_own_rows_is_nothing_besides_them(mariadb: SqlWorld, changes: list[str]) -> None:
    """One row and several, inserted, updated, updated to what they are, and deleted; in any order that is needed."""
    for change in changes:
        mariadb.execute(change)
    for numbers in ((1,), (1, 2, 3)):
        codes = ("a", "b", "c")[: len(numbers)]
        rows = [RowWrite(Way.INSERT, thing(code=code)) for code in codes]
        moved = [RowWrite(Way.UPDATE, thing(name="new", code=code)) for code in (*codes[1:], "d")]
        for writes in (rows, [replace(row, way=Way.UPDATE) for row in rows], moved, [RowWrite(Way.DELETE)] * len(rows)):
            transaction = mariadb.store.begin([(ENTITY, key_of(number)) for number in numbers])
            transaction.record([ledger_row(len(list(mariadb.store.ledger_rows())) + 1)])
            transaction.lock()
            assert transaction.write(writes) == len(numbers)
            transaction.read_back()
            assert transaction.other_tables() == ()
            transaction.commit()


def rehearsed(world: SqlWorld, values: dict[str, object] | None) -> Rehearsal:
    """Return what a rehearsal shows of leaving these values; the row and the ledger are as before."""
    before = world.store.read([(ENTITY, KEY)])
    applier, command = repair(world, values)
    shown = Rehearsing(applier).rehearse(b"b" * 32, signed(command), 0)
    assert shown is not None
    assert world.store.read([(ENTITY, KEY)]) == before
    assert list(world.store.ledger_rows()) == []
    return shown


def test_a_rehearsal_counts_what_triggers_and_cascades_write(postgres: SqlWorld) -> None:
    """PostgreSQL tells each table, also of what is deferred to the commit; nothing of it stays."""
    postgres.put(1, thing())
    postgres.execute(f"CREATE TABLE {SCHEMA}.child (parent bigint REFERENCES {SCHEMA}.things ON DELETE CASCADE)")
    postgres.execute(f"INSERT INTO {SCHEMA}.child VALUES (1), (1), (1)")
    shown = rehearsed(postgres, None)
    assert shown.reason is RefusalReason.WIDER_THAN_ONE_ROW
    assert shown.is_complete
    assert sorted(shown.touched, key=lambda each: each.table) == [
        Touched(f"{SCHEMA}.child", deleted=3),
        Touched(f"{SCHEMA}.things", deleted=1),
    ]
    postgres.execute(
        f"CREATE FUNCTION {SCHEMA}.noted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        f" INSERT INTO {SCHEMA}.audit VALUES ('a'), ('b'); RETURN NULL; END $$"
    )
    postgres.execute(
        f"CREATE CONSTRAINT TRIGGER noted AFTER UPDATE ON {SCHEMA}.things DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.noted()"
    )
    shown = rehearsed(postgres, thing(name="new"))
    assert Touched(f"{SCHEMA}.audit", inserted=2) in shown.touched
    assert postgres.execute(f"SELECT count(*) FROM {SCHEMA}.audit") == [(0,)]
    assert postgres.execute(f"SELECT count(*) FROM {SCHEMA}.child") == [(3,)]


def test_a_rehearsal_meets_what_is_checked_at_the_commit(postgres: SqlWorld) -> None:
    """A deferred unique or foreign key would say no only then; it is named, and no row's value is."""
    postgres.put(1, thing())
    postgres.put(2, thing(code="d"))
    postgres.execute(f"ALTER TABLE {SCHEMA}.things DROP CONSTRAINT things_code_key")
    postgres.execute(f"ALTER TABLE {SCHEMA}.things ADD CONSTRAINT codes UNIQUE (code) DEFERRABLE INITIALLY DEFERRED")
    shown = rehearsed(postgres, thing(code="d"))
    assert (shown.reason, shown.detail) == (
        RefusalReason.UNIQUE_CONFLICT,
        'the unique index "codes" has the value already',
    )


def test_a_constraint_that_says_no_is_named(make: Callable[..., SqlWorld]) -> None:
    """In both databases: a check, a unique index, a foreign key; a person knows what stands in the way."""
    world = make()
    world.put(1, thing())
    world.put(2, thing(code="taken"))
    world.execute(f"ALTER TABLE {SCHEMA}.things ADD CONSTRAINT small CHECK (amount < 100)")
    shown = rehearsed(world, thing(amount="123.45"))
    assert (shown.reason, shown.touched) == (RefusalReason.CONSTRAINT, ())
    assert '"small"' in shown.detail
    assert "123" not in shown.detail
    shown = rehearsed(world, thing(code="taken"))
    assert shown.reason is RefusalReason.UNIQUE_CONFLICT
    assert "code" in shown.detail
    assert "taken" not in shown.detail
    world.execute(f"CREATE TABLE {SCHEMA}.kinds (code varchar(190) PRIMARY KEY)")
    world.execute(f"INSERT INTO {SCHEMA}.kinds VALUES ('c'), ('taken')")
    world.execute(
        f"ALTER TABLE {SCHEMA}.things ADD CONSTRAINT kinds FOREIGN KEY (code) REFERENCES {SCHEMA}.kinds (code)"
    )
    shown = rehearsed(world, thing(code="unheard of"))
    assert shown.reason is RefusalReason.FOREIGN_KEY
    assert '"kinds"' in shown.detail


def test_a_rehearsal_in_mariadb_says_what_it_cannot_count(tmp_path: Path) -> None:
    """Rows of triggers are counted without their table, those of a foreign key where they may be read; never as all."""
    told = running_stack("mariadb")["mariadb"]
    settings = settings_of(StoreKind.MARIADB, told, tmp_path)
    world = MariadbWorld(settings, contract(StoreKind.POSTGRES))
    try:
        world.put(1, thing())
        assert rehearsed(world, thing(name="new")).touched == (Touched(f"{SCHEMA}.things", updated=1),)
        world.execute(
            f"CREATE TRIGGER {SCHEMA}.noted AFTER UPDATE ON {SCHEMA}.things FOR EACH ROW"
            f" INSERT INTO {SCHEMA}.audit VALUES ('a'), ('b')"
        )
        shown = rehearsed(world, thing(name="new"))
        assert (shown.reason, shown.is_complete) == (RefusalReason.WIDER_THAN_ONE_ROW, False)
        assert shown.touched == (
            Touched(f"{SCHEMA}.things", updated=1),
            Touched("", inserted=2, through="trigger noted"),
        )
        assert world.execute(f"SELECT count(*) FROM {SCHEMA}.audit") == [(0,)]
        world.execute(
            f"CREATE TABLE {SCHEMA}.child (parent bigint, CONSTRAINT parents FOREIGN KEY (parent)"
            f" REFERENCES {SCHEMA}.things (id) ON DELETE CASCADE) ENGINE = InnoDB"
        )
        world.execute(f"INSERT INTO {SCHEMA}.child VALUES (1), (1)")
        for right, rows in (("UPDATE", UNCOUNTED), ("SELECT", 2)):
            world.execute(f"GRANT {right} ON {SCHEMA}.child TO applier_test_apply@'%'")
            shown = rehearsed(world, None)
            assert shown.touched == (
                Touched(f"{SCHEMA}.things", deleted=1),
                Touched(f"{SCHEMA}.child", deleted=rows, through="foreign key parents"),
            )
        assert world.execute(f"SELECT count(*) FROM {SCHEMA}.child") == [(2,)]
    finally:
        world.close()


def test_a_policy_that_allows_less_takes_rights_away(make: Callable[..., SqlWorld]) -> None:
    """Run again after the contract changed, init leaves no right of the former one."""
    world = make(deletes=True)
    world.put(1, thing())
    connection = world.sql.connect(Use.WRITE)
    assert not _may_not(connection, "DELETE FROM {schema}.things WHERE id = 99")
    connection.close()
    store = world.settings
    for contracts, allowed in (([replace(world.agreed, replicas=())], True), ([], False)):
        assert run(store, statements(store, contracts)) == []
        connection = world.sql.connect(Use.WRITE)
        assert _may_not(connection, "DELETE FROM {schema}.things WHERE id = 99")
        assert _may_not(connection, "UPDATE {schema}.things SET code = 'x' WHERE id = 99")
        assert _may_not(connection, "SELECT code FROM {schema}.things") is not allowed
        connection.close()


def test_beside_a_busy_writer_a_repair_writes_only_over_what_it_expected(make: Callable[..., SqlWorld]) -> None:
    """An application writes the row as fast as it can while repairs of it are tried, each on what was read before.

    Oracle: each before-image in the ledger is the state that its command expected, and the application's own counter,
    which no repair writes, never loses a step.
    """
    world = make()
    world.put(1, thing(name="app 0"))
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        name = world.quoted(COLUMNS["name"])
        cursor = world.other.cursor()
        while not stop.is_set():
            counter = written + 1
            cursor.execute(
                f"UPDATE {SCHEMA}.things SET {name} = %s, outside = %s WHERE id = 1", (f"app {counter}", str(counter))
            )
            world.other.commit()
            written = counter
            # It draws breath now and then, or a repair would succeed by luck alone.
            time.sleep(0.001 if counter % 40 else 0.05)

    application = threading.Thread(target=write)
    application.start()
    expected: dict[bytes, bytes] = {}
    outcomes: collections.Counter[str] = collections.Counter()
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline or not outcomes["applied"]:
            # Another row each time: one that is right already is nothing to repair.
            turn = len(expected)
            applier, command = repair(world, thing(name=f"right {turn}"), finding_id=turn.to_bytes(16, "big"))
            expected[command.command_id] = command.expected_digest
            outcome = replace(applier, limits=Limits(10**6, 10**6, 10**6)).carry_out(command)
            outcomes[outcome.reason.value if outcome.reason else outcome.outcome.value] += 1
    finally:
        stop.set()
        application.join()
    assert set(outcomes) <= {"applied", "row_moved", "row_locked"}, outcomes
    assert outcomes["row_moved"]
    table = world.sql.table(ENTITY)
    rows = world.execute(f"SELECT command_id, before_image FROM {OWN_SCHEMA}.driftline_ledger WHERE kind = 'command'")
    assert len(rows) == outcomes["applied"]
    for command_hex, sealed in rows:
        image = json.loads(SEALS.open_image(bytes.fromhex(command_hex), bytes(sealed)))
        name = image[COLUMNS["name"]]
        shown = thing(name=name if isinstance(name, str) else name[1])
        assert _digest_of(table, shown) == expected[bytes.fromhex(command_hex)]
    assert world.execute(f"SELECT outside FROM {SCHEMA}.things WHERE id = 1") == [(str(written),)]


def test_what_mariadb_would_do_unseen_is_told_to_the_administrator(tmp_path: Path) -> None:
    """Triggers and cascading keys of a table that may be repaired are named; without them nothing is."""
    told = running_stack("mariadb")["mariadb"]
    agreed = contract(StoreKind.POSTGRES)
    world = MariadbWorld(settings_of(StoreKind.MARIADB, told, tmp_path), agreed)
    try:
        assert side_effects(world.settings, [agreed]) == []
        world.execute(f"CREATE TRIGGER {SCHEMA}.noted AFTER UPDATE ON {SCHEMA}.things FOR EACH ROW SET @x = 1")
        world.execute(
            f"CREATE TABLE {SCHEMA}.child (parent bigint, CONSTRAINT parents FOREIGN KEY (parent)"
            f" REFERENCES {SCHEMA}.things (id) ON DELETE CASCADE) ENGINE = InnoDB"
        )
        assert side_effects(world.settings, [agreed]) == [
            f"{SCHEMA}.things: trigger noted on update",
            f"{SCHEMA}.things: foreign key parents of child",
        ]
        assert side_effects(world.settings, [replace(agreed, replicas=())]) == []
    finally:
        world.close()
