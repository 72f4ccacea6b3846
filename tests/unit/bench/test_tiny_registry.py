"""The bench's own registry, asked by the product's client."""

from __future__ import annotations

import json

import pytest

from app.adapters.registry import RegisteredSchemas, Registry
from app.bench.tiny_registry import TinyRegistry

SCHEMA = json.dumps({"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]})


def test_a_schema_is_registered_once_and_found_by_its_id() -> None:
    """By HTTP and in the process; an unknown id is none."""
    tiny = TinyRegistry()
    try:
        client = Registry(tiny.url)
        schema_id = client.register("t-value", SCHEMA)
        assert tiny.register(SCHEMA) == schema_id
        assert client.schema(schema_id) == json.loads(SCHEMA)
        with pytest.raises(KeyError):
            client.schema(schema_id + 1)
        assert RegisteredSchemas(client, "bench").id_of("finding") == schema_id + 1
        client.close()
    finally:
        tiny.close()
