"""What trips the breaker, and what does not however often it comes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.breaker import Breaker, BreakerLimits, Trip
from app.core.command import DISTRUSTED, CommandOutcome, Outcome, RefusalReason

LIMITS = BreakerLimits(window=10, failures=5, over_budget=4, forgeries=3)


def outcome(what: Outcome, reason: RefusalReason | None = None, at_ms: int = 0) -> CommandOutcome:
    """Return what became of some command."""
    return CommandOutcome(b"c", b"f", "orders", "copy", what, reason, at_ms, "", 0, b"", "")


def over_budget(number: int, at_ms: int) -> CommandOutcome:
    """Return that a command, by its number, is held for the budget."""
    return replace(outcome(Outcome.HELD, RefusalReason.OVER_BUDGET, at_ms), command_id=b"c%d" % number)


DONE = outcome(Outcome.APPLIED)
FAILED = outcome(Outcome.REFUSED, RefusalReason.CONSTRAINT)


def trips(*outcomes: CommandOutcome) -> list[Trip | None]:
    """Return what the breaker says after each."""
    breaker = Breaker(LIMITS)
    return [breaker.after(each) for each in outcomes]


def test_half_of_what_is_tried_failing_opens_it() -> None:
    """Of the last ten five failed: at the fifth, not before; older ones are forgotten."""
    assert trips(*[FAILED, DONE] * 5)[8] is Trip.FAILURES
    assert set(trips(*[FAILED, DONE, DONE] * 20)) == {None}
    assert set(trips(*[FAILED] * 4, *[DONE] * 10, *[FAILED] * 4)) == {None}
    assert trips(*[outcome(Outcome.INVERTED, RefusalReason.AUTHORITY_MOVED)] * 5)[-1] is None
    assert trips(*[outcome(Outcome.INVERTED)] * 5)[-1] is Trip.FAILURES


@pytest.mark.parametrize(
    "reason",
    [
        RefusalReason.ROW_MOVED,
        RefusalReason.AUTHORITY_MOVED,
        RefusalReason.REJECTED,
    ],
)
def test_rows_that_moved_on_do_not(reason: RefusalReason) -> None:
    """A busy application is no fault of the repairs."""
    assert set(trips(*[outcome(Outcome.REFUSED, reason)] * 100)) == {None}


@pytest.mark.parametrize(
    "reason",
    [
        RefusalReason.NOT_APPROVED,
        RefusalReason.EXPIRED,
        RefusalReason.ROW_LOCKED,
        RefusalReason.OUTSIDE_HOURS,
        RefusalReason.FENCED,
        # A person has approved them, or the policy lets so many go: they take their minutes.
        RefusalReason.OVER_RATE,
    ],
)
def test_what_waits_does_not(reason: RefusalReason) -> None:
    """It has not failed."""
    assert set(trips(*[outcome(Outcome.HELD, reason)] * 100)) == {None}


def test_a_mass_over_the_budget_within_a_minute_opens_it() -> None:
    """A few over it now and then are what a budget is for."""
    assert trips(*[over_budget(n, at_ms) for n, at_ms in enumerate((0, 1, 2, 59_999))]) == [None, None, None, Trip.MASS]
    assert set(trips(*[over_budget(n, n * 20_000) for n in range(50)])) == {None}


def test_one_command_that_is_sent_again_and_again_is_one() -> None:
    """The planner sends what is held once more after 1, 2, 4 seconds: three commands make no mass of four."""
    assert set(trips(*[over_budget(n % 3, n * 100) for n in range(400)])) == {None}
    assert trips(*[over_budget(n % 3, n) for n in range(9)], over_budget(3, 9))[-1] is Trip.MASS


@pytest.mark.parametrize("reason", [reason for reason in RefusalReason if reason in DISTRUSTED])
def test_forgeries_open_it(reason: RefusalReason) -> None:
    """Whatever it is that somebody forges; the breaker is a person's page, and stopping does no harm."""
    forged = [outcome(Outcome.REFUSED, reason, at_ms) for at_ms in (0, 30_000, 59_999)]
    assert trips(*forged) == [None, None, Trip.FORGERIES]
