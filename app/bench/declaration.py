"""What the bench's deployment declares: its contract and its settings, as the files that a worker reads hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.bench.columns import KEY, declared_fields
from app.bench.envelopes import DATABASE, Side
from app.bench.load import WINDOW_MS, Load
from app.bench.store_log import ITEMS, PARTITIONS

ENTITY: Final = "items"


def contract_declared(load: Load, sides: Sequence[Side]) -> dict[str, Any]:
    """Return the contract: half of the columns are compared, nothing is repaired."""
    authority, replica = (
        {"store": side.name, "table": f"{side.schema}.{ITEMS}", "partitions": PARTITIONS} for side in sides
    )
    return {
        "entity": ENTITY,
        "version": 1,
        "authority": authority,
        "replicas": [{**replica, "window_ms": WINDOW_MS}],
        "key": {KEY: {"type": "int64"}},
        "fields": declared_fields(load.columns),
    }


def stores_declared(load: Load, sides: Sequence[Side]) -> dict[str, dict[str, Any]]:
    """Return the stores. No database is asked: the bench writes the logs itself."""
    return {
        side.name: {
            "kind": side.kind.value,
            "topic_prefix": side.prefix,
            "converter": load.converter.value,
            "host": "127.0.0.1",
            "port": 1,
            "database": DATABASE,
        }
        for side in sides
    }
