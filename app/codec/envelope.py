"""Debezium's envelopes -> `ChangeEvent`, for every kind of store and every converter.

A decoder is put together from three parts: what unpacks bytes (JSON, JSON with schemas, Avro), what reads the store's
`source` block, and the placeholder. All input is hostile: whatever is wrong with a record comes out as `Undecodable`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from app.codec import mongodb, mysql, postgres
from app.codec.avro_envelope import AvroUnpacker, SchemaSource
from app.codec.json_envelope import unpack_json, unpack_json_schema
from app.codec.placeholder import Placeholder
from app.codec.wire import Reason, check_size, undecodable
from app.core.errors import ContractViolation
from app.core.event import ChangeEvent, Operation, Reading
from app.core.store import Converter, StoreKind

__all__ = ["Decoder", "SchemaSource", "decoder_for"]

_OPERATIONS: Final = {operation.value: operation for operation in Operation}
READINGS: Final = {
    None: Reading.LIVE,
    False: Reading.LIVE,
    "false": Reading.LIVE,
    "incremental": Reading.INCREMENTAL,
    True: Reading.INITIAL,
    "true": Reading.INITIAL,
    "first": Reading.INITIAL,
    "first_in_data_collection": Reading.INITIAL,
    "last_in_data_collection": Reading.INITIAL,
    "last": Reading.INITIAL,
}
"""What the marker of a snapshot in `source` says of a read."""
_ROWS: Final = frozenset({Operation.READ, Operation.CREATE, Operation.UPDATE})
# What a connector writes beside changes: heartbeats, borders of transactions, changes of schemas.
_HEARTBEAT: Final = frozenset({"ts_ms"})
_BORDERS: Final = frozenset({"BEGIN", "END"})
_SCHEMA_CHANGE: Final = frozenset({"ddl", "tableChanges", "historyRecord"})


class Decoder(Protocol):
    """Reads the records of one store's CDC topics."""

    def decode(self, key: bytes | None, value: bytes | None) -> ChangeEvent | None:
        """Return the change, or None for what is none: tombstones, heartbeats, borders of transactions, DDL."""
        ...

    def key_of(self, key: bytes | None) -> Mapping[str, object] | None:
        """Return the key alone, for a record whose value cannot be read; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class _Origin:
    """How one kind of store fills `source`, keys and row images."""

    table: Callable[[Mapping[str, object]], str]
    place: Callable[..., bytes]
    transaction: Callable[[Mapping[str, object]], str]
    key: Callable[[dict[str, object]], Mapping[str, object]] | None = None
    image: Callable[[object], dict[str, object]] | None = None


_BINLOG: Final = _Origin(mysql.table_of, mysql.place_of, mysql.transaction_of)
_ORIGINS: Final = {
    StoreKind.POSTGRES: _Origin(postgres.table_of, postgres.place_of, postgres.transaction_of),
    StoreKind.MARIADB: _BINLOG,
    StoreKind.MYSQL: _BINLOG,
    StoreKind.MONGODB: _Origin(
        mongodb.table_of, mongodb.place_of, mongodb.transaction_of, mongodb.key_of, mongodb.image_of
    ),
}

Unpack = Callable[[bytes], object]


class _EnvelopeDecoder:
    def __init__(self, origin: _Origin, unpack: Unpack, placeholder: Placeholder, *, scan: bool) -> None:
        self._origin = origin
        self._unpack = unpack
        self._placeholder = placeholder
        self._scan = scan  # a JSON record shows by its bytes whether the placeholder can be in it

    def key_of(self, key: bytes | None) -> Mapping[str, object] | None:
        if key is None:
            return None
        check_size(key)
        found = self._unpack(key)
        if not isinstance(found, dict) or not found:
            raise undecodable(Reason.WRONG_KEY, "the key is not an object")
        return self._origin.key(found) if self._origin.key else found

    def decode(self, key: bytes | None, value: bytes | None) -> ChangeEvent | None:
        if value is None:
            return None
        check_size(value)
        record = self._unpack(value)
        if not isinstance(record, dict):
            raise undecodable(Reason.BAD_ENVELOPE, "the record is not an object")
        letter = record.get("op")
        if letter is None and _is_no_change(record):
            return None
        operation = _OPERATIONS.get(letter) if isinstance(letter, str) else None
        source = record.get("source")
        if operation is None or not isinstance(source, dict):
            raise undecodable(
                Reason.BAD_ENVELOPE,
                "no change as a source connector writes it",
                "the whole envelope is needed: no unwrap",
            )
        try:
            return self._event(operation, source, record, key, value)
        except (KeyError, TypeError, ValueError, struct.error, OverflowError):
            raise undecodable(Reason.BAD_ENVELOPE, "source lacks what orders the change, or holds nonsense") from None

    def _event(
        self,
        operation: Operation,
        source: dict[str, object],
        record: dict[str, object],
        key: bytes | None,
        value: bytes,
    ) -> ChangeEvent:
        origin = self._origin
        marker = source.get("snapshot")
        # Only reads come from snapshots, whatever marker other changes carry.
        reading = READINGS[marker] if operation is Operation.READ else Reading.LIVE  # type: ignore[index] # an unknown marker is a KeyError
        place = origin.place(source, is_delete=operation is Operation.DELETE, order=_order_of(record))
        transaction = origin.transaction(source) if reading is Reading.LIVE else ""
        shown = source.get("ts_ms")
        ts_ms = shown if isinstance(shown, int) else 0
        table = origin.table(source)
        if operation is Operation.TRUNCATE or operation is Operation.MESSAGE:
            return ChangeEvent(operation, reading, table, None, None, None, place, transaction, ts_ms)
        found = self.key_of(key)
        if found is None:
            raise undecodable(
                Reason.NO_KEY,
                "a change of a row without a key",
                "give the table a primary key or a replica identity index",
            )
        before = self._image(record.get("before"), value)
        after = self._image(record.get("after"), value)
        if (after is None) is (operation in _ROWS):
            raise undecodable(Reason.BAD_ENVELOPE, "the row after the change is missing, or should not be there")
        return ChangeEvent(operation, reading, table, found, before, after, place, transaction, ts_ms)

    def _image(self, raw: object, value: bytes) -> dict[str, object] | None:
        if raw is None:
            return None
        image = self._origin.image(raw) if self._origin.image else raw
        if not isinstance(image, dict):
            raise undecodable(Reason.BAD_ENVELOPE, "a row image is not an object")
        if not self._scan or self._placeholder.may_be_in(value):
            self._placeholder.mark(image)
        return image


def _is_no_change(record: dict[str, object]) -> bool:
    if record.keys() == _HEARTBEAT:
        return True
    status = record.get("status")
    if isinstance(status, str) and status in _BORDERS and "id" in record:
        return True
    return not _SCHEMA_CHANGE.isdisjoint(record.keys())


def _order_of(record: dict[str, object]) -> int:
    transaction = record.get("transaction")
    order = transaction.get("total_order") if isinstance(transaction, dict) else None
    return order if isinstance(order, int) else 0


def decoder_for(
    kind: StoreKind, converter: Converter, placeholder: str, schema_source: SchemaSource | None = None
) -> Decoder:
    """Return the decoder for a kind of store and its connector's converter.

    `placeholder` is the connector's `unavailable.value.placeholder`; Avro needs a source of schemas.
    """
    unpack: Unpack
    match converter:
        case Converter.JSON:
            unpack = unpack_json
        case Converter.JSON_SCHEMA:
            unpack = unpack_json_schema
        case Converter.AVRO:
            if schema_source is None:
                raise ContractViolation(
                    "a store with the Avro converter needs a schema registry", hint="set `registry_url`"
                )
            unpack = AvroUnpacker(schema_source).unpack
    return _EnvelopeDecoder(
        _ORIGINS[kind],
        unpack,
        Placeholder(placeholder),
        scan=converter is Converter.JSON and kind is not StoreKind.MONGODB,
    )
