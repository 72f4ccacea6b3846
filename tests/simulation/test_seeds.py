"""The product's core in seeded worlds: new seeds each time, printed at the head of the run."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from app.core.finding import Stage
from app.simulation.faults import REPAIRS, Fault
from app.simulation.run import run_seed, simulate
from app.simulation.setting import NOT_WITHOUT_SNAPSHOTS, Setting
from app.simulation.shrink import Failing
from app.simulation.worker import Told
from app.simulation.world import World

SEEDS = 50
CHANGES = 500
FIRST = int(os.environ["DRIFTLINE_SEED"])
_DIFFERENT_ASLEEP = {Fault.TABLE_TRUNCATED, Fault.AUTHORITY_TRUNCATED, Fault.ROWS_HIDDEN, Fault.COMMITS_TORN}


@pytest.mark.parametrize("number", range(SEEDS))
def test_every_drift_is_told_and_nothing_else(number: int) -> None:
    """A new world's misses, false alarms and unknowns without a reason are none."""
    seed = FIRST + number
    setting = Setting.draw(seed, CHANGES)
    score = run_seed(seed, CHANGES)
    failed = Failing(seed, CHANGES, setting.faults, score)
    assert score.complaints == [], f"{failed.command}\n{score.complaints[:5]}"


@pytest.mark.parametrize("number", range(8))
def test_stores_of_which_no_snapshot_tells_are_covered_by_passes(number: int) -> None:
    """Gaps in their logs are seen, rows that went in one are not there, and all is verified again behind a pass."""
    drawn = Setting.draw(FIRST + number, CHANGES)
    faults = drawn.faults - NOT_WITHOUT_SNAPSHOTS | {Fault.SNAPSHOTS_TELL_NOTHING}
    if number % 2:
        faults |= {Fault.CONNECTOR_SNAPSHOTS_AGAIN}
    world = World(replace(drawn, faults=faults))
    score = world.run()
    assert world.setting.streams_alone
    failed = Failing(drawn.seed, CHANGES, faults, score)
    assert score.complaints == [], f"{failed.command}\n{score.complaints[:5]}"


@pytest.mark.parametrize("number", range(6))
def test_it_is_all_the_same_whether_rows_sleep(number: int) -> None:
    """What the broker has does not depend on how many states are in memory, as long as both know the same at a time.

    A truncate cuts rows in memory at once and those in the table as a pass comes to them; a read that finds what the
    log left out tells of a time up to which a row may have been vouched for as it woke; which writes a torn commit has
    made is drawn from how many there were. Drifts are compared by their row and their moments, not by name and kind:
    a row in the table may have forgotten more of what it went through, by which both are told.
    """
    drawn = Setting.draw(FIRST + number, 300)
    faults = drawn.faults - _DIFFERENT_ASLEEP
    settings = [replace(drawn, faults=faults, repairs=False, awake_rows_max=rows) for rows in (0, 10**9)]
    worlds = [World(setting) for setting in settings]
    scores = [world.run() for world in worlds]
    assert [score.complaints for score in scores] == [[], []]
    one, other = ({_said(told) for w in world.workers for told in w.told if told.heard_ms} for world in worlds)
    assert one == other


def _said(told: Told) -> tuple[bytes, str, Stage, int, int]:
    """Return of what row, replica and moments a finding speaks, and what it says."""
    finding, evidence = told.finding, told.finding.evidence
    return finding.canonical_key, finding.replica, finding.stage, evidence.vouched_until_ms, evidence.judged_at_ms


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


@pytest.mark.parametrize("seed", [100_000_898, 500_000_026])
def test_nothing_is_verified_beyond_a_row_whose_last_drift_waits_for_its_echo(seed: int) -> None:
    """Such a row is within its window anew: one that a slice found gone, and one that a rogue deleted."""
    assert run_seed(seed, CHANGES).complaints == []


def test_a_row_that_was_cut_while_the_common_time_stood_still_is_held_to_its_end() -> None:
    """It was updated just before: its replica has shown the end, of which no log tells whether it was this one."""
    assert run_seed(100_001_412, CHANGES).complaints == []


def test_nothing_is_judged_of_what_a_pass_has_read_between_the_last_beacons_before_its_end() -> None:
    """A slow beacon is issued before the reading that stands before it: coverage alone does not say what was shown."""
    drawn = Setting.draw(90_187, 400)
    faults = drawn.faults - NOT_WITHOUT_SNAPSHOTS | {Fault.SNAPSHOTS_TELL_NOTHING}
    assert World(replace(drawn, faults=faults)).run().complaints == []
