"""When what the applier meets looks wrong as a whole: then it stops itself, until a person has looked.

A single refusal is a row's own matter. Many refusals by the target's constraints mean a wrong contract, many commands
that nobody asked for over the budget a mass drift, many forgeries an attack; in each case going on does harm or hides
it. What a person approved, or a policy lets go at a rate, only takes its time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.command import DISTRUSTED, FINAL_REASONS, CommandOutcome, Outcome, RefusalReason

_MINUTE_MS: Final = 60_000
_THE_ROWS_OWN: Final = frozenset(
    {
        RefusalReason.REJECTED,
        RefusalReason.ROW_MOVED,
        RefusalReason.AUTHORITY_MOVED,
    }
)
"""What refuses a command for good and says nothing of the others."""


class Trip(Enum):
    """Why the breaker opens."""

    FAILURES = "failures"  # the target refuses most of what is tried
    MASS = "mass"  # more is to be repaired than may be
    FORGERIES = "forgeries"  # commands or words that are not what they claim to be


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """How much is too much.

    Of the last `window` commands that ended, `failures` failed; within a minute `over_budget` different ones were held
    for the budget, or `forgeries` were not what they claimed to be.
    """

    window: int = 50
    failures: int = 25
    over_budget: int = 200
    forgeries: int = 10


class Breaker:
    """What the applier has met of late. Made anew, it has met nothing: an open one is a stop on the topic `control`."""

    def __init__(self, limits: BreakerLimits | None = None) -> None:
        self._limits = limits or BreakerLimits()
        self._ended: deque[bool] = deque(maxlen=self._limits.window)
        self._over_budget: dict[bytes, int] = {}
        self._forgeries: deque[int] = deque(maxlen=self._limits.forgeries)

    def after(self, outcome: CommandOutcome) -> Trip | None:
        """Take in what became of a command or a word; return why the breaker opens now, None where it does not."""
        if outcome.reason in DISTRUSTED:
            return self._counted(self._forgeries, outcome.at_ms, Trip.FORGERIES)
        if outcome.reason is RefusalReason.OVER_BUDGET:
            return self._over_the_budget(outcome)
        if outcome.outcome is Outcome.HELD or outcome.reason in _THE_ROWS_OWN:
            return None
        failed = outcome.outcome is Outcome.INVERTED or outcome.reason in FINAL_REASONS
        self._ended.append(failed and outcome.outcome is not Outcome.APPLIED)
        return Trip.FAILURES if sum(self._ended) >= self._limits.failures else None

    def _over_the_budget(self, outcome: CommandOutcome) -> Trip | None:
        """Count a command that is held for the budget once a minute, however often the planner sends it."""
        counted = {one: at_ms for one, at_ms in self._over_budget.items() if outcome.at_ms - at_ms < _MINUTE_MS}
        counted.setdefault(outcome.command_id, outcome.at_ms)
        self._over_budget = counted
        return Trip.MASS if len(counted) >= self._limits.over_budget else None

    @staticmethod
    def _counted(times: deque[int], at_ms: int, trip: Trip) -> Trip | None:
        times.append(at_ms)
        return trip if len(times) == times.maxlen and at_ms - times[0] < _MINUTE_MS else None
