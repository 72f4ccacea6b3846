"""Debezium's envelopes as bytes: what the PostgreSQL and the MariaDB connector write, as JSON and as Avro.

The fields, in their order, are those of the connectors' real records (PostgreSQL 3.6, MariaDB 3.5, transaction metadata
on, decimals as strings), headers included.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final, Protocol

import fastavro
import orjson

from app.bench.columns import KEY
from app.codec.wire import frame
from app.core.store import StoreKind

DATABASE: Final = "shop"
_WALL_US: Final = 1_795_417_040_000_000
"""The stores' wall clock at the first moment. It decides nothing."""

_PLACES_PER_US: Final = 16
_FIRST_PLACE: Final = 26_836_088
_BINLOG_BYTES: Final = 1 << 30
_TRANSACTIONS: Final = 1 << 31
_CONNECTOR_US: Final = 20_000
_CONTINUES: Final = 0x80


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two stores: its name, its kind, its tables' schema or database, and its connector's prefix."""

    name: str
    kind: StoreKind
    schema: str
    prefix: str

    def topic(self, table: str) -> str:
        """Return the topic of a table, given as `schema.table`."""
        return f"{self.prefix}.{table}"


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a store's log: its time in microseconds, and the place in the log, which grows with it."""

    at_us: int

    @property
    def place(self) -> int:
        """How far the log is: the LSN, or the offset in all binlogs together."""
        return _FIRST_PLACE + self.at_us * _PLACES_PER_US


def headers_of(side: Side) -> list[tuple[str, bytes]]:
    """Return the headers that a connector gives to every change."""
    context = {
        "connectorLogicalName": side.prefix,
        "taskId": "0",
        "connectorName": "postgresql" if side.kind is StoreKind.POSTGRES else "mariadb",
        "runId": "01a20731-e342-722a-9ae9-926d29a7c855",
    }
    return [(f"__debezium.context.{name}", value.encode()) for name, value in context.items()]


def rest_of(side: Side, table: str, operation: str, moment: Moment) -> dict[str, Any]:
    """Return an envelope without its row images, in the order of its fields; `r` is a read of a snapshot."""
    is_read = operation == "r"
    is_postgres = side.kind is StoreKind.POSTGRES
    source = (_postgres_source if is_postgres else _mariadb_source)(side, table, moment, is_read=is_read)
    transaction = f"{source['txId']}:{moment.place}" if is_postgres else source["gtid"]
    told_us = _WALL_US + moment.at_us + _CONNECTOR_US
    return {
        "source": source,
        "transaction": None if is_read else {"id": transaction, "total_order": 1, "data_collection_order": 1},
        "op": operation,
        "ts_ms": told_us // 1_000,
        "ts_us": told_us,
        "ts_ns": told_us * 1_000,
    }


def _postgres_source(side: Side, table: str, moment: Moment, *, is_read: bool) -> dict[str, Any]:
    wall_us = _WALL_US + moment.at_us
    lsn = moment.place
    return {
        "version": "3.6.3.Final",
        "connector": "postgresql",
        "name": side.prefix,
        "ts_ms": wall_us // 1_000,
        "snapshot": "true" if is_read else "false",
        "db": DATABASE,
        "sequence": f'[null,"{lsn}"]' if is_read else f'["{lsn - 8}","{lsn}"]',
        "ts_us": wall_us,
        "ts_ns": wall_us * 1_000,
        "schema": side.schema,
        "table": table,
        "txId": lsn % _TRANSACTIONS,
        "lsn": lsn,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }


def _mariadb_source(side: Side, table: str, moment: Moment, *, is_read: bool) -> dict[str, Any]:
    wall_s = (_WALL_US + moment.at_us) // 1_000_000  # this store's log tells whole seconds
    file, offset = divmod(moment.place, _BINLOG_BYTES)
    return {
        "version": "3.5.0.Final",
        "connector": "mariadb",
        "name": side.prefix,
        "ts_ms": wall_s * 1_000,
        "snapshot": "true" if is_read else "false",
        "db": side.schema,
        "sequence": None,
        "ts_us": wall_s * 1_000_000,
        "ts_ns": wall_s * 1_000_000_000,
        "table": table,
        "server_id": 0 if is_read else 101,
        "gtid": None if is_read else f"0-101-{moment.place % _TRANSACTIONS}",
        "file": f"binlog.{file + 1:06}",
        "pos": offset,
        "row": 0,
        "thread": None,
        "query": None,
    }


class Envelopes(Protocol):
    """Makes the bytes of keys, row images and values. The columns of a row come as bytes already (`Rows.body`)."""

    def key(self, number: int) -> bytes:
        """Return the key of a record of the table."""
        ...

    def row(self, number: int, body: bytes) -> bytes:
        """Return a row image."""
        ...

    def value(self, before: bytes | None, after: bytes, rest: dict[str, Any]) -> bytes:
        """Return the value of a record: two row images, and `rest_of` the change."""
        ...


class JsonEnvelopes:
    """Records of the JSON converter without schemas."""

    def key(self, number: int) -> bytes:
        """Return `{"id":N}`."""
        return b'{"%b":%d}' % (KEY.encode(), number)

    def row(self, number: int, body: bytes) -> bytes:
        """Return a row image."""
        return b'{"%b":%d,%b}' % (KEY.encode(), number, body)

    def value(self, before: bytes | None, after: bytes, rest: dict[str, Any]) -> bytes:
        """Return an envelope."""
        return b'{"before":%b,"after":%b,%b' % (before or b"null", after, orjson.dumps(rest)[1:])


class AvroEnvelopes:
    """Records of the Avro converter in the Confluent wire format, under the ids that the schemas have.

    An encoded record is the encodings of its fields in their order, so that ready-made columns can be put together.
    """

    def __init__(self, key_id: int, value_id: int, rest_schema: dict[str, Any]) -> None:
        self._key_id = key_id
        self._value_id = value_id
        self._rest = fastavro.parse_schema(rest_schema)

    def key(self, number: int) -> bytes:
        """Return the key record: one long."""
        return frame(self._key_id, avro_long(number))

    def row(self, number: int, body: bytes) -> bytes:
        """Return a row image."""
        return avro_long(number) + body

    def value(self, before: bytes | None, after: bytes, rest: dict[str, Any]) -> bytes:
        """Return an envelope. Row images are unions with null, which comes first."""
        encoded = io.BytesIO()
        encoded.write(b"\x00" if before is None else b"\x02" + before)
        encoded.write(b"\x02" + after)
        fastavro.schemaless_writer(encoded, self._rest, rest)
        return frame(self._value_id, encoded.getvalue())


def avro_long(number: int) -> bytes:
    """Return a whole number that is not negative as Avro's long: zigzag, seven bits a byte, the lowest first."""
    left = number << 1
    encoded = bytearray()
    while left >= _CONTINUES:
        encoded.append(left & (_CONTINUES - 1) | _CONTINUES)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)
