"""What every store of rows must do, whatever it is: one suite for memory, PostgreSQL, MariaDB and MongoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.chain import Break, breaks
from app.core.command import Action, Outcome, RefusalReason
from app.core.errors import Unready
from app.core.guard import Fence, Refused
from app.core.ledger import LedgerCounts, LedgerKind, LedgerRow, check_id
from app.core.store import StoreKind
from app.ports import AlreadyRecorded, RowsRefused, RowTransaction, RowWrite, Strain, Way
from tests.contract.mongodb_world import MongodbWorld
from tests.contract.row_worlds import (
    ENTITY,
    MemoryWorld,
    PostgresWorld,
    World,
    key_of,
    sql_world,
    thing,
)
from tests.integration.running_stack import running_stack

KEY = key_of(1)
NOW_MS = 1_800_000_000_000


@pytest.fixture(
    params=[
        "memory",
        pytest.param("mongodb", marks=pytest.mark.stack),
        pytest.param("postgres", marks=pytest.mark.stack),
        pytest.param("mariadb", marks=pytest.mark.stack),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Yield an empty table of things in each kind of store."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    if request.param == "mongodb":
        mongodb = MongodbWorld(request.getfixturevalue("mongodb_server"), tmp_path)
        yield mongodb
        mongodb.close()
        return
    made = sql_world(StoreKind(request.param), running_stack(request.param)[request.param], tmp_path)
    yield made
    made.close()


def ledger_row(number: int = 1, *, action: Action = Action.UPSERT, expected: bytes = b"e" * 16) -> LedgerRow:
    """Return a ledger row of an applied command."""
    return LedgerRow(
        row_id=bytes([number]) * 16,
        original_id=bytes([number]) * 16,
        kind=LedgerKind.COMMAND,
        finding_id=b"f" * 16,
        entity=ENTITY,
        target="copy",
        key_hash=b"h" * 16,
        sealed_key=b"\x00sealed\xff",
        partition=3,
        action=action,
        outcome=Outcome.APPLIED,
        reason=None,
        expected_digest=expected,
        found_digest=b"e" * 16,
        intended_digest=b"i" * 16,
        before_image=bytes(range(256)),
        fence_token=0,
        trace_id=b"t" * 16,
        approver="anna",
        written_at_ms=NOW_MS,
    )


def begun(world: World, *keys: bytes) -> RowTransaction:
    """Begin a transaction on some things, usually the one."""
    return world.store.begin([(ENTITY, key) for key in keys or (KEY,)])


def recorded(world: World, row_id: bytes) -> LedgerRow | None:
    """Return a ledger row by its id."""
    return world.store.recorded([row_id]).get(row_id)


def counts(world: World, entity: str, key_hash: bytes) -> LedgerCounts:
    """Count what the ledger holds of one row."""
    return world.store.counts([(entity, key_hash)], NOW_MS)[0]


def test_a_row_is_read_as_its_canonical_values(world: World) -> None:
    """What was put is what is seen; an absent row has the empty digest; equal values have equal digests."""
    assert world.store.read([(ENTITY, KEY)])[0].digest == b""
    world.put(1, thing())
    world.put(2, thing(code="d"))
    world.put(3, thing(name="b", code="e"))
    seen = world.store.read([(ENTITY, KEY)])[0]
    assert dict(seen.values) == thing()
    assert len({world.store.read([(ENTITY, key_of(n))])[0].digest for n in (1, 2, 3)}) == 3
    before = seen.digest
    world.put(1, thing(amount="1.50") if isinstance(world, MemoryWorld) else thing())
    assert isinstance(world, MemoryWorld) or world.store.read([(ENTITY, KEY)])[0].digest == before


def test_insert_update_delete_go_with_their_ledger_row(world: World) -> None:
    """Each is seen after its commit, with the ledger row beside it, and reads back within."""
    for number, before, after in ((1, None, thing()), (2, thing(), thing(name="b")), (3, thing(name="b"), None)):
        transaction = begun(world)
        assert transaction.fence() == Fence(0)
        (looked,) = transaction.look()
        assert dict(looked.read.values) == (before or {})
        transaction.record([ledger_row(number)])
        assert transaction.lock() == [looked]
        if after is None:
            rows = transaction.write([RowWrite(Way.DELETE)])
        else:
            rows = transaction.write([RowWrite(Way.UPDATE if before else Way.INSERT, after)])
        assert rows == 1
        assert dict(transaction.read_back()[0].values) == (after or {})
        assert transaction.other_tables() == ()
        assert transaction.commit()
        assert dict(world.store.read([(ENTITY, KEY)])[0].values) == (after or {})
        found = recorded(world, bytes([number]) * 16)
        assert found is not None
        assert (found.before_image, found.sealed_key) == (bytes(range(256)), b"\x00sealed\xff")
        assert (found.written_at_ms, found.approver, found.partition) == (NOW_MS, "anna", 3)


def test_several_rows_are_written_by_one_transaction(world: World) -> None:
    """In the order they are named: one inserted, one updated, one deleted, each looked at, locked and read back."""
    world.put(2, thing(code="d"))
    world.put(3, thing(code="e"))
    names = [(ENTITY, key_of(n)) for n in (3, 1, 2)]
    assert [bool(read.digest) for read in world.store.read(names)] == [True, False, True]
    transaction = world.store.begin(names)
    looked = transaction.look()
    assert [whole.read.values.get("code") for whole in looked] == ["e", None, "d"]
    transaction.record([ledger_row(1), ledger_row(2), replace(ledger_row(3), partition=4)])
    assert transaction.lock() == looked
    new, changed = thing(name="new"), thing(name="changed", code="d")
    assert transaction.write([RowWrite(Way.DELETE), RowWrite(Way.INSERT, new), RowWrite(Way.UPDATE, changed)]) == 3
    assert [dict(read.values) for read in transaction.read_back()] == [{}, new, changed]
    assert transaction.other_tables() == ()
    transaction.commit()
    assert [dict(read.values) for read in world.store.read(names)] == [{}, new, changed]
    rows = list(world.store.ledger_rows())
    assert [(row.partition, row.sequence) for row in rows] == [(3, 1), (3, 2), (4, 1)]
    assert list(breaks(world.chain_key, rows)) == []
    assert world.store.recorded([bytes([n]) * 16 for n in (1, 3, 9)]).keys() == {b"\x01" * 16, b"\x03" * 16}


def test_one_locked_row_of_several_is_not_waited_for(world: World) -> None:
    """None of them is locked then: a transaction that lets go leaves all to others."""
    world.put(1, thing())
    world.put(2, thing(code="d"))
    with world.hold(2):
        transaction = begun(world, key_of(1), key_of(2))
        assert locked_out(world, transaction, 2) is RefusalReason.ROW_LOCKED
        transaction.rollback()
        alone = begun(world, key_of(1))
        assert alone.lock()[0].read.digest
        alone.rollback()


def test_a_rollback_leaves_nothing(world: World) -> None:
    """Neither the row nor the ledger row outlives a transaction that did not commit."""
    world.put(1, thing())
    transaction = begun(world)
    transaction.record([ledger_row()])
    transaction.lock()
    transaction.write([RowWrite(Way.UPDATE, thing(name="b"))])
    transaction.rollback()
    transaction.rollback()
    assert dict(world.store.read([(ENTITY, KEY)])[0].values) == thing()
    assert recorded(world, ledger_row().row_id) is None


def test_a_tally_says_what_would_be_written(world: World) -> None:
    """Table by table, without the ledger's row, and counted from the first asking; a rollback leaves nothing of it."""
    world.put(2, thing(code="d"))
    cases = (
        (1, RowWrite(Way.INSERT, thing()), (1, 0, 0)),
        (2, RowWrite(Way.UPDATE, thing(name="b", code="e")), (0, 1, 0)),
        (2, RowWrite(Way.DELETE), (0, 0, 1)),
    )
    for number, write, expected in cases:
        transaction = world.store.begin([(ENTITY, key_of(number))])
        assert transaction.tally().touched == ()
        transaction.record([ledger_row(number)])
        transaction.lock()
        transaction.write([write])
        (touched,) = transaction.tally().touched
        assert (touched.inserted, touched.updated, touched.deleted, touched.through) == (*expected, "")
        assert touched.table.endswith("things")
        transaction.rollback()
    assert dict(world.store.read([(ENTITY, key_of(2))])[0].values) == thing(code="d")


def test_columns_outside_the_contract_stay_and_are_in_the_image(world: World) -> None:
    """An update writes the contract's columns; the image has all."""
    world.put(1, thing())
    transaction = begun(world)
    assert b"theirs" in transaction.look()[0].image
    transaction.lock()
    transaction.write([RowWrite(Way.UPDATE, thing(name="b"))])
    transaction.commit()
    transaction = begun(world)
    assert b"theirs" in transaction.look()[0].image
    transaction.rollback()


def test_columns_that_are_not_given_are_not_written(world: World) -> None:
    """An update of one field leaves the others; how the row is spelled is told apart to the last character."""
    world.put(1, thing(name="a ", code="C"))
    transaction = begun(world)
    (locked,) = transaction.lock()
    assert transaction.write([RowWrite(Way.UPDATE, {"name": "A"})]) == 1
    (left,) = transaction.read_back()
    transaction.commit()
    assert dict(left.values) == thing(name="A", code="C")
    spelled = [world.store.spelling(ENTITY, values) for values in (locked.read.values, left.values, thing(code="C"))]
    assert len(set(spelled)) == len([each for each in spelled if each]) == 3
    assert world.store.spelling(ENTITY, {"name": "A"}) == b""


def test_what_changed_since_a_row_was_looked_at_is_seen_under_its_lock(world: World) -> None:
    """What stood still is what it was, also in columns that no contract names."""
    world.put(1, thing())
    world.put(2, thing(code="d"))
    transaction = begun(world, KEY, key_of(2))
    before = transaction.look()
    world.put(2, thing(name="b", code="d"))
    after = transaction.lock()
    transaction.rollback()
    assert after[0] == before[0]
    assert [dict(row.read.values) for row in (before[1], after[1])] == [thing(code="d"), thing(name="b", code="d")]
    assert after[1].read.digest != before[1].read.digest
    assert after[1].image != before[1].image


ODD_TEXTS = ('{"a",NULL}', "b\\'\"", "NULL", "", None, "ü 🎁 %s {0} 100%;")


def test_rows_that_are_written_alike_have_each_its_own_values(world: World) -> None:
    """One statement inserts them all, and one updates them: no value is taken for a part of it, or for another's."""
    keys = [key_of(number) for number in range(len(ODD_TEXTS))]
    for way, texts in ((Way.INSERT, ODD_TEXTS), (Way.UPDATE, ODD_TEXTS[::-1])):
        wanted = [thing(name=text, code=f"code {number}") for number, text in enumerate(texts)]
        transaction = begun(world, *keys)
        assert transaction.write([RowWrite(way, values) for values in wanted]) == len(keys)
        assert [dict(left.values) for left in transaction.read_back()] == wanted
        transaction.commit()
    assert [dict(read.values) for read in world.store.read([(ENTITY, key) for key in keys])] == wanted
    transaction = begun(world, *keys)
    assert transaction.write([RowWrite(Way.DELETE)] * len(keys)) == len(keys)
    assert {left.digest for left in transaction.read_back()} == {b""}
    transaction.rollback()


def test_how_long_statements_took_since_it_was_asked_is_what_a_store_is_strained_by(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence and the commit are the same whatever is written, and so is the asking: each counts once."""
    if isinstance(world, MemoryWorld):
        assert world.store.strain() == Strain(1.0)
        return
    moments = iter((0.0, 0.004, 1.0, 1.25, 2.0, 2.001, 3.0, 3.002))
    monkeypatch.setattr("app.adapters.answer_times.time", SimpleNamespace(monotonic=lambda: next(moments)))
    transaction = begun(world)
    transaction.fence()
    transaction.commit()
    busy, idle = world.store.strain(), world.store.strain()
    assert busy.answered_ms == pytest.approx((4 + 250 + 1) / 3)
    assert idle.answered_ms == pytest.approx(2)
    assert (busy.lag_ms, idle.lag_ms) == (0, 0)


def test_an_id_is_recorded_once(world: World) -> None:
    """Whoever comes second is told, in a transaction and alone."""
    world.store.record_alone([ledger_row()])
    with pytest.raises(AlreadyRecorded):
        world.store.record_alone([ledger_row()])
    transaction = begun(world)
    with pytest.raises(AlreadyRecorded):
        transaction.record([ledger_row()])
    transaction.rollback()


def refused(call: object, *arguments: object) -> RefusalReason:
    """Return the reason for which a call was refused, at once."""
    began = time.monotonic()
    with pytest.raises(Refused) as no:
        call(*arguments)  # type: ignore[operator]
    assert time.monotonic() - began < 0.5
    return no.value.reason


def locked_out(world: World, transaction: RowTransaction, rows: int) -> RefusalReason:
    """Return the reason for which rows cannot be written that somebody holds: told at the lock, or at the write."""
    if not world.is_locked_by_snapshot:
        return refused(transaction.lock)
    transaction.lock()
    return refused(transaction.write, [RowWrite(Way.UPDATE, {"name": "ours"})] * rows)


def test_a_unique_value_is_freed_before_it_is_taken(world: World) -> None:
    """Whatever order the rows are named in; nothing is counted as touched that was only tried."""
    for number, code in ((1, "a"), (2, "b"), (3, "c"), (4, "d")):
        world.put(number, thing(code=code))
    transaction = begun(world, *map(key_of, (1, 2, 3, 4, 5)))
    transaction.record([ledger_row()])
    transaction.lock()
    wanted = [thing(code=code) for code in ("b", "c", "d")]
    writes = [*(RowWrite(Way.UPDATE, values) for values in wanted), RowWrite(Way.DELETE)]
    assert transaction.write([*writes, RowWrite(Way.INSERT, thing(code="a"))]) == 5
    assert [read.values.get("code") for read in transaction.read_back()] == ["b", "c", "d", None, "a"]
    assert transaction.other_tables() == ()
    transaction.commit()
    assert recorded(world, ledger_row().row_id) is not None


def test_rows_that_no_order_helps_are_named(world: World) -> None:
    """Two that exchange a unique value, and one that wants another row's; nothing of them is left behind."""
    for number, code in ((1, "a"), (2, "b"), (3, "c"), (4, "d")):
        world.put(number, thing(code=code))
    transaction = begun(world, *map(key_of, (1, 2, 3)))
    transaction.lock()
    with pytest.raises(RowsRefused) as no:
        transaction.write([RowWrite(Way.UPDATE, thing(code=code)) for code in ("b", "a", "free")])
    assert {place: why.reason for place, why in no.value.by_place.items()} == {
        0: RefusalReason.UNIQUE_CONFLICT,
        1: RefusalReason.UNIQUE_CONFLICT,
    }
    assert no.value.unique_fields == {0: ("code",), 1: ("code",)}
    transaction.rollback()
    read = world.store.read([(ENTITY, key_of(number)) for number in (1, 2, 3)])
    assert [each.values["code"] for each in read] == ["a", "b", "c"]


def test_a_locked_row_is_not_waited_for(world: World) -> None:
    """A row that another session is writing is a refusal at once, and can be written when it is free."""
    world.put(1, thing())
    with world.hold(1):
        transaction = begun(world)
        assert locked_out(world, transaction, 1) is RefusalReason.ROW_LOCKED
        transaction.rollback()
    transaction = begun(world)
    assert transaction.lock()[0].read.digest
    transaction.rollback()


def test_a_row_that_is_being_inserted_is_not_waited_for(world: World) -> None:
    """An absent row cannot be locked, but an insert meets the other's, at once."""
    with world.hold(1):
        transaction = begun(world)
        if not isinstance(world, MemoryWorld):
            transaction.look()
        assert refused(transaction.write, [RowWrite(Way.INSERT, thing())]) is RefusalReason.ROW_LOCKED
        transaction.rollback()


def test_a_row_that_came_meanwhile_has_moved(world: World) -> None:
    """The primary key says so, and the row that came stays."""
    transaction = begun(world)
    assert transaction.lock()[0].read.digest == b""
    world.put(1, thing(name="came"))
    assert refused(transaction.write, [RowWrite(Way.INSERT, thing())]) is RefusalReason.ROW_MOVED
    transaction.rollback()
    assert world.store.read([(ENTITY, KEY)])[0].values["name"] == "came"


def test_another_unique_value_is_a_conflict_of_its_own(world: World) -> None:
    """Only the primary key means that the row has moved, whatever text the value holds."""
    code = "x' for key 'PRIMARY'"
    world.put(2, thing(code=code))
    transaction = begun(world)
    assert refused(transaction.write, [RowWrite(Way.INSERT, thing(code=code))]) is RefusalReason.UNIQUE_CONFLICT
    transaction.rollback()
    world.put(1, thing())
    transaction = begun(world)
    transaction.lock()
    assert refused(transaction.write, [RowWrite(Way.UPDATE, thing(code=code))]) is RefusalReason.UNIQUE_CONFLICT
    transaction.rollback()


def test_a_value_that_the_column_cannot_hold_does_not_pass(world: World) -> None:
    """Refused by the store, or seen when it is read back."""
    world.put(1, thing())
    transaction = begun(world)
    transaction.lock()
    reason = None
    try:
        transaction.write([RowWrite(Way.UPDATE, world.unheld)])
    except Refused as no:
        reason = no.reason
    assert reason is RefusalReason.NOT_HELD_BY_COLUMN or dict(transaction.read_back()[0].values) != world.unheld
    transaction.rollback()


def test_a_missing_row_that_needs_more_than_the_contract_knows_is_refused(world: World) -> None:
    """Nobody invents a value for a column outside the contract."""
    world.require_a_column()
    transaction = begun(world)
    assert refused(transaction.write, [RowWrite(Way.INSERT, thing())]) is RefusalReason.UNCOVERED_COLUMNS
    transaction.rollback()


def test_a_table_without_transactions_is_refused(world: World) -> None:
    """Nothing could be taken back there."""
    world.make_unsafe()
    assert refused(begun, world) is RefusalReason.NOT_TRANSACTIONAL


def test_the_fence_is_read_in_the_transaction(world: World) -> None:
    """A raised token, and the flag that stops all, are seen by the next transaction."""
    world.raise_fence(5)
    transaction = begun(world)
    assert transaction.fence() == Fence(5)
    transaction.rollback()
    world.fence_shard("things/copy/3", 6)
    transaction = begun(world)
    assert transaction.fence() == Fence(5, shards={"things/copy/3": 6})
    transaction.rollback()
    world.raise_fence(0)
    world.stop()
    transaction = begun(world)
    flags = transaction.fence()
    assert (flags.token, flags.is_stopped) == (0, True)
    transaction.rollback()


@pytest.mark.parametrize("name", ["plain", "Ünïcode 🐟 \\ ' \" %s", ""])
def test_a_before_image_brings_a_row_back(world: World, name: str) -> None:
    """Updated back in the contract's columns, and inserted again with all of them."""
    world.put(1, thing(name=name))
    first = begun(world)
    (was,) = first.look()
    first.lock()
    first.write([RowWrite(Way.UPDATE, thing(name="b", code="z"))])
    assert first.write([RowWrite(Way.RESTORE, image=was.image)]) == 1
    assert first.look() == [was]
    first.commit()
    second = begun(world)
    second.lock()
    assert second.write([RowWrite(Way.DELETE)]) == 1
    second.commit()
    third = begun(world)
    assert third.write([RowWrite(Way.PUT_BACK, image=was.image)]) == 1
    assert third.look() == [was]
    third.commit()
    assert world.store.read([(ENTITY, KEY)])[0] == was.read


def test_a_row_that_is_there_is_not_put_back(world: World) -> None:
    """A duplicate key is a row that moved."""
    world.put(1, thing())
    transaction = begun(world)
    image = transaction.look()[0].image
    assert refused(transaction.write, [RowWrite(Way.PUT_BACK, image=image)]) is RefusalReason.ROW_MOVED
    transaction.rollback()


def test_the_ledger_s_rows_are_chained_by_partition(world: World) -> None:
    """Written in a transaction or alone, rolled back or not: from 1 without a gap, each bound to the one before."""
    for number in range(1, 7):
        placed = replace(ledger_row(number), partition=number % 2)
        if number % 3:
            transaction = begun(world)
            transaction.record([placed])
            (transaction.rollback if number == 4 else transaction.commit)()
        else:
            world.store.record_alone([placed])
    rows = list(world.store.ledger_rows())
    assert [(row.partition, row.sequence) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert list(breaks(world.chain_key, rows)) == []
    assert [each.what for each in breaks(world.chain_key, rows[1:])] == [Break.MISSING]


def test_the_whole_ledger_is_read_whatever_partition_its_rows_are_under(world: World) -> None:
    """The applier writes none under a negative one, which a new table does not take; an older table takes any."""
    world.store.record_alone([ledger_row(1)])
    if not isinstance(world, MemoryWorld):
        with pytest.raises(Unready, match="constraint"):
            world.store.record_alone([replace(ledger_row(2), partition=-1)])
        world.take_any_partition()
    partitions = (-1, -(2**31), 2**31 - 1)
    for number, partition in enumerate(partitions, 2):
        world.store.record_alone([replace(ledger_row(number), partition=partition)])
    rows = list(world.store.ledger_rows())
    assert [row.partition for row in rows] == sorted((3, *partitions))
    assert [(b.what, b.partition) for b in breaks(world.chain_key, rows)] == [
        (Break.ALTERED, -(2**31)),
        (Break.ALTERED, -1),
    ]


MALFORMED = {
    "kind": "nonsense",
    "action": "",
    "outcome": "x",
    "reason": "x",
    "finding_id": "x",
    "found_digest": "0",
    "chain": "no digits",
}


@pytest.mark.parametrize("column", MALFORMED)
def test_a_ledger_row_that_no_applier_can_have_written_ends_nothing(world: World, column: str) -> None:
    """It is read by its id and its place, the audit names it, and the chain goes on behind it."""
    if isinstance(world, MemoryWorld):
        return
    world.store.record_alone([ledger_row(1), ledger_row(2)])
    forged = ledger_row(2).row_id
    world.forge(forged, column, MALFORMED[column])
    assert world.store.recorded([forged])[forged].original_id == b""
    world.store.record_alone([ledger_row(3)])
    rows = list(world.store.ledger_rows())
    assert [row.sequence for row in rows] == [1, 2, 3]
    assert [(b.what, b.sequence) for b in breaks(world.chain_key, rows)] == [(Break.ALTERED, 2)]


def test_behind_the_highest_number_a_partition_is_waited_for(world: World) -> None:
    """Nothing is refused for good because somebody put such a row in; other partitions go on."""
    if isinstance(world, MemoryWorld):
        return
    world.store.record_alone([ledger_row(1)])
    world.forge(ledger_row(1).row_id, "sequence", 2**63 - 1)
    with pytest.raises(Unready, match="the ledger takes no row now"):
        world.store.record_alone([ledger_row(2)])
    world.store.record_alone([replace(ledger_row(3), partition=4)])


def test_a_time_that_no_calendar_of_ours_has_is_read_as_the_last_one(world: World) -> None:
    """PostgreSQL holds infinity: neither the counting nor the reading ends at such a row, and its link is not whole."""
    if not isinstance(world, PostgresWorld):
        return
    world.store.record_alone([ledger_row(1), ledger_row(2)])
    for number, at in ((1, "infinity"), (2, "-infinity")):
        world.forge(ledger_row(number).row_id, "written_at", at)
    assert counts(world, ENTITY, b"h" * 16).newest_at_ms > NOW_MS
    assert len(world.store.recorded([ledger_row(1).row_id, ledger_row(2).row_id])) == 2
    assert [b.what for b in breaks(world.chain_key, world.store.ledger_rows())] == [Break.ALTERED] * 2


def test_the_ledger_counts_by_minute_and_row(world: World) -> None:
    """Only applied commands of the last minute count, and those of one row for an hour."""
    for number, action, age_ms in (
        (1, Action.UPSERT, 0),
        (2, Action.DELETE, 59_000),
        (3, Action.UPSERT, 61_000),
        (4, Action.UPSERT, 3_601_000),
    ):
        world.store.record_alone([_aged(ledger_row(number, action=action), age_ms)])
    counted = counts(world, ENTITY, b"h" * 16)
    assert (counted.writes_in_minute, counted.deletes_in_minute, counted.same_row_in_hour) == (2, 1, 3)
    assert counts(world, "others", b"h" * 16).same_row_in_hour == 0
    assert counts(world, ENTITY, b"g" * 16).same_row_in_hour == 0


def test_what_was_done_to_a_row_last_is_told_by_the_ledgers_numbers_and_not_by_clocks(world: World) -> None:
    """An undo that a clock set back dates before its repair is the last thing that was done."""
    repair = ledger_row(1)
    world.store.record_alone([repair])
    undo = replace(ledger_row(2), original_id=repair.row_id, kind=LedgerKind.UNDO)
    world.store.record_alone([_aged(undo, 10_000)])
    assert counts(world, ENTITY, b"h" * 16).was_undone
    world.store.record_alone([_aged(ledger_row(3), 20_000)])
    assert not counts(world, ENTITY, b"h" * 16).was_undone


def test_what_was_written_since_the_ledger_was_counted_counts_at_once(world: World) -> None:
    """The minute is not counted anew for each transaction; what is added comes to what the ledger says itself."""
    assert counts(world, ENTITY, b"h" * 16) == LedgerCounts(0, 0, 0)
    for number, approver in ((1, ""), (2, "anna")):
        transaction = begun(world)
        transaction.record([replace(ledger_row(number, action=Action.DELETE), approver=approver)])
        transaction.commit()
    rolled_back = begun(world)
    rolled_back.record([ledger_row(3)])
    rolled_back.rollback()
    added = counts(world, ENTITY, b"h" * 16)
    assert added == LedgerCounts(2, 2, 2, 1, NOW_MS)
    world.forget()
    assert counts(world, ENTITY, b"h" * 16) == added


def _aged(row: LedgerRow, age_ms: int) -> LedgerRow:
    return replace(row, written_at_ms=row.written_at_ms - age_ms)


def test_an_insert_without_its_check_is_found(world: World) -> None:
    """Updates and deletes need no check; an insert's check ends the search for it."""
    world.store.record_alone([ledger_row(1)])
    world.store.record_alone([ledger_row(2, action=Action.DELETE)])
    insert = ledger_row(3, expected=b"")
    world.store.record_alone([insert])
    assert [row.row_id for row in world.store.unchecked_inserts(10)] == [insert.row_id]
    world.store.record_alone([replace(insert, row_id=check_id(insert.row_id), kind=LedgerKind.CHECK)])
    assert world.store.unchecked_inserts(10) == []


def test_inserts_without_their_checks_come_oldest_first_from_all_partitions(world: World) -> None:
    """As many as were asked for."""
    for number, partition, age_ms in ((1, 3, 0), (2, 0, 500), (3, 11, 900), (4, 3, 200)):
        world.store.record_alone([_aged(replace(ledger_row(number, expected=b""), partition=partition), age_ms)])
    assert [row.row_id[0] for row in world.store.unchecked_inserts(10)] == [3, 2, 4, 1]
    assert len(world.store.unchecked_inserts(3)) == 3


def test_inserts_are_looked_for_among_the_newest_rows_of_their_partition(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands far behind them was checked, or its commands have long come again: a ledger only grows."""
    for adapter in ("memory_rows", "mongodb_ledger", "sql_rows"):
        monkeypatch.setattr(f"app.adapters.{adapter}.UNCHECKED_AMONG", 3)
    quiet = replace(ledger_row(9, expected=b""), partition=0)
    world.store.record_alone([quiet])
    for number in (1, 2, 3, 4):
        world.store.record_alone([ledger_row(number, expected=b"" if number < 3 else b"e" * 16)])
    assert {row.row_id[0] for row in world.store.unchecked_inserts(10)} == {2, 9}
