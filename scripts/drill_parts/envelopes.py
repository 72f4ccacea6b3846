"""Records as Debezium writes them without schemas, for one table in PostgreSQL and its copy in MariaDB.

Each store spells values in its own way and counts its log in its own way; a record says all that the real one says
which orders it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

TABLE_PARTITIONS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BINLOG_BYTES = 50_000_000
# The digits of the binlog's number change during a longer drill.
_FIRST_BINLOG = 999_999


class Row(NamedTuple):
    """A row of the table, apart from its number."""

    name: str
    cents: int
    quantity: int
    placed_us: int
    is_open: bool
    note: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """One Kafka record to be written."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


@dataclass
class PostgresLog:
    """The authority's log: every change a transaction of its own."""

    table_topic: str
    beacon_topic: str
    name: str = "pg"
    lsn: int = 1_000_000

    def source(self, table: str, *, snapshot: bool) -> dict[str, Any]:
        """Return where the next change stands; a snapshot's rows all stand at one place."""
        previous = self.lsn
        self.lsn += 0 if snapshot else 40
        return {
            "connector": "postgresql",
            "db": "shop",
            "schema": "driftline" if table == "driftline_beacon" else "public",
            "table": table,
            "txId": self.lsn // 40,
            "lsn": self.lsn,
            "sequence": f'["{previous}","{self.lsn}"]',
            "snapshot": "true" if snapshot else "false",
            "ts_ms": 0,
        }

    def image(self, number: int, row: Row) -> dict[str, Any]:
        """Return a row as this connector spells it."""
        at = (_EPOCH + timedelta(microseconds=row.placed_us)).isoformat().replace("+00:00", "Z")
        return _image(number, row, f"{row.cents / 100}", at, row.is_open)

    def before(self, number: int) -> dict[str, Any]:
        """Return what stands before a delete: without a full replica identity only the key."""
        return {"id": number}


@dataclass
class MariadbLog:
    """The replica's log."""

    table_topic: str
    beacon_topic: str
    name: str = "my"
    pos: int = 4
    file: int = _FIRST_BINLOG

    def source(self, table: str, *, snapshot: bool) -> dict[str, Any]:
        """Return where the next change stands."""
        if not snapshot:
            self.pos += 60
            if self.pos > _BINLOG_BYTES:
                self.pos, self.file = 64, self.file + 1
        return {
            "connector": "mariadb",
            "db": "driftline" if table == "driftline_beacon" else "shop",
            "table": table,
            "gtid": f"0-1-{self.pos + self.file * _BINLOG_BYTES}",
            "file": f"binlog.{self.file:06d}",
            "pos": self.pos,
            "row": 0,
            "snapshot": "true" if snapshot else "false",
            "ts_ms": 0,
        }

    def image(self, number: int, row: Row) -> dict[str, Any]:
        """Return a row as this connector spells it."""
        return _image(number, row, f"{row.cents // 100}.{row.cents % 100:02d}", row.placed_us, int(row.is_open))

    def before(self, number: int) -> dict[str, Any]:
        """Return what stands before a delete: the binlog has the whole row."""
        return self.image(number, Row("", 0, 0, 0, is_open=False, note=None))


Log = PostgresLog | MariadbLog


def _image(number: int, row: Row, price: str, placed_at: object, is_open: object) -> dict[str, Any]:
    return {
        "id": number,
        "name": row.name,
        "price": price,
        "quantity": row.quantity,
        "placed_at": placed_at,
        "open": is_open,
        "note": row.note,
        # Nobody compares what follows.
        "written_by": "shop-server-1",
        "revision": number % 97,
        "comment": "thirty characters of a comment",
    }


def change(log: Log, number: int, row: Row | None, operation: str) -> list[Sent]:
    """Return a change as records; a delete is followed by its tombstone."""
    key = b'{"id":%d}' % number
    envelope = {
        "before": log.before(number) if row is None else None,
        "after": None if row is None else log.image(number, row),
        "source": log.source("items", snapshot=operation == "r"),
        "op": operation,
        "ts_ms": 0,
    }
    partition = number % TABLE_PARTITIONS
    records = [Sent(log.table_topic, partition, key, orjson.dumps(envelope))]
    if row is None:
        records.append(Sent(log.table_topic, partition, key, None))
    return records


def beacon(log: Log, sequence: int, issued_ms: int, previous_acknowledged_ms: int, *, snapshot: bool = False) -> Sent:
    """Return a beacon as its store's log shows it."""
    envelope = {
        "before": None,
        "after": {
            "store_id": log.name,
            "writer_epoch": 1,
            "sequence": sequence,
            "issued_at_ms": issued_ms,
            "previous_acknowledged_ms": previous_acknowledged_ms,
            "server": f"server-of-{log.name}",
            "wall_at": 0,
        },
        "source": log.source("driftline_beacon", snapshot=snapshot),
        "op": "r" if snapshot else "u",
        "ts_ms": 0,
    }
    return Sent(log.beacon_topic, 0, b'{"store_id":"%s"}' % log.name.encode(), orjson.dumps(envelope))
