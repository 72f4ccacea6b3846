"""A copy that is later than its window shows what the authority has left: its pipeline is still to bring the end."""

from __future__ import annotations

import pytest

from app.core.finding import Stage
from app.core.fold import row_key
from app.core.limits import READ_MARGIN_MS
from tests.unit.core.story import WINDOW_MS, Story

QUIET_FOR_MS = 10 * WINDOW_MS
ROW = row_key(7, b"k")


def late_with(before: str, *, restarts: bool = False) -> Story:
    """Return stores of which the copy shows, seconds after the authority left it, a state that it had for as long."""
    story = Story()
    for store in "AR":
        story.row(store, "other", key="x", snapshot=True)
        if before:
            story.row(store, before, snapshot=True)
    story.until(500, 1_500)
    story.row("A", "passing")
    story.until(2_000, 4_000)
    story.row("A", before)
    story.until(4_500, 7_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED], "it was late"
    if restarts:
        story.restart()
    story.findings.clear()
    story.row("R", "passing")
    story.until(7_500, 10_500)
    return story


@pytest.mark.parametrize("before", ["one", ""])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_the_authority_went_through_while_its_copy_was_late_is_not_overtaken(
    before: str, *, restarts: bool
) -> None:
    """The copy showed the authority's state before the authority came back to it, and that is no proof."""
    story = late_with(before, restarts=restarts)
    assert story.stages() == [Stage.CONFIRMED]
    story.row("R", before)
    story.until(11_000, 13_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED]


@pytest.mark.parametrize("before", ["one", ""])
def test_a_state_that_its_pipeline_brings_no_end_of_is_overtaken_in_time(before: str) -> None:
    """Once the row was quiet for as long as the contract says, nothing is still to come."""
    story = late_with(before)
    story.until(11_000, 4_000 + QUIET_FOR_MS + 2_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN]


@pytest.mark.parametrize("before", ["one", ""])
def test_a_copy_that_came_to_the_authority_s_state_and_left_it_is_overtaken_at_once(before: str) -> None:
    """It was brought what the authority came back to: what it shows since is no pipeline's."""
    story = late_with(before)
    story.row("R", before)
    story.until(11_000, 13_000)
    story.findings.clear()
    story.row("R", "rogue")
    story.until(13_500, 16_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN]


def test_a_row_that_came_and_went_unseen_is_deleted_once_nothing_of_it_can_come() -> None:
    """Its copy never shows it, as where a pipeline merges changes."""
    story = Story()
    for store in "AR":
        story.row(store, "other", key="x", snapshot=True)
    story.until(500, 1_500)
    story.row("A", "passing")
    story.row("A", "")
    story.until(2_000, 2_500 + READ_MARGIN_MS + 1_000)
    assert ROW in story.table
    story.until(2_500 + READ_MARGIN_MS + 1_500, 2_500 + READ_MARGIN_MS + QUIET_FOR_MS + 1_500)
    assert ROW not in story.table
    assert story.findings == []


def test_a_row_that_came_and_went_unseen_is_kept_until_a_pipeline_that_reports_is_past_it() -> None:
    """However long it is quiet: it stood still, and brings the row at last, and then its end."""
    story = Story(pipeline=True)
    for store in "AR":
        story.row(store, "other", key="x", snapshot=True)
    story.until(500, 1_500)
    story.row("A", "passing")
    gone = story.row("A", "")
    long_after_ms = 4_000 + READ_MARGIN_MS + QUIET_FOR_MS
    story.until(2_000, 2 * long_after_ms)
    assert ROW in story.table
    story.row("R", "passing")
    story.until(2 * long_after_ms + 500, 2 * long_after_ms + 5_000)
    assert story.stages() == [Stage.CONFIRMED], "it is late, and not to be repaired"
    story.row("R", "")
    story.pipeline_reached(gone, 2 * long_after_ms + 5_000)
    story.until(2 * long_after_ms + 5_500, 4 * long_after_ms)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED]
    assert ROW not in story.table


def test_a_row_that_came_and_went_in_a_log_that_was_waits_for_no_pipeline() -> None:
    """A pipeline's places are of the log that there is: it may never come to so high a one again."""
    story = Story(pipeline=True)
    for store in "AR":
        story.row(store, "other", key="x", snapshot=True)
    story.until(500, 1_500)
    story.row("A", "passing")
    story.row("A", "")
    story.until(2_000, 3_000)
    story.commits = False  # or it would let go of the row while nothing is covered
    story.places["A"] = 50
    story.row("A", "other", key="x", snapshot=True, place=story.place("A"))
    story.read_beacon_again("A", story.place("A"))
    story.until(3_500, 5_000)
    story.commits = True
    story.until(5_500, 8_000 + READ_MARGIN_MS + QUIET_FOR_MS)
    assert ROW not in story.table
