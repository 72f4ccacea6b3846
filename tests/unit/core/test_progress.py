"""Chains and writers: what may be passed over, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.limits import PENDING_BARRIERS_MAX
from app.core.observation import Barrier, Beacon, Link
from app.core.progress import Progress
from tests.unit.core.test_epochs import CONTRACT, place


@pytest.mark.parametrize(("begin", "extends"), [(0, True), (9, True), (10, True), (11, False)])
def test_a_link_above_what_was_reached_is_not_taken(begin: int, *, extends: bool) -> None:
    """A lost block must not be jumped by what comes after it."""
    progress = Progress.of((CONTRACT,))
    progress.extend(Link("A.t", 0, 0, 10))
    assert progress.extends(Link("A.t", 0, begin, 20)) is extends


def test_a_redelivered_link_takes_nothing_back() -> None:
    """What was reached stays reached."""
    progress = Progress.of((CONTRACT,))
    progress.extend(Link("A.t", 0, 0, 10))
    assert progress.extend(Link("A.t", 0, 0, 4)).reached == 10


@pytest.mark.parametrize(
    ("epoch", "issued_ms", "superseded"), [(1, 4_999, False), (1, 5_000, False), (1, 5_001, True), (2, 9_000, False)]
)
def test_a_writer_is_superseded_from_the_moment_at_which_the_next_began(
    epoch: int, issued_ms: int, *, superseded: bool
) -> None:
    """What an older writer issued before that still counts, however late it comes."""
    progress = Progress.of((CONTRACT,))
    progress.writers_began_ms = {1: 0, 2: 5_000}
    beacon = Beacon("A", epoch, 1, issued_ms, 0, place(1), streamed=True, server="one")
    assert progress.superseded(beacon) is superseded


def test_a_superseded_beacon_moves_no_watermark_and_brackets_nothing() -> None:
    """Each of two writers reaches one store alone: what the older one goes on to say there is another clock's time."""
    progress = Progress.of((CONTRACT,))
    beacons = [("A", 1, 500, False), ("A", 1, 1_000, True), ("R", 2, 1_600, True), ("A", 1, 2_000, True)]
    for n, (store, epoch, issued_ms, streamed) in enumerate([*beacons, ("A", 2, 2_100, True)], start=1):
        link = Link(f"{store}.beacon", 0, n - 1, n)
        beacon = Beacon(store, epoch, n, issued_ms, issued_ms - 100, place(n), streamed, "one")
        progress.take_beacon(Barrier(beacon, link, [(f"{store}.t", 0, 0)]), progress.extend(link))
        progress.advance()
    assert progress.stores["A"].timeline.issued_ms == [1_000, 2_100]
    assert progress.entities[7].watermark_ms[0] == 2_100


def test_a_partition_without_a_record_hinders_no_coverage() -> None:
    """Nobody has said anything of an empty partition yet, and there is nothing to be said."""
    progress = Progress.of((CONTRACT,))
    for streamed, n in ((False, 1), (True, 2)):
        link = Link("A.beacon", 0, n - 1, n)
        beacon = Beacon("A", 1, n, n * 500, 0, place(n), streamed, "one")
        progress.take_beacon(Barrier(beacon, link, [("A.t", 0, 0)]), progress.extend(link))
        progress.advance()
    assert progress.entities[7].covered_at_ms[0] == 1_000


def _backlog(beacons: int) -> Progress:
    """Return the progress of a store whose beacons were all read before any row of its one partition was."""
    progress = Progress.of((CONTRACT,))
    for n in range(beacons + 1):
        link = Link("A.beacon", 0, n, n + 1)
        streamed = n > 0
        beacon = Beacon("A", 1, n + 1, n * 500, 0, place(10 * n + 1), streamed, "one")
        progress.take_beacon(Barrier(beacon, link, [("A.t", 0, 1_000_000)]), progress.extend(link))
    return progress


def _read_row(progress: Progress, at: int, end: int) -> None:
    """Read one streamed change at a place in the log, far from the end of the backlog."""
    chain = progress.extend(Link("A.t", 0, 0, end))
    chain.newest, _ = progress.place_row("A", chain, place(at), snapshot=False)
    progress.advance()


@pytest.mark.parametrize(("at", "watermark_ms"), [(11, None), (12, 500), (41, 1_500), (42, 2_000), (999, 4_000)])
def test_time_moves_with_the_reading_of_a_backlog(at: int, watermark_ms: int | None) -> None:
    """A change that stands behind a beacon in the log shows that all before the beacon was read."""
    progress = _backlog(8)
    _read_row(progress, at, 5)
    assert progress.entities[7].watermark_ms[0] == watermark_ms


def test_one_partition_does_not_speak_for_another() -> None:
    """Each partition has to show what stands behind the beacon, or be read to the end that it had."""
    progress = _backlog(3)
    contract = progress.entities[7].contract
    table = contract.stores[0]
    wider = replace(contract, stores=(replace(table, partitions=2), *contract.stores[1:]))
    progress.entities[7].contract = wider
    _read_row(progress, 25, 5)
    assert progress.entities[7].watermark_ms[0] is None


def test_a_backlog_longer_than_what_may_wait_is_read_in_wider_steps() -> None:
    """Barriers are dropped at even steps, so that time need not stand until those that are kept."""
    beacons = 3 * PENDING_BARRIERS_MAX
    progress = _backlog(beacons)
    steps_ms = []
    for n in range(1, beacons, 60):
        _read_row(progress, 10 * n + 2, n)
        watermark_ms = progress.entities[7].watermark_ms[0]
        assert watermark_ms is not None
        steps_ms.append(n * 500 - watermark_ms)
    assert max(steps_ms) <= 10 * 500
    _read_row(progress, 10 * beacons + 2, beacons)
    assert progress.entities[7].watermark_ms[0] == beacons * 500
