"""Traffic for measuring ingest: the bench's envelopes, with a new value in every field of every row.

The bench picks its values from pools, so that making them costs little. Here nothing may be faster than it is on a
table whose values hardly ever come again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import fastavro

from app.agents.block_consumer import RawRecord
from app.bench.avro_schemas import key_schema, rest_schema, value_schema
from app.bench.columns import Column, avro_fields, groups_of
from app.bench.declaration import contract_declared
from app.bench.envelopes import DATABASE, AvroEnvelopes, Envelopes, JsonEnvelopes, Moment, Side, rest_of
from app.bench.load import Load, Stretch, changes
from app.bench.store_log import ITEMS
from app.codec.contract_file import read_contract
from app.core.contract import EntityContract
from app.core.store import Converter, StoreKind
from app.settings import StoreSettings

SIDES: Final = {
    StoreKind.POSTGRES: Side("pg", StoreKind.POSTGRES, "public", "b-pg"),
    StoreKind.MARIADB: Side("my", StoreKind.MARIADB, "shop", "b-my"),
}
KEY_ID, VALUE_ID = 1, 2
_CHANGE_US: Final = 25


def contract(load: Load) -> EntityContract:
    """Return the contract of a load's table."""
    sides = list(SIDES.values())
    stores = {
        side.name: StoreSettings(side.name, side.kind, side.prefix, load.converter, "127.0.0.1", 1, DATABASE)
        for side in sides
    }
    return read_contract("bench", json.dumps(contract_declared(load, sides)), stores)


def records(kind: StoreKind, load: Load, count: int) -> Iterator[RawRecord]:
    """Yield updates of one table, each a transaction of its own."""
    side = SIDES[kind]
    columns = [column for group in groups_of(load.columns) for column in group]
    envelopes: Envelopes = JsonEnvelopes()
    pack = _json_body
    if load.converter is Converter.AVRO:
        envelopes = AvroEnvelopes(KEY_ID, VALUE_ID, rest_schema(side))
        part = fastavro.parse_schema({"type": "record", "name": "Part", "fields": avro_fields(load.columns, kind)[1:]})

        def pack(row: dict[str, Any]) -> bytes:
            packed = io.BytesIO()
            fastavro.schemaless_writer(packed, part, row)
            return packed.getvalue()

    dice = Random(load.seed)  # noqa: S311 - values are no secret
    for number, key, _ in changes(load, Stretch(0, count, 0, 40_000)):
        before, after = (envelopes.row(key, pack(_row(columns, kind, dice))) for _ in range(2))
        rest = rest_of(side, ITEMS, "u", Moment(number * _CHANGE_US))
        value = envelopes.value(None if kind is StoreKind.POSTGRES else before, after, rest)
        yield RawRecord(number, 0, envelopes.key(key), value, ())


def _row(columns: list[Column], kind: StoreKind, dice: Random) -> dict[str, Any]:
    return {column.name: column.as_in(kind, column.make(dice)) for column in columns}


def _json_body(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()[1:-1]


class Schemas:
    """A registry of the schemas of one table's keys and values."""

    def __init__(self, kind: StoreKind, load: Load) -> None:
        side = SIDES[kind]
        table = f"{side.schema}.{ITEMS}"
        self._by_id = {
            KEY_ID: key_schema(side, table),
            VALUE_ID: value_schema(side, table, avro_fields(load.columns, kind)),
        }

    def schema(self, schema_id: int) -> object:
        """Return a schema by its id."""
        return self._by_id[schema_id]
