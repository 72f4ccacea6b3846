"""The log of one store as its connector writes it into topics: a snapshot, then stretches of changes and beacons."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import fastavro
import orjson

from app.bench.avro_schemas import key_schema, rest_schema, value_schema
from app.bench.columns import Rows, avro_fields
from app.bench.envelopes import AvroEnvelopes, Envelopes, JsonEnvelopes, Moment, Side, rest_of
from app.bench.load import BEACON_EVERY_US, REPLICA_LAG_US, Change, Load, Stretch, changes
from app.codec.wire import frame
from app.core.finding import DriftKind
from app.core.store import Converter, StoreKind

PARTITIONS: Final = 4
"""Partitions of the table's topic; the beacons' has one."""

ITEMS: Final = "items"
BEACON: Final = "driftline_beacon"
OWN_SCHEMA: Final = "driftline"
_SNAPSHOT: Final = Moment(0)
_ACKNOWLEDGED_MS: Final = 3


class Sent(NamedTuple):
    """One record to be written, and when on the clock of the logs."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    at_us: int = 0


class SchemaIds(NamedTuple):
    """Under which ids the schemas of one store's table and beacons are registered: keys and values."""

    items_key: int
    items_value: int
    beacon_key: int
    beacon_value: int


_BEACON_ROW: Final = [
    {"name": "store_id", "type": "string"},
    {"name": "writer_epoch", "type": "long"},
    {"name": "sequence", "type": "long"},
    {"name": "issued_at_ms", "type": "long"},
    {"name": "previous_acknowledged_ms", "type": "long"},
    {"name": "server", "type": "string"},
    {"name": "wall_at", "type": "long"},
]


def schemas_of(side: Side, columns: int) -> tuple[Any, Any, Any, Any]:
    """Return the schemas in the order of `SchemaIds`."""
    items, beacon = f"{side.schema}.{ITEMS}", f"{OWN_SCHEMA}.{BEACON}"
    beacon_key = {**key_schema(side, beacon), "fields": [_BEACON_ROW[0]]}
    return (
        key_schema(side, items),
        value_schema(side, items, avro_fields(columns, side.kind)),
        beacon_key,
        value_schema(side, beacon, _BEACON_ROW),
    )


class StoreLog:
    """Makes the records of one store. The same load and stretch give the same records, in every process."""

    def __init__(self, side: Side, load: Load, ids: SchemaIds | None = None) -> None:
        self._side = side
        self._load = load
        self._is_replica = side.kind is not StoreKind.POSTGRES
        self._rows = Rows(side.kind, load.converter, load.columns)
        self._items_topic = side.topic(f"{side.schema}.{ITEMS}")
        self._beacon_topic = side.topic(f"{OWN_SCHEMA}.{BEACON}")
        self._envelopes: Envelopes = JsonEnvelopes()
        self._beacon_ids: tuple[int, int] | None = None
        if load.converter is Converter.AVRO:
            if ids is None:
                raise ValueError("Avro needs the ids of its schemas")
            self._envelopes = AvroEnvelopes(ids.items_key, ids.items_value, rest_schema(side))
            self._beacon_ids = ids.beacon_key, ids.beacon_value
            value = schemas_of(side, load.columns)[3]
            self._beacon_schema = fastavro.parse_schema(value)

    # -- rows ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Iterator[Sent]:
        """Yield every row as a snapshot reads it, and the beacon's."""
        rest = rest_of(self._side, ITEMS, "r", _SNAPSHOT)
        envelopes, body = self._envelopes, self._rows.body
        for key in range(self._load.keys):
            row = envelopes.row(key, body(key, 0))
            yield Sent(self._items_topic, key % PARTITIONS, envelopes.key(key), envelopes.value(None, row, rest))
        yield self.beacon(0, "r")

    def stretch(self, stretch: Stretch, until_us: int) -> Iterator[Sent]:
        """Yield the changes of a stretch in the order of this store's log, and the beacons up to a moment."""
        lag_us = REPLICA_LAG_US if self._is_replica else 0
        beat = -(-stretch.begin_us // BEACON_EVERY_US)
        missing = DriftKind.MISSING if self._is_replica else DriftKind.EXTRA
        for change in changes(self._load, stretch):
            at_us = stretch.moment_us(change.number) + lag_us
            while beat * BEACON_EVERY_US <= at_us:
                yield self.beacon(beat)
                beat += 1
            if change.planted is not missing:
                yield self._change(change, at_us)
        while beat * BEACON_EVERY_US <= until_us:
            yield self.beacon(beat)
            beat += 1

    def _change(self, change: Change, at_us: int) -> Sent:
        number, key, planted = change
        envelopes, body = self._envelopes, self._rows.body
        is_wrong = self._is_replica and planted is DriftKind.DIFFERENT
        after = envelopes.row(key, body(key, number, is_wrong=is_wrong))
        if planted is not None:
            operation, before = "c", None
        else:
            # PostgreSQL's log has no row before an update (replica identity default), the binlog has it whole.
            operation = "u"
            before = envelopes.row(key, body(key, number - 1)) if self._is_replica else None
        # A beacon of the same microsecond stands before it in the log.
        rest = rest_of(self._side, ITEMS, operation, Moment(at_us + 1))
        return Sent(
            self._items_topic, key % PARTITIONS, envelopes.key(key), envelopes.value(before, after, rest), at_us
        )

    # -- beacons -------------------------------------------------------------------------------------------------

    def beacon(self, beat: int, operation: str = "u") -> Sent:
        """Return the beacon of a beat: `BEACON_EVERY_US` after the one before it."""
        issued_ms = beat * BEACON_EVERY_US // 1_000
        name = self._side.name
        row = {
            "store_id": name,
            "writer_epoch": 1,
            "sequence": beat + 1,
            "issued_at_ms": issued_ms,
            "previous_acknowledged_ms": max(0, issued_ms - BEACON_EVERY_US // 1_000 + _ACKNOWLEDGED_MS),
            "server": f"server-{name}",
            "wall_at": 0,
        }
        moment = _SNAPSHOT if operation == "r" else Moment(beat * BEACON_EVERY_US)
        rest = rest_of(self._side, BEACON, operation, moment)
        value = {"before": None, "after": row, **rest}
        if self._beacon_ids is None:
            return Sent(self._beacon_topic, 0, orjson.dumps({"store_id": name}), orjson.dumps(value), moment.at_us)
        encoded = io.BytesIO()
        fastavro.schemaless_writer(encoded, self._beacon_schema, value)
        key = io.BytesIO()
        fastavro.schemaless_writer(key, {"type": "string"}, name)
        key_id, value_id = self._beacon_ids
        return Sent(
            self._beacon_topic, 0, frame(key_id, key.getvalue()), frame(value_id, encoded.getvalue()), moment.at_us
        )


def planted_in(load: Load, stretch: Stretch) -> Iterator[Change]:
    """Yield the changes of a stretch that are to drift."""
    return (change for change in changes(load, stretch) if change.planted is not None)
