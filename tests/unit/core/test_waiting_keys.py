"""How many rows are within their window: neither settled, nor drifted, nor unknown."""

from __future__ import annotations

from app.core.finding import DriftKind
from app.core.position import binlog_place
from tests.unit.core.story import Story


def agreed(*keys: str) -> Story:
    """Return a story in which both stores agree on some rows."""
    story = Story()
    for store in "AR":
        for key in keys:
            story.row(store, "one", key=key, snapshot=True)
    story.until(500, 2_000)
    return story


def waiting(story: Story) -> int:
    """Return how many rows wait."""
    return story.shard.live[7].waiting_keys(0)


def test_a_row_waits_until_its_copy_is_known_to_have_followed() -> None:
    """Also while only the beacons are missing that tell when."""
    story = agreed("k", "other")
    assert waiting(story) == 0
    story.row("A", "two")
    assert waiting(story) == 1
    story.row("R", "two")
    assert waiting(story) == 1
    story.until(2_500, 4_000)
    assert waiting(story) == 0


def test_a_drifted_row_does_not_wait_and_others_do() -> None:
    """It has its verdict, before and after its end is told."""
    story = agreed("k", "other")
    story.row("R", "rogue")
    story.row("A", "two", key="other")
    assert waiting(story) == 2
    story.until(2_500, 2_500)
    story.row("R", "two", key="other")
    story.until(3_000, 5_000)
    assert +story.shard.live[7].open_drifts == {(0, DriftKind.DIFFERENT.value): 1}
    assert waiting(story) == 0
    story.row("R", "one")
    story.until(5_500, 9_000)
    assert waiting(story) == 0


def test_a_row_whose_state_is_unknown_does_not_wait() -> None:
    """Nothing that is awaited can tell more of it."""
    story = agreed("k")
    story.row("R", "one", raw="second", created=True)
    story.until(2_500, 4_000)
    assert story.shard.live[7].unknown_keys(0).total() == 1
    assert waiting(story) == 0


def test_a_row_is_not_judged_before_its_window_is_over_though_its_store_was_read_far_ahead() -> None:
    """Both stores showed one state until its change: that counts, not the moment up to which both were read then."""
    story = agreed("k")
    story.until(2_500, 8_000, "A")
    story.row("A", "two")
    story.until(2_500, 8_500, "R")
    assert story.state().replicas[0].vouched_until_ms == 2_000  # what it was when it was touched
    story.until(8_500, 9_000, "A")
    story.until(9_000, 10_000)
    assert [finding.evidence.judged_at_ms for finding in story.findings] == [9_510]


def test_a_change_that_is_read_before_the_beacons_around_it_has_its_deadline_when_they_are_known() -> None:
    """No row is judged meanwhile, whether its copy has followed or not; what drifts is told for its own deadline."""
    story = agreed("k", "other")
    later = binlog_place(1, 200, 0, is_delete=False)
    for store, key in (("A", "k"), ("R", "k"), ("A", "other")):
        story.row(store, "two", key=key, place=later)
    story.until(2_500, 8_000)
    assert [story.state(key).replicas[0].vouched_until_ms for key in ("k", "other")] == [2_000, 2_000]
    story.places = {"A": 300, "R": 300}
    story.until(8_500, 10_000)
    assert waiting(story) == 0
    assert [finding.evidence.judged_at_ms for finding in story.findings] == [9_510]


def test_a_row_that_has_followed_by_what_is_known_now_waits_for_no_further_beacon() -> None:
    """The authority's change was read before the beacons around it, the copy's when all others were told: both at once.

    With what was known before, the copy came too late; its partition was the last of its store to be read.
    """
    story = agreed("k")
    story.row("A", "two", place=binlog_place(1, 200, 0, is_delete=False))
    story.until(2_500, 8_000, "A")
    story.places["A"] = 300
    story.until(8_500, 10_000, "A")
    story.offsets["R.t"] += 1  # the copy's change is there, and nobody has read it
    story.until(2_500, 8_500, "R")
    copied = binlog_place(1, story.places["R"] + 1, 0, is_delete=False)
    story.places["R"] += 1
    story.until(9_000, 10_000, "R")
    story.offsets["R.t"] -= 1
    story.row("R", "two", place=copied)
    assert waiting(story) == 0
    assert story.shard.verified_through_ms(7, 0) == 10_000
    assert not story.findings
