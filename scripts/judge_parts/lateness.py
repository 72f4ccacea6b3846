"""Whether a copy was really late with a row: both logs, and when the judge saw their transactions committed.

This is the judge's own reading: it knows nothing of beacons, brackets or digests. A commit is known to lie between two
moments; whatever of that is unsure speaks against lateness, so that no false alarm is excused by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

_TIMES = {"created_at", "placed_at", "updated_at", "booked_at"}
_NUMBERS = {"id", "customer_id", "price", "amount", "quantity", "revision", "measure", "exact", "touched", "vip"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The product's beacons and the judge's looks fall on moments of their own, some tenths of a second apart.
SLACK_S = 0.5

State = tuple[tuple[str, object], ...] | None


@dataclass(frozen=True, slots=True)
class Between:
    """Two seconds between which something was committed."""

    earliest: float
    latest: float


History = list[tuple[Between, dict[str, Any] | None]]
"""Every change of a row in its log's order; None where it was deleted."""


@dataclass(frozen=True, slots=True)
class _Stay:
    """A state of a row between two changes; a row begins absent, and its last state lasts."""

    state: State
    since: Between
    left: Between


def really_late(origin: History, copy: History, window_s: float, until: float) -> bool:
    """Whether the copy, before `until`, showed a state that the origin had left for longer than the window.

    A return of the origin to that state excuses from then on, not what was before.
    """
    ours: dict[State, list[_Stay]] = {}
    for stay in _stays(origin):
        ours.setdefault(stay.state, []).append(stay)
    for shown in _stays(copy):
        shown_until = min(shown.left.earliest, until)
        same = ours.get(shown.state, [])
        backs = [*(stay.since.earliest for stay in same[1:]), float("inf")]
        for stay, back_at in zip(same, backs, strict=False):
            seen_at = min(back_at, shown_until)
            if shown.since.latest <= seen_at and seen_at - stay.left.latest > window_s - SLACK_S:
                return True
    return False


def _stays(history: History) -> list[_Stay]:
    stays: list[_Stay] = []
    state: State = None
    since = Between(float("-inf"), float("-inf"))
    for committed, row in history:
        stays.append(_Stay(state, since, committed))
        state, since = _state(row), committed
    stays.append(_Stay(state, since, Between(float("inf"), float("inf"))))
    return stays


def _state(row: dict[str, Any] | None) -> State:
    if row is None:
        return None
    return tuple(sorted((column, _value(column, value)) for column, value in row.items()))


def _value(column: str, value: Any) -> object:  # noqa: ANN401 - whatever JSON held
    if value is None:
        return None
    if column in _TIMES:
        if isinstance(value, int):
            return _EPOCH + timedelta(microseconds=value)
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    if column in _NUMBERS:
        try:
            return Fraction(Decimal(str(int(value) if isinstance(value, bool) else value)))
        except (InvalidOperation, ValueError):
            return str(value)
    return str(value)
