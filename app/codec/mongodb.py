"""MongoDB's part of an envelope: documents as extended JSON, `_id` as the key, cluster time as the place.

A document is read as a row whose columns are its fields; `a.b` names a field of a document within. A field that is not
there reads as NULL: SQL stores have nothing else to compare it with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Final, cast

from app.codec.json_envelope import unpack_json
from app.codec.wire import Reason, undecodable
from app.core.errors import Undecodable
from app.core.position import mongo_place
from app.core.types.canonical import Micros

_MOST_DEPTH: Final = 200
_ID: Final = "_id"
_NO_ORDINAL: Final = -1
_BARE: Final = ("NaN", "Infinity")


class Document(dict[str, object]):
    """A row image whose missing columns are NULL, and whose dotted columns reach into documents within."""

    def __missing__(self, column: str) -> object:
        """Follow the dots; None where the way ends."""
        found: object = self
        for part in column.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found

    def get(self, column: str, default: object = None) -> object:
        """Return a column's value as `[]` does."""
        del default
        return self[column]


def table_of(source: Mapping[str, object]) -> str:
    """Return `database.collection`."""
    return f"{source['db']}.{source['collection']}"


def place_of(source: Mapping[str, object], *, is_delete: bool, order: int) -> bytes:  # noqa: ARG001 - the form that all stores share
    """Return the place: seconds and ordinal of the cluster time, then the order in the transaction.

    The seconds are the cluster time's where the connector's pipeline says so (`ordered_by_clock` of the preflight).
    """
    ts_ms, ordinal, within = source["ts_ms"], source.get("ord"), source.get("tord")
    if not isinstance(ts_ms, int):
        raise undecodable(Reason.BAD_ENVELOPE, "source.ts_ms is not a number")
    if ordinal == _NO_ORDINAL:
        raise undecodable(
            Reason.BAD_ENVELOPE,
            "a read of an initial snapshot of MongoDB, which does not tell where in the log it stands",
            "nothing is proven of a store of MongoDB: docs/types.md",
        )
    return mongo_place(
        ts_ms // 1000 << 32 | (ordinal if isinstance(ordinal, int) else 0), within if isinstance(within, int) else order
    )


def transaction_of(source: Mapping[str, object]) -> str:
    """Return the session and the number of the transaction in it, or an empty text outside of one."""
    session, number = source.get("lsid"), source.get("txnNumber")
    return "" if session is None or number is None else f"{session}:{number}"


def key_of(key: dict[str, object]) -> Mapping[str, object]:
    """Return the key as `_id`, whose extended JSON stands in a text."""
    raw = key.get("id")
    if not isinstance(raw, str):
        raise undecodable(Reason.WRONG_KEY, "the key has no id")
    return {_ID: _value(_unpacked(raw))}


def image_of(raw: object) -> dict[str, object]:
    """Return a document from its text of extended JSON."""
    found = _unpacked(raw) if isinstance(raw, str) else raw
    if not isinstance(found, dict):
        raise undecodable(Reason.BAD_ENVELOPE, "a document is not an object")
    return Document({name: _value(part) for name, part in found.items()})


def _unpacked(text: str) -> object:
    """Parse a document; the writer of version 1 leaves doubles that JSON does not have bare."""
    try:
        return unpack_json(text)
    except Undecodable:
        if not any(word in text for word in _BARE):
            raise
    try:
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise undecodable(Reason.TOO_DEEP, "a document nested too deep") from None
    except ValueError:
        raise undecodable(Reason.BAD_JSON, "a document that is not JSON") from None


def _value(raw: object, depth: int = 0) -> object:
    if depth > _MOST_DEPTH:
        raise undecodable(Reason.TOO_DEEP, "a document nested too deep")
    if isinstance(raw, list):
        return [_value(item, depth + 1) for item in raw]
    if not isinstance(raw, dict):
        return raw
    for name, read in _TYPED.items():
        if name in raw:
            return read(raw)
    return {name: _value(part, depth + 1) for name, part in raw.items()}


def _number(name: str) -> Callable[[dict[str, object]], object]:
    return lambda raw: int(cast("str", raw[name]))


def _double(raw: dict[str, object]) -> object:
    """Doubles are numbers, but for those that JSON does not have."""
    number = float(cast("str", raw["$numberDouble"]))
    return number if isfinite(number) else raw["$numberDouble"]


def _decimal(raw: dict[str, object]) -> object:
    """Decimals are numbers too, or a document within could not be compared with JSON."""
    text = raw["$numberDecimal"]
    try:
        number = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        number = None
    if number is None:
        raise undecodable(Reason.BAD_ENVELOPE, "a decimal that is none")
    return number if number.is_finite() else text


def _date(raw: dict[str, object]) -> object:
    """Dates are milliseconds, as a number, as a typed number, or as ISO text."""
    value = raw["$date"]
    if isinstance(value, dict):
        value = int(cast("str", value["$numberLong"]))
    return Micros(value * 1000) if isinstance(value, int) else value


def _binary(raw: dict[str, object]) -> object:
    value = raw["$binary"]
    return value["base64"] if isinstance(value, dict) else value


def _regular_expression(raw: dict[str, object]) -> object:
    """Return the writing of version 1, which this one is in all of its values that are documents still."""
    found = cast("dict[str, object]", raw["$regularExpression"])
    return {"$regex": found["pattern"], "$options": found["options"]}


_TYPED: Final[dict[str, Callable[[dict[str, object]], object]]] = {
    "$oid": lambda raw: raw["$oid"],
    "$numberInt": _number("$numberInt"),
    "$numberLong": _number("$numberLong"),
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$date": _date,
    "$binary": _binary,
    "$uuid": lambda raw: raw["$uuid"],
    "$regularExpression": _regular_expression,
    "$symbol": lambda raw: raw["$symbol"],
    "$undefined": lambda _raw: None,
}
