"""The product's core in seeded worlds: new seeds each time, printed at the head of the run."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from app.simulation.faults import REPAIRS, Fault
from app.simulation.run import run_seed, simulate
from app.simulation.setting import Setting
from app.simulation.shrink import Failing
from app.simulation.world import World

SEEDS = 50
CHANGES = 500
FIRST = int(os.environ["DRIFTLINE_SEED"])


@pytest.mark.parametrize("number", range(SEEDS))
def test_every_drift_is_told_and_nothing_else(number: int) -> None:
    """A new world's misses, false alarms and unknowns without a reason are none."""
    seed = FIRST + number
    setting = Setting.draw(seed, CHANGES)
    score = run_seed(seed, CHANGES)
    failed = Failing(seed, CHANGES, setting.faults, score)
    assert score.complaints == [], f"{failed.command}\n{score.complaints[:5]}"


@pytest.mark.parametrize("number", range(6))
def test_it_is_all_the_same_whether_rows_sleep(number: int) -> None:
    """What is told does not depend on how many states are in memory."""
    drawn = Setting.draw(FIRST + number, 300)
    worlds = [World(replace(drawn, repairs=False, awake_rows_max=rows)) for rows in (0, 10**9)]
    scores = [world.run() for world in worlds]
    assert [score.complaints for score in scores] == [[], []]
    one, other = ({(t.finding.finding_id, t.finding.stage) for w in world.workers for t in w.told} for world in worlds)
    assert one == other


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_happens_where_it_is_asked_for(fault: Fault) -> None:
    """A fault that never happens tests nothing; alone in its world, or with what it needs, it changes no verdict."""
    needs = {Fault.TRUNCATED_ROWS_RETURN: Fault.TABLE_TRUNCATED} | dict.fromkeys(REPAIRS, Fault.ROGUE_WRITES)
    for seed in range(20):
        score = run_seed(seed, 600, frozenset({fault, needs.get(fault, fault)}))
        assert score.complaints == []
        if score.faults[fault]:
            return
    raise AssertionError("it never happened")


def test_the_worlds_are_full_of_drifts() -> None:
    """Of a thousand rows, a hundred drift at least."""
    totals = simulate(range(12), CHANGES)
    assert 1_000 * totals.planted / totals.keys > 100
    assert len(totals.latencies_ms) == totals.planted


def test_a_world_is_a_function_of_its_seed() -> None:
    """The same seed comes to the same figures, latencies and faults, in this process and in others."""
    one, other = simulate(range(5, 9), CHANGES), simulate(range(5, 9), CHANGES, jobs=2)
    other.seconds = one.seconds
    assert one == other
    assert one != simulate(range(6, 10), CHANGES)


def test_a_drift_that_was_verified_before_its_coverage_ended_leaves_nothing_to_the_next() -> None:
    """Its row is judged from the new coverage on, in the very step in which the end of the old drift is known."""
    assert run_seed(990_930, CHANGES).complaints == []
