"""When a shard is quarantined, what it lacks before it may be let go on, and by whose word."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.command import CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.conducting import Done
from app.core.contract import RepairPolicy
from app.core.finding import DriftKind, UnknownReason
from app.core.quarantine import Drifting, Missing, Shards, limit_of, missing_of
from app.core.shard import shard_name, shard_of, shard_parts
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said
from app.core.together import unit_of
from tests.property.applier_world import World
from tests.unit.core.story import contract

HOUR_MS = 3_600_000
THREE = RepairPolicy(quarantine_rows=3)
SHARD = shard_name("orders", "copy", 0)


def commands(number: int) -> list[RepairCommand]:
    """Return commands for as many drifts of one shard."""
    world = World("new", "old")
    return [world.command("old", "new") for _ in range(number)]


def outcome(at_ms: int = 0, reason: RefusalReason | None = None) -> CommandOutcome:
    """Return what became of some command."""
    how = Outcome.APPLIED if reason is None else Outcome.HELD
    return CommandOutcome(b"", b"", "orders", "copy", how, reason, at_ms, "", 0, b"", "")


def test_a_shard_trips_beyond_the_rows_that_its_policy_bears_and_no_other_does() -> None:
    """A row counts once however often its command comes, and whatever becomes of it."""
    drifting = Drifting()
    first, second, third, fourth = commands(4)
    for command in (first, second, first, first, third, third):
        assert not drifting.after(command, outcome(reason=RefusalReason.ROW_LOCKED), THREE, None)
    assert not drifting.after(replace(fourth, partition=1), outcome(), THREE, None)
    assert not drifting.after(replace(fourth, target="other"), outcome(), THREE, None)
    assert drifting.after(fourth, outcome(), THREE, None)
    assert not drifting.after(fourth, outcome(), THREE, None)


def test_what_drifted_more_than_an_hour_ago_does_not_count() -> None:
    """Each row leaves the count an hour after it came."""
    drifting, many = Drifting(), commands(9)
    for n, command in enumerate(many):
        assert not drifting.after(command, outcome(at_ms=n * HOUR_MS // 3), THREE, None)


def carried_out(told: list[RepairCommand], most: float, *, at_once: int, not_ours: set[int]) -> list[RepairCommand]:
    """Carry commands out as the applier does, `at_once` at most together; return those that were begun and are ours."""
    drifting = Drifting()
    stopped: set[str] = set()
    policy = RepairPolicy(quarantine_percent=100.0)
    begun: list[RepairCommand] = []
    left = list(range(len(told)))
    while left:
        group = [told[n] for n in left[:at_once]]
        limits = {shard_of(each): most for each in told if shard_of(each) not in stopped}
        count = drifting.at_once(group, limits)
        unit = [n for n in left if unit_of(told[n]) == unit_of(group[0])]
        beyond = frozenset() if count else drifting.beyond([told[n] for n in unit if n not in not_ours], limits)
        count = count or len(unit)
        for n in left[:count]:
            is_held = shard_of(told[n]) in stopped or bool(beyond)
            if n not in not_ours and not is_held:
                begun.append(told[n])
            became = RefusalReason.FORGED if n in not_ours else RefusalReason.QUARANTINED if is_held else None
            is_beyond = is_held and shard_of(told[n]) in beyond
            if shard_of(told[n]) in limits.keys() - stopped and drifting.after(
                told[n], outcome(reason=became), policy, most, is_beyond=is_beyond
            ):
                stopped.add(shard_of(told[n]))
        left = left[count:]
    return begun


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 3)), max_size=9),
    st.sampled_from([1, 2.5, 3, 7]),
    st.sets(st.integers(0, 40)),
)
def test_of_commands_that_come_together_no_more_are_begun_than_up_to_the_row_that_tips(
    drawn: list[tuple[int, bool, int]], most: float, not_ours: set[int]
) -> None:
    """In each shard, whatever is forged among them. Rows that stand alone go as they do one by one, units whole."""
    new = iter(commands(45))
    told: list[RepairCommand] = []
    for number, (rows, is_unit, spread) in enumerate(drawn):
        for row in range(rows):
            shard = int(row < spread)
            told.append(replace(next(new), partition=shard, source_transaction=f"9:{number}" if is_unit else ""))
    begun = carried_out(told, most, at_once=len(told), not_ours=not_ours)
    for shard in (0, 1):
        assert sum(each.partition == shard for each in begun) <= int(most) + 1
    ours = Counter(unit_of(each) for n, each in enumerate(told) if n not in not_ours)
    parts = Counter(unit_of(each) for each in begun)
    assert all(parts[unit] == ours[unit] for unit in parts) or len({each.partition for each in told}) > 1
    if not any(is_unit for _, is_unit, _ in drawn):
        assert begun == carried_out(told, most, at_once=1, not_ours=not_ours)


@pytest.mark.parametrize("reason", [RefusalReason.FORGED, RefusalReason.UNKNOWN_KEY, RefusalReason.UNREADABLE])
def test_what_is_not_the_planners_quarantines_nothing(reason: RefusalReason) -> None:
    """Whoever may write the topic could stop a shard by it."""
    drifting = Drifting()
    assert not any(drifting.after(each, outcome(reason=reason), THREE, None) for each in commands(9))


@pytest.mark.parametrize(
    ("rows", "percent", "shard_rows", "limit"),
    [
        (None, None, 100.0, None),
        (5, None, None, 5),
        (None, 2.0, 1_000.0, 20),
        (None, 2.0, None, None),
        (None, 2.0, 10.0, 1),
        (5, 2.0, 1_000.0, 5),
        (50, 2.0, 1_000.0, 20),
    ],
)
def test_the_stricter_limit_counts(
    rows: int | None, percent: float | None, shard_rows: float | None, limit: float | None
) -> None:
    """By rows or by share of the shard; a share of nobody knows how many limits nothing."""
    assert limit_of(RepairPolicy(quarantine_rows=rows, quarantine_percent=percent), shard_rows) == limit


def stop(shard: str = SHARD, at_ms: int = 10) -> Control:
    """Return a word that quarantines a shard."""
    return Control(Said.PAUSE, "the applier", at_ms, "drift", shard=shard)


def resume(through: int, shard: str = SHARD) -> Control:
    """Return an approver's word on a shard."""
    return Control(Said.RESUME, "anna", 0, lifts_through=through, shard=shard)


def test_a_shard_stands_clear_until_it_is_stopped_and_is_let_go_on_by_itself() -> None:
    """A word on one shard says nothing of another, and a resume lifts the stops that its author had read."""
    shards = Shards()
    assert not shards.is_quarantined(SHARD)
    assert shards.after(stop(), 4)
    assert shards.quarantined() == {SHARD: stop()}
    assert shards.after(resume(9, "orders/copy/1"), 5)
    assert shards.after(resume(3), 6)
    assert shards.is_quarantined(SHARD)
    assert shards.after(resume(6), 7)
    assert not shards.is_quarantined(SHARD)
    assert shards.quarantined() == {}


@given(st.lists(st.sampled_from([None, 0, 1, 2, 5, 9]), max_size=10))
def test_no_word_played_again_lifts_a_later_quarantine(said: list[int | None]) -> None:
    """Whatever was said before, a stop stands until a word that speaks of it."""
    shards = Shards()
    words = [stop() if each is None else resume(each) for each in said]
    for offset, word in enumerate(words):
        shards.after(word, offset)
    shards.after(stop(), 20)
    for offset, word in enumerate(words, 21):
        shards.after(word, offset)
    assert shards.is_quarantined(SHARD)


def test_more_shards_than_any_deployment_has_stop_everything() -> None:
    """Whoever floods the topic does not fill our memory."""
    shards = Shards()
    assert all(shards.after(stop(f"a/b/{n}"), n) for n in range(10_000))
    assert not shards.after(stop("a/b/10000"), 10_000)
    assert shards.after(stop("a/b/5"), 10_001)


READ = Done("t", "R", whole_begun_wall_ms=11, whole_wall_ms=20)
BOTH = {"A": replace(READ, store="A"), "R": READ}
REPORT = StatusReport("t", "R", is_authority=False, partition=0, coverage=Coverage.COVERED, watermark_ms=9,
                      verified_through_ms=9, newest_beacon_ms=9, reported_at_wall_ms=21)  # fmt: skip


@pytest.mark.parametrize(
    ("done", "report", "missing"),
    [
        (BOTH, REPORT, []),
        ({}, REPORT, [(Missing.NOT_READ_AGAIN, "A"), (Missing.NOT_READ_AGAIN, "R")]),
        (BOTH | {"R": replace(READ, whole_begun_wall_ms=10)}, REPORT, [(Missing.NOT_READ_AGAIN, "R")]),
        (BOTH | {"A": replace(READ, whole_unproven=1)}, REPORT, [(Missing.SLICES_UNPROVEN, "A")]),
        (BOTH, None, [(Missing.NOT_REPORTED, "R")]),
        (BOTH, replace(REPORT, reported_at_wall_ms=20), [(Missing.NOT_REPORTED, "R")]),
        (BOTH, replace(REPORT, coverage=Coverage.SNAPSHOT), [(Missing.NOT_COVERED, "R")]),
        (BOTH, replace(REPORT, verified_through_ms=None), [(Missing.NOT_COVERED, "R")]),
        (BOTH, replace(REPORT, open_drifts={DriftKind.STALE: 1}), [(Missing.DRIFTS_OPEN, "R")]),
        (BOTH, replace(REPORT, unknown_keys={UnknownReason.PARTIAL: 1}), [(Missing.KEYS_UNKNOWN, "R")]),
    ],
)
def test_what_a_shard_lacks(
    done: dict[str, Done], report: StatusReport | None, missing: list[tuple[Missing, str]]
) -> None:
    """Both stores read whole by passes that began since, and its worker says afterwards that nothing is open."""
    assert missing_of(contract(pipeline=False), "R", 10, done, report) == missing


def test_a_shard_has_one_name() -> None:
    """Words are anybody's: a number of any length, of other digits, or with zeros before it names none."""
    assert shard_parts("orders/copy/0") == ("orders", "copy", 0)
    assert shard_parts(shard_name("orders", "copy", 2**31 - 1)) == ("orders", "copy", 2**31 - 1)
    for name in (
        "",
        "orders",
        "orders/1",
        "/copy/1",
        "orders//1",
        "orders/copy/01",
        "orders/copy/\u0661",
        "a/b/" + "9" * 5_000,
    ):
        assert shard_parts(name) is None
