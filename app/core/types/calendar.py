"""Days and microseconds of the calendar, in years that `datetime` does not know too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final
from zoneinfo import ZoneInfo

from app.core.types.canonical import Misfit

DAY: Final = 86_400_000_000
"""Microseconds of a day."""

FIRST_DAY: Final = -2_440_588
LAST_DAY: Final = 2_145_042_905
"""The days of the dates that PostgreSQL knows: 4713 BC to the year 5874897. MariaDB and MySQL know fewer."""

INFINITY: Final = "infinity"
MINUS_INFINITY: Final = "-infinity"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH_DAY: Final = 719_468  # days from 0000-03-01 to 1970-01-01
_ERA: Final = 146_097  # days of 400 years
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY: Final = 2
_MOST_TEXT: Final = 48

_UTC_LENGTHS: Final = frozenset(range(20, 28))  # YYYY-MM-DDTHH:MM:SS[.ffffff]Z
_UTC_MARKS: Final = {("-", "T", "Z")}
_marks_of: Final = itemgetter(4, 10, -1)

_STAMP: Final = re.compile(
    r"([+-]?[0-9]{4,9})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?\s?(Z|[+-][0-9]{2}(?::?[0-9]{2}){0,2})?)?( BC)?",
    re.ASCII,
)
_CLOCK: Final = re.compile(
    r"(-?)([0-9]{1,3}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}(?::?[0-9]{2}){0,2})?", re.ASCII
)


def days_of(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 of a date in the proleptic Gregorian calendar; year 0 is 1 BC."""
    if not 1 <= month <= len(_MONTH_DAYS) or not 1 <= day <= _MONTH_DAYS[month - 1]:
        raise Misfit("not a date of the calendar")
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month == _FEBRUARY and day == _MONTH_DAYS[1] and not leap:
        raise Misfit("not a date of the calendar")
    if month <= _FEBRUARY:
        year -= 1
        month += 12
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return era * _ERA + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - _EPOCH_DAY


def date_of(days: int) -> tuple[int, int, int]:
    """Return year, month and day of the days since 1970-01-01; year 0 is 1 BC."""
    era, day_of_era = divmod(days + _EPOCH_DAY, _ERA)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9  # noqa: PLR2004 - the calendar begins in March here
    return year + era * 400 + (month <= _FEBRUARY), month, day


def _fraction(digits: str | None) -> int:
    if not digits:
        return 0
    if digits[6:].strip("0"):
        raise Misfit("finer than a microsecond")
    return int(digits[:6].ljust(6, "0"))


def _offset(text: str) -> int:
    """Return microseconds east of UTC."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:])
    return (-seconds if text[0] == "-" else seconds) * 1_000_000


def _clock(hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    if int(minute) >= 60 or int(second or 0) >= 60:  # noqa: PLR2004 - minutes and seconds
        raise Misfit("not a time of the clock")
    return (int(hour) * 3600 + int(minute) * 60 + int(second or 0)) * 1_000_000 + _fraction(fraction)


def date_days(text: str) -> int | str:
    """Read `YYYY-MM-DD`, with ` BC` or a sign, or an infinity."""
    if text in (INFINITY, MINUS_INFINITY):
        return text
    found = _STAMP.fullmatch(text) if len(text) <= _MOST_TEXT else None
    if found is None or found[4] is not None:
        raise Misfit("not a date")
    year = int(found[1])
    return days_of(1 - year if found[9] else year, int(found[2]), int(found[3]))


def stamp_micros(text: str) -> tuple[int | str, bool]:
    """Read a timestamp's text: microseconds since 1970-01-01, and whether the text had an offset (so is an instant)."""
    # The usual form quickly; everything else by its parts.
    if len(text) in _UTC_LENGTHS and _marks_of(text) in _UTC_MARKS:
        try:
            since = datetime.fromisoformat(text) - _EPOCH
        except ValueError:
            raise Misfit("not a timestamp") from None
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, True
    if text in (INFINITY, MINUS_INFINITY):
        return text, True
    found = _STAMP.fullmatch(text) if len(text) <= _MOST_TEXT else None
    if found is None:
        raise Misfit("not a timestamp")
    year = int(found[1])
    days = days_of(1 - year if found[9] else year, int(found[2]), int(found[3]))
    micros = days * DAY
    if found[4] is not None:
        micros += _clock(found[4], found[5], found[6], found[7])
        if int(found[4]) > 24:  # noqa: PLR2004 - hours
            raise Misfit("not a time of the clock")
    return micros - _offset(found[8] or "Z"), found[8] is not None


def utc_micros(texts: Sequence[str]) -> list[int] | None:
    """Read many timestamps that all have the usual form and end in Z; None if one has another."""
    if not _UTC_LENGTHS.issuperset(map(len, texts)) or set(map(_marks_of, texts)) != _UTC_MARKS:
        return None
    try:
        return [(since - _EPOCH) // _MICROSECOND for since in map(datetime.fromisoformat, texts)]
    except ValueError:
        return None


def clock_micros(text: str) -> int:
    """Read a time of day, or a span of MySQL's TIME; one with an offset is brought to UTC within its day."""
    found = _CLOCK.fullmatch(text) if len(text) <= _MOST_TEXT else None
    if found is None:
        raise Misfit("not a time")
    micros = _clock(found[2], found[3], found[4], found[5])
    if found[6]:
        return micros if found[6] == "Z" and micros == DAY else (micros - _offset(found[6])) % DAY
    return -micros if found[1] else micros


def wall_to_instant(micros: int, zone: ZoneInfo) -> int:
    """Return the instant of a wall clock's reading; one that the clock shows twice or never is refused."""
    try:
        wall = _LOCAL_EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise Misfit("a year in which zones are not known") from None
    first = wall.replace(tzinfo=zone).utcoffset()
    second = wall.replace(tzinfo=zone, fold=1).utcoffset()
    if first is None or first != second:
        raise Misfit("a wall-clock time that this zone has twice or never")
    return micros - first // _MICROSECOND


def instant_to_wall(micros: int, zone: ZoneInfo) -> int:
    """Return what a wall clock in `zone` shows at an instant."""
    try:
        offset = (_EPOCH + timedelta(microseconds=micros)).astimezone(zone).utcoffset()
    except OverflowError:
        raise Misfit("a year in which zones are not known") from None
    return micros + (offset or timedelta()) // _MICROSECOND


def stamp_text(micros: int) -> str:
    """Return `YYYY-MM-DD HH:MM:SS.ffffff`, with ` BC` before year 1, as PostgreSQL reads it."""
    days, rest = divmod(micros, DAY)
    return f"{_date_part(days)} {clock_text(rest)}{_era(days)}"


def date_text(days: int) -> str:
    """Return `YYYY-MM-DD`, with ` BC` before year 1."""
    return _date_part(days) + _era(days)


def _date_part(days: int) -> str:
    year, month, day = date_of(days)
    return f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day:02d}"


def _era(days: int) -> str:
    return "" if date_of(days)[0] > 0 else " BC"


def clock_text(micros: int) -> str:
    """Return `HH:MM:SS.ffffff`, with a sign below zero."""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{'-' if micros < 0 else ''}{hour:02d}:{minute:02d}:{second:02d}.{fraction:06d}"
