"""A beacon writer watches, takes over, writes, and gives way; told step by step."""

from __future__ import annotations

import pytest

from app.core.beacon_clock import BeaconClock
from app.core.beacon_writer import (
    MISSED_MAX,
    NONCE_BITS,
    UNREAD_PATIENCE_MS,
    BeaconRow,
    BeaconWriter,
    Role,
)

INTERVAL_MS = 500
PATIENCE_MS = MISSED_MAX * INTERVAL_MS
FRESH = BeaconRow(0, 0, 0, 0)


def started(*stores: str, nonce: int = 7) -> BeaconWriter:
    """Return a writer that has just started at the moment 0."""
    return BeaconWriter(stores or ("pg", "my"), nonce, INTERVAL_MS, 0)


def writing(pg: BeaconRow = FRESH, my: BeaconRow = FRESH, nonce: int = 7) -> tuple[BeaconWriter, int]:
    """Return a writer that has read both stores and taken over, and the moment at which it did."""
    writer = started(nonce=nonce)
    writer.read_back("pg", pg, 100)
    writer.read_back("my", my, 100)
    now_ms = 100 + PATIENCE_MS + 1
    assert writer.next_beat("pg", now_ms) is not None
    return writer, now_ms


def test_a_row_is_read_before_anything_is_written() -> None:
    """A writer that knows nothing of a store asks for its row."""
    assert started().next_beat("pg", 1_000_000) is None


@pytest.mark.parametrize(("waited_ms", "role"), [(PATIENCE_MS, Role.WATCHING), (PATIENCE_MS + 1, Role.WRITING)])
def test_it_takes_over_only_after_more_than_the_allowed_silence(waited_ms: int, role: Role) -> None:
    """Up to the last allowed interval another writer may still be alive."""
    writer = started()
    writer.read_back("pg", FRESH, 100)
    writer.read_back("my", FRESH, 100)
    writer.next_beat("pg", 100 + waited_ms)
    assert writer.role is role


def test_a_beacon_of_another_in_any_store_puts_the_take_over_off() -> None:
    """A writer that is alive shows it in at least one store."""
    writer = started()
    writer.read_back("pg", FRESH, 100)
    writer.read_back("my", FRESH, 100)
    writer.read_back("my", BeaconRow(1 << NONCE_BITS, 1, 50, 0), 2_000)
    writer.next_beat("pg", 2_000 + PATIENCE_MS)
    assert writer.role is Role.WATCHING


def test_time_goes_on_from_the_highest_value_of_all_stores_and_not_from_any_clock() -> None:
    """Continuity: the first beacon of a new writer stands where the one that was read would stand by now."""
    writer, now_ms = writing(
        pg=BeaconRow(3 << NONCE_BITS, 41, 70_000, 69_500), my=BeaconRow(2 << NONCE_BITS, 9, 80_000, 0)
    )
    beat = writer.next_beat("pg", now_ms)
    assert beat is not None
    assert beat.row.issued_at_ms == 80_001 + PATIENCE_MS + 1


def test_the_reading_back_counts_as_the_acknowledgement_that_the_dead_writer_could_not_send() -> None:
    """What was read had been committed, so the bracket before it closes at the take-over."""
    writer, now_ms = writing(pg=BeaconRow(3 << NONCE_BITS, 41, 70_000, 69_500))
    beat = writer.next_beat("pg", now_ms)
    assert beat is not None
    assert beat.row.previous_acknowledged_ms == 70_001 + PATIENCE_MS + 1


def test_a_beacon_that_was_on_its_way_when_its_writer_hung_stands_at_no_moment_to_come() -> None:
    """It comes where the successor has not come to yet, and was issued before the successor's time began."""
    hung, now_ms = writing(nonce=1)
    watching = started(nonce=2)
    seen = hung.next_beat("pg", now_ms)
    assert seen is not None
    hung.acknowledged("pg", seen, now_ms + 3)
    watching.read_back("my", FRESH, now_ms + 4)
    watching.read_back("pg", seen.row, now_ms + 4)
    late = hung.next_beat("my", now_ms + INTERVAL_MS - 1)
    first = watching.next_beat("pg", now_ms + 4 + PATIENCE_MS + 1)
    assert late is not None
    assert first is not None
    assert late.row.issued_at_ms < first.row.issued_at_ms


def test_a_beacon_expects_the_row_that_was_read_and_goes_on_from_its_sequence() -> None:
    """Compare-and-set on epoch and sequence."""
    writer, now_ms = writing(pg=BeaconRow(3 << NONCE_BITS, 41, 70_000, 69_500))
    beat = writer.next_beat("pg", now_ms)
    assert beat is not None
    assert (beat.expected_epoch, beat.expected_sequence) == (3 << NONCE_BITS, 41)
    assert (beat.row.epoch, beat.row.sequence) == ((4 << NONCE_BITS) | 7, 42)


def test_an_acknowledgement_travels_with_the_next_beacon() -> None:
    """The next beacon closes the bracket with the moment at which the answer was there."""
    writer, now_ms = writing()
    first = writer.next_beat("pg", now_ms)
    assert first is not None
    writer.acknowledged("pg", first, now_ms + 30)
    second = writer.next_beat("pg", now_ms + INTERVAL_MS)
    assert second is not None
    assert second.row.previous_acknowledged_ms == first.row.issued_at_ms + 30
    assert second.row.issued_at_ms == first.row.issued_at_ms + INTERVAL_MS


def test_an_answer_that_never_came_is_settled_by_the_row_itself() -> None:
    """The beacon had been committed: the row in our own epoch is ours, and its reading acknowledges it."""
    writer, now_ms = writing()
    lost = writer.next_beat("pg", now_ms)
    assert lost is not None
    writer.unsettled("pg")
    assert writer.next_beat("pg", now_ms + 600) is None
    writer.read_back("pg", lost.row, now_ms + 700)
    again = writer.next_beat("pg", now_ms + 700)
    assert again is not None
    assert again.expected_sequence == lost.row.sequence
    assert again.row.previous_acknowledged_ms == lost.row.issued_at_ms + 700


def test_a_newer_epoch_in_one_store_ends_writing_in_all() -> None:
    """Two clocks are close but not the same: only one may run."""
    writer, now_ms = writing()
    writer.unsettled("my")
    writer.read_back("my", BeaconRow((1 << NONCE_BITS) | 8, 1, 5, 0), now_ms + 10)
    assert writer.role is Role.WATCHING
    assert writer.next_beat("pg", now_ms + 20) is None


def test_what_it_issued_itself_is_a_floor_when_it_takes_over_again() -> None:
    """Its beacon may stand in a store that it cannot reach, above everything that it can read."""
    writer, now_ms = writing()
    before = writer.next_beat("pg", now_ms + PATIENCE_MS)
    assert before is not None
    writer.unsettled("my")
    writer.read_back("my", BeaconRow((1 << NONCE_BITS) | 8, 1, 5, 0), now_ms + PATIENCE_MS + 10)
    later_ms = now_ms + PATIENCE_MS + 10 + PATIENCE_MS + 1
    again = writer.next_beat("my", later_ms)
    assert again is not None
    assert again.row.issued_at_ms > before.row.issued_at_ms


@pytest.mark.parametrize(("silent_ms", "role"), [(PATIENCE_MS, Role.WRITING), (PATIENCE_MS + 1, Role.WATCHING)])
def test_a_writer_that_no_store_heard_for_as_long_as_another_waits_gives_way(silent_ms: int, role: Role) -> None:
    """It hung, and a successor may have written by then: counted from when its last beacon was issued."""
    writer, now_ms = writing()
    heard = writer.next_beat("pg", now_ms + 100)
    assert heard is not None
    writer.acknowledged("pg", heard, now_ms + 100 + silent_ms)
    writer.next_beat("my", now_ms + 100 + silent_ms)
    assert writer.role is role


def test_a_writer_that_hung_writes_nothing_where_its_successor_has_not_come_yet() -> None:
    """It reads all rows again, finds the successor in one of them, and does not take over beside it."""
    writer, now_ms = writing()
    waked_ms = now_ms + PATIENCE_MS + 1
    assert writer.next_beat("my", waked_ms) is None
    writer.read_back("my", FRESH, waked_ms)
    assert writer.next_beat("my", waked_ms) is None
    writer.read_back("pg", BeaconRow((1 << NONCE_BITS) | 3, 1, 5, 0), waked_ms + PATIENCE_MS)
    assert writer.next_beat("my", waked_ms + PATIENCE_MS) is None
    writer.read_back("my", FRESH, waked_ms + PATIENCE_MS + 1)
    assert writer.next_beat("my", waked_ms + PATIENCE_MS + 1) is None


def test_a_beacon_that_was_found_where_its_answer_was_lost_was_heard() -> None:
    """An older one of ours that stands there was heard before."""
    writer, now_ms = writing()
    beat = writer.next_beat("pg", now_ms + PATIENCE_MS)
    assert beat is not None
    writer.unsettled("pg")
    writer.read_back("pg", beat.row, now_ms + PATIENCE_MS + 10)
    assert writer.next_beat("pg", now_ms + 2 * PATIENCE_MS) is not None
    writer.unsettled("pg")
    writer.read_back("pg", beat.row, now_ms + 2 * PATIENCE_MS + 1)
    writer.next_beat("pg", now_ms + 2 * PATIENCE_MS + 1)
    assert writer.role is Role.WATCHING


def test_an_older_writers_late_beacon_is_written_over() -> None:
    """A beacon that was still under way when we took over loses its row to us, and our time does not fall behind it."""
    writer, now_ms = writing(pg=BeaconRow(3 << NONCE_BITS, 41, 70_000, 69_500))
    writer.unsettled("pg")
    writer.read_back("pg", BeaconRow(3 << NONCE_BITS, 42, 75_000, 70_000), now_ms + 10)
    beat = writer.next_beat("pg", now_ms + 10)
    assert beat is not None
    assert writer.role is Role.WRITING
    assert beat.expected_sequence == 42
    assert beat.row.issued_at_ms > 75_000


def test_of_two_that_take_over_at_once_the_higher_stays_and_the_lower_gives_way() -> None:
    """Epochs of one generation differ by the writer's own number."""
    lower, now_ms = writing(nonce=1)
    higher, _ = writing(nonce=2)
    in_pg, in_my = lower.next_beat("pg", now_ms), higher.next_beat("my", now_ms)
    assert in_pg is not None
    assert in_my is not None
    higher.unsettled("pg")
    higher.read_back("pg", in_pg.row, now_ms + 5)
    lower.unsettled("my")
    lower.read_back("my", in_my.row, now_ms + 5)
    assert (lower.role, higher.role) == (Role.WATCHING, Role.WRITING)


def test_a_store_that_is_down_holds_up_no_other() -> None:
    """A writer that writes goes on in the stores that answer."""
    writer, now_ms = writing()
    writer.unsettled("my")
    for beaten_ms in range(now_ms, now_ms + 60_000, INTERVAL_MS):
        beat = writer.next_beat("pg", beaten_ms)
        assert beat is not None
        writer.acknowledged("pg", beat, beaten_ms + 3)
    assert writer.next_beat("my", now_ms + 60_000) is None


@pytest.mark.parametrize(
    ("now_ms", "role"), [(UNREAD_PATIENCE_MS - 1, Role.WATCHING), (UNREAD_PATIENCE_MS, Role.WRITING)]
)
def test_a_fresh_writer_waits_a_while_for_a_store_that_it_never_read(now_ms: int, role: Role) -> None:
    """That store may hold the highest value; but it does not hold up the others for ever."""
    writer = started()
    writer.read_back("pg", FRESH, 100)
    writer.next_beat("pg", now_ms)
    assert writer.role is role


def test_time_moves_forward_to_a_store_that_was_not_reachable_at_the_take_over() -> None:
    """Never back: what stands in any store is a floor."""
    writer = started()
    writer.read_back("pg", BeaconRow(0, 0, 1_000, 0), 100)
    assert writer.next_beat("pg", UNREAD_PATIENCE_MS) is not None
    writer.read_back("my", BeaconRow(0, 0, 90_000, 0), UNREAD_PATIENCE_MS + 10)
    beat = writer.next_beat("pg", UNREAD_PATIENCE_MS + 20)
    assert beat is not None
    assert beat.row.issued_at_ms == 90_010


def test_a_restored_store_gets_a_sequence_above_every_one_seen() -> None:
    """A lower sequence would look like a redelivery to those who read the log."""
    writer, now_ms = writing(pg=BeaconRow(3 << NONCE_BITS, 41, 70_000, 69_500))
    writer.unsettled("pg")
    writer.read_back("pg", BeaconRow(1 << NONCE_BITS, 3, 200, 0), now_ms)
    beat = writer.next_beat("pg", now_ms)
    assert beat is not None
    assert (beat.expected_sequence, beat.row.sequence) == (3, 42)


def test_a_number_that_does_not_fit_is_a_mistake() -> None:
    """Two writers with the same bits would share an epoch."""
    with pytest.raises(ValueError, match="nonce"):
        BeaconWriter(["pg"], 1 << NONCE_BITS, INTERVAL_MS, 0)


def test_a_clock_put_forward_never_reads_less() -> None:
    """A clock is only replaced by one that is ahead."""
    clock = BeaconClock(1_000, 10)
    assert clock.at(5) == 1_000
    assert clock.at(60) == 1_050
    assert clock.at_least(900, 60) is clock
    assert clock.at_least(2_000, 60).at(61) == 2_001
