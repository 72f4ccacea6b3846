"""Aggregates that are kept by adding and taking away are those of the rows, whatever way the changes came."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.finding import Stage, Verdict
from tests.property.aggregate_world import WINDOW_MS, WITHOUT_SNAPSHOT, AggregateWorld, Row, figures_of, region_group

REGIONS = ("eu", "us", "")
SEEDS = st.integers(0, 2**32 - 1)


def _row(dice: random.Random) -> Row:
    return dice.choice(REGIONS), Decimal(dice.randint(-500, 500)) / 100, dice.randint(1, 4)


def _begun(seed: int) -> AggregateWorld:
    world = AggregateWorld(seed)
    world.snapshot({number: _row(world.dice) for number in range(12)})
    world.rest(3 * WINDOW_MS)
    return world


def _live(world: AggregateWorld, steps: int, crashes: float = 0.05) -> None:
    """Let the authority change and the replica follow, with crashes in between."""
    dice = world.dice

    def act() -> None:
        for _ in range(dice.randint(0, 3)):
            row = None if dice.random() < 0.2 else _row(dice)
            world.change(dice.randrange(16), row, dice.randint(0, WINDOW_MS))

    for _ in range(steps):
        world.step(act)
        if dice.random() < crashes:
            world.crash()


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_figures_are_those_of_the_rows_and_a_replica_in_time_is_never_blamed(seed: int) -> None:
    """Late, doubled and interleaved changes, kills between writing and committing: at rest nothing is off."""
    world = _begun(seed)
    _live(world, 80)
    world.rest(3 * WINDOW_MS)
    for store in "AR":
        assert world.figures(store) == figures_of(world.rows[store].values())
    assert world.told == []
    assert {status.verdict for status in world.statuses()} == {Verdict.AGREE}


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_damage_is_found_in_its_groups_and_in_no_other_and_ends_with_its_repair(seed: int) -> None:
    """Rows that were changed behind the pipeline's back: exactly the figures that they made wrong are told."""
    world = _begun(seed)
    _live(world, 20)
    for _ in range(2):
        number = world.dice.randrange(16)
        world.step(lambda number=number: world.write("R", number, _row(world.dice)))  # type: ignore[misc]
    _live(world, 10)
    world.rest(3 * WINDOW_MS)
    truth, shown = (figures_of(world.rows[store].values()) for store in "AR")
    wrong = {
        aggregate.name.encode() + b"\x00" + name
        for aggregate, mine, theirs in zip(world.contract.aggregates, truth, shown, strict=True)
        for name in mine.keys() | theirs.keys()
        if mine.get(name, 0) != theirs.get(name, 0)
    }
    assert world.open_groups() == wrong
    for number in range(16):
        world.write("R", number, world.rows["A"].get(number))
    world.rest(3 * WINDOW_MS)
    assert world.open_groups() == set()
    assert {status.verdict for status in world.statuses()} == {Verdict.AGREE}


PHASES: list[Callable[[AggregateWorld], bool]] = [
    lambda world: bool(world.safe) and not world.told,
    lambda world: bool(world.safe) and bool(world.told),
]
"""Between the steps of a commit: it is written what is to be told; the broker has it, and that is not written."""


def _killed_in(world: AggregateWorld, phase: Callable[[AggregateWorld], bool]) -> bool:
    """Kill the worker in a phase of the commit that tells the next step; False if that commit went by."""
    world.told.clear()
    while not (world.found or world.safe or world.told):
        world.step()
    for _ in range(50):
        if phase(world):
            world.crash()
            return True
        world.step()
    return False


def _drifting_and_killed_in(phase: Callable[[AggregateWorld], bool]) -> list[AggregateWorld]:
    """Return worlds whose worker was killed while it told of a group that is wrong."""
    killed = []
    for seed in range(12):
        world = _begun(seed)
        _damage(world)
        if _killed_in(world, phase):
            killed.append(world)
    assert killed
    return killed


def _damage(world: AggregateWorld) -> None:
    world.write("R", 5, ("eu", Decimal("777.77"), 9))


def _mend(world: AggregateWorld) -> None:
    world.write("R", 5, world.rows["A"][5])


@pytest.mark.parametrize("phase", PHASES)
def test_a_drift_that_ends_during_a_kill_ends_on_the_topic(phase: Callable[[AggregateWorld], bool]) -> None:
    """It may have been told when the worker was killed, and nothing is wrong any more: its end is told."""
    for world in _drifting_and_killed_in(phase):
        _mend(world)
        world.rest(3 * WINDOW_MS)
        assert world.open_groups() == set()
        assert {told.finding.stage for told in world.told} >= {Stage.RESOLVED}


@pytest.mark.parametrize("phase", PHASES)
def test_a_drift_that_lasts_longer_than_a_kill_is_told_with_one_name(phase: Callable[[AggregateWorld], bool]) -> None:
    """Written and perhaps not told when the worker was killed: it is told after it, as the same drift."""
    for world in _drifting_and_killed_in(phase):
        names = {told.finding.finding_id for told in world.told}
        world.rest(3 * WINDOW_MS)
        assert world.open_groups() >= {b"revenue\x00" + region_group("eu")}
        assert not names or {told.finding.finding_id for told in world.told} == names


def test_what_is_known_to_be_told_is_not_told_again_after_a_kill() -> None:
    """A kill between two commits, with a drift that the broker has: no second record."""
    world = _begun(3)
    _damage(world)
    world.rest(3 * WINDOW_MS)
    assert world.open_groups()
    world.told.clear()
    world.crash()
    world.rest(3 * WINDOW_MS)
    assert world.told == []


@pytest.mark.parametrize("phase", PHASES)
def test_a_group_that_drifts_again_during_a_kill_has_both_drifts_told(phase: Callable[[AggregateWorld], bool]) -> None:
    """The end of the first may not have been told: it is, and the second one has a name of its own."""
    killed = 0
    for seed in range(12):
        world = _begun(seed)
        _damage(world)
        world.rest(3 * WINDOW_MS)
        first = {told.finding.finding_id for told in world.told}
        _mend(world)
        if _killed_in(world, phase):
            killed += 1
            _damage(world)
            world.rest(3 * WINDOW_MS)
            second = {told.finding.finding_id for told in world.told} - first
            last = {told.finding.finding_id: told.finding.stage for told in world.told}
            assert last == dict.fromkeys(first, Stage.RESOLVED) | dict.fromkeys(second, Stage.CONFIRMED)
            assert len(second) == len(first)
    assert killed


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_what_was_told_before_a_kill_ends_after_it(seed: int) -> None:
    """Kills at any step of a commit, and a repair meanwhile: the last word on each group is true."""
    world = _begun(seed)
    for _ in range(2):
        _damage(world)
        for _ in range(world.dice.randint(20, 60)):
            world.step()
            if world.dice.random() < 0.05:
                world.crash()
        _mend(world)
        for _ in range(40):
            world.step()
            if world.dice.random() < 0.05:
                world.crash()
    world.rest(3 * WINDOW_MS)
    assert world.open_groups() == set()
    assert {status.verdict for status in world.statuses()} == {Verdict.AGREE}


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_a_truncated_replica_shows_nothing_and_is_told(seed: int) -> None:
    """What a truncate ended counts no more, and what came after it does."""
    world = _begun(seed)
    world.truncate("R")
    _live(world, 3)  # fewer changes than rows: some are not written again
    world.rest(3 * WINDOW_MS)
    assert world.figures("R") == figures_of(world.rows["R"].values())
    assert {name.partition(b"\x00")[0] for name in world.open_groups()} >= {b"rows"}


def test_a_truncated_replica_is_told_where_nothing_changes_any_more() -> None:
    """No row names the groups that it had."""
    world = _begun(17)
    world.truncate("R")
    world.rest(3 * WINDOW_MS)
    assert {name.partition(b"\x00")[0] for name in world.open_groups()} >= {b"rows"}


@pytest.mark.parametrize("lag_ms", [WINDOW_MS + 1_500, 3 * WINDOW_MS])
def test_a_replica_that_is_late_is_told_and_the_drift_ends_when_it_has_followed(lag_ms: int) -> None:
    """A change that arrives behind its window was a drift, and is none any more."""
    world = _begun(1)
    world.write("A", 3, ("eu", Decimal("7.77"), 9))
    world.rest(lag_ms)
    world.write("R", 3, ("eu", Decimal("7.77"), 9))
    world.rest(3 * WINDOW_MS)
    assert {told.finding.stage.value for told in world.told} == {"confirmed", "resolved"}
    assert world.open_groups() == set()


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_of_a_store_without_a_snapshot_nothing_is_known_before_a_pass_and_behind_a_gap(seed: int) -> None:
    """Then its figures are those of its rows again: of those that went in the gap, none is left."""
    world = AggregateWorld(seed, WITHOUT_SNAPSHOT)
    world.snapshot({number: _row(world.dice) for number in range(12)})
    world.rest(3 * WINDOW_MS)
    assert {status.verdict for status in world.statuses()} == {Verdict.UNKNOWN}
    world.step(lambda: world.pass_over("R"))
    _live(world, 20)
    world.rest(3 * WINDOW_MS)
    assert world.figures("R") == figures_of(world.rows["R"].values())
    assert {status.verdict for status in world.statuses()} == {Verdict.AGREE}

    world.is_lost = True
    _live(world, 20)
    world.rest(2 * WINDOW_MS)
    world.is_lost = False
    world.rest(2 * WINDOW_MS)
    assert {status.verdict for status in world.statuses()} == {Verdict.UNKNOWN}
    world.step(lambda: world.pass_over("R"))
    world.rest(3 * WINDOW_MS)
    assert world.figures("R") == figures_of(world.rows["R"].values())
    assert {status.verdict for status in world.statuses()} == {Verdict.AGREE}
    assert world.told == []
