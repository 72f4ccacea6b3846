"""Which partitions wait, so that the stores of an entity are read at one pace."""

from __future__ import annotations

import pytest

from app.agents.side_by_side import STEP_MS, SideBySide

MINE, THEIRS, OTHER = ("pg.orders", 0), ("my.orders", 0), ("pg.items", 0)
BEACON = ("my.beacon", 0)
NOW_MS = 1_000_000
ENTITIES = {"pg.orders": "orders", "my.orders": "orders", "pg.items": "items"}


@pytest.fixture
def read() -> SideBySide:
    """Return how far two entities' partitions were read: nothing yet."""
    return SideBySide(ENTITIES, {"my.beacon": {"orders"}})


def test_what_is_ahead_of_unread_records_waits(read: SideBySide) -> None:
    """More than a step ahead is ahead; whether it has more itself does not matter."""
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 1_000 + STEP_MS, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()
    read.read(MINE, 1_001 + STEP_MS, has_more=False, now_ms=NOW_MS)
    assert read.ahead() == {MINE}


def test_what_waits_goes_on_when_the_other_has_come_up(read: SideBySide) -> None:
    """So that each is read in turn."""
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 5_000, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {THEIRS}


def test_a_partition_read_to_its_end_holds_up_nobody(read: SideBySide) -> None:
    """A store in which nothing happens is no reason to wait."""
    read.read(THEIRS, 1_000, has_more=False, now_ms=NOW_MS)
    read.read(MINE, 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_another_entity_waits_for_nothing(read: SideBySide) -> None:
    """A table that stands still holds up its own entity alone, and topics of no entity are not looked at."""
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    read.read(OTHER, 9_000, has_more=True, now_ms=NOW_MS)
    read.read(("observations", 0), 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_a_stretch_without_records_moves_no_time(read: SideBySide) -> None:
    """Markers of transactions carry none: before the first record everything is ahead, later the last one counts."""
    read.read(THEIRS, None, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {MINE}
    read.read(THEIRS, 9_000, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, None, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_what_is_read_from_elsewhere_begins_anew(read: SideBySide) -> None:
    """After a seek nothing of it is known."""
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 9_000, has_more=True, now_ms=NOW_MS)
    read.forget()
    assert read.ahead() == set()


def test_what_is_ahead_of_unread_beacons_waits(read: SideBySide) -> None:
    """Those of a store come before its rows, and of another entity's tables nothing waits for them."""
    read.read(BEACON, 1_000, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 1_001 + STEP_MS, has_more=True, now_ms=NOW_MS)
    read.read(OTHER, 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {MINE}
    read.read(BEACON, 5_000, has_more=False, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_beacons_wait_for_nobody(read: SideBySide) -> None:
    """They are read as far as there are any, long before the rows."""
    read.read(BEACON, 9_000, has_more=True, now_ms=NOW_MS)
    read.read(MINE, 1_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_a_partition_that_was_not_read_yet_holds_up_the_others(read: SideBySide) -> None:
    """As at a start in a backlog, when the broker gives one store's records first."""
    read.read(MINE, None, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {THEIRS}


def test_a_record_of_the_future_counts_as_of_now(read: SideBySide) -> None:
    """A clock that is wrong, or a forged record, delays its partition by no more than what the others have behind."""
    read.read(MINE, NOW_MS * 9, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, NOW_MS - STEP_MS - 1, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {MINE}
    read.read(THEIRS, NOW_MS, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()


def test_a_record_without_a_timestamp_neither_waits_nor_holds_up_others(read: SideBySide) -> None:
    """Nothing is known of its time: it is read as if it were of another entity, until a record has one again."""
    read.read(MINE, 9_000, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, -1, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()
    read.read(MINE, -1, has_more=True, now_ms=NOW_MS)
    read.read(THEIRS, 1_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == set()
    read.read(MINE, 9_000, has_more=True, now_ms=NOW_MS)
    assert read.ahead() == {MINE}
