"""A table that is truncated again before a pass over its rows was made: each truncate ends what stood before it."""

from __future__ import annotations

import json

import pytest

from app.core.finding import DriftKind, Stage
from app.core.fold import META
from app.core.limits import TRUNCATES_KEPT
from app.core.verdict import ABSENT
from tests.unit.core.story import WINDOW_MS, Story, digest


def _settled() -> Story:
    """Return two stores that agree on a row that nobody touches, and no pass over it is made."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.sweeps = False
    return story


@pytest.mark.parametrize("restarts", [False, True])
def test_a_row_is_gone_since_the_first_of_two_truncates(*, restarts: bool) -> None:
    """It followed its authority in time, however often its table is cut after that."""
    story = _settled()
    for store in "AR":
        story.cut(store)
    story.until(2_500, 2_500 + 3 * WINDOW_MS)
    if restarts:
        story.restart()
    story.cut("R")
    story.until(6_000, 7_000)
    story.sweeps = True
    story.until(7_500, 10_000)
    assert story.findings == []


def test_a_row_that_came_between_two_truncates_is_late_since_then() -> None:
    """What was cut twice was there once more in between, in the replica alone."""
    story = _settled()
    for store in "AR":
        story.cut(store)
    story.until(2_500, 3_000)
    story.row("R", "two")
    story.until(3_500, 3_500 + 2 * WINDOW_MS)
    story.cut("R")
    story.until(6_000, 7_000)
    story.sweeps = True
    story.until(7_500, 10_000)
    assert story.stages() == [Stage.CONFIRMED, Stage.OVERTAKEN, Stage.RESOLVED]
    assert {finding.kind for finding in story.findings} == {DriftKind.EXTRA}


def test_a_change_that_a_truncate_overtook_is_known_also_after_a_pass_and_another_truncate() -> None:
    """Truncates travel in one partition of several: what the row showed before the first still counts."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 1_000)
    late = story.block("R", "two", story.place("R"), partition=1)
    story.cut("R")
    story.until(1_500, 2_000)
    story.cut("R")
    story.until(2_500, 3_000)
    assert len(story.shard.progress.entities[7].cuts[1]) == 1, "a pass was made: the first is forgotten"
    story.observe(late)
    assert [stay.digest for stay in story.state().sides[1].stays] == [digest("one"), digest("two"), ABSENT]


@pytest.mark.parametrize("cut", [False, True])
def test_a_state_of_before_knows_of_the_newest_truncate(*, cut: bool) -> None:
    """It names one per store, or none; what it was before all is no truncate."""
    story = _settled()
    if cut:
        story.cut("R")
    (key,) = (key for key in story.table if key[:2] == META + b"e")
    held = json.loads(story.table[key])
    del held["cuts"]
    story.table[key] = json.dumps(held).encode()
    story.restart()
    entity = story.shard.progress.entities[7]
    assert entity.cuts == [[], [entity.floor[1]] if cut else []]


def test_no_more_truncates_are_remembered_than_the_limit() -> None:
    """A table that is emptied all the time takes no more memory."""
    story = _settled()
    for _ in range(TRUNCATES_KEPT + 3):
        story.cut("R")
    cuts = story.shard.progress.entities[7].cuts[1]
    assert len(cuts) == TRUNCATES_KEPT
    assert cuts == sorted(cuts)
    assert story.shard.progress.entities[7].floor[1] == cuts[-1]
    story.sweeps = True
    story.until(2_500, 3_000)
    assert story.shard.progress.entities[7].cuts[1] == cuts[-1:]
