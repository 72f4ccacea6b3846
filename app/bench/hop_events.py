"""The events of the same hop, and the state that every contender must end with, computed by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from struct import pack
from typing import Final

from xxhash import xxh3_128_digest

from app.adapters.kafka import KafkaClients
from app.adapters.topic_log import TopicLog
from app.bench.store_log import PARTITIONS, Sent
from app.core.state_identity import IDENTITY_KEY

_EVENT: Final = (
    b'{"before":null,"after":{"id":%d,%b},"source":{"connector":"postgresql","name":"pg","ts_ms":%d,'
    b'"db":"shop","schema":"public","table":"items","txId":%d,"lsn":%d},"op":"u","ts_ms":%d}'
)
_ROWS: Final = 1_024
_LSN: Final = 26_836_088
_WALL_MS: Final = 1_795_417_040_000


def _rows() -> list[bytes]:
    dice = Random(1)  # noqa: S311 - values are no secret
    rows = [
        {
            "name": f"item {dice.randrange(1 << 30)}",
            "price": f"{dice.randrange(10_000)}.{dice.randrange(100):02}",
            "quantity": dice.randrange(1_000),
            "status": dice.choice(["new", "paid", "sent"]),
            "changed_at": f"2026-02-28T12:{number % 60:02}:56.{dice.randrange(1_000_000):06}Z",
            "note": "some words",
        }
        for number in range(_ROWS)
    ]
    return [json.dumps(row, separators=(",", ":")).encode()[1:-1] for row in rows]


def hop_events(topic: str, changes: int, keys: int) -> Iterator[Sent]:
    """Yield so many changes of rows picked evenly, about 324 bytes each, always the same."""
    rows, random = _rows(), Random(f"{changes}/{keys}").random  # noqa: S311 - traffic is no secret
    for number in range(changes):
        key = int(random() * keys)
        row = rows[(key * 31 + number) % _ROWS]
        lsn, wall_ms = _LSN + number * 64, _WALL_MS + number
        value = _EVENT % (key, row, wall_ms, number % (1 << 31), lsn, wall_ms)
        yield Sent(topic, key % PARTITIONS, b'{"id":%d}' % key, value)


def expected_state(clients: KafkaClients, topic: str) -> dict[bytes, bytes]:
    """Return by key what must be kept of a topic's events: read slowly and plainly, by the standard library's JSON."""
    state: dict[bytes, bytes] = {}
    for record in TopicLog(clients, "bench-hop").until_now([topic]):
        event = json.loads(record.value or b"{}")
        row = event["after"]
        columns = [row["name"], row["price"], row["quantity"], row["status"], row["changed_at"]]
        entry = pack(">Q", event["source"]["lsn"]) + xxh3_128_digest("\x1f".join(map(str, columns)).encode())
        key = record.key or b""
        state[key] = max(entry, state.get(key, b""))
    return state


def state_of(clients: KafkaClients, changelog: str) -> dict[bytes, bytes]:
    """Return by key what a changelog ends with. Quix Streams adds a name to each key, our table a note."""
    state = {}
    for record in TopicLog(clients, "bench-hop").until_now([changelog]):
        if record.key is not None and record.key != IDENTITY_KEY and record.value is not None:
            state[record.key.partition(b"|")[0]] = record.value
    return state
