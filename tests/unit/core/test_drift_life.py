"""The life of one drift, told by hand: overtaken only when the pipeline has passed, verified only when seen again."""

from __future__ import annotations

from app.core.finding import Finding, Stage
from app.core.position import binlog_place
from tests.unit.core.story import Story, digest

CONFIRMED, OVERTAKEN, RESOLVED, VERIFIED = Stage.CONFIRMED, Stage.OVERTAKEN, Stage.RESOLVED, Stage.VERIFIED


def agreeing(*, pipeline: bool = False) -> Story:
    """Return two stores that agree on one row, covered."""
    story = Story(pipeline=pipeline)
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    assert story.findings == []
    return story


def overtaken(story: Story) -> Finding:
    """Return the last record that asks for a repair."""
    return [f for f in story.findings if f.stage is OVERTAKEN][-1]


def test_a_row_that_goes_and_comes_back_within_its_window_is_no_drift() -> None:
    """The replica may have missed the state in between, or shown it; it was never late by more than its window."""
    story = agreeing()
    story.row("A", "two")
    story.until(2_500, 2_500)
    story.row("A", "one")
    story.until(3_000, 3_000)
    story.row("R", "two")
    story.row("R", "one")
    story.until(3_500, 6_000)
    assert story.findings == []


def test_a_drift_that_is_over_is_told_before_the_beacons_behind_its_end_are_read() -> None:
    """They may never be: its store may be uncovered by then, or the row have changed again."""
    story = agreeing()
    story.row("R", "rogue")
    story.started = "R"
    story.until(2_500, 5_000)
    story.row("R", "one")
    assert story.stages() == []
    story.started = "A"
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED]
    story.started = "AR"
    story.until(5_500, 6_000)
    assert story.stages() == [CONFIRMED, RESOLVED]


def test_a_drift_that_is_over_by_what_was_read_is_told_though_beacons_come_late() -> None:
    """Both changes were read long before the beacons around them, and until then seemed to be of one moment."""
    story = agreeing()
    story.row("R", "rogue")
    story.row("R", "one", place=binlog_place(1, 500, 0, is_delete=False))
    assert story.stages() == []
    story.until(2_500, 4_000)
    assert story.stages() == [CONFIRMED]
    story.places["R"] = 500
    story.until(4_500, 6_000)
    assert story.stages() == [CONFIRMED, RESOLVED]


def test_a_rogue_change_of_a_settled_row_may_be_repaired_at_once() -> None:
    """There is nothing that the pipeline could still bring."""
    story = agreeing(pipeline=True)
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]
    assert (overtaken(story).expected_digest, overtaken(story).intended_digest) == (digest("rogue"), digest("one"))


def test_a_late_change_waits_for_its_pipeline() -> None:
    """While the pipeline is behind the change, its repair would race with it."""
    story = agreeing(pipeline=True)
    story.row("A", "two")
    story.until(2_500, 30_000)
    assert story.stages() == [CONFIRMED]


def test_a_change_that_the_pipeline_passed_is_lost() -> None:
    """The pipeline stands past the change and the replica's log is known up to then: it will not come."""
    story = agreeing(pipeline=True)
    place = story.row("A", "two")
    story.until(2_500, 5_000)
    story.pipeline_reached(place, 5_100)
    assert story.stages() == [CONFIRMED]
    story.until(5_500, 6_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_coverage_earned_anew_says_nothing_of_a_change_that_is_still_to_come() -> None:
    """The authority changed, the replica's connector took its snapshot again, and the pipeline is yet to bring it."""
    story = agreeing(pipeline=True)
    place = story.row("A", "two")
    story.until(2_500, 3_000)
    again = story.row("R", "other", key="other")
    story.read_beacon_again("R", again)
    story.row("R", "one", snapshot=True, place=again)
    story.until(3_500, 12_000)
    assert story.stages() == [CONFIRMED]
    story.pipeline_reached(place, 12_100)
    story.until(12_500, 13_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_a_state_that_the_replica_left_about_when_the_authority_came_back_to_it_was_not_brought() -> None:
    """Between two beacons nobody knows whether the replica was in it for the last time before, or after."""
    story = agreeing(pipeline=True)
    story.row("A", "two")
    story.row("R", "two")
    place = story.row("A", "one")
    story.beacons(2_500, "A")
    story.beacons(2_600, "R")
    story.until(3_000, 9_000)
    assert story.stages() == [CONFIRMED]
    story.pipeline_reached(place, 9_100)
    story.until(9_500, 10_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_what_the_pipeline_just_wrote_is_awaited() -> None:
    """The pipeline was seen past the change before its write was seen in the replica's log: nothing is repaired."""
    story = agreeing(pipeline=True)
    place = story.row("A", "two")
    story.until(2_500, 5_000)
    story.pipeline_reached(place, 5_600)
    story.beacons(5_500)  # the replica's log is known up to before the pipeline was looked at
    story.row("R", "two")
    story.until(6_000, 7_000)
    assert story.stages() == [CONFIRMED, RESOLVED]


def test_a_pipeline_in_a_log_that_was_has_passed_nothing_of_the_new_one() -> None:
    """The authority's log began anew below where the pipeline still stands: its place there says nothing here."""
    story = agreeing(pipeline=True)
    before = story.row("A", "one")
    story.pipeline_reached(before, 2_100)
    story.until(2_500, 3_000)
    again = binlog_place(1, 10, 0, is_delete=False)
    story.places["A"] = 10
    story.read_beacon_again("A", again)
    story.row("A", "one", snapshot=True, place=again)
    story.until(3_500, 4_500)
    place = story.row("A", "two")
    assert place < before
    story.until(5_000, 9_000)
    story.pipeline_reached(before, 9_100)
    story.until(9_500, 12_000)
    assert story.stages() == [CONFIRMED]
    story.pipeline_reached(place, 12_100)
    story.until(12_500, 13_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_without_a_pipeline_a_quiet_time_must_pass() -> None:
    """Ten windows without a sign of the change count as its loss."""
    story = agreeing()
    story.row("A", "two")
    story.until(2_500, 12_000)
    assert story.stages() == [CONFIRMED]
    story.until(12_500, 14_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN]


def test_a_repair_is_verified_by_its_own_transaction() -> None:
    """The intended state and the ledger row, both in one transaction of the target."""
    story = agreeing()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    command = story.drift()
    story.row("R", "one", transaction=77)
    story.ledger(command.command_id, 77)
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED]
    story.until(5_500, 8_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED]
    assert story.shard.live[7].states == {}


def test_another_transaction_verifies_nothing() -> None:
    """The row came right by itself: resolved, not ours."""
    story = agreeing()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    drift = story.drift()
    story.row("R", "one", transaction=76)
    story.ledger(drift.command_id, 77)
    story.until(5_500, 8_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, RESOLVED]


def test_a_repair_is_verified_though_the_row_moved_on() -> None:
    """What the repair left was there, whatever came after it."""
    story = agreeing()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    drift = story.drift()
    story.row("R", "one", transaction=77)
    story.row("R", "rogue again")
    story.ledger(drift.command_id, 77)
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED]


def test_the_same_damage_again_is_another_drift() -> None:
    """Each time has an id of its own, so each repair is a command of its own."""
    story = agreeing()
    at_ms = 2_500
    for n in range(3):
        story.row("R", "rogue")
        story.until(at_ms, at_ms + 2_500)
        drift = story.drift()
        story.row("R", "one", transaction=70 + n)
        story.ledger(drift.command_id, 70 + n)
        story.until(at_ms + 3_000, at_ms + 5_500)
        at_ms += 6_000
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED] * 3
    assert len({f.finding_id for f in story.findings}) == 3


def test_damage_that_comes_and_goes_behind_a_repair_is_told_however_late_time_moves_on() -> None:
    """The authority's next beacon comes when the row is right again: it drifted in between, for seconds."""
    story = agreeing()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    drift = story.drift()
    story.row("R", "one", transaction=77)
    story.ledger(drift.command_id, 77)
    story.until(5_500, 6_000, "R")
    story.row("R", "rogue again")
    story.until(6_500, 9_000, "R")
    story.row("R", "one")
    story.until(9_500, 10_500, "R")
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED]
    story.beacons(11_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, VERIFIED, CONFIRMED, RESOLVED]
    assert len({f.finding_id for f in story.findings}) == 2


def test_a_row_that_moves_while_it_drifts_asks_for_another_repair() -> None:
    """What was planned no longer fits: the drift is overtaken again, with what is shown now."""
    story = agreeing()
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    story.row("R", "more rogue")
    story.until(5_500, 7_000)
    assert story.stages() == [CONFIRMED, OVERTAKEN, OVERTAKEN]
    assert overtaken(story).expected_digest == digest("more rogue")
    assert len({f.finding_id for f in story.findings}) == 1
