"""Avro records in the Confluent wire format: read by the writer's own schema, given meaning by `connect.name`."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Protocol

import fastavro

from app.codec.semantics import Convert, converter_of
from app.codec.wire import Reason, undecodable, unframe

_IMAGES: Final = ("before", "after")
_MOST_SCHEMAS: Final = 10_000
_SCALED: Final = "org.apache.kafka.connect.data.Decimal"
_FLOAT32: Final = struct.Struct("<f")
_FLOAT32_END: Final = 3.4028235677973366e38
"""The first number that 32 bits cannot hold, rounded."""


class SchemaSource(Protocol):
    """Where writers' schemas come from."""

    def schema(self, schema_id: int) -> object:
        """Return the schema of an id as parsed JSON; `KeyError` if there is none, `Unready` if nobody can say now."""
        ...


@dataclass(frozen=True, slots=True)
class _Compiled:
    schema: Any
    conversions: dict[str, Convert]  # of the record itself, for keys
    images: dict[str, Convert]  # of the row images


class AvroUnpacker:
    """Unpacks framed records; compiles each schema once."""

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        self._compiled: dict[int, _Compiled] = {}

    def unpack(self, data: bytes) -> object:
        """Return the record as its fields, with row images given their meaning."""
        schema_id, payload = unframe(data)
        compiled = self._compiled.get(schema_id) or self._compile(schema_id)
        stream = io.BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(stream, compiled.schema, None)
        except RecursionError:
            raise undecodable(Reason.TOO_DEEP, "Avro nested too deep") from None
        except Exception:  # noqa: BLE001 - hostile bytes make fastavro fail in many ways, all of them the record's fault
            raise undecodable(Reason.BAD_AVRO, "the bytes do not fit their writer's schema") from None
        if stream.tell() != len(payload):
            raise undecodable(Reason.BAD_AVRO, "bytes are left over behind the record")
        if isinstance(record, dict):
            _convert(record, compiled.conversions)
            for name in _IMAGES:
                image = record.get(name)
                if isinstance(image, dict):
                    _convert(image, compiled.images)
        return record

    def _compile(self, schema_id: int) -> _Compiled:
        try:
            schema = self._source.schema(schema_id)
        except KeyError:
            raise undecodable(
                Reason.UNKNOWN_SCHEMA,
                f"the registry knows no schema {schema_id}",
                "a registry that keeps its schemas in memory forgets them when it is restarted",
            ) from None
        try:
            plain = without_logical_types(schema)
            compiled = _Compiled(fastavro.parse_schema(plain), *conversions_of(plain))
        except Exception:  # noqa: BLE001 - a registry's answer is input too
            raise undecodable(Reason.BAD_AVRO, f"schema {schema_id} is not a schema that can be read") from None
        if len(self._compiled) >= _MOST_SCHEMAS:
            self._compiled.clear()
        self._compiled[schema_id] = compiled
        return compiled


def _convert(image: dict[str, object], conversions: Mapping[str, Convert]) -> None:
    for name, convert in conversions.items():
        value = image.get(name)
        if value is not None:
            image[name] = convert(value)


def without_logical_types(schema: object) -> Any:  # noqa: ANN401 - JSON
    """Return the schema so that values come as they were written; what they mean is told by `connect.name`."""
    if isinstance(schema, dict):
        return {name: without_logical_types(part) for name, part in schema.items() if name != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def conversions_of(schema: Any) -> tuple[dict[str, Convert], dict[str, Convert]]:  # noqa: ANN401 - JSON
    """Return what gives their meaning to a record's own fields (of a key), and to those of its row images."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return {}, {}
    images: dict[str, Convert] = {}
    fields = schema["fields"]
    for field in fields:
        if field["name"] in _IMAGES:
            # Only the first of the two carries the row's record type, the other names it.
            for branch in _branches(field["type"]):
                if isinstance(branch, dict) and branch.get("type") == "record":
                    images.update(_of_fields(branch["fields"]))
    own = {} if any(field["name"] == "op" for field in fields) else _of_fields(fields)
    return own, images


def _branches(type_: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return type_ if isinstance(type_, list) else [type_]


def _of_fields(fields: list[Any]) -> dict[str, Convert]:
    found = {field["name"]: _of_type(field["type"]) for field in fields}
    return {name: convert for name, convert in found.items() if convert is not None}


def _of_type(type_: Any) -> Convert | None:  # noqa: ANN401 - JSON
    for branch in _branches(type_):
        if branch == "float":
            return as_told
        if not isinstance(branch, dict):
            continue
        name = branch.get("connect.name")
        if isinstance(name, str):
            parameters = branch.get("connect.parameters") or {}
            if name == _SCALED:
                parameters = {"scale": branch.get("scale", parameters.get("scale", "0"))}
            return converter_of(name, parameters)
        if branch.get("type") == "array":
            element = _of_type(branch["items"])
            return None if element is None else _each(element)
    return None


def as_told(value: object) -> object:
    """Return a float of 32 bits as the number that its shortest text names: JSON carries it so, and SQL shows it so."""
    if not isinstance(value, float) or not isfinite(value):
        return value
    for digits in range(1, 9):
        told = float(f"{value:.{digits}g}")
        if abs(told) < _FLOAT32_END and _FLOAT32.unpack(_FLOAT32.pack(told))[0] == value:
            return told
    return float(f"{value:.9g}")


def _each(element: Callable[[object], object]) -> Convert:
    return lambda value: (
        [None if item is None else element(item) for item in value] if isinstance(value, list) else value
    )
