"""Schemas by id, straight from the registry's REST interface."""

from __future__ import annotations

import io
import json
import struct
import urllib.request
from typing import Any

import fastavro

_FRAME = struct.Struct(">bI")


class Registry:
    """Decodes values in the Confluent wire format: a zero byte, four bytes of schema id, Avro."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._schemas: dict[int, Any] = {}

    def decode(self, framed: bytes) -> dict[str, Any]:
        """Return the record; `ValueError` where the framing is not Confluent's."""
        magic, number = _FRAME.unpack_from(framed)
        if magic != 0:
            raise ValueError(f"first byte is {magic}, not 0: not in the Confluent wire format")
        body = io.BytesIO(framed[_FRAME.size :])
        record = fastavro.schemaless_reader(body, self._schema(number), None)
        if not isinstance(record, dict):
            raise TypeError(f"schema {number} is not that of a record")
        return record

    def _schema(self, number: int) -> Any:  # noqa: ANN401 - a parsed Avro schema has no type
        if number not in self._schemas:
            with urllib.request.urlopen(f"{self._url}/schemas/ids/{number}", timeout=10) as answer:  # noqa: S310
                text = json.loads(answer.read())["schema"]
            self._schemas[number] = fastavro.parse_schema(json.loads(text))
        return self._schemas[number]
