"""Epochs of a store's log: what breaks them, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.limits import BREAKS_IN_A_ROW_MAX
from app.core.observation import Barrier, Beacon, Link
from app.core.position import BEFORE_ALL, SNAPSHOT, STREAM, binlog_place, epoch_of, phase_of
from app.core.progress import Chain, Progress

INT = FieldType(FieldKind.INT64)
CONTRACT = EntityContract(
    entity="t",
    version=1,
    number=7,
    key=(KeyField("id", INT, {"A": "id", "R": "id"}),),
    fields=(Field("v", INT, {"A": "v", "R": "v"}),),
    authority="A",
    stores=(StoreTable("A", "t", "A.t", 1), StoreTable("R", "t", "R.t", 1)),
    replicas=(Replica("R", 1_000, 10_000),),
)


def place(n: int) -> bytes:
    """Return the n-th place of a log."""
    return binlog_place(1, n, 0, is_delete=False)


class Log:
    """One store's beacons, as a receiver hears of them."""

    def __init__(self, store: str) -> None:
        self.progress = Progress.of((CONTRACT,))
        self.store = store
        self.offset = 0
        self.sequence = 0
        self.rows = Chain(0)

    def beacon(
        self, n: int, *, streamed: bool = True, server: str = "one", others: Sequence[tuple[str, int, int]] = ()
    ) -> bool:
        """Take in a beacon at place n; True if it broke the epoch."""
        link = Link(f"{self.store}.beacon", 0, self.offset, self.offset + 1)
        self.offset += 1
        self.sequence += 1
        beacon = Beacon(self.store, 1, self.sequence, self.sequence * 500, 0, place(n), streamed, server)
        chain = self.progress.extend(link)
        self.progress.extend(Link(f"{self.store}.t", 0, 0, 0))
        broken = self.progress.take_beacon(Barrier(beacon, link, [(f"{self.store}.t", 0, 0), *others]), chain)
        self.progress.advance()
        return broken

    def row(self, n: int, *, snapshot: bool) -> tuple[bytes, bool]:
        """Place a row of the table."""
        return self.progress.place_row(self.store, self.rows, place(n), snapshot=snapshot)

    @property
    def covered(self) -> bool:
        """Whether the entity is covered in this store."""
        i = [table.store for table in CONTRACT.stores].index(self.store)
        return self.progress.entities[7].covered_at_ms[i] is not None


def covered_log() -> Log:
    """Return a log whose first snapshot is complete."""
    log = Log("A")
    log.beacon(5, streamed=False)
    log.row(5, snapshot=True)
    log.beacon(8)
    assert log.covered
    return log


def test_coverage_is_earned_by_the_first_streamed_beacon_behind_a_snapshot() -> None:
    """A snapshot's own read of the beacon covers nothing; the first streamed one does."""
    log = Log("A")
    assert not log.beacon(5, streamed=False)
    assert not log.covered
    assert not log.beacon(8)
    assert log.covered


def test_a_stream_without_a_snapshot_covers_nothing() -> None:
    """Beacons alone say how far the log is known, not what was in the table before."""
    log = Log("A")
    log.beacon(8)
    log.beacon(9)
    assert not log.covered


def test_a_snapshot_taken_again_ends_coverage_at_once() -> None:
    """Rows read at another place of the log are another snapshot: changes may be missing in between."""
    log = covered_log()
    at, broken = log.row(20, snapshot=True)
    assert broken
    assert (epoch_of(at), phase_of(at)) == (1, SNAPSHOT)
    assert not log.covered
    log.beacon(20, streamed=False)
    log.beacon(25)
    assert log.covered


def test_a_late_row_of_the_first_snapshot_breaks_nothing() -> None:
    """Another partition may bring the first snapshot's rows after the second has begun."""
    log = covered_log()
    log.row(20, snapshot=True)
    at, broken = log.row(5, snapshot=True)
    assert not broken
    assert epoch_of(at) == 0


def test_a_streamed_row_behind_the_new_snapshot_is_of_its_epoch() -> None:
    """A partition that the snapshot left empty still knows its place in the log."""
    log = covered_log()
    log.row(20, snapshot=True)
    other = Chain(0)
    before, _ = log.progress.place_row("A", other, place(19), snapshot=False)
    behind, _ = log.progress.place_row("A", other, place(21), snapshot=False)
    assert (epoch_of(before), epoch_of(behind)) == (0, 1)
    assert phase_of(behind) == STREAM
    assert behind > before > BEFORE_ALL


def test_another_server_ends_coverage() -> None:
    """A log written by another server may lack what the first one had."""
    log = covered_log()
    assert log.beacon(30, server="two")
    assert not log.covered


def test_a_log_that_begins_again_ends_coverage() -> None:
    """The beacon's sequence rises while its place does not: the log was restored or reset."""
    log = covered_log()
    assert log.beacon(3)
    assert not log.covered
    log.beacon(4)
    assert not log.covered, "nothing was read since"


@pytest.mark.parametrize(("at", "is_covered"), [(19, False), (20, True), (21, True)])
def test_a_log_that_begins_again_between_its_first_snapshot_and_its_first_beacon_covers_nothing(
    at: int, *, is_covered: bool
) -> None:
    """The end of the log that was is lost with what changed there: the stream begins before what the snapshot read."""
    log = Log("A")
    log.row(20, snapshot=True)
    log.beacon(20, streamed=False)
    assert log.beacon(at) is not is_covered
    log.beacon(at + 1)
    assert log.covered is is_covered


def test_a_log_that_begins_again_before_it_has_streamed_is_covered_by_its_own_snapshot() -> None:
    """No beacon of the log that was tells where it stood; its snapshot does, and the new one's beacons follow it."""
    log = Log("A")
    log.row(20, snapshot=True)
    log.beacon(20, streamed=False)
    assert log.row(2, snapshot=True)[1]
    assert not log.beacon(2, streamed=False)
    lagging, _ = log.progress.place_row("A", Chain(0), place(21), snapshot=False)
    assert epoch_of(lagging) == 0, "of the log that was, whatever its place"
    assert not log.beacon(3)
    assert log.covered


def test_chains_of_no_table_follow_when_their_log_begins_again() -> None:
    """Ledgers and signals are in no snapshot: what comes behind a beacon of the new log is of its epoch."""
    log = covered_log()
    signals = Chain(4, newest=BEFORE_ALL)
    log.progress.chains["A.signal", 0] = signals
    log.row(2, snapshot=True)
    log.beacon(2, streamed=False)
    log.beacon(3, others=[("A.signal", 0, 5)])
    assert signals.epoch == 0, "what was written before the beacon was not read yet"
    log.beacon(4, others=[("A.signal", 0, 4)])
    at, _ = log.progress.place_row("A", signals, place(6), snapshot=False)
    assert epoch_of(at) == log.progress.stores["A"].epoch > 0


def test_a_partition_that_lags_behind_a_new_log_shows_the_snapshot_of_the_old_one() -> None:
    """Its place in the old log is known: it is no third snapshot, which would uncover the store again."""
    log = covered_log()
    log.row(6, snapshot=False)
    log.row(2, snapshot=True)
    log.beacon(2, streamed=False)
    lagging = Chain(0)
    at, broken = log.progress.place_row("A", lagging, place(5), snapshot=True)
    assert (epoch_of(at), phase_of(at), broken) == (0, SNAPSHOT, False)
    log.beacon(3)
    assert log.covered


def test_a_snapshot_of_a_new_log_may_stand_where_the_old_ones_did() -> None:
    """A partition that has streamed behind the old one shows it: places of another log mean nothing any more."""
    log = covered_log()
    log.row(6, snapshot=False)
    log.beacon(3, server="two")
    at, broken = log.row(5, snapshot=True)
    assert broken
    assert epoch_of(at) == log.progress.stores["A"].epoch
    other = Chain(0)
    assert log.progress.place_row("A", other, place(5), snapshot=True) == (at, False), "the new log's own"


def test_snapshots_that_never_end_prove_nothing() -> None:
    """Rows at ever other places would cost every key its standing: the store stays uncovered in plain sight."""
    log = covered_log()
    for n in range(BREAKS_IN_A_ROW_MAX + 1):
        log.row(100 + n, snapshot=True)
    log.beacon(300, streamed=False)
    log.beacon(301)
    assert not log.covered


def test_an_older_writer_s_beacon_that_comes_again_shows_no_new_log() -> None:
    """A torn commit knows that it was read and not how far its topic was: in no timeline, it would look new."""
    log = covered_log()
    log.progress.writers_began_ms[2] = 0
    link = Link("A.beacon", 0, log.offset, log.offset + 1)
    older = Beacon("A", 1, log.sequence + 1, 5_000, 0, place(12), streamed=True, server="one")
    assert log.progress.superseded(older)
    for _ in range(2):
        assert not log.progress.take_beacon(Barrier(older, link, []), log.progress.extend(link))
    assert log.covered
