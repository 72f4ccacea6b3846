"""Which rows the workers told of: the topic of drifts, read with the schema that the project ships.

A drift's key is sealed there. The judge does not unseal it: it goes to the change record that the drift cites as
evidence and reads the key there, so that a drift that cites wrongly is a drift about the wrong row.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, TopicPartition
from engine_judge.topics import Record, bare_consumer

_FRAME_BYTES: Final = 5  # a zero byte and the schema's id
_PATIENCE_S: Final = 10.0

KeyAt = Callable[[str, int, int], int | None]
"""Returns the key of the record at a topic's partition and offset, None where there is none."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row that was told: its stage, its kind, the store that is not as it should be, and the row's key."""

    stage: str
    kind: str
    store: str
    key: int | None


class CitedKeys:
    """Looks up the keys of cited records, one at a time."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer: Consumer = bare_consumer(bootstrap)

    def at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the key of the record at an offset."""
        self._consumer.assign([TopicPartition(topic, partition, offset)])
        message = self._consumer.poll(_PATIENCE_S)
        if message is None or message.error() is not None or message.offset() != offset:
            return None
        return int(json.loads(message.key() or b"{}").get("id"))

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()


class ToldRows:
    """Reads findings; keeps the keys that it has found."""

    def __init__(self, schema_file: Path, key_at: KeyAt) -> None:
        self._schema = fastavro.parse_schema(json.loads(schema_file.read_text(encoding="utf-8")))
        self._key_at = key_at
        self._keys: dict[bytes, int] = {}

    def read(self, records: Iterable[Record]) -> list[Told]:
        """Return what was told of rows, in the order of the topic; a record that was sent again is there twice."""
        told = []
        for record in records:
            if record.value is not None:
                body: Any = fastavro.schemaless_reader(io.BytesIO(record.value[_FRAME_BYTES:]), self._schema, None)
                told.append(Told(body["stage"], body["kind"] or "", body["replica"], self._key_of(body)))
        return told

    def _key_of(self, body: dict[str, Any]) -> int | None:
        number = bytes(body["finding_id"])
        known = self._keys.get(number)
        if known is not None:
            return known
        evidence = body["evidence"]
        stays = [*reversed(evidence["replica_stays"]), *reversed(evidence["authority_stays"])]
        cited = [(s["topic"], s["partition"], s["offset"]) for s in stays if s["topic"] and s["offset"] >= 0]
        found = next((key for at in cited if (key := self._key_at(*at)) is not None), None)
        if found is not None:  # else what it cites may not have been read yet, and is looked up again
            self._keys[number] = found
        return found
