"""The truth drill must itself be right: what it plants, when it troubles the sink, and what it calls a fault."""

from __future__ import annotations

import argparse
from collections import Counter

import psycopg
import pymysql
import pytest
from demo_parts.campaign import Case
from demo_parts.damages import MANGLED, Damage, damages, old_value_back, row_deleted
from demo_parts.shop import FIRST_LOADED_ID, PRODUCTS
from demo_parts.sides import is_deadlock
from demo_parts.truth import FULL_DRIFTS, FULL_RATE, FULL_SECONDS, Size, counted, opinion_faults, truth_told
from demo_parts.truth_plan import Trouble, TruthPlan, plan_of
from judge_parts.opinion import Found, Opinion, Planted, judge
from judge_parts.stories import Story

WINDOW_S = 10.0
SEEDS = pytest.mark.parametrize("seed", [1, 2, 3, 4711])


def _full(seed: int) -> TruthPlan:
    return plan_of(seed, FULL_DRIFTS, FULL_SECONDS, WINDOW_S)


@SEEDS
def test_a_full_drill_plants_two_hundred_drifts_of_every_kind_and_damage(seed: int) -> None:
    """Every damage that the demo knows is among them, and every kind of drift."""
    planted = _full(seed).damages
    rows = [(damage.entity, expected.key) for damage in planted for expected in damage.expected]
    assert len(rows) == FULL_DRIFTS
    assert {damage.name for damage in planted} == {damage.name for damage in damages(PRODUCTS)}
    kinds = Counter(expected.kind for damage in planted for expected in damage.expected)
    assert set(kinds) == {"missing", "extra", "stale", "different"}
    assert min(kinds.values()) >= 20


@SEEDS
def test_no_row_is_damaged_twice_nor_one_that_the_load_writes(seed: int) -> None:
    """Else a story could not be told from another, or the load would mend what was planted."""
    rows = [(damage.entity, expected.key) for damage in _full(seed).damages for expected in damage.expected]
    assert len(rows) == len(set(rows))
    assert all(key < FIRST_LOADED_ID for entity, key in rows if entity != "customers")


@SEEDS
def test_an_emoji_is_taken_only_from_a_row_that_has_one(seed: int) -> None:
    """Every fifth order has no note: a damage there would change nothing."""
    lost = [damage for damage in _full(seed).damages if damage.name == "emoji_lost"]
    assert lost
    assert all(damage.expected[0].key % 5 for damage in lost)
    assert "emoji_lost" in MANGLED


@pytest.mark.parametrize("seconds", [45.0, 110.0, FULL_SECONDS])
@SEEDS
def test_every_trouble_comes_and_one_makes_the_copy_late_for_certain(seed: int, seconds: float) -> None:
    """A drill without a copy that is really late would not tell whether lateness is told from drift."""
    rounds = plan_of(seed, 14, seconds, WINDOW_S).rounds
    assert {part.trouble for part in rounds} == set(Trouble)
    assert any(part.trouble is Trouble.PAUSE and part.is_late_for(WINDOW_S) for part in rounds)
    moments = [part.troubled_at_s for part in rounds]
    assert moments == sorted(moments)
    assert moments[-1] < seconds


def test_what_needs_the_pipeline_is_planted_while_it_is_calm() -> None:
    """A change can be lost, and a sin committed, only by a sink that runs."""
    plan = _full(1)
    calm = {damage.name for part in plan.rounds for damage in part.calm}
    assert calm.isdisjoint(damage.name for _, damage in plan.alone)
    assert all(damage.prepare is None and not damage.loses_a_change for _, damage in plan.alone)


def test_the_same_seed_gives_the_same_plan() -> None:
    """A seed repeats damages, rows, moments and troubles."""

    def told(plan: TruthPlan) -> list[object]:
        alone = [(at, damage.name, damage.expected) for at, damage in plan.alone]
        return [alone, [(part.trouble, part.troubled_at_s, part.lasts_s) for part in plan.rounds]]

    assert told(_full(9)) == told(_full(9)) != told(_full(10))


def test_more_drifts_than_the_shop_has_rows_are_refused() -> None:
    """A drill says so before it plants anything, not when it has run out of rows."""
    with pytest.raises(ValueError, match="ask for fewer"):
        plan_of(1, 5_000, FULL_SECONDS, WINDOW_S)


def _asked(*, quick: bool, **more: float | None) -> argparse.Namespace:
    return argparse.Namespace(quick=quick, **{"seconds": None, "rate": None, "drifts": None, "window": None, **more})


def test_quick_is_made_for_the_machine_and_what_is_asked_for_outweighs_it() -> None:
    """Two cores get fewer changes than thirty-two, and nobody more than the full drill."""
    assert Size.of(_asked(quick=False), cores=2) == Size(FULL_DRIFTS, FULL_SECONDS, FULL_RATE, None)
    few, many = (Size.of(_asked(quick=True), cores=cores) for cores in (2, 32))
    assert few.rate < many.rate == FULL_RATE
    assert few.drifts < FULL_DRIFTS
    assert Size.of(_asked(quick=True, rate=7.0), cores=2).rate == 7.0


def _story(key: int, kind: str, number: bytes, at: float = 110.0) -> Story:
    story = Story(number, "orders", kind, key, is_incident=False, incident_id=b"")
    story.stages["confirmed"] = at
    return story


def _opinion(*stories: Story, late: bool = False) -> Opinion:
    planted = [
        Planted("row_deleted", "orders", 1, "missing", 100.0),
        Planted("other_case", "orders", 2, "stale", 100.0),
    ]
    return judge(planted, stories, lambda _: late)


def test_a_row_under_a_wrong_name_is_misnamed_and_not_found() -> None:
    """The bar is the right kind, not any kind."""
    result = counted(_opinion(_story(1, "missing", b"1"), _story(2, "different", b"2")))
    assert [result[name] for name in ("planted", "found", "misnamed", "missed")] == [2, 1, 1, 0]
    assert result["detected_after_most_s"] == 10.0


def test_a_row_of_which_nothing_was_said_is_missed() -> None:
    """Nothing said counts as nothing found."""
    result = counted(_opinion(_story(1, "missing", b"1")))
    assert [result[name] for name in ("planted", "found", "misnamed", "missed")] == [2, 1, 0, 1]


def test_a_drift_neither_planted_nor_late_is_a_false_alarm() -> None:
    """By the judge's own reading, and by nothing that the product says."""
    opinion = _opinion(_story(7, "stale", b"7"))
    assert counted(opinion)["false_alarms"] == 1
    assert opinion_faults(opinion, must_be_late=False) == ["false alarm: orders 7 stale"]


def test_a_drift_that_was_really_late_is_counted_and_no_fault() -> None:
    """What the sink's pause made late is told as such."""
    opinion = _opinion(_story(7, "stale", b"7"), late=True)
    assert (counted(opinion)["false_alarms"], counted(opinion)["really_late"]) == (0, 1)
    assert opinion_faults(opinion, must_be_late=True) == []


def test_silence_about_a_copy_that_was_certainly_late_is_a_fault() -> None:
    """A detector that sleeps raises no false alarm either."""
    assert opinion_faults(_opinion(), must_be_late=True) == [
        "the copy was late for longer than its window, and nothing was said"
    ]
    assert opinion_faults(_opinion(), must_be_late=False) == []


def _ended(damage: Damage, stages: dict[str, float], *, applied: bool = False) -> Case:
    (expected,) = damage.expected
    planted = Planted(damage.name, damage.entity, expected.key, expected.kind, 100.0)
    outcomes = [(115.0, "applied", "")] if applied else []
    story = Story(b"1", damage.entity, expected.kind, expected.key, is_incident=False, incident_id=b"")
    story.stages, story.outcomes = {"confirmed": 110.0, **stages}, outcomes
    return Case(damage, [planted], found=[Found(planted, story)])


def test_a_damage_that_the_pipeline_healed_is_over_and_counted() -> None:
    """A sink that restarts writes the origin's last change once more: there is nothing left to repair."""
    healed = _ended(old_value_back(7), {"resolved": 112.0})
    assert healed.is_over
    assert healed.faults() == []
    assert healed.healed == 1


@pytest.mark.parametrize(
    "case",
    [
        _ended(row_deleted(7), {"resolved": 112.0}),
        _ended(old_value_back(7), {}),
        _ended(old_value_back(7), {"resolved": 117.0}, applied=True),
    ],
    ids=["no redelivery brings it back", "still open", "a repair was applied, and not verified"],
)
def test_what_else_ends_without_a_proof_was_not_repaired(case: Case) -> None:
    """Only what a redelivery can heal may end without a verified repair."""
    assert not case.is_over
    assert case.healed == 0
    assert "was not repaired and verified" in case.faults()[0]


def test_the_last_line_tells_planted_found_missed_and_false() -> None:
    """Whoever reads one line reads the result, with the seed that repeats it."""
    told = truth_told(counted(_opinion(_story(1, "missing", b"1"))) | {"changes_per_second": 99.5, "seed": 4})
    assert told.startswith("2 planted, 1 found with the right kind, 0 misnamed, 1 missed, 0 false;")
    assert told.endswith("99.5 changes/s; seed 4")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.DeadlockDetected("two waited for each other"), True),
        (pymysql.err.OperationalError(1213, "Deadlock found"), True),
        (psycopg.OperationalError("the server is gone"), False),
        (pymysql.err.OperationalError(2013, "Lost connection"), False),
        (pymysql.err.InterfaceError(), False),
        (ConnectionResetError(), False),
    ],
)
def test_only_a_lost_deadlock_is_tried_again(error: Exception, *, expected: bool) -> None:
    """Whatever else a driver raises ends the drill: it would not go away."""
    assert is_deadlock(error) is expected
