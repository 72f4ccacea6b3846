"""What is told of a row does not depend on the steps in which time moved: at each beacon, at some, or at the end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.finding import Stage
from app.core.judging import judge_row
from app.core.keystate import KeyState, ReplicaState, Side
from app.core.verdict import OPEN, Stay
from tests.unit.core.story import WINDOW_MS, contract, digest

BEAT_MS = WINDOW_MS // 2
BEATS = 24
ACKNOWLEDGED_MS = 40
"""How long behind a beacon its acknowledgement is: the beacon behind it tells."""

# By the beat behind which a store changes: its value from there on, "" for none.
CHANGES = st.dictionaries(st.integers(1, BEATS - 1), st.sampled_from(["a", "b", "c", ""]), max_size=8)
STEPS = st.lists(st.integers(2, BEATS - 1), unique=True).map(sorted)
AHEAD = st.integers(0, 3)
"""How many beats of a log are read beyond the common time."""


def side_at(changes: dict[int, str], read: int) -> Side:
    """Return what a store has shown when its log is read up to a beat."""
    stays = [Stay(digest("a"), bytes(20))]
    for beat, value in sorted(changes.items()):
        if beat < read and stays[-1].digest != digest(value):
            latest_ms = (beat + 1) * BEAT_MS + ACKNOWLEDGED_MS if beat + 2 <= read else OPEN
            stays.append(Stay(digest(value), bytes(12) + beat.to_bytes(8, "big"), beat * BEAT_MS, latest_ms))
    return Side(stays)


def told(
    authority: dict[int, str], replica: dict[int, str], steps: list[int], ahead: tuple[int, int] = (0, 0)
) -> list[tuple[Stage, bytes, int]]:
    """Return the drifts that were told and those that were over, with their deadlines, as time moves in given steps."""
    terms, judged = contract(pipeline=False), ReplicaState()
    found: list[tuple[Stage, bytes, int]] = []
    for step in [*steps, BEATS + 3]:
        more = True
        while more:
            # Every step is acknowledged at once, and the row judged again.
            sides = [
                side_at(changes, step + beyond) for changes, beyond in zip((authority, replica), ahead, strict=True)
            ]
            done = judge_row(KeyState(sides, [judged], []), b"key", terms, [step * BEAT_MS], [0], [b""])
            for stage in (each.stage for each in done.steps):
                assert judged.drift is not None
                judged.drift.acknowledged = True
                if stage is not Stage.OVERTAKEN:
                    found.append((stage, judged.drift.drift_id, judged.drift.confirmed_at_ms))
            more = bool(done.steps)
    return found


@settings(max_examples=400)
@given(CHANGES, CHANGES, STEPS, AHEAD, AHEAD)
def test_the_steps_of_time_change_nothing(
    authority: dict[int, str], replica: dict[int, str], steps: list[int], mine: int, theirs: int
) -> None:
    """The same drifts, each over before the next, however far each log is read ahead."""
    expected = told(authority, replica, list(range(1, BEATS + 3)))
    assert told(authority, replica, steps, (mine, theirs)) == expected


def test_two_drifts_that_are_both_over_before_time_moves_are_two() -> None:
    """A row comes late, agrees, comes late once more and agrees: all of it between two steps."""
    lives = told({2: "b", 10: "c"}, {8: "b", 16: "c"}, [])
    first_ms, second_ms = ((beat + 1) * BEAT_MS + ACKNOWLEDGED_MS + WINDOW_MS for beat in (2, 10))
    assert [(stage, deadline_ms) for stage, _, deadline_ms in lives] == [
        (Stage.CONFIRMED, first_ms),
        (Stage.RESOLVED, first_ms),
        (Stage.CONFIRMED, second_ms),
        (Stage.RESOLVED, second_ms),
    ]
