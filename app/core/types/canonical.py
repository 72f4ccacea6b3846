"""What a canonical value is, and where raw values come from.

One kind has one form, whatever store it came from:

| kind | canonical value |
|---|---|
| bool | `bool` |
| integers | `int` within the width |
| decimal | text without exponent and trailing zeros; `NaN`, `Infinity`, `-Infinity` |
| float32, float64 | the shortest text that reads back the same; `NaN`, `Infinity`, `-Infinity`; minus zero is `0.0` |
| string, enum | `str` |
| bytes | `bytes` |
| date | days since 1970-01-01 |
| time | microseconds since midnight; below zero and above a day where a store allows it |
| local_timestamp | microseconds since 1970-01-01 00:00 on the wall clock of the type's zone |
| instant | microseconds since 1970-01-01T00:00Z |
| interval | (months, days, microseconds) |
| uuid | lower-case text with hyphens |
| json | text: keys sorted, no blanks, numbers by value |
| array | tuple of canonical elements |
| inet | text: compressed address, `/prefix` only where it is not the whole address |
| bits | text: the digits from the first 1 on, or `0`; no log tells how many zeros stand before |

Dates and timestamps may also be the texts `infinity` and `-infinity`. NULL is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

Canonical = None | bool | int | str | bytes | tuple["Canonical", ...]
Read = Callable[[object], Canonical]
"""Turns a raw value that is not None into a canonical one, or raises `Misfit`."""

ReadMany = Callable[[Sequence[Any]], Sequence[Canonical] | None]
"""Turns raw values of one type, none of them None, into what `Read` makes of each; None if one is not as usual."""


class Dialect(Enum):
    """Where raw values come from: which store, and whether by its log or by SQL (`app.adapters.sql_values`)."""

    POSTGRES_CDC = "postgres_cdc"
    BINLOG_CDC = "binlog_cdc"
    MONGO_CDC = "mongo_cdc"
    POSTGRES_SQL = "postgres_sql"
    BINLOG_SQL = "binlog_sql"


class Misfit(Exception):
    """A raw value that does not fit its type. The text names the type, never the value."""


class Micros(int):
    """A number whose unit a record's own schema gave, already turned into microseconds: contract hints do not apply."""


ENCODINGS = frozenset({"seconds", "millis", "micros", "nanos", "utc", "bits", "hex"})
"""What a contract may say of a store's column where schemaless records do not: the unit of a number that is a time,
`utc` (an instant column read by SQL, although the field's type has another zone), `bits` (a bit string, sent with its
lowest byte first) and `hex` (bytes sent as hexadecimal digits)."""
