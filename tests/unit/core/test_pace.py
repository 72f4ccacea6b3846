"""Budgets, back-off and hours of the conductor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.pace import SLOWEST, BackOff, Budget


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


def test_a_share_makes_the_same_rows_last_longer() -> None:
    """Half the budget, twice the wait."""
    budget = Budget(100.0, 0)
    budget.spend(200, 0)
    assert (budget.waits_ms(0), budget.waits_ms(0, 0.5)) == (1_000, 2_000)
