"""JSON records: without schemas as they are, with schemas by the semantic types that the schemas name."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import orjson

from app.codec.semantics import Convert, converter_of
from app.codec.wire import Reason, undecodable

_TOO_DEEP: Final = ("depth", "recursion")  # what orjson's versions call it
_IMAGES: Final = ("before", "after")


def unpack_json(data: bytes | str) -> object:
    """Parse a record of the JSON converter without schemas, or a text of JSON within one."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as why:
        if any(word in str(why) for word in _TOO_DEEP):
            raise undecodable(Reason.TOO_DEEP, "JSON nested too deep") from None
        raise undecodable(
            Reason.BAD_JSON, "not JSON", "set the store's `converter` to what its connector uses"
        ) from None


def unpack_json_schema(data: bytes) -> object:
    """Parse a record of the JSON converter with schemas, and give each value its meaning."""
    record = unpack_json(data)
    if not isinstance(record, dict) or record.keys() != {"schema", "payload"}:
        raise undecodable(
            Reason.BAD_ENVELOPE, "a record without schema and payload", "set `schemas.enable`, or `converter: json`"
        )
    payload, schema = record["payload"], record["schema"]
    if not isinstance(payload, dict) or not isinstance(schema, dict):
        return payload
    fields = schema.get("fields")
    if not isinstance(fields, list):
        return payload
    if "op" not in payload:
        _convert(payload, fields)
        return payload
    for field in fields:
        if isinstance(field, dict) and field.get("field") in _IMAGES:
            image, columns = payload.get(field["field"]), field.get("fields")
            if isinstance(image, dict) and isinstance(columns, list):
                _convert(image, columns)
    return payload


def _convert(image: dict[str, object], columns: list[object]) -> None:
    for column in columns:
        if not isinstance(column, dict):
            continue
        convert = _converter(column)
        if convert is not None:
            name = column.get("field")
            value = image.get(name) if isinstance(name, str) else None
            if value is not None and isinstance(name, str):
                image[name] = convert(value)


def _converter(column: dict[str, object], depth: int = 0) -> Convert | None:
    if column.get("type") == "array":
        items = column.get("items")
        element = _converter(items, depth + 1) if isinstance(items, dict) and depth < 3 else None  # noqa: PLR2004 - arrays in arrays
        return None if element is None else _each(element)
    name = column.get("name")
    if not isinstance(name, str):
        return None
    parameters = column.get("parameters")
    convert = converter_of(name, parameters if isinstance(parameters, dict) else {})
    return _from_base64(convert) if convert is not None and column.get("type") == "bytes" else convert


def _each(element: Convert) -> Convert:
    return lambda value: (
        [None if item is None else element(item) for item in value] if isinstance(value, list) else value
    )


def _from_base64(convert: Convert) -> Convert:
    def decoded(value: object) -> object:
        if not isinstance(value, str):
            return convert(value)
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise undecodable(Reason.BAD_ENVELOPE, "bytes that are not base64") from None
        return convert(data)

    return decoded
