"""What was verified stays so: a row that was at rest does not seem to have waited all the while when it is touched."""

from __future__ import annotations

import pytest

from app.core.finding import DriftKind, Stage
from app.core.limits import AWAKE_ROWS_MAX
from app.core.position import binlog_place
from tests.unit.core.story import Story


def _with_a_drift_in_r() -> Story:
    """Return two replicas of one row, of which R drifts for long and S is at rest."""
    story = Story(stores="ARS")
    for store in "ARS":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("R", "rogue")
    story.until(2_500, 6_000)
    assert story.stages(replica="R") == [Stage.CONFIRMED, Stage.OVERTAKEN]
    story.until(6_500, 40_000)
    assert _verified(story) == [40_000, 40_000]
    return story


def _with_a_history_in_s(awake_rows_max: int = AWAKE_ROWS_MAX) -> Story:
    """Return two replicas of one row, of which R drifts for long, and S has followed the authority and is at rest."""
    story = Story(stores="ARS", awake_rows_max=awake_rows_max)
    for store in "ARS":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    for store in "AS":
        story.row(store, "two")
    story.until(2_500, 9_000)
    assert story.stages(replica="R") == [Stage.CONFIRMED]
    assert _verified(story) == [9_000, 9_000]
    return story


def _verified(story: Story) -> list[int | None]:
    return [story.shard.verified_through_ms(7, i) for i in range(len(story.contract.replicas))]


@pytest.mark.parametrize("store", ["A", "R", "S"])
def test_a_touch_of_a_row_that_drifts_elsewhere_takes_back_nothing(store: str) -> None:
    """Its other replica was at rest up to the touch, though it was judged last long ago."""
    story = _with_a_drift_in_r()
    story.row(store, "two")
    assert _verified(story) == [40_000, 40_000]


def test_a_touch_of_a_row_that_waits_elsewhere_takes_back_nothing() -> None:
    """R is told to drift, and its row waits in memory until its pipeline has been quiet; S followed long ago."""
    story = _with_a_history_in_s()
    story.row("R", "rogue")
    assert _verified(story) == [9_000, 9_000]


def test_a_row_that_comes_to_agree_takes_back_nothing() -> None:
    """Both its stores are known to have shown one state up to the change: that counts until it is concluded."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.started = "A"
    story.until(2_500, 9_000)
    story.row("A", "two")
    story.started = "R"
    story.until(2_500, 8_500)
    before = _verified(story)
    story.row("R", "two")
    assert before == [8_500]
    assert _verified(story) == before


def test_an_open_drift_is_a_verdict_though_it_waits_to_be_overtaken() -> None:
    """Its row is looked at again when its pipeline has been quiet for long enough; nothing is unproven until then."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("A", "two")
    story.until(2_500, 12_000)
    assert story.stages() == [Stage.CONFIRMED]
    assert _verified(story) == [12_000]


@pytest.mark.parametrize("touched", ["by the sweep", "by a row that comes back"])
@pytest.mark.parametrize("stores", ["AR", "ARS"])
def test_a_row_that_truncates_cut_was_not_at_rest(stores: str, touched: str) -> None:
    """Its copy was cut seconds after it, and nobody has looked at it meanwhile: that it was late is told."""
    story = Story(stores=stores)
    for store in stores:
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    if stores == "ARS":
        story.row("S", "rogue")  # so that the row is kept with a drift
        story.until(2_500, 14_000)
    story.sweeps = False
    at_ms = 15_000 if stores == "ARS" else 3_000
    story.cut("A")
    story.until(at_ms, at_ms + 3_000)
    for store in stores[1:]:
        story.cut(store)
    story.until(at_ms + 3_500, at_ms + 5_000)
    if touched == "by a row that comes back":
        for store in stores:
            story.row(store, "two")
    story.sweeps = True
    story.until(at_ms + 5_500, at_ms + 9_000)
    assert story.stages(replica="R") == [Stage.CONFIRMED, Stage.RESOLVED]
    assert {f.kind for f in story.findings if f.replica == "R"} == {DriftKind.EXTRA}


def test_a_deadline_that_is_put_off_elsewhere_takes_back_nothing() -> None:
    """A change of R is read long before the beacons around it; S, which began otherwise, is at rest."""
    story = Story(stores="ARS")
    for store, value in (("A", "one"), ("R", "one"), ("S", "zero")):
        story.row(store, value, snapshot=True)
    story.until(500, 1_000)
    story.row("R", "rogue", place=binlog_place(1, story.places["R"] + 12, 0, is_delete=False))
    story.row("S", "one")
    story.until(1_500, 3_000, stores="AS")
    for at_ms in range(1_500, 4_001, 500):
        story.beacons(at_ms, "R")
        assert _verified(story)[1] == 3_000
    assert story.stages(replica="S") == []


@pytest.mark.parametrize("sleeps", [False, True])
def test_what_a_read_finds_is_told_as_of_when_it_was(*, sleeps: bool) -> None:
    """A read finds the row gone in A: S has not followed, and no window begins anew since its row was in the table."""
    story = _with_a_history_in_s(awake_rows_max=0 if sleeps else 10)
    story.sweeps = False
    story.slice_read("A", story.place("A"))
    story.until(9_500, 12_000)
    story.flush()
    story.sweeps = True
    assert bool(story.shard.live[7].asleep) == sleeps
    story.until(12_500, 12_500)
    (told,) = [finding for finding in story.findings if finding.replica == "S"]
    assert told.evidence.judged_at_ms == 10_510


def _with_a_drift_that_is_over(stores: str = "AR") -> Story:
    """Return a row that drifted in R and was mended as planned, and has agreed long since; no echo came."""
    story = Story(stores=stores)
    for store in stores:
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.row("R", "rogue")
    story.until(2_500, 6_000)
    story.row("R", "one")
    story.until(6_500, 30_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN, Stage.RESOLVED]
    assert story.drift().acknowledged
    assert _verified(story)[0] == 30_000
    return story


@pytest.mark.parametrize("store", ["A", "R", "S"])
def test_a_touch_of_a_row_whose_drift_is_over_takes_back_nothing(store: str) -> None:
    """It waits for its repair's echo, and was at rest up to the touch, though it was judged last as it came to rest."""
    story = _with_a_drift_that_is_over("ARS")
    story.row(store, "two")
    assert _verified(story) == [30_000, 30_000]


def test_nothing_is_verified_beyond_a_row_that_waits_anew_behind_a_drift_that_is_over() -> None:
    """Its window goes on, whether or not its last drift waits for an echo: until it is over nothing is said of it."""
    story = _with_a_drift_that_is_over()
    story.row("R", "other")
    story.until(30_500, 31_000)
    assert _verified(story) == [30_510]
    story.until(31_500, 32_000)
    assert story.stages()[3:] == [Stage.CONFIRMED, Stage.OVERTAKEN]
    assert _verified(story) == [32_000]


def test_what_is_verified_stops_at_a_row_that_a_read_finds_gone_behind_a_drift_that_is_over() -> None:
    """Its log has left its end out, and told nothing of it that would have made anybody look."""
    story = _with_a_drift_that_is_over()
    story.slice_read("R", story.place("R"))
    story.until(30_500, 31_000)
    assert story.stages()[3:] == [Stage.NOTED]
    (stood_ms,) = _verified(story)
    assert stood_ms is not None
    assert stood_ms < 31_000
    story.until(31_500, 31_500)
    assert _verified(story) == [stood_ms]
