"""The columns of the bench's table, with values that are made once and picked by number.

Making a value for each of ten million events would take longer than what is measured. So each group of columns has a
pool of ready-made pieces, in the very bytes of the log, and a row is its key and one piece of each group.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, Final

import fastavro

from app.core.store import Converter, StoreKind

PIECES: Final = 512
"""Pieces in a pool. Two of one pool are never equal."""

KEY: Final = "id"
_FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
_YEAR_US: Final = 31_536_000_000_000
_WORDS: Final = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "kiosk")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how the contract declares it (None: it is not compared), its Avro type, and how a value is made.

    `as_in` gives the value as a kind of store's connector tells it.
    """

    name: str
    declared: dict[str, object] | None
    avro: Any
    make: Callable[[Random], object]
    as_in: Callable[[StoreKind, object], object] = lambda _, value: value


def _instant(dice: Random) -> str:
    moment = _FIRST_DAY + timedelta(microseconds=dice.randrange(_YEAR_US))
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _words(count: int) -> Callable[[Random], str]:
    return lambda dice: " ".join(dice.choices(_WORDS, k=count))


def _named(kind: str, name: str) -> dict[str, object]:
    return {"type": kind, "connect.version": 1, "connect.name": name}


def _flag(kind: StoreKind, value: object) -> object:
    return value if kind is StoreKind.POSTGRES else int(bool(value))


def _compared(number: int) -> list[Column]:
    """Five compared columns, of the kinds that a shop's tables are mostly made of."""
    instant = _named("string", "io.debezium.time.ZonedTimestamp")
    return [
        Column(f"name_{number}", {"type": "string"}, "string", _words(3)),
        Column(
            f"price_{number}",
            {"type": "decimal", "scale": 2},
            "string",
            lambda dice: f"{dice.randrange(1, 100_000)}.{dice.randrange(100):02}",
        ),
        Column(f"quantity_{number}", {"type": "int32"}, "int", lambda dice: dice.randrange(1_000)),
        Column(f"changed_at_{number}", {"type": "instant"}, instant, _instant),
        Column(f"is_open_{number}", {"type": "bool"}, "boolean", lambda dice: dice.randrange(2) == 1, _flag),
    ]


def _others(number: int) -> list[Column]:
    """Five columns that no contract names."""
    micros = _named("long", "io.debezium.time.MicroTimestamp")
    return [
        Column(f"note_{number}", None, "string", _words(7)),
        Column(f"customer_{number}", None, "long", lambda dice: dice.randrange(1 << 40)),
        Column(f"made_at_{number}", None, micros, lambda dice: 1_767_225_600_000_000 + dice.randrange(_YEAR_US)),
        Column(f"weight_{number}", None, "double", lambda dice: dice.randrange(1, 1 << 20) / 1024),
        Column(f"city_{number}", None, "string", _words(1)),
    ]


def groups_of(columns: int) -> list[list[Column]]:
    """Return the groups of a row of so many columns, its key not among them: those that are compared come first."""
    half = columns // 10
    groups = [_compared(number) for number in range(half)] + [_others(number) for number in range(half)]
    groups[-1].pop()  # the key is a column too
    return groups


def declared_fields(columns: int) -> dict[str, dict[str, object]]:
    """Return the compared fields as a contract declares them."""
    return {c.name: c.declared for group in groups_of(columns) for c in group if c.declared is not None}


def avro_fields(columns: int, kind: StoreKind) -> list[dict[str, Any]]:
    """Return the fields of a row's Avro record: all but the key may be null, as a table without NOT NULL has them."""
    key = {"name": KEY, "type": "long"}
    return [key, *(_avro_field(c, kind) for group in groups_of(columns) for c in group)]


def _avro_field(column: Column, kind: StoreKind) -> dict[str, Any]:
    type_ = column.avro
    if type_ == "boolean" and kind is not StoreKind.POSTGRES:
        type_ = {"type": "int", "connect.type": "int16"}
    return {"name": column.name, "type": ["null", type_], "default": None}


class Rows:
    """Rows of one store as bytes, for one converter: a key's bytes are asked for, the rest is picked from the pools."""

    def __init__(self, kind: StoreKind, converter: Converter, columns: int) -> None:
        self._pools = _pools(kind, converter, columns)
        self._glue = b"," if converter is Converter.JSON else b""

    def body(self, key: int, version: int, *, is_wrong: bool = False) -> bytes:
        """Return the columns behind the key. Versions next to each other differ; a wrong row differs from its version.

        The pieces are picked by key and version alone, so both stores show the same row.
        """
        pick = key * 31 + version
        return self._glue.join(
            [
                pool[(pick * (2 * i + 1) + (1 if is_wrong and not i else 0)) % PIECES]
                for i, pool in enumerate(self._pools)
            ]
        )


@lru_cache
def _pools(kind: StoreKind, converter: Converter, columns: int) -> list[list[bytes]]:
    """Return a pool of pieces for each group of columns."""
    # Both stores and both converters draw the same values.
    dice = Random(columns)  # noqa: S311 - values are no secret
    join = _json_pieces if converter is Converter.JSON else _avro_pieces
    return [join(kind, group, [_distinct(group, dice, n) for n in range(PIECES)]) for group in groups_of(columns)]


def _distinct(group: Sequence[Column], dice: Random, number: int) -> dict[str, object]:
    values = {column.name: column.make(dice) for column in group}
    first = group[0].name
    return {**values, first: f"{values[first]} {number}"}


def _json_pieces(kind: StoreKind, group: Sequence[Column], values: Sequence[dict[str, object]]) -> list[bytes]:
    rows = ({c.name: c.as_in(kind, row[c.name]) for c in group} for row in values)
    return [json.dumps(row, separators=(",", ":")).encode()[1:-1] for row in rows]


def _avro_pieces(kind: StoreKind, group: Sequence[Column], values: Sequence[dict[str, object]]) -> list[bytes]:
    # A record's encoding is that of its fields, one after the other, so a part of its fields is a part of its bytes.
    part = fastavro.parse_schema(
        {"type": "record", "name": "Part", "fields": [_avro_field(column, kind) for column in group]}
    )
    pieces = []
    for row in values:
        piece = io.BytesIO()
        fastavro.schemaless_writer(piece, part, {c.name: c.as_in(kind, row[c.name]) for c in group})
        pieces.append(piece.getvalue())
    return pieces
