"""What every store of rows must do, whatever it is: one suite for memory, PostgreSQL and MariaDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.chain import Break, breaks
from app.core.command import Action, Outcome, RefusalReason
from app.core.guard import Fence, Refused
from app.core.ledger import LedgerKind, LedgerRow, check_id
from app.core.store import StoreKind
from app.ports import AlreadyRecorded
from tests.contract.row_worlds import (
    ENTITY,
    MariadbWorld,
    MemoryWorld,
    PostgresWorld,
    World,
    contract,
    key_of,
    settings_of,
    thing,
)
from tests.integration.running_stack import running_stack

KEY = key_of(1)
NOW_MS = 1_800_000_000_000


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.stack),
        pytest.param("mariadb", marks=pytest.mark.stack),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Yield an empty table of things in each kind of store."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    kind = StoreKind(request.param)
    told = running_stack(request.param)[request.param]
    settings = settings_of(kind, told, tmp_path)
    # The store under test is the replica, so that its role may write.
    authority = StoreKind.MARIADB if kind is StoreKind.POSTGRES else StoreKind.POSTGRES
    made = (PostgresWorld if kind is StoreKind.POSTGRES else MariadbWorld)(settings, contract(authority))
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


def test_a_row_is_read_as_its_canonical_values(world: World) -> None:
    """What was put is what is seen; an absent row has the empty digest; equal values have equal digests."""
    assert world.store.read(ENTITY, KEY).digest == b""
    world.put(1, thing())
    world.put(2, thing(code="d"))
    world.put(3, thing(name="b", code="e"))
    seen = world.store.read(ENTITY, KEY)
    assert dict(seen.values) == thing()
    assert len({world.store.read(ENTITY, key_of(n)).digest for n in (1, 2, 3)}) == 3
    before = seen.digest
    world.put(1, thing(amount="1.50") if isinstance(world, MemoryWorld) else thing())
    assert isinstance(world, MemoryWorld) or world.store.read(ENTITY, KEY).digest == before


def test_insert_update_delete_go_with_their_ledger_row(world: World) -> None:
    """Each is seen after its commit, with the ledger row beside it, and reads back within."""
    for number, before, after in ((1, None, thing()), (2, thing(), thing(name="b")), (3, thing(name="b"), None)):
        transaction = world.store.begin(ENTITY, KEY)
        assert transaction.fence() == Fence(0)
        looked = transaction.look()
        assert dict(looked.read.values) == (before or {})
        transaction.record(ledger_row(number))
        assert transaction.lock() == looked
        if after is None:
            rows = transaction.delete()
        else:
            rows = transaction.update(after) if before else transaction.insert(after)
        assert rows == 1
        assert dict(transaction.read_back().values) == (after or {})
        assert transaction.other_tables() == ()
        assert transaction.commit()
        assert dict(world.store.read(ENTITY, KEY).values) == (after or {})
        found = world.store.recorded(bytes([number]) * 16)
        assert found is not None
        assert (found.before_image, found.sealed_key) == (bytes(range(256)), b"\x00sealed\xff")
        assert (found.written_at_ms, found.approver, found.partition) == (NOW_MS, "anna", 3)


def test_a_rollback_leaves_nothing(world: World) -> None:
    """Neither the row nor the ledger row outlives a transaction that did not commit."""
    world.put(1, thing())
    transaction = world.store.begin(ENTITY, KEY)
    transaction.record(ledger_row())
    transaction.lock()
    transaction.update(thing(name="b"))
    transaction.rollback()
    transaction.rollback()
    assert dict(world.store.read(ENTITY, KEY).values) == thing()
    assert world.store.recorded(ledger_row().row_id) is None


def test_columns_outside_the_contract_stay_and_are_in_the_image(world: World) -> None:
    """An update writes the contract's columns; the image has all."""
    world.put(1, thing())
    transaction = world.store.begin(ENTITY, KEY)
    assert b"theirs" in transaction.look().image
    transaction.lock()
    transaction.update(thing(name="b"))
    transaction.commit()
    transaction = world.store.begin(ENTITY, KEY)
    assert b"theirs" in transaction.look().image
    transaction.rollback()


def test_an_id_is_recorded_once(world: World) -> None:
    """Whoever comes second is told, in a transaction and alone."""
    world.store.record_alone(ledger_row())
    with pytest.raises(AlreadyRecorded):
        world.store.record_alone(ledger_row())
    transaction = world.store.begin(ENTITY, KEY)
    with pytest.raises(AlreadyRecorded):
        transaction.record(ledger_row())
    transaction.rollback()


def refused(call: object, *arguments: object) -> RefusalReason:
    """Return the reason for which a call was refused, at once."""
    began = time.monotonic()
    with pytest.raises(Refused) as no:
        call(*arguments)  # type: ignore[operator]
    assert time.monotonic() - began < 0.5
    return no.value.reason


def test_a_locked_row_is_not_waited_for(world: World) -> None:
    """A row that another session is writing is a refusal at once, and can be written when it is free."""
    world.put(1, thing())
    with world.hold(1):
        transaction = world.store.begin(ENTITY, KEY)
        assert refused(transaction.lock) is RefusalReason.ROW_LOCKED
        transaction.rollback()
    transaction = world.store.begin(ENTITY, KEY)
    assert transaction.lock().read.digest
    transaction.rollback()


def test_a_row_that_is_being_inserted_is_not_waited_for(world: World) -> None:
    """An absent row cannot be locked, but an insert meets the other's, at once."""
    with world.hold(1):
        transaction = world.store.begin(ENTITY, KEY)
        if not isinstance(world, MemoryWorld):
            transaction.look()
        assert refused(transaction.insert, thing()) is RefusalReason.ROW_LOCKED
        transaction.rollback()


def test_a_row_that_came_meanwhile_has_moved(world: World) -> None:
    """The primary key says so, and the row that came stays."""
    transaction = world.store.begin(ENTITY, KEY)
    assert transaction.lock().read.digest == b""
    world.put(1, thing(name="came"))
    assert refused(transaction.insert, thing()) is RefusalReason.ROW_MOVED
    transaction.rollback()
    assert world.store.read(ENTITY, KEY).values["name"] == "came"


def test_another_unique_value_is_a_conflict_of_its_own(world: World) -> None:
    """Only the primary key means that the row has moved, whatever text the value holds."""
    code = "x' for key 'PRIMARY'"
    world.put(2, thing(code=code))
    transaction = world.store.begin(ENTITY, KEY)
    assert refused(transaction.insert, thing(code=code)) is RefusalReason.UNIQUE_CONFLICT
    transaction.rollback()
    world.put(1, thing())
    transaction = world.store.begin(ENTITY, KEY)
    transaction.lock()
    assert refused(transaction.update, thing(code=code)) is RefusalReason.UNIQUE_CONFLICT
    transaction.rollback()


def test_a_value_that_the_column_cannot_hold_does_not_pass(world: World) -> None:
    """Refused by the store, or seen when it is read back."""
    world.put(1, thing())
    transaction = world.store.begin(ENTITY, KEY)
    transaction.lock()
    longer = thing(name="longer than the column is wide")
    reason = None
    try:
        transaction.update(longer)
    except Refused as no:
        reason = no.reason
    assert reason is RefusalReason.NOT_HELD_BY_COLUMN or dict(transaction.read_back().values) != longer
    transaction.rollback()


def test_a_missing_row_that_needs_more_than_the_contract_knows_is_refused(world: World) -> None:
    """Nobody invents a value for a column outside the contract."""
    world.require_a_column()
    transaction = world.store.begin(ENTITY, KEY)
    assert refused(transaction.insert, thing()) is RefusalReason.UNCOVERED_COLUMNS
    transaction.rollback()


def test_a_table_without_transactions_is_refused(world: World) -> None:
    """Nothing could be taken back there."""
    world.make_unsafe()
    assert refused(world.store.begin, ENTITY, KEY) is RefusalReason.NOT_TRANSACTIONAL


def test_the_fence_is_read_in_the_transaction(world: World) -> None:
    """A raised token, and the flag that stops all, are seen by the next transaction."""
    world.raise_fence(5)
    transaction = world.store.begin(ENTITY, KEY)
    assert transaction.fence() == Fence(5)
    transaction.rollback()
    world.raise_fence(0)
    world.stop()
    transaction = world.store.begin(ENTITY, KEY)
    assert transaction.fence() == Fence(0, is_stopped=True)
    transaction.rollback()


@pytest.mark.parametrize("name", ["plain", "Ünïcode 🐟 \\ ' \" %s", ""])
def test_a_before_image_brings_a_row_back(world: World, name: str) -> None:
    """Updated back in the contract's columns, and inserted again with all of them."""
    world.put(1, thing(name=name))
    first = world.store.begin(ENTITY, KEY)
    was = first.look()
    first.lock()
    first.update(thing(name="b", code="z"))
    assert first.restore(was.image) == 1
    assert first.look() == was
    first.commit()
    second = world.store.begin(ENTITY, KEY)
    second.lock()
    assert second.delete() == 1
    second.commit()
    third = world.store.begin(ENTITY, KEY)
    assert third.put_back(was.image) == 1
    assert third.look() == was
    third.commit()
    assert world.store.read(ENTITY, KEY) == was.read


def test_a_row_that_is_there_is_not_put_back(world: World) -> None:
    """A duplicate key is a row that moved."""
    world.put(1, thing())
    transaction = world.store.begin(ENTITY, KEY)
    image = transaction.look().image
    assert refused(transaction.put_back, image) is RefusalReason.ROW_MOVED
    transaction.rollback()


def test_the_ledger_s_rows_are_chained_by_partition(world: World) -> None:
    """Written in a transaction or alone, rolled back or not: from 1 without a gap, each bound to the one before."""
    for number in range(1, 7):
        placed = replace(ledger_row(number), partition=number % 2)
        if number % 3:
            transaction = world.store.begin(ENTITY, KEY)
            transaction.record(placed)
            (transaction.rollback if number == 4 else transaction.commit)()
        else:
            world.store.record_alone(placed)
    rows = list(world.store.ledger_rows())
    assert [(row.partition, row.sequence) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert list(breaks(world.chain_key, rows)) == []
    assert [each.what for each in breaks(world.chain_key, rows[1:])] == [Break.MISSING]


def test_the_ledger_counts_by_minute_and_row(world: World) -> None:
    """Only applied commands of the last minute count, and those of one row for an hour."""
    for number, action, age_ms in (
        (1, Action.UPSERT, 0),
        (2, Action.DELETE, 59_000),
        (3, Action.UPSERT, 61_000),
        (4, Action.UPSERT, 3_601_000),
    ):
        world.store.record_alone(_aged(ledger_row(number, action=action), age_ms))
    counts = world.store.counts(ENTITY, b"h" * 16, NOW_MS)
    assert (counts.writes_in_minute, counts.deletes_in_minute, counts.same_row_in_hour) == (2, 1, 3)
    assert world.store.counts("others", b"h" * 16, NOW_MS).same_row_in_hour == 0
    assert world.store.counts(ENTITY, b"g" * 16, NOW_MS).same_row_in_hour == 0


def _aged(row: LedgerRow, age_ms: int) -> LedgerRow:
    return replace(row, written_at_ms=row.written_at_ms - age_ms)


def test_an_insert_without_its_check_is_found(world: World) -> None:
    """Updates and deletes need no check; an insert's check ends the search for it."""
    world.store.record_alone(ledger_row(1))
    world.store.record_alone(ledger_row(2, action=Action.DELETE))
    insert = ledger_row(3, expected=b"")
    world.store.record_alone(insert)
    assert [row.row_id for row in world.store.unchecked_inserts(10)] == [insert.row_id]
    world.store.record_alone(replace(insert, row_id=check_id(insert.row_id), kind=LedgerKind.CHECK))
    assert world.store.unchecked_inserts(10) == []
