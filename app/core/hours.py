"""Hours of the week: when repairs may be made, and when tables may be read again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from app.core.contract import Hours
from app.core.types.temporal import zone_of

EVERY_DAY: Final = frozenset(range(7))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def within(hours: Iterable[Hours], wall_ms: int) -> bool:
    """Tell whether a wall-clock moment is in one of these parts of the week."""
    return any(_is_within(each, wall_ms) for each in hours)


def _is_within(hours: Hours, wall_ms: int) -> bool:
    local = (_EPOCH + timedelta(milliseconds=wall_ms)).astimezone(zone_of(hours.zone) or UTC)
    minute, today, yesterday = local.hour * 60 + local.minute, local.weekday(), (local.weekday() - 1) % len(EVERY_DAY)
    if hours.start_minute < hours.end_minute:
        return today in hours.days and hours.start_minute <= minute < hours.end_minute
    # Over midnight: the evening of a day that is named, or the morning after one.
    return (today in hours.days and minute >= hours.start_minute) or (
        yesterday in hours.days and minute < hours.end_minute
    )


def minute_of(clock: str) -> int:
    """Return the minute of the day that `HH:MM` names; `ValueError` for anything else.

    >>> minute_of("22:30")
    1350
    """
    hour, colon, minute = clock.partition(":")
    if not colon or not (hour.isdecimal() and minute.isdecimal()) or int(hour) > 23 or int(minute) > 59:  # noqa: PLR2004
        raise ValueError(clock)
    return int(hour) * 60 + int(minute)


def daily_hours(text: str) -> Hours:
    """Read a stretch of every day in UTC; `ValueError` for anything else.

    >>> daily_hours("22:00-05:30").end_minute
    330
    """
    start, _, end = text.partition("-")
    return Hours(EVERY_DAY, minute_of(start), minute_of(end))
