"""Typed records of the Avro converter: a program for each writer's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import fastavro
import msgspec

from app.codec.avro_envelope import SchemaSource, conversions_of, without_logical_types
from app.codec.avro_program import ANY, MISFITS, OTHER, REQUIRED, Build, Doubtful, Program, Take, compile_program
from app.codec.semantics import Convert
from app.codec.typed import Envelope, Shapes
from app.codec.wire import MOST_BYTES, Natural, unframe
from app.core.errors import Undecodable

_HEADER_BYTES: Final = 5
_MOST_SCHEMAS: Final = 1_000
_OPERATIONS: Final = frozenset({"c", "u", "d", "r"})
_TYPES_OF: Final[dict[Any, frozenset[str]]] = {
    object: ANY,
    str: frozenset({"string"}),
    str | None: frozenset({"string", "null"}),
    str | bool | None: frozenset({"string", "boolean", "null"}),
    Natural: frozenset({"int", "long"}),
    Natural | None: frozenset({"int", "long", "null"}),
}
_NATURALS: Final = (Natural, Natural | None)

Want = Callable[[Any], Build]
"""Says what is wanted of the records of a schema."""


class Programs:
    """The programs of the schemas that were met, for one want."""

    def __init__(self, source: SchemaSource, want: Want) -> None:
        self._source = source
        self._want = want
        self._programs: dict[bytes, Program | None] = {}

    def read(self, records: Sequence[bytes | None]) -> list[Any]:
        """Return what is wanted of each record, None for one that needs a closer look; `Unready` if nobody can say."""
        headers = [b"" if data is None or len(data) > MOST_BYTES else data[:_HEADER_BYTES] for data in records]
        # A schema that is not known now may be known later, so nothing is kept of it.
        programs = {header: self._program(header) for header in set(headers)}
        found: list[Any] = []
        for data, header in zip(records, headers, strict=True):
            program = programs[header]
            try:
                found.append(None if program is None or data is None else program(data, _HEADER_BYTES))
            except MISFITS:
                found.append(None)
        return found

    def _program(self, header: bytes) -> Program | None:
        if header not in self._programs:
            try:
                schema = self._source.schema(unframe(header)[0])
            except (KeyError, Undecodable):
                return None
            if len(self._programs) >= _MOST_SCHEMAS:
                self._programs.clear()
            self._programs[header] = self._compiled(schema)
        return self._programs[header]

    def _compiled(self, schema: object) -> Program | None:
        named: dict[str, Any] = {}
        try:
            plain = without_logical_types(schema)
            parsed = fastavro.parse_schema(plain, named_schemas=named)
            return compile_program(parsed, named, self._want(plain))
        except Exception:  # noqa: BLE001 - a registry's answer is input: the decoder of envelopes says what is wrong
            return None


class AvroUnpack:
    """Unpacks Avro records of one table."""

    def __init__(self, source: SchemaSource, shapes: Shapes, key: Sequence[str], columns: Sequence[str]) -> None:
        self._shapes = shapes
        self._key = key
        self._columns = columns
        self._programs = Programs(source, self._want)

    def __call__(self, records: Sequence[bytes | None]) -> list[Envelope | None]:
        """Return the records as envelopes; None for one that is not as usual."""
        return [
            None if envelope is None or envelope.op not in _OPERATIONS else envelope
            for envelope in self._programs.read(records)
        ]

    def _want(self, schema: Any) -> Build:  # noqa: ANN401 - JSON
        _, images = conversions_of(schema)
        shapes = self._shapes
        source = {
            one.name: (
                Take(_TYPES_OF[one.type], is_natural=one.type in _NATURALS),
                REQUIRED if one.required else one.default,
            )
            for one in msgspec.structs.fields(shapes.source)
        }
        fields: dict[str, tuple[Take | Build, object]] = {
            "op": (Take(frozenset({"string"})), REQUIRED),
            "source": (Build(shapes.source, source), REQUIRED),
            "before": (_image(shapes.before, self._key, images), None),
            "after": (_image(shapes.after, self._columns, images), None),
        }
        return Build(shapes.envelope, fields)


def _image(make: type, columns: Sequence[str], images: Mapping[str, Convert]) -> Build:
    return Build(make, {c: (Take(convert=images.get(c)), msgspec.UNSET) for c in columns}, is_optional=True)


class AvroKeys:
    """Unpacks Avro keys."""

    def __init__(self, source: SchemaSource) -> None:
        self._programs = Programs(source, _key)

    def __call__(self, keys: Sequence[bytes | None]) -> list[Mapping[str, object] | None]:
        """Return keys as their fields; None for one that is not as usual."""
        return self._programs.read(keys)


def _key(schema: Any) -> Build:  # noqa: ANN401 - JSON
    own, _ = conversions_of(schema)
    names = [field["name"] for field in schema["fields"]]

    def fields(*values: object) -> dict[str, object]:
        if any(value is OTHER for value in values):
            raise Doubtful
        return dict(zip(names, values, strict=True))

    return Build(fields, {name: (Take(convert=own.get(name)), REQUIRED) for name in names})
