"""Findings come out the same when they are judged again from what they cite, and a changed one does not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import count

import pytest

from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, Verdict
from app.core.limits import STAYS_TOLD_MAX
from app.core.replay import Again, Lives, recompute
from app.simulation.setting import Setting
from app.simulation.world import World
from tests.unit.core.story import Story


@cache
def findings_of(seed: int) -> tuple[Finding, ...]:
    """Return everything that the fold said in one simulated world."""
    world = World(Setting.draw(seed, 1_000))
    world.run()
    return tuple(told.finding for worker in world.workers for told in worker.told)


def confirmed() -> Finding:
    """Return one confirmed drift of a simulated world."""
    told = (f for seed in count() for f in findings_of(seed))
    return next(f for f in told if f.stage is Stage.CONFIRMED and f.kind is DriftKind.DIFFERENT)


@pytest.mark.parametrize("seed", [*range(8), 56])
def test_everything_that_the_fold_says_comes_out_the_same(seed: int) -> None:
    """Whatever misbehaves in the world: what a finding cites is enough to judge it again, its id included."""
    for finding in findings_of(seed):
        again = recompute(finding, finding.canonical_key)
        assert again.again is not Again.DIFFERENT, (finding, again.why)


def test_what_is_told_again_after_a_restart_comes_out_the_same() -> None:
    """Before the first beacon nobody knows how far the logs are known, but when the step was taken they were so far."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.acknowledges = False
    story.row("R", "rogue")
    story.until(2_500, 5_000)
    story.restart()
    told, again = story.findings[-2:]
    assert told.finding_id == again.finding_id
    assert again.stage is Stage.OVERTAKEN
    assert recompute(again, b"k") == recompute(told, b"k")
    assert recompute(again, b"k").again is Again.SAME


@pytest.mark.parametrize("odd_states", [0, STAYS_TOLD_MAX + 6])
def test_a_drift_that_ends_before_time_moves_comes_out_the_same(odd_states: int) -> None:
    """A row comes late and then not at all, while a partition of the authority is not read: two drifts, one is over."""
    story = late_and_late_again(odd_states)
    assert story.stages() == [Stage.CONFIRMED, Stage.RESOLVED, Stage.CONFIRMED]
    again = {recompute(finding, b"k").again for finding in story.findings if finding.canonical_key == b"k"}
    assert again == {Again.SAME}


def late_and_late_again(odd_states: int = 0, *, acknowledges: bool = True) -> Story:
    """Return a row that was late, and is late again: both while nothing moved time on, which has moved by now.

    Instead of what the authority came to then, the replica shows so many states that are none of its.
    """
    story = Story(partitions=2)
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.acknowledges = acknowledges
    awaited = story.block("A", "any", story.place("A"), key="other", partition=1)
    for value, since_ms in (("two", 2_500), ("three", 6_500)):
        story.row("A", value)
        for at_ms in range(since_ms, since_ms + 4_000, 500):
            story.observe(story.barrier("A", at_ms))
        story.until(since_ms, since_ms + 3_000, "R")
        for replica_shows in [value] if value == "two" else [f"odd {n}" for n in range(odd_states)]:
            story.row("R", replica_shows)
        story.until(since_ms + 3_500, since_ms + 3_500, "R")
    assert story.findings == []
    story.observe(awaited)
    return story


def test_nothing_is_verified_beyond_a_drift_that_waits_for_the_end_of_the_last() -> None:
    """The next drift of a row is told once the broker has the end of the one before: until then it is no verdict."""
    story = late_and_late_again(acknowledges=False)
    (resolved,) = (finding for finding in story.findings if finding.stage is Stage.RESOLVED)
    verified_ms = story.shard.verified_through_ms(7, 0)
    story.acknowledges = True
    story.acknowledge([resolved])
    assert story.stages()[-1] is Stage.CONFIRMED
    assert verified_ms == story.findings[-1].evidence.vouched_until_ms == 6_510, "where the next one begins"
    assert story.shard.verified_through_ms(7, 0) == 10_000


def test_a_plan_that_is_told_again_cites_the_authority_as_it_was_planned_on() -> None:
    """Its authority has left that state since, and has come back to it."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 2_000)
    story.acknowledges = False
    for value, until_ms in (("two", 14_000), ("three", 15_000), ("two", 16_000)):
        story.row("A", value)
        story.until(story.acknowledged_ms["A"] + 490, until_ms)
    story.restart()
    told = story.findings[-1]
    assert told.stage is Stage.OVERTAKEN
    assert told.evidence.authority_watermark_ms < 14_000
    assert recompute(told, b"k").again is Again.SAME


@pytest.mark.parametrize("seed", range(4))
def test_the_fold_tells_lives_that_the_table_allows(seed: int) -> None:
    """In each partition, the steps of each drift follow each other as they may."""
    lives: dict[int, Lives] = {}
    for finding in findings_of(seed):
        assert lives.setdefault(finding.observations_partition, Lives()).follow(finding) == ""


def test_a_shorter_window_than_was_judged_by_is_noticed() -> None:
    """The deadline belongs to the window."""
    finding = confirmed()
    shorter = replace(finding.evidence, window_ms=finding.evidence.window_ms - 1)
    assert recompute(replace(finding, evidence=shorter), finding.canonical_key).again is Again.DIFFERENT


def test_a_verdict_before_its_deadline_is_noticed() -> None:
    """At a watermark that has not passed the deadline the verdict is `wait`."""
    finding = confirmed()
    early = replace(finding.evidence, replica_watermark_ms=finding.evidence.judged_at_ms)
    again = recompute(replace(finding, evidence=early))
    assert again.again is Again.DIFFERENT
    assert "wait" in again.why


def test_another_key_is_noticed_by_the_id() -> None:
    """A record that was put under another row's key has another id."""
    finding = confirmed()
    assert recompute(finding, b"another key").why == "the finding's id comes out otherwise"


def test_another_kind_is_noticed() -> None:
    """The kind is what the replica showed at the deadline."""
    finding = confirmed()
    wrong = DriftKind.EXTRA if finding.kind is not DriftKind.EXTRA else DriftKind.MISSING
    assert "kind" in recompute(replace(finding, kind=wrong)).why


def test_a_replica_that_showed_the_authoritys_state_in_time_was_no_drift() -> None:
    """States were changed so that the replica shows what the authority has: the verdict falls."""
    finding = confirmed()
    forged = replace(finding.evidence, replica_stays=finding.evidence.authority_stays)
    assert recompute(replace(finding, evidence=forged)).again is Again.DIFFERENT


def test_a_finding_that_cites_nothing_proves_nothing() -> None:
    """No states, no verdict."""
    finding = confirmed()
    empty = replace(finding.evidence, authority_stays=(), replica_stays=())
    assert recompute(replace(finding, evidence=empty)).why == "it cites no states"


def _step(stage: Stage, **changes: object) -> Finding:
    shown = Shown(b"\1" * 16, bytes(20), 0, 1, "t", 0, 0, 0)
    evidence = Evidence((shown,), (shown,), 2, 2, 0, 1, 1)
    finding = Finding(
        finding_id=b"f" * 16,
        stage=stage,
        verdict=Verdict.DRIFT,
        kind=DriftKind.STALE,
        checker="key/1",
        contract_version=1,
        entity="orders",
        authority="pg",
        replica="my",
        canonical_key=b"",
        shard=0,
        observations_partition=0,
        evidence=evidence,
        expected_digest=b"e" * 16,
        intended_digest=b"i" * 16,
        authority_position=b"",
        replica_position=b"",
        transaction=0,
        incident_id=b"",
        incident_rows=0,
        command_id=b"",
        trace_id=b"",
    )
    return replace(finding, **changes)  # type: ignore[arg-type]  # what a test changes, it changes rightly


@pytest.mark.parametrize(
    ("stages", "fault"),
    [
        ((Stage.CONFIRMED, Stage.OVERTAKEN, Stage.RESOLVED), ""),
        ((Stage.CONFIRMED, Stage.OVERTAKEN, Stage.CONFIRMED, Stage.OVERTAKEN), ""),
        ((Stage.OVERTAKEN,), "its life begins with overtaken"),
        ((Stage.CONFIRMED, Stage.REFUTED, Stage.OVERTAKEN), "overtaken cannot follow refuted"),
        ((Stage.CONFIRMED, Stage.RESOLVED, Stage.REFUTED), "refuted cannot follow resolved"),
    ],
)
def test_a_drift_lives_by_the_table(stages: tuple[Stage, ...], fault: str) -> None:
    """The last step is judged; a step told again after a crash says nothing new."""
    lives = Lives()
    assert [lives.follow(_step(stage)) for stage in stages][-1] == fault


def test_a_drift_is_verified_by_a_command_of_its_own_only() -> None:
    """The command's id is a hash of what the drift's own record asked for."""
    lives = Lives()
    lives.follow(_step(Stage.CONFIRMED))
    lives.follow(_step(Stage.OVERTAKEN))
    assert "command" in lives.follow(_step(Stage.VERIFIED, command_id=b"another"))


def test_records_from_the_middle_on_are_not_blamed_for_what_came_before() -> None:
    """With `--from`, a life may begin anywhere."""
    assert Lives(is_whole=False).follow(_step(Stage.RESOLVED)) == ""
