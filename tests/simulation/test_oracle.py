"""What the oracle calls a drift, on rows told by hand; times in milliseconds, the window is 3,000."""

from __future__ import annotations

from app.simulation.oracle import History, State, drifts, stretches, sure_drifts

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


def surely(truth: History, shown: History, doubt_ms: int) -> list[tuple[int, int]]:
    """Return from when until when the row drifted whenever its changes happened, each by so much."""
    return sure_drifts(truth, shown, lambda _: doubt_ms, WINDOW_MS, (0, END_MS))


def test_a_state_that_the_authority_comes_back_to_just_behind_its_copy_may_be_vouched_for() -> None:
    """By exact times the row drifts long before; had the copy left half a second later, both would have shown it."""
    truth = history((0, 1), (4_000, 2), (6_100, 1), (7_000, 3))
    shown = history((100, 1), (6_000, None), (11_000, 3))
    assert found(truth, shown) == surely(truth, shown, 0) == [(7_000, 11_000)]
    assert surely(truth, shown, 500) == [(9_500, 10_500)]


def test_a_chain_of_doubts_may_put_a_drift_off_state_by_state() -> None:
    """Each state may have come just in time to be vouched for, as far as beacons tell, and then the next one."""
    truth = history((0, 1), (4_000, 2), (5_000, 3))
    shown = history((100, 1), (7_500, 2), (11_000, 3))
    assert found(truth, shown) == [(7_000, 7_500), (8_000, 11_000)]
    assert surely(truth, shown, 500) == [(8_500, 10_500)]
    assert surely(truth, shown, 1_600) == []


def test_a_doubt_takes_no_drift_away_that_lasts() -> None:
    """What is rogue and stays is told by any beacons; from the beginning of coverage on, where it was there before."""
    truth = history((0, 1))
    assert surely(truth, history((100, 1), (6_000, 7)), 900) == [(9_900, END_MS)]
    assert surely(truth, history((100, 7)), 900) == [(3_900, END_MS)]


def test_no_drift_is_sure_while_a_log_does_not_tell_a_state() -> None:
    """It may be the right one."""
    truth = history((0, 1), (4_000, -1), (9_000, 2))
    assert surely(truth, history((100, 1)), 0) == found(truth, history((100, 1))) == [(12_000, END_MS)]
