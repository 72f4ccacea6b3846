"""Stores of which no snapshot tells: a pass over the whole table covers them, and their beacons tell of gaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.finding import DriftKind, Stage
from app.core.fold import Shard
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
