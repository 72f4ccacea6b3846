"""Both databases compared row by row, by plain SQL; what counts as equal is written down here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from demo_parts.shop import COLUMNS
from demo_parts.sides import Row, Side


@dataclass(frozen=True, slots=True)
class Difference:
    """One row in which the copy is not what the origin is. `kind` is missing, extra or differs."""

    table: str
    key: int
    kind: str
    columns: tuple[str, ...] = ()


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a driver returns
    """Bring a value of either driver into one form: all numbers exact, times in UTC."""
    if isinstance(value, (bool, int, float, Decimal)):
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        return Fraction(number) if number.is_finite() else str(number)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


def differences(origin: Side, copy: Side, table: str, keys: Sequence[int] | None = None) -> list[Difference]:
    """Compare a table, or some of its rows; meaningful while nothing writes them."""
    theirs, ours = rows_of(origin, table, keys), rows_of(copy, table, keys)
    found = []
    for key in sorted(theirs.keys() | ours.keys()):
        if key not in ours:
            found.append(Difference(table, key, "missing"))
        elif key not in theirs:
            found.append(Difference(table, key, "extra"))
        elif theirs[key] != ours[key]:
            unlike = tuple(
                column for column, a, b in zip(COLUMNS[table], theirs[key], ours[key], strict=True) if a != b
            )
            found.append(Difference(table, key, "differs", unlike))
    return found


def rows_of(side: Side, table: str, keys: Sequence[int] | None = None) -> dict[int, Row]:
    """Return the rows of a table by key."""
    names = ", ".join(COLUMNS[table])
    if keys is not None and not keys:
        return {}
    where = "" if keys is None else f" WHERE id IN ({', '.join(['%s'] * len(keys))})"
    # Table and columns are this package's own constants.
    rows = side.query(f"SELECT {names} FROM {table}{where}", tuple(keys or ()))  # noqa: S608
    return {int(row[0]): tuple(plain(value) for value in row) for row in rows}


def ledger_rows(side: Side) -> list[dict[str, str]]:
    """Return the copy's ledger without its before-images, as text, in the order of writing."""
    columns = ("command_id", "kind", "finding_id", "entity", "key_hash", "action", "outcome", "reason")
    # Schema in PostgreSQL and database in MariaDB have the same name.
    rows = side.query(f"SELECT {', '.join(columns)} FROM driftline.driftline_ledger ORDER BY written_at")  # noqa: S608
    return [{column: _text(value) for column, value in zip(columns, row, strict=True)} for row in rows]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("ascii", "replace")
    return str(value)
