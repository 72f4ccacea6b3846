"""A record as cells that every SQL database holds alike, and back: text, whole numbers of 64 bits, and nothing.

Bytes become hex, words of closed lists their text, and what is nested becomes JSON. Fields are found by their types, so
that one which is added to a record later is kept without anybody remembering it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from app.core.errors import Undecodable

Cell = str | int | None
Row = Mapping[str, Cell]
_Value = TypeVar("_Value")

_NUMBER_LIMIT: Final = 1 << 63


class Column(Enum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"


@cache
def _types(record_type: Any) -> dict[str, Any]:  # noqa: ANN401 - a type of record
    hints = get_type_hints(record_type)
    return {field.name: _bare(hints[field.name]) for field in fields(record_type)}


def _bare(hint: Any) -> Any:  # noqa: ANN401 - a type as it is written
    """Return a type without its `| None`."""
    left = [each for each in get_args(hint) if each is not NoneType]
    return left[0] if NoneType in get_args(hint) else hint


def columns_of(record_type: type) -> dict[str, Column]:
    """Return the columns that a type of record needs, in the order of its fields."""
    return {name: Column.NUMBER if hint in {int, bool} else Column.TEXT for name, hint in _types(record_type).items()}


def _checked(text: str) -> str:
    """Return text that every database holds; `Undecodable` for what none of our programs writes."""
    if "\0" in text or (not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)):
        raise Undecodable("bad_text", "a text has characters that no text has")
    return text


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return _checked(value) if isinstance(value, str) else value


def cell_of(value: object) -> Cell:
    """Return one value as a cell; `Undecodable` for what no database can hold."""
    plain = _plain(value)
    if isinstance(plain, list | dict):
        return json.dumps(plain, separators=(",", ":"))
    if isinstance(plain, int):
        number = int(plain)
        if not -_NUMBER_LIMIT <= number < _NUMBER_LIMIT:
            raise Undecodable("bad_number", "a number has more than 64 bits")
        return number
    return None if plain is None else str(plain)


def cells_of(record: object) -> dict[str, Cell]:
    """Return a record's fields as cells; `Undecodable` for what no database can hold."""
    record_type: Any = type(record)
    return {name: cell_of(getattr(record, name)) for name in _types(record_type)}


def record_of(record_type: type[_Value], row: Mapping[str, Any]) -> _Value:
    """Return the record whose cells stand in a row; what else stands there is left out."""
    types = _types(cast("Any", record_type))
    return record_type(**{name: _value(hint, row[name]) for name, hint in types.items()})


def _value(hint: Any, cell: Any) -> Any:  # noqa: ANN401 - by its type
    if cell is None:
        return None
    if get_origin(hint) is tuple:
        listed = json.loads(cell) if isinstance(cell, str) else cell
        return tuple(_value(_bare(get_args(hint)[0]), each) for each in listed)
    if is_dataclass(hint) and isinstance(hint, type):
        return record_of(hint, json.loads(cell) if isinstance(cell, str) else cell)
    return bytes.fromhex(cell) if hint is bytes else hint(cell)
