"""What the oracle calls a drift, on rows told by hand; times in milliseconds, the window is 3,000."""

from __future__ import annotations

from app.simulation.oracle import History, State, drifts, stretches

WINDOW_MS = 3_000
END_MS = 20_000


def history(*changes: tuple[int, State]) -> History:
    """Return a row's states, each with its moment."""
    told = History()
    for at_ms, state in changes:
        told.change(at_ms, state)
    return told


def found(truth: History, shown: History) -> list[tuple[int, int]]:
    """Return from when until when the row drifted."""
    return drifts(stretches(truth, shown, END_MS), WINDOW_MS, 0)


def test_a_state_is_vouched_for_until_the_authority_leaves_it() -> None:
    """Its copy may show it for the window after that, and drifts then until it follows."""
    truth = history((0, 1), (5_000, 2))
    assert found(truth, history((100, 1), (7_900, 2))) == []
    assert found(truth, history((100, 1), (9_000, 2))) == [(8_000, 9_000)]


def test_a_copy_that_shows_what_never_was_drifts_from_when_it_was_vouched_for_last() -> None:
    """A rogue write at once counts from its own moment."""
    assert found(history((0, 1)), history((100, 1), (6_000, 7), (11_000, 1))) == [(9_000, 11_000)]


def test_a_state_that_the_authority_comes_back_to_just_behind_its_copy_is_vouched_for_if_the_copy_left_it_later() -> (
    None
):
    """By exact times the row drifts long before; had the copy left half a second later, both would have shown it."""
    truth = history((0, 1), (4_000, 2), (6_100, 1), (7_000, 3))
    shown = history((100, 1), (6_000, None), (11_000, 3))
    assert found(truth, shown) == [(7_000, 11_000)]
    assert found(truth, shown.later(500)) == [(9_500, 11_500)]
    assert shown.times_ms[1:] == [100, 6_000, 11_000]
