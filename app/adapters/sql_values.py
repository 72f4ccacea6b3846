"""Values of the canonical types in SQL: what to select so that nothing is lost, and to bind so that nothing changes.

A row selected by these expressions and read with the store's SQL dialect has the digest of its own CDC event. Sessions
must be pinned: time zone UTC and ISO dates in PostgreSQL; time zone `+00:00`, strict mode and utf8mb4 in the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation, Unmappable
from app.core.store import StoreKind
from app.core.types import calendar
from app.core.types.canonical import Canonical, Misfit
from app.core.types.numbers import INTEGER_RANGES
from app.core.types.temporal import zone_of

_POSTGRES: Final = {
    FieldKind.BOOL: "{0}",
    # Money as text has a currency; float8 as numeric would lose digits. A cast of real to float8 keeps every bit.
    FieldKind.DECIMAL: "CASE pg_typeof({0}) WHEN 'money'::regtype THEN {0}::numeric::text ELSE {0}::text END",
    FieldKind.FLOAT32: "float8send({0}::float8)",
    FieldKind.FLOAT64: "float8send({0}::float8)",
    # A cast of char(n) to text drops its blanks; concat writes a value as its type does.
    FieldKind.STRING: "CASE WHEN {0} IS NOT NULL THEN concat({0}) END",
    FieldKind.BYTES: "{0}",
    FieldKind.INTERVAL: (
        "(extract(year from {0}) * 12 + extract(month from {0}))::bigint || ' ' || extract(day from {0})::bigint "
        "|| ' ' || (extract(hour from {0}) * 3600000000 + extract(minute from {0}) * 60000000 "
        "+ extract(microseconds from {0}))::bigint"
    ),
    FieldKind.ARRAY: "to_json({0})::text",
}
_POSTGRES_ELSE: Final = "{0}::text"

_BINLOG: Final = {
    **dict.fromkeys(INTEGER_RANGES, "CAST({0} + 0 AS CHAR)"),  # the sum makes a number of a bit string
    **dict.fromkeys(
        (FieldKind.DECIMAL, FieldKind.DATE, FieldKind.TIME, FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP),
        "CAST({0} AS CHAR)",
    ),
    # As a float it would be shown with six digits.
    FieldKind.FLOAT32: "{0} + 0e0",
    FieldKind.FLOAT64: "{0} + 0e0",
    FieldKind.BITS: "BIN({0})",
}
_BINLOG_ELSE: Final = "{0}"
_MOST_DIGITS: Final = 65
_MOST_SCALE: Final = 38  # MariaDB's; what MySQL would cut is found when the row is read back
_LAST_DAY_OF_9999: Final = 2_932_896


def select_expression(kind: StoreKind, field_type: FieldType, quoted_column: str) -> str:
    """Return the expression to select for a column, whose name comes quoted."""
    if kind is StoreKind.POSTGRES:
        return _POSTGRES.get(field_type.kind, _POSTGRES_ELSE).format(quoted_column)
    if kind in {StoreKind.MARIADB, StoreKind.MYSQL}:
        return _BINLOG.get(field_type.kind, _BINLOG_ELSE).format(quoted_column)
    raise ContractViolation(f"{kind.value} is not read by SQL")


Binder = Callable[[Canonical], object]
"""Makes of a canonical value what is bound to a placeholder; `Unmappable` where the store has no such value.

The field is unnamed in that error: the caller knows it.
"""


def binder(kind: StoreKind, field_type: FieldType, encoding: str = "") -> Binder:
    """Return what makes the values to bind for one column. `encoding` is the contract's for this store and field."""
    if kind not in {StoreKind.POSTGRES, StoreKind.MARIADB, StoreKind.MYSQL}:
        raise ContractViolation(f"{kind.value} is not written by SQL")
    form = (_POSTGRES_FORMS if kind is StoreKind.POSTGRES else _BINLOG_FORMS).get(field_type.kind)
    if form is None:
        return lambda canonical: canonical
    return lambda canonical: None if canonical is None else form(canonical, field_type, encoding)


def text_array(bound: Iterable[object]) -> str:
    """Return PostgreSQL's text of an array of one dimension, of the texts of values that are to be bound."""
    return "{" + ",".join(map(_array_element, bound)) + "}"


def _array_element(bound: object) -> str:
    if bound is None:
        return "NULL"
    text = f"\\x{bound.hex()}" if isinstance(bound, bytes) else str(bound)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def shown(micros: int, field_type: FieldType, encoding: str) -> tuple[int, str]:
    """Return what the wall clock of the type's zone shows, and its offset; of a reading alone the zone's name.

    An instant's offset tells which it is in the hour that comes twice; a reading of that hour stands for both.
    """
    zone = zone_of(field_type.zone)
    is_instant = field_type.kind is FieldKind.INSTANT
    if zone is not None and encoding == "utc" and not is_instant:
        try:
            return calendar.wall_to_instant(micros, zone), "+00"
        except Misfit as why:
            raise Unmappable("", str(why)) from None
    if zone is None or encoding == "utc":
        return micros, "+00"
    if not is_instant:
        return micros, f" {field_type.zone}"
    wall = calendar.instant_to_wall(micros, zone)
    east = wall - micros
    return wall, f"{'-' if east < 0 else '+'}{calendar.clock_text(abs(east)).partition('.')[0]}"


def _postgres_stamp(value: Any, field_type: FieldType, encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    if isinstance(value, str):
        return value
    micros, zone = shown(value, field_type, encoding)
    # A column without zone ignores the zone behind the text, one with zone obeys it: right for both.
    text, era, rest = calendar.stamp_text(micros).partition(" BC")
    return f"{text}{zone}{era}{rest}"


def _postgres_text(value: Any, field_type: FieldType, encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    """Return the text of an array's element, or of a whole array within."""
    if isinstance(value, tuple) and field_type.kind is FieldKind.ARRAY:
        return _postgres_array(value, field_type, encoding)
    form = _POSTGRES_FORMS.get(field_type.kind)
    return _array_element(value if form is None or value is None else form(value, field_type, encoding))


def _postgres_array(value: Any, field_type: FieldType, encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    element = field_type.element or FieldType(FieldKind.STRING)
    return "{" + ",".join(_postgres_text(item, element, encoding) for item in value) + "}"


# Texts are bound without a type, so PostgreSQL reads each as what its column is.
_POSTGRES_FORMS: Final[dict[FieldKind, Callable[[Any, FieldType, str], object]]] = {
    **dict.fromkeys(INTEGER_RANGES, lambda value, _type, _encoding: str(value)),
    FieldKind.BOOL: lambda value, _type, _encoding: "true" if value else "false",
    FieldKind.DATE: lambda value, _type, _encoding: value if isinstance(value, str) else calendar.date_text(value),
    FieldKind.TIME: lambda value, _type, _encoding: calendar.clock_text(value),
    FieldKind.INSTANT: _postgres_stamp,
    FieldKind.LOCAL_TIMESTAMP: _postgres_stamp,
    FieldKind.INTERVAL: lambda value, _type, _encoding: f"{value[0]} months {value[1]} days {value[2]} microseconds",
    FieldKind.ARRAY: _postgres_array,
}


def _binlog_decimal(value: Any, _type: FieldType, _encoding: str) -> Decimal:  # noqa: ANN401 - canonical, by its kind
    number = Decimal(value)
    if not number.is_finite():
        raise Unmappable("", "MariaDB and MySQL have no decimal that is no number or infinite")
    whole, _, fraction = value.removeprefix("-").partition(".")
    if len(whole) + len(fraction) > _MOST_DIGITS or len(fraction) > _MOST_SCALE:
        # A longer literal would be cut to what fits, without an error.
        raise Unmappable("", f"a decimal has at most {_MOST_DIGITS} digits here, {_MOST_SCALE} of them after the point")
    return number


def _binlog_float(value: Any, _type: FieldType, _encoding: str) -> float:  # noqa: ANN401 - canonical, by its kind
    if not value[-1].isdigit():
        raise Unmappable("", "MariaDB and MySQL have no NaN and no Infinity")
    return float(value)


def _binlog_date(value: Any, _type: FieldType, _encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    return calendar.date_text(_within_years(value, 1))


def _binlog_stamp(value: Any, field_type: FieldType, encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    return calendar.stamp_text(shown(_within_years(value, calendar.DAY), field_type, encoding)[0])


def _within_years(value: int | str, units_of_day: int) -> int:
    if isinstance(value, str) or not calendar.days_of(1, 1, 1) <= value // units_of_day <= _LAST_DAY_OF_9999:
        raise Unmappable("", "MariaDB and MySQL have no infinite dates, and none outside the years 1 to 9999")
    return value


def _binlog_interval(value: Any, _type: FieldType, _encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    months, days, micros = value
    seconds, fraction = divmod(abs(micros), 1_000_000)
    return f"P{months}M{days}DT{'-' if micros < 0 else ''}{seconds}.{fraction:06d}S"


def _binlog_array(value: Any, field_type: FieldType, encoding: str) -> str:  # noqa: ANN401 - canonical, by its kind
    return json.dumps(_in_json(value, field_type, encoding), ensure_ascii=False)


def _in_json(value: Any, field_type: FieldType, encoding: str) -> object:  # noqa: ANN401 - canonical, by its kind
    """Return what stands for a value in an array's JSON: numbers in digits, and what has no form there as text."""
    if isinstance(value, tuple) and field_type.kind is FieldKind.ARRAY:
        element = field_type.element or FieldType(FieldKind.STRING)
        return [_in_json(item, element, encoding) for item in value]
    if value is None or field_type.kind not in _TEXTS_IN_JSON:
        return value.hex() if isinstance(value, bytes) else value
    return _BINLOG_FORMS[field_type.kind](value, field_type, encoding)


_TEXTS_IN_JSON: Final = frozenset(
    {FieldKind.DATE, FieldKind.TIME, FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP, FieldKind.INTERVAL}
)


_BINLOG_FORMS: Final[dict[FieldKind, Callable[[Any, FieldType, str], object]]] = {
    FieldKind.BOOL: lambda value, _type, _encoding: int(value),
    FieldKind.DECIMAL: _binlog_decimal,
    FieldKind.FLOAT32: _binlog_float,
    FieldKind.FLOAT64: _binlog_float,
    FieldKind.DATE: _binlog_date,
    FieldKind.TIME: lambda value, _type, _encoding: calendar.clock_text(value),
    FieldKind.INSTANT: _binlog_stamp,
    FieldKind.LOCAL_TIMESTAMP: _binlog_stamp,
    FieldKind.INTERVAL: _binlog_interval,
    FieldKind.BITS: lambda value, _type, _encoding: int(value, 2),
    FieldKind.ARRAY: _binlog_array,
}
