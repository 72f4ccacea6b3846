"""Dates, times, timestamps, instants and intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.core.contract import FieldType
from app.core.errors import ContractViolation
from app.core.types import calendar
from app.core.types.canonical import Canonical, Micros, Misfit, Read, ReadMany

UNITS: Final = {"seconds": (1_000_000, 1), "millis": (1_000, 1), "micros": (1, 1), "nanos": (1, 1_000)}
"""What makes microseconds of a number of each unit: a factor, then a divisor."""
# How Debezium sends PostgreSQL's infinities in columns without a zone: timestamps as the bounds of the JDBC driver;
# dates as what is left of those, or of the server's own bounds, in 32 bits (streamed, then read by a snapshot). None
# of them is within the years that PostgreSQL knows.
_INFINITE_STAMPS: Final = {
    9_223_372_036_825_200_000: calendar.INFINITY,
    -9_223_372_036_832_400_000: calendar.MINUS_INFINITY,
}
_INFINITE_DATES: Final = {
    -2_147_472_692: calendar.INFINITY,
    -622_191_234: calendar.INFINITY,
    -2_147_472_691: calendar.MINUS_INFINITY,
    -625_821_272: calendar.MINUS_INFINITY,
}
_FINEST: Final = 6
_ZERO_DATE: Final = "0000-00-00"
_INTERVAL: Final = re.compile(
    r"P(?:(-?[0-9]{1,9})Y)?(?:(-?[0-9]{1,9})M)?(?:(-?[0-9]{1,9})W)?(?:(-?[0-9]{1,9})D)?"
    r"(?:T(?:(-?[0-9]{1,12})H)?(?:(-?[0-9]{1,12})M)?(?:(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?S)?)?",
    re.ASCII,
)
_INTERVAL_PARTS: Final = 3
_WHOLE: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def zone_of(name: str) -> ZoneInfo | None:
    """Return a zone by its IANA name, or None for UTC."""
    if name in ("UTC", "Etc/UTC", "Z"):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ContractViolation(
            f"no time zone is called {name!r}", hint="use an IANA name such as Europe/Paris"
        ) from None


def _in_micros(raw: int, unit: tuple[int, int]) -> int:
    if isinstance(raw, Micros):
        return int(raw)
    factor, divisor = unit
    if raw % divisor:
        raise Misfit("finer than a microsecond")
    return raw * factor // divisor


def read_date(raw: object) -> Canonical:
    """Read a date from days since 1970-01-01 or from text; MySQL's zero date is NULL, as its log says."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        if calendar.FIRST_DAY <= raw <= calendar.LAST_DAY:
            return int(raw)
        if raw in _INFINITE_DATES:
            return _INFINITE_DATES[raw]
    if isinstance(raw, str):
        return None if raw == _ZERO_DATE else calendar.date_days(raw)
    raise Misfit("not a date")


def time_of_day(type_: FieldType, encoding: str) -> Read:
    """Read a time from a number or from text."""
    unit = UNITS.get(encoding, (1, 1))
    step: int = 10 ** (_FINEST - type_.precision)

    def read(raw: object) -> Canonical:
        if isinstance(raw, int) and not isinstance(raw, bool):
            micros = _in_micros(raw, unit)
        elif isinstance(raw, str):
            micros = calendar.clock_micros(raw)
        else:
            raise Misfit("not a time")
        return micros // step * step if micros >= 0 else -(-micros // step * step)

    return read


def instant(type_: FieldType, encoding: str) -> Read:
    """Read an instant. A number or a text without offset is a wall clock's reading in the type's zone."""
    unit = UNITS.get(encoding, (1, 1))
    zone = None if encoding == "utc" else zone_of(type_.zone)
    step: int = 10 ** (_FINEST - type_.precision)

    def read(raw: object) -> Canonical:
        micros, absolute = _stamp(raw, unit)
        if isinstance(micros, str) or micros is None:
            return micros
        if zone is not None and not absolute:
            micros = calendar.wall_to_instant(micros, zone)
        return micros - micros % step

    return read


def local_timestamp(type_: FieldType, encoding: str) -> Read:
    """Read a wall clock's reading. An instant is turned into what the clock of the type's zone shows then."""
    unit = UNITS.get(encoding, (1, 1))
    zone = zone_of(type_.zone)
    step: int = 10 ** (_FINEST - type_.precision)

    def read(raw: object) -> Canonical:
        micros, absolute = _stamp(raw, unit)
        if isinstance(micros, str) or micros is None:
            return micros
        if zone is not None and (absolute or encoding == "utc"):
            micros = calendar.instant_to_wall(micros, zone)
        return micros - micros % step

    return read


def instants(type_: FieldType) -> ReadMany:
    """Read many instants that come as texts in UTC."""
    step: int = 10 ** (_FINEST - type_.precision)

    def read(raws: Sequence[str]) -> list[int] | None:
        micros = calendar.utc_micros(raws)
        return micros if micros is None or step == 1 else [m - m % step for m in micros]

    return read


def wall_clocks(type_: FieldType, encoding: str) -> ReadMany | None:
    """Read many readings of a clock in UTC that come as numbers; None for other clocks."""
    factor, divisor = UNITS.get(encoding, (1, 1))
    step: int = 10 ** (_FINEST - type_.precision)
    if divisor != 1 or zone_of(type_.zone) is not None:
        return None
    lowest, highest = calendar.FIRST_DAY * calendar.DAY // factor, calendar.LAST_DAY * calendar.DAY // factor

    def read(raws: Sequence[int]) -> Sequence[int] | None:
        if min(raws) < lowest or max(raws) > highest:
            return None
        return raws if factor == step == 1 else [m - m % step for m in (raw * factor for raw in raws)]

    return read


def _stamp(raw: object, unit: tuple[int, int]) -> tuple[int | str | None, bool]:
    if isinstance(raw, str):
        if raw.startswith(_ZERO_DATE):
            return None, True
        return calendar.stamp_micros(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        if raw in _INFINITE_STAMPS:
            return _INFINITE_STAMPS[raw], True
        micros = _in_micros(raw, unit)
        # A year that 64 bits of microseconds cannot hold comes as nonsense.
        if calendar.FIRST_DAY <= micros // calendar.DAY <= calendar.LAST_DAY:
            return micros, False
    raise Misfit("not a timestamp")


def read_interval(raw: object) -> Canonical:
    """Read an interval from ISO 8601 text, or from months, days and microseconds; the three stay apart."""
    if isinstance(raw, str):
        parts = raw.split(" ")
        if len(parts) == _INTERVAL_PARTS and all(map(_WHOLE.fullmatch, parts)):
            return tuple(map(int, parts))
        found = _INTERVAL.fullmatch(raw)
        if found and len(raw) > 1 and not raw.endswith("T"):
            years, months, weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[:6])
            seconds = int(found[8] or 0) * 1_000_000
            if found[9]:
                if found[9][6:].strip("0"):
                    raise Misfit("finer than a microsecond")
                seconds += int(found[9][:6].ljust(6, "0"))
            micros = (hours * 60 + minutes) * 60_000_000 + (-seconds if found[7] else seconds)
            return (years * 12 + months, weeks * 7 + days, micros)
    if isinstance(raw, list | tuple) and len(raw) == _INTERVAL_PARTS and all(part.__class__ is int for part in raw):
        return tuple(raw)
    raise Misfit("not an interval in text form")
