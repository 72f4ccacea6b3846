"""A row has no drift before the window is over after both stores showed one state.

Goal: a row that is looked at only then is told no later than one that is judged at every beacon.
Method: an authority and a replica go through a few states in any order and at any time. Oracle: the verdict.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.finding import Verdict
from app.core.verdict import EVER, judge, shared_until
from tests.property.test_trim import BEACON_MS, WINDOW_MS, changes, history, until


@settings(max_examples=200)
@given(changes, changes, st.integers(-1, 20))
def test_no_row_drifts_within_the_window_after_both_stores_showed_one_state(
    mine: list[tuple[int, bytes]], theirs: list[tuple[int, bytes]], vouched_at: int
) -> None:
    """Whatever was vouched for before, and however far the logs are read."""
    so_far_ms = EVER if vouched_at < 0 else vouched_at * BEACON_MS
    for read_ms in range(BEACON_MS, 40 * BEACON_MS, BEACON_MS):
        truth, shown = until(history(mine), read_ms), until(history(theirs), read_ms)
        if read_ms <= shared_until(shown, truth, so_far_ms) + WINDOW_MS:
            assert judge(shown, truth, read_ms, WINDOW_MS, so_far_ms).verdict is not Verdict.DRIFT
