"""Rows that wait for a deadline are not held in memory where there are many, and are judged in time all the same."""

from __future__ import annotations

from app.core.finding import DriftKind, Stage
from app.core.observation import Link, Truncated
from app.core.position import binlog_place
from tests.unit.core.story import Story

CONFIRMED, OVERTAKEN, RESOLVED = Stage.CONFIRMED, Stage.OVERTAKEN, Stage.RESOLVED


def asleep(*, pipeline: bool = False) -> Story:
    """Return a story in which a row of the authority's has changed, and sleeps until its copy is late."""
    story = Story(pipeline=pipeline, awake_rows_max=0)
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("A", "two")
    live = story.shard.live[7]
    assert (list(live.states), len(live.asleep)) == ([], 1)
    return story


def test_a_sleeping_row_is_told_when_its_window_is_over() -> None:
    """Its state comes from the table, where a commit has left it."""
    story = asleep()
    story.until(2_500, 3_000)
    assert story.stages() == []
    story.until(3_500, 5_000)
    assert story.stages() == [CONFIRMED]


def test_a_sleeping_row_still_waits() -> None:
    """`status` counts it, and nothing is called proven beyond what it holds back."""
    story = asleep()
    story.until(2_500, 3_000)
    assert story.shard.live[7].waiting_keys(0) == 1
    assert story.shard.verified_through_ms(7, 0) == 2_000


def test_a_change_wakes_it_with_all_that_it_was() -> None:
    """The copy comes within its window, and the state that it skipped vouches for it as ever."""
    story = asleep()
    story.row("A", "three")
    story.row("R", "two")
    story.row("R", "three")
    story.until(2_500, 6_000)
    assert story.stages() == []
    assert (story.shard.live[7].states, story.shard.live[7].asleep) == ({}, {})


def test_what_a_sleeping_row_went_through_is_not_forgotten() -> None:
    """Its stores may show one state without having agreed: the copy is read late, and yet to show what was between."""
    story = Story(awake_rows_max=0)
    story.until(500, 2_000)
    story.started = "A"
    story.row("A", "one")
    story.until(2_500, 6_000)
    story.row("A", "")
    story.until(6_500, 7_000)
    story.started = "R"
    story.row("R", "one")
    story.until(2_500, 7_000)
    story.row("R", "")
    story.started = "AR"
    story.until(7_500, 9_000)
    assert story.stages() == []


def test_a_row_that_slept_while_its_store_is_not_covered_is_read_as_it_was_written() -> None:
    """It may be kept at two places in memory; neither outlives its falling asleep."""
    story = asleep()
    story.row("A", "other", key="other")
    again = story.row("R", "other", key="other")
    story.read_beacon_again("R", again)
    story.commits = False
    story.row("R", "one", snapshot=True, place=again)
    story.commits = True
    story.flush()
    assert len(story.shard.live[7].asleep) == 1
    story.commits = story.sweeps = False
    story.row("A", "three")
    story.row("R", "three")
    story.until(2_500, 8_000)
    assert story.stages() == []


def test_a_drift_is_held_until_it_is_acknowledged() -> None:
    """Also by a worker that has just started again."""
    story = asleep()
    story.acknowledges = False
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED]
    story.restart()
    assert story.stages() == [CONFIRMED, CONFIRMED]
    assert len(story.shard.live[7].states) == 1
    story.shard.acknowledged(story.findings)
    story.flush()
    assert story.drift().acknowledged


def test_a_drift_that_waits_for_its_pipeline_sleeps_too() -> None:
    """It is repaired when the pipeline has passed it."""
    story = Story(pipeline=True, awake_rows_max=0)
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    place = story.row("A", "two")
    story.until(2_500, 6_000)
    assert story.stages() == [CONFIRMED]
    assert len(story.shard.live[7].asleep) == 1
    story.pipeline_reached(place, 6_100)
    story.until(6_500, 7_500)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_a_truncate_cuts_a_row_in_its_sleep() -> None:
    """Its deadline comes before the pass over the table."""
    story = asleep()
    story.sweeps = False
    story.observe(Truncated(7, 1, Link("R.t", 0, 1, 2), binlog_place(1, 500, 0, is_delete=False), 1, 9))
    story.places["R"], story.offsets["R.t"] = 500, 2
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED]
    assert {f.kind for f in story.findings} == {DriftKind.MISSING}


def test_a_restarted_worker_holds_no_more_of_them() -> None:
    """What it had noted sleeps until the first beacon after the restart, and is told as if nothing had been."""
    story = asleep()
    story.restart()
    assert (story.shard.live[7].states, len(story.shard.live[7].asleep)) == ({}, 1)
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED]
    story.row("R", "two")
    story.until(5_500, 7_000)
    assert story.stages() == [CONFIRMED, RESOLVED]
