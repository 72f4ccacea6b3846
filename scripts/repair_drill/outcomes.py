"""The topic of outcomes as it grows: what was said of each command so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from confluent_kafka import TopicPartition
from engine_judge.topics import bare_consumer, partitions_of
from repair_judge.evidence import OutcomeSchema, Told

SCHEMA: Final = Path(__file__).resolve().parents[2] / "schemas" / "outcome.avsc"
_AT_ONCE: Final = 5_000


class Outcomes:
    """Reads what is new."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._schema = OutcomeSchema(SCHEMA)
        self._consumer = bare_consumer(bootstrap)
        partitions = partitions_of(self._consumer, topic)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])

    def news(self) -> Iterator[tuple[str, Told]]:
        """Yield what was said since the last call, by the command's id."""
        for message in self._consumer.consume(_AT_ONCE, timeout=0):
            value = message.value()
            if message.error() is None and value is not None:
                command_id, told, _ = self._schema.read(value)
                yield command_id, told

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
