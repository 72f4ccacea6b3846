"""Budgets and back-off of the conductor, and of what is written to a target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.pace import SLOWEST, BackOff, Budget, LogLags, ReplicaLag, WritePace
from app.core.status import Coverage, StatusReport


@given(rate=st.integers(10, 5_000), sizes=st.lists(st.integers(1, 2_000), min_size=20, max_size=60))
def test_a_budget_is_kept_over_time(rate: int, sizes: list[int]) -> None:
    """Whoever begins each slice as soon as it may reads its rows per second, but for the first second's."""
    budget, now_ms, rows = Budget(float(rate), 0), 0, 0
    for size in sizes:
        now_ms += budget.waits_ms(now_ms)
        budget.spend(size, now_ms)
        rows += size
    assert rows - sizes[-1] <= rate * (1 + now_ms / 1_000) + len(sizes)
    assert rows >= rate * now_ms / 1_000 - len(sizes) * rate / 1_000


def test_a_store_that_slows_down_is_read_less_and_then_again_as_much() -> None:
    """What is usual is learnt from quick answers; a slow one halves the share, down to a trickle that never ends."""
    back_off = BackOff(lag_ms_max=5_000)
    assert [back_off.look(2.0, 100) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert [back_off.look(80.0, 100) for _ in range(3)] == [0.5, 0.25, 0.125]
    for _ in range(20):
        back_off.look(2.0, 6_000)
    assert back_off.share == SLOWEST
    for _ in range(30):
        back_off.look(2.0, 100)
    assert back_off.share == 1.0


def test_of_three_answers_one_slow_one_is_chance() -> None:
    """A machine that is busy for a moment costs no rows; two slow answers of three do."""
    back_off = BackOff(lag_ms_max=5_000, among=3)
    assert {back_off.look(900.0 if n % 3 == 1 else 2.0, 100) for n in range(30)} == {1.0}
    assert [back_off.look(answered_ms, 100) for answered_ms in (2.0, 900.0, 2.0, 900.0)] == [1.0, 1.0, 1.0, 0.5]


def test_a_share_makes_the_same_rows_last_longer() -> None:
    """Half the budget, twice the wait."""
    budget = Budget(100.0, 0)
    budget.spend(200, 0)
    assert (budget.waits_ms(0), budget.waits_ms(0, 0.5)) == (1_000, 2_000)


def rows_within(seconds: int, answered_ms: float, lag_ms: int = 0) -> int:
    """Return how many rows are written in some seconds, ten at a time, to a target that was quick until now."""
    pace, now_ms, rows = WritePace.of(1_000, 5_000, 0), 0, 0
    pace.look(2.0, 0, now_ms)
    while now_ms < seconds * 1_000:
        if pace.is_due(now_ms):
            pace.look(answered_ms, lag_ms, now_ms)
        if pace.waits_ms(now_ms) == 0:
            pace.wrote(10, now_ms)
            rows += 10
        else:
            now_ms += min(pace.waits_ms(now_ms), 200)
    return rows


@pytest.mark.parametrize(("answered_ms", "lag_ms"), [(200.0, 0), (2.0, 5_001)])
def test_a_target_that_answers_slowly_or_is_followed_late_is_soon_not_written(answered_ms: float, lag_ms: int) -> None:
    """Within some looks nothing goes any more; a healthy one has its full rate all the time."""
    healthy = rows_within(20, 2.0)
    assert 20_000 <= healthy <= 21_100
    slow = rows_within(20, answered_ms, lag_ms)
    assert slow <= 20_000 / 6
    assert rows_within(60, answered_ms, lag_ms) == slow
    assert rows_within(20, 10.0, 5_000) == healthy


@pytest.mark.parametrize(("answered_ms", "lag_ms", "shares"), [(200.0, 0, [1 / 64, 0, 0]), (2.0, 5_001, [0, 0, 0])])
def test_a_target_that_bears_nothing_is_written_again_once_it_is_well(
    answered_ms: float, lag_ms: int, shares: list[float]
) -> None:
    """Too far behind, at once; too slow, when the least share was too much as well. A good look lets some go."""
    pace = WritePace.of(1_000, 5_000, 0)
    pace.look(2.0, 0, 0)
    seen = []
    for second in range(1, 9):
        pace.look(answered_ms, lag_ms, second * 1_000)
        seen.append(pace.share)
    assert seen[5:] == shares
    assert pace.waits_ms(8_500) == 1_000
    pace.look(2.0, 5_000, 9_000)
    assert pace.share == SLOWEST * 1.25
    assert pace.waits_ms(10_000) == 0


def test_a_target_that_slows_down_has_no_second_of_its_full_rate_left() -> None:
    """What the bucket had saved for the full pace does not go at once to a target that cannot bear it."""
    pace = WritePace.of(1_000, 5_000, 0)
    pace.look(2.0, 0, 0)
    for now_ms in range(1_000, 7_000, 1_000):
        assert pace.is_due(now_ms)
        pace.look(200.0, 0, now_ms)
        assert not pace.is_due(now_ms + 999)
    assert pace.share == SLOWEST
    pace.wrote(200, 7_000)
    assert pace.waits_ms(7_000) > 10_000


def test_what_stays_slow_for_long_is_usual_in_the_end() -> None:
    """Not within ten minutes, and within an hour: a target that was moved to slower disks is repaired again."""
    pace = WritePace.of(1_000, 5_000, 0)
    pace.look(2.0, 0, 0)
    shares = []
    for second in range(1, 3_600):
        pace.look(200.0, 0, second * 1_000)
        shares.append(pace.share)
    assert shares[600] == 0
    assert shares[-1] == 1.0


def test_a_replica_lacks_what_the_store_had_at_an_earlier_look() -> None:
    """While it stands still it is later with each look, and it is in time once it has all that was there."""
    lag = ReplicaLag()
    assert [lag.look(100, 90, 0), lag.look(100, 90, 1_000), lag.look(200, 90, 2_000)] == [0, 1_000, 2_000]
    assert lag.look(300, 100, 3_000) == 1_000
    assert lag.look(300, 300, 4_000) == 0
    assert lag.look(400, 300, 90_000) == 0
    assert lag.look(400, 300, 95_000) == 5_000


def test_a_replica_that_is_gone_is_waited_for_no_longer() -> None:
    """Whoever took it away knows, and one that comes back is measured anew."""
    lag = ReplicaLag()
    lag.look(100, 90, 0)
    assert (lag.look(100, 90, 60_000), lag.look(100, None, 61_000), lag.look(100, 90, 62_000)) == (60_000, 0, 0)


def status(store: str = "copy", partition: int = 0, watermark_ms: int | None = 10_000) -> StatusReport:
    """Return what a worker says of the orders in a store: five seconds behind, if nothing else is said."""
    return StatusReport("orders", store, False, partition, Coverage.COVERED, watermark_ms, 9_000, 15_000, 0)


def test_a_store_is_as_late_as_the_slowest_of_its_tables() -> None:
    """By the newest word on each; what is not known, or not of this deployment, counts for nothing."""
    lags = LogLags([("orders", "copy"), ("orders", "other")], 2)
    assert lags.of("copy") == 0
    lags.take(status())
    lags.take(status(partition=1, watermark_ms=14_000))
    lags.take(replace(status(store="other"), newest_beacon_ms=99_000))
    not_ours = [status(partition=2), status(partition=-1), status(store="made_up")]
    for unknown in (*not_ours, replace(status(), entity="made_up")):
        lags.take(replace(unknown, newest_beacon_ms=10**9))
    assert (lags.of("copy"), lags.of("other"), lags.of("made_up")) == (5_000, 89_000, 0)
    lags.take(status(watermark_ms=None))
    assert lags.of("copy") == 1_000
