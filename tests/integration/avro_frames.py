"""Records in Avro as a connector with a registry writes them: framed, each under the schema of its own shape."""

from __future__ import annotations

import io
import json
import struct
from hashlib import sha256
from typing import Any

import fastavro

from app.adapters.registry import Registry

_FRAME = struct.Struct(">bI")


class AvroFrames:
    """Writes records; a shape that was written or learnt before needs no registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ids: dict[str, int] = {}

    def learn(self, record: dict[str, Any]) -> tuple[Any, int]:
        """Register the schema of a record's shape; return it with its id."""
        schema = _schema_of("shape", record)
        text = json.dumps(schema)
        if text not in self._ids:
            subject = f"test-{sha256(text.encode()).hexdigest()[:16]}"
            self._ids[text] = self._registry.register(subject, text)
        return schema, self._ids[text]

    def frame(self, record: dict[str, Any]) -> bytes:
        """Return a record in the Confluent wire format."""
        schema, schema_id = self.learn(record)
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema), record)
        return _FRAME.pack(0, schema_id) + body.getvalue()


def _schema_of(name: str, value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        fields = [{"name": field, "type": _schema_of(f"{name}_{field}", inner)} for field, inner in value.items()]
        return {"type": "record", "name": name, "fields": fields}
    return "null" if value is None else "long" if isinstance(value, int) else "string"
