"""The Avro schemas under which the converter would register the bench's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.bench.columns import KEY
from app.bench.envelopes import Side
from app.core.store import StoreKind

Schema = dict[str, Any]

_OPTIONAL_TEXT: Final = ["null", "string"]
_OPTIONAL_LONG: Final = ["null", "long"]


def _record(name: str, fields: Sequence[tuple[str, Any]], namespace: str) -> Schema:
    return {
        "type": "record",
        "name": name,
        "namespace": namespace,
        "fields": [{"name": field, "type": type_} for field, type_ in fields],
    }


def key_schema(side: Side, table: str) -> Schema:
    """Return the schema of the key of a table with a key of one long."""
    return _record("Key", [(KEY, "long")], side.topic(table))


def rest_schema(side: Side) -> Schema:
    """Return the fields of an envelope that stand behind its row images, as a record of their own."""
    return _record("Rest", _rest(side), "io.debezium")


def value_schema(side: Side, table: str, row: list[dict[str, Any]]) -> Schema:
    """Return the schema of an envelope whose rows have these fields."""
    image = {"type": "record", "name": "Value", "fields": row}
    return _record(
        "Envelope", [("before", ["null", image]), ("after", ["null", "Value"]), *_rest(side)], side.topic(table)
    )


def _rest(side: Side) -> list[tuple[str, Any]]:
    block = _record("block", [("id", "string"), ("total_order", "long"), ("data_collection_order", "long")], "event")
    return [
        ("source", _source(side)),
        ("transaction", ["null", block]),
        ("op", "string"),
        ("ts_ms", _OPTIONAL_LONG),
        ("ts_us", _OPTIONAL_LONG),
        ("ts_ns", _OPTIONAL_LONG),
    ]


def _source(side: Side) -> Schema:
    head: list[tuple[str, Any]] = [
        ("version", "string"),
        ("connector", "string"),
        ("name", "string"),
        ("ts_ms", "long"),
        ("snapshot", _OPTIONAL_TEXT),
        ("db", "string"),
        ("sequence", _OPTIONAL_TEXT),
        ("ts_us", _OPTIONAL_LONG),
        ("ts_ns", _OPTIONAL_LONG),
    ]
    if side.kind is StoreKind.POSTGRES:
        own: list[tuple[str, Any]] = [
            ("schema", "string"),
            ("table", "string"),
            ("txId", _OPTIONAL_LONG),
            ("lsn", _OPTIONAL_LONG),
            ("xmin", _OPTIONAL_LONG),
            ("origin", _OPTIONAL_TEXT),
            ("origin_lsn", _OPTIONAL_LONG),
        ]
        return _record("Source", [*head, *own], "io.debezium.connector.postgresql")
    own = [
        ("table", _OPTIONAL_TEXT),
        ("server_id", "long"),
        ("gtid", _OPTIONAL_TEXT),
        ("file", "string"),
        ("pos", "long"),
        ("row", "int"),
        ("thread", _OPTIONAL_LONG),
        ("query", _OPTIONAL_TEXT),
    ]
    return _record("Source", [*head, *own], "io.debezium.connector.mariadb")
