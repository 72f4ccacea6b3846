"""Two raw keys under one canonical key are two rows: unknown until one alone is left and has shown itself."""

from __future__ import annotations

import pytest

from app.core.finding import Stage, UnknownReason
from app.core.limits import RAW_KEYS_MAX
from app.core.observation import SNAPSHOT_READ, Barrier, Beacon
from app.core.position import binlog_place
from tests.unit.core.story import Story

COLLISION = {UnknownReason.KEY_COLLISION: 1}


def collided(*raws: str) -> Story:
    """Return a story in which both stores agreed on a row before others came under its key in the replica."""
    story = Story()
    for store in "AR":
        story.row(store, "one", raw="K", snapshot=True)
    story.until(500, 2_000)
    for raw in raws:
        story.row("R", "one", raw=raw, created=True)
    story.until(2_500, 5_000)
    assert story.shard.live[7].unknown_keys(0) == COLLISION
    return story


def unknown(story: Story, start_ms: int) -> dict[UnknownReason, int]:
    """Return what is unknown after some more beacons."""
    story.until(start_ms, start_ms + 2_500)
    return dict(story.shard.live[7].unknown_keys(0))


def test_a_change_of_either_row_ends_no_collision() -> None:
    """Both are still there."""
    story = collided("k")
    for at_ms, raw in ((5_500, "k"), (8_500, "k"), (11_500, "K")):
        story.row("R", "one", raw=raw)
        assert unknown(story, at_ms) == COLLISION
    assert story.findings == []


@pytest.mark.parametrize(("gone", "left"), [("k", "K"), ("K", "k")])
def test_it_ends_when_one_was_deleted_and_the_other_has_shown_itself(gone: str, left: str) -> None:
    """What the one that is left holds is known with its next change; then it is judged as ever."""
    story = collided("k")
    story.row("R", "", raw=gone)
    assert unknown(story, 5_500) == COLLISION
    story.row("R", "one", raw=left)
    assert unknown(story, 8_500) == {}
    assert story.findings == []
    assert story.shard.live[7].states == {}
    story.row("R", "rogue", raw=left)
    assert unknown(story, 11_500) == {}
    assert story.stages()[0] is Stage.CONFIRMED


def test_it_ends_when_both_were_deleted() -> None:
    """Then no row is there, and that is known."""
    story = collided("k")
    for raw in ("K", "k"):
        story.row("R", "", raw=raw)
    assert unknown(story, 5_500) == {}
    assert story.stages()[0] is Stage.CONFIRMED


def test_of_three_rows_two_must_go() -> None:
    """One deletion is not enough."""
    story = collided("k", "ḱ")
    story.row("R", "", raw="K")
    story.row("R", "one", raw="k")
    assert unknown(story, 5_500) == COLLISION
    story.row("R", "", raw="ḱ")
    story.row("R", "one", raw="k")
    assert unknown(story, 8_500) == {}


def test_of_too_many_rows_nobody_knows_which_are_left() -> None:
    """No deletion ends it then."""
    story = collided(*(f"k{n}" for n in range(RAW_KEYS_MAX)))
    for n in range(RAW_KEYS_MAX):
        story.row("R", "", raw=f"k{n}")
    story.row("R", "one", raw="K")
    assert unknown(story, 5_500) == COLLISION


def test_a_truncate_ends_it() -> None:
    """It takes every row."""
    story = collided("k")
    story.cut("R")
    story.row("R", "one", raw="k", created=True)
    assert unknown(story, 5_500) == {}
    assert story.shard.live[7].states == {}


def test_a_snapshot_taken_again_shows_which_are_there() -> None:
    """One of them only: it is known again. Both: it collides again."""
    for raws, reasons in ((("k",), {}), (("k", "K"), COLLISION)):
        story = collided("k")
        story.places["R"] = 900
        again = binlog_place(1, 900, 0, is_delete=False)
        beacon = Beacon("R", 1, story.sequence, 5_000, 4_510, again, streamed=False, server="server")
        story.observe(Barrier(beacon, story._next("R.beacon"), [("R.t", 0, story.offsets["R.t"])]))
        for raw in raws:
            story.row("R", "one", raw=raw, snapshot=True, place=again)
        assert unknown(story, 5_500) == reasons


@pytest.mark.parametrize("is_other_there", [False, True])
def test_a_row_that_is_inserted_behind_a_snapshot_that_showed_neither_does_not_collide(*, is_other_there: bool) -> None:
    """Both went while the connector was away. If one did not, the snapshot shows it, in its own partition."""
    story = collided("k")
    story.places["R"] = 900
    again = binlog_place(1, 900, 0, is_delete=False)
    beacon = Beacon("R", 1, story.sequence, 5_000, 4_510, again, streamed=False, server="server")
    story.observe(Barrier(beacon, story._next("R.beacon"), [("R.t", 0, story.offsets["R.t"])]))
    story.row("R", "one", raw="K", created=True)
    if is_other_there:
        story.observe(story.block("R", "one", raw="k", place=again, partition=1, flags=SNAPSHOT_READ))
    assert unknown(story, 5_500) == (COLLISION if is_other_there else {})
    assert story.findings == []


def test_a_row_that_is_read_late_from_another_partition_collides() -> None:
    """Raw keys travel in partitions of their own, so the older of two changes may come last."""
    story = Story()
    for store in "AR":
        story.row(store, "one", raw="K", snapshot=True)
    story.until(500, 2_000)
    story.places["R"] += 1
    story.row("R", "one", raw="K")
    older = binlog_place(1, story.places["R"] - 1, 0, is_delete=False)
    story.observe(story.block("R", "one", raw="k", place=older, partition=1))
    assert unknown(story, 2_500) == COLLISION


def test_a_deletion_that_is_read_late_from_another_partition_counts() -> None:
    """A key that only changed its case was deleted before it was created, whichever is read first."""
    story = Story()
    for store in "AR":
        story.row(store, "one", raw="K", snapshot=True)
    story.until(500, 2_000)
    story.places["R"] += 1
    story.row("R", "one", raw="k", created=True)
    older = binlog_place(1, story.places["R"] - 1, 0, is_delete=True)
    story.observe(story.block("R", "", raw="K", place=older, partition=1))
    story.row("R", "one", raw="k")
    assert unknown(story, 2_500) == {}
    assert story.findings == []


def test_what_may_be_there_survives_a_restart() -> None:
    """It is in the row's state."""
    story = collided("k")
    story.restart()
    story.row("R", "one", raw="K")
    assert unknown(story, 5_500) == COLLISION
