"""Forgetting what a busy row went through changes no verdict on it.

Goal: judged later, a row that was trimmed gets the verdict of one that was not, with the same deadline.
Method: an authority and a replica go through a few states in any order and at any time; both are trimmed at one common
time and judged at a later one. Oracle: the verdict on the whole history.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.judging import trim
from app.core.keystate import KeyState, ReplicaState, Side
from app.core.position import STREAM, position
from app.core.verdict import EVER, Stay, judge

WINDOW_MS = 50
BEACON_MS = 10
STATES = [bytes([n]) * 16 for n in range(3)]

changes = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(STATES)), min_size=1, max_size=9)


def history(steps: list[tuple[int, bytes]]) -> list[Stay]:
    """Return the stays of one store; each change is known between two beacons, and follows the one before."""
    stays, now_ms = [Stay(STATES[0], position(0, STREAM, bytes(17)))], 0
    for n, (pause_ms, digest) in enumerate(steps, 1):
        now_ms += pause_ms
        began_ms = now_ms // BEACON_MS * BEACON_MS
        stays.append(Stay(digest, position(0, STREAM, n.to_bytes(17, "big")), began_ms, began_ms + BEACON_MS))
    return [stays[0]] + [stay for before, stay in pairwise(stays) if stay.digest != before.digest]


def until(stays: list[Stay], read_ms: int) -> list[Stay]:
    """Return what was read of a history by a time: all that is before it, at least."""
    return [stay for stay in stays if stay.earliest_ms < read_ms]


@settings(max_examples=400)
@given(changes, changes, st.integers(1, 20), st.integers(0, 20))
def test_a_trimmed_row_is_judged_as_one_that_was_not(
    mine: list[tuple[int, bytes]], theirs: list[tuple[int, bytes]], trimmed_at: int, later: int
) -> None:
    """Whatever was dropped, and whenever."""
    truth, shown = history(mine), history(theirs)
    common_ms, then_ms = trimmed_at * BEACON_MS, (trimmed_at + later) * BEACON_MS
    state = KeyState([Side(until(truth, common_ms)), Side(until(shown, common_ms))], [ReplicaState(EVER)])
    trim(state, WINDOW_MS, common_ms)
    for side, whole in zip(state.sides, (truth, shown), strict=True):
        side.stays += [stay for stay in until(whole, then_ms) if stay.earliest_ms >= common_ms]
    replica = state.replicas[0]
    trimmed = judge(state.sides[1].stays, state.sides[0].stays, then_ms, WINDOW_MS, replica.vouched_until_ms)
    assert trimmed == judge(until(shown, then_ms), until(truth, then_ms), then_ms, WINDOW_MS, EVER)
