"""JSON and arrays."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

from app.core.types.canonical import Canonical, Misfit, Read
from app.core.types.numbers import decimal_text

_MOST_DEPTH: Final = 200
_MOST_TEXT: Final = 64 * 1024 * 1024


class _Number(str):
    """A JSON number in its one form."""

    __slots__ = ()


def _number(text: str) -> _Number:
    return _Number(decimal_text(text))


def _refuse_constant(_text: str) -> _Number:
    raise Misfit("JSON with NaN or Infinity")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Misfit("JSON with a key that stands twice")
    return found


def parse_json(text: str | bytes) -> object:
    """Parse JSON with numbers as canonical texts; keys that stand twice, NaN and too deep nesting are refused."""
    if len(text) > _MOST_TEXT:
        raise Misfit("JSON too large")
    try:
        return json.loads(
            text,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_pairs,
        )
    except (ValueError, RecursionError):
        raise Misfit("not JSON, or nested too deep") from None


def json_text(value: object, depth: int = 0) -> str:  # noqa: C901 - one branch for each kind of JSON value
    """Return a JSON value's one form: keys sorted by code point, no blanks, numbers by value (1 is 1.0 is 1e0)."""
    if depth > _MOST_DEPTH:
        raise Misfit("JSON nested too deep")
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float | Decimal):
        text = decimal_text(repr(value) if isinstance(value, float) else str(value))
        if text[-1].isdigit():
            return text
        raise Misfit("JSON with NaN or Infinity")
    if isinstance(value, list | tuple):
        return "[" + ",".join(json_text(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict):
        parts = (
            f"{json.dumps(key, ensure_ascii=False)}:{json_text(value[key], depth + 1)}"
            for key in sorted(value)
            if isinstance(key, str)
        )
        return "{" + ",".join(parts) + "}"
    raise Misfit("not JSON")


def read_json(raw: object) -> Canonical:
    """Read JSON from its text, or from a value that a driver has parsed."""
    return json_text(parse_json(raw) if isinstance(raw, str | bytes) else raw)


def array(element: Read) -> Read:
    """Read an array from a list, or from JSON text; order counts."""

    def read(raw: object) -> Canonical:
        if isinstance(raw, str | bytes):
            raw = parse_json(raw)
        if not isinstance(raw, list | tuple):
            raise Misfit("not an array")
        return tuple(
            None if item is None else element(str(item) if isinstance(item, _Number) else item) for item in raw
        )

    return read
