"""Whether a copy was really late with a row, read from the change topics by the times that Kafka gave to the records.

This is the judge's own reading: it knows nothing of beacons, brackets or digests.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

_TIMES = {"created_at", "placed_at", "updated_at", "booked_at"}
_NUMBERS = {"id", "customer_id", "price", "amount", "quantity", "revision", "measure", "exact", "touched", "vip"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Two connectors put a change into Kafka at moments of their own; half a second covers what was measured.
SLACK_S = 0.5

History = list[tuple[float, dict[str, Any] | None]]
State = tuple[tuple[str, object], ...] | None


def really_late(origin: History, copy: History, window_s: float, until: float) -> bool:
    """Whether, before `until`, the copy showed a state that the origin had left longer than the window ago."""
    ours, theirs = _stays(origin), _stays(copy)
    for state, since, left in theirs:
        shown_until = min(left, until)
        if since >= until:
            break
        # The latest stay of the origin in that state decides: it may have come back to it.
        vouched = max((end for same, begun, end in ours if same == state and begun <= shown_until), default=None)
        if vouched is not None and shown_until - vouched > window_s - SLACK_S:
            return True
    return False


def _stays(history: History) -> list[tuple[State, float, float]]:
    """Turn changes into stays: (state, since, left); a row begins absent."""
    stays: list[tuple[State, float, float]] = []
    state: State = None
    since = float("-inf")
    for at, row in history:
        stays.append((state, since, at))
        state, since = _state(row), at
    stays.append((state, since, float("inf")))
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
