"""Stores of which no snapshot tells: a pass over the whole table covers them, and their beacons tell of gaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.finding import DriftKind, Stage
from app.core.fold import META, Shard
from app.core.observation import Barrier
from tests.unit.core.story import Story


def confirmed(story: Story) -> list[tuple[bytes, DriftKind | None]]:
    """Return which rows were told to drift, and how."""
    return [(f.canonical_key, f.kind) for f in story.findings if f.stage is Stage.CONFIRMED]


def passed(story: Story, rows: str, at_ms: int) -> None:
    """Let a pass over R show rows, all as the authority has them, and say so; two beacons behind it are read."""
    begun = story.place("R")
    for key in rows:
        story.reread("R", "1", key=key, raw=key)
    story.slice_read("R", begun, name=f"pass at {at_ms}")
    story.until(at_ms, at_ms + 1_000)


def covered(story: Story) -> int | None:
    """Return since when R is covered."""
    return story.shard.progress.entities[7].covered_at_ms[1]


@pytest.fixture
def story() -> Story:
    """Return rows k and l, in A since its snapshot, and R streaming without one."""
    made = Story(streams_alone="R")
    for key in "kl":
        made.row("A", "1", key=key, raw=key, snapshot=True)
    made.until(500, 1_500)
    return made


def test_nothing_is_judged_before_a_pass_has_shown_which_rows_there_are(story: Story) -> None:
    """Two rows that nobody has seen in R may be there all the same."""
    story.until(2_000, 9_000)
    assert (story.findings, covered(story), story.shard.verified_through_ms(7, 0)) == ([], None, None)


def test_a_pass_covers_its_store_and_a_row_that_it_did_not_show_is_missing(story: Story) -> None:
    """As behind a snapshot: of two rows one was shown."""
    passed(story, "k", 2_000)
    assert covered(story) == 2_000
    story.until(3_500, 6_000)
    assert confirmed(story) == [(b"l", DriftKind.MISSING)]


def test_a_row_that_changed_while_the_pass_went_on_is_known_by_its_change(story: Story) -> None:
    """A connector leaves it out of what it reads."""
    begun = story.place("R")
    story.reread("R", "1", key="k", raw="k")
    story.row("R", "1", key="l", raw="l")
    story.slice_read("R", begun)
    story.until(2_000, 8_000)
    assert (story.findings, covered(story)) == ([], 2_000)


def test_a_pass_covers_only_where_the_log_is_known_beyond_its_end(story: Story) -> None:
    """Its word travels in another partition than its rows."""
    begun = story.place("R")
    story.slice_read("R", begun)
    assert covered(story) is None
    story.until(2_000, 2_000)
    assert covered(story) == 2_000


def test_a_slice_of_a_part_of_the_table_covers_nothing(story: Story) -> None:
    """What is outside of it nobody has seen."""
    begun = story.place("R")
    story.slice_read("R", begun, low="k", high="z")
    story.until(2_000, 4_000)
    assert covered(story) is None


def test_a_beacon_behind_a_gap_ends_coverage_until_another_pass(story: Story) -> None:
    """A row that went in the gap is found to be gone by the pass; nothing is said of it before."""
    passed(story, "kl", 2_000)
    story.lose_beacon("R", 3_500)
    story.until(4_000, 9_000)
    assert (story.findings, covered(story)) == ([], None)
    passed(story, "k", 9_500)
    story.until(11_000, 14_000)
    assert covered(story) == 9_500
    assert confirmed(story) == [(b"l", DriftKind.MISSING)]


def test_a_pass_that_was_begun_before_a_gap_covers_nothing_behind_it(story: Story) -> None:
    """What it has read may have changed in the gap."""
    begun = story.place("R")
    for key in "kl":
        story.reread("R", "1", key=key, raw=key)
    story.lose_beacon("R", 1_800)
    story.until(2_000, 3_000)
    story.slice_read("R", begun)
    story.until(3_500, 6_000)
    assert covered(story) is None


def test_a_gap_is_seen_also_behind_a_restart(story: Story) -> None:
    """Which beacon was read last is kept with the rows."""
    passed(story, "kl", 2_000)
    story.restart()
    story.until(3_500, 4_500)
    assert covered(story) == 2_000
    story.restart()
    story.lose_beacon("R", 5_000)
    story.until(5_500, 6_000)
    assert covered(story) is None


def test_a_beacon_that_comes_again_is_no_gap(story: Story) -> None:
    """A torn commit may know the store's log further than the chain of its beacons."""
    passed(story, "kl", 2_000)
    again = story.barrier("R", 3_500)
    story.observe(again)
    story.until(4_000, 4_500)
    story.observe(Barrier(again.beacon, story.barrier("A", 5_000).link, again.ends))
    story.until(5_500, 6_000)
    assert covered(story) == 2_000


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_commit_that_was_torn_behind_a_gap_keeps_no_coverage(story: Story, *, is_lost: bool) -> None:
    """Whatever of it was written: the beacon that tells of the gap comes again, and is known to the store already.

    And where there is no gap, none is seen: the beacons of a store may be known further than it is.
    """
    passed(story, "kl", 2_000)
    story.until(3_500, 4_500)
    table = dict(story.table)
    comes_again = []
    for at_ms in (5_000, 6_000, 6_500):
        comes_again.append(story.barrier("R", at_ms))
        if at_ms == 5_000 and is_lost:
            story.lose_beacon("R", 5_500)
    story.commits = False
    for barrier in comes_again:
        story.observe(barrier)
    writes = story.shard.flush()
    story.commits = True
    expected = None if is_lost else 2_000
    assert covered(story) == expected
    for written in range(len(writes) + 1):
        story.table = dict(table)
        story.write(writes[:written])
        story.restart()
        for barrier in comes_again:
            story.observe(barrier)
        assert covered(story) == expected, written


def test_a_beacon_that_comes_again_behind_a_new_contract_begins_no_log(story: Story) -> None:
    """It stands at a place that was read, by the same server: the next one tells what is missing."""
    passed(story, "kl", 2_000)
    again = story.barrier("R", 3_500)
    story.observe(again)
    story.until(4_000, 4_500)
    story.contract = replace(story.contract, version=2)
    story.shard = Shard((story.contract,), 0)
    story.restart()
    story.observe(Barrier(again.beacon, story.barrier("R", 4_700).link, again.ends))
    store = story.shard.progress.stores["R"]
    assert (store.epoch, store.log_restarted, store.newest) == (0, False, None)
    story.until(5_000, 5_500)
    passed(story, "kl", 6_000)
    assert covered(story) == 6_000


def test_behind_a_log_that_went_back_what_lags_is_read_again(story: Story) -> None:
    """A chain that is never at its end when a beacon comes joins the new log late, and what it showed counts not."""
    passed(story, "kl", 2_000)
    story.until(3_500, 60_000)
    story.places["R"] -= 60

    def beat(at_ms: int) -> None:
        barrier = story.barrier("R", at_ms)
        signals = ("R.signal", 0, story.offsets["R.signal"])
        story.observe(replace(barrier, ends=[*((topic, p, end + 1) for topic, p, end in barrier.ends), signals]))
        story.row("R", str(at_ms), key="hot", raw="hot")
        story.beacons(at_ms, "A")

    for at_ms in (60_500, 61_000):
        beat(at_ms)
    for number in range(3):
        begun = story.place("R")
        for key in "kl":
            story.reread("R", "1", key=key, raw=key)
        story.slice_read("R", begun, name=f"pass {number}")
        for at_ms in range(62_000 + 4_000 * number, 65_000 + 4_000 * number, 500):
            beat(at_ms)
    assert covered(story) is not None
    assert [row for row, _ in confirmed(story) if row != b"hot"] == []


def test_an_entity_that_stays_outdated_takes_the_others_no_coverage_at_each_restart(story: Story) -> None:
    """Once all were read behind the beacon that followed, a restart asks for no more."""
    passed(story, "kl", 2_000)
    story.contract = replace(story.contract, version=2)
    story.shard = Shard((story.contract,), 0)
    story.restart()
    story.until(3_500, 4_500)
    newest = story.shard.progress.stores["R"].snapshots[-1]
    assert story.shard.progress.entities[7].outdated[1] is not None
    story.restart()
    story.until(5_000, 6_000)
    assert story.shard.progress.stores["R"].snapshots[-1] == newest


def test_a_beacons_row_that_was_put_back_stands_behind_a_gap(story: Story) -> None:
    """Its numbers were read before, and its place was not."""
    passed(story, "kl", 2_000)
    barrier = story.barrier("R", 3_500)
    story.observe(replace(barrier, beacon=replace(barrier.beacon, sequence=3, replaced=(1, 2))))
    assert covered(story) is None


def test_beacons_that_come_again_change_nothing_of_when_changes_were(story: Story) -> None:
    """Neither what is covered, nor what is kept of them: an older one says of the newest one's time nothing."""
    passed(story, "kl", 2_000)
    again = [story.barrier("R", at_ms) for at_ms in (3_500, 4_000, 4_500)]
    for barrier in again:
        story.observe(barrier)
    beacons = {key: value for key, value in story.table.items() if key[:2] == META + b"b"}
    for barrier in again[:2]:
        story.observe(Barrier(barrier.beacon, story._next("R.beacon"), barrier.ends))
    assert covered(story) == 2_000
    assert {key: value for key, value in story.table.items() if key[:2] == META + b"b"} == beacons


@pytest.mark.parametrize("what", ["server", "place"])
def test_a_beacon_of_another_log_ends_coverage(story: Story, what: str) -> None:
    """Another server's, or one that stands before what was read: whatever it says of the one that it replaced."""
    passed(story, "kl", 2_000)
    barrier = story.barrier("R", 3_500)
    changed = replace(barrier.beacon, server="another") if what == "server" else None
    story.observe(replace(barrier, beacon=changed or replace(barrier.beacon, place=bytes(17))))
    assert covered(story) is None


def test_a_beacon_that_does_not_tell_what_it_replaced_moves_no_time(story: Story) -> None:
    """Without images of before, the log tells of no gap: nothing is proven by it."""
    passed(story, "kl", 2_000)
    before_ms = story.shard.progress.entities[7].watermark_ms[1]
    barrier = story.barrier("R", 3_500)
    story.observe(replace(barrier, beacon=replace(barrier.beacon, replaced=None)))
    assert story.shard.progress.entities[7].watermark_ms[1] == before_ms


def test_rows_of_another_meaning_are_outdated_until_a_pass_behind_the_next_beacon(story: Story) -> None:
    """The word of a pass that was begun before the contract changed comes too late."""
    begun = story.place("R")
    for key in "kl":
        story.reread("R", "1", key=key, raw=key)
    story.contract = replace(story.contract, version=2)
    story.shard = Shard((story.contract,), 0)
    story.restart()
    story.slice_read("R", begun)
    story.until(2_000, 3_000)
    assert story.shard.progress.entities[7].outdated[1] is not None
    story.restart()
    story.until(3_500, 4_500)
    assert covered(story) is None
    passed(story, "kl", 5_000)
    assert covered(story) == 5_000
    assert story.shard.progress.entities[7].outdated == [0, None]
