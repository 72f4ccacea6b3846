"""The published topics, read by a bare consumer from their beginning; no group, no commits."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from judge_parts.registry import Registry


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a published topic; `at` is the second that Kafka gave to it."""

    topic: str
    partition: int
    offset: int
    at: float
    value: dict[str, Any]


def bare_consumer(bootstrap: str) -> Consumer:
    """Make a consumer that leaves no trace."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "judge-leaves-no-trace",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": False,
        }
    )


@dataclass
class Topics:
    """Everything that was published on some topics so far, and what comes."""

    bootstrap: str
    registry: Registry
    names: tuple[str, ...]
    _records: dict[str, list[Record]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    broken: list[str] = field(default_factory=list)

    def start(self, patience_s: float = 45.0) -> None:
        """Begin to read in the background, as soon as the topics are there."""
        consumer = bare_consumer(self.bootstrap)
        until = time.monotonic() + patience_s
        while absent := [name for name in self.names if name not in (known := consumer.list_topics(timeout=10).topics)]:
            if time.monotonic() < until:
                time.sleep(0.3)
                continue
            consumer.close()
            raise LookupError(f"topics not there: {', '.join(absent)}; did `driftline init` make them?")
        consumer.assign(
            [TopicPartition(name, number, OFFSET_BEGINNING) for name in self.names for number in known[name].partitions]
        )
        self._thread = threading.Thread(target=self._read, args=(consumer,), name="judge's reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the reading."""
        self._over.set()
        if self._thread:
            self._thread.join(timeout=10)

    def records(self, name: str) -> list[Record]:
        """Return what was read of a topic so far, in the order of arrival."""
        with self._lock:
            return list(self._records.get(name, ()))

    def _read(self, consumer: Consumer) -> None:
        try:
            while not self._over.is_set():
                for message in consumer.consume(500, timeout=0.1):
                    if message.error():
                        continue
                    self._take(message)
        except KafkaException as error:
            self.broken.append(f"the judge's reader stopped: {error}")
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:  # noqa: ANN401 - confluent_kafka.Message
        if message.value() is None:
            return
        try:
            value = self.registry.decode(message.value())
        except Exception as error:  # noqa: BLE001 - whatever a broken record makes of the decoder is the same finding
            where = f"{message.topic()}/{message.partition()}/{message.offset()}"
            self.broken.append(f"{where}: {type(error).__name__}: {error}")
            return
        record = Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1] / 1000, value)
        with self._lock:
            self._records.setdefault(message.topic(), []).append(record)


class ChangeTopics:
    """Single records and whole histories of the change topics: what the product cites is looked up by the judge."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def key_at(self, topic: str, partition: int, offset: int) -> dict[str, Any] | None:
        """Return the key of the record at an offset, or None where nothing with a key is there."""
        consumer = bare_consumer(self._bootstrap)
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            until = time.monotonic() + 5
            while time.monotonic() < until:
                message = consumer.poll(0.2)
                if message is None or message.error():
                    continue
                if message.offset() != offset or message.key() is None:
                    return None
                return _payload(message.key())
            return None
        finally:
            consumer.close()

    def history(self, topic: str, key: dict[str, Any]) -> list[tuple[float, dict[str, Any] | None]]:
        """Return (second in Kafka, row or None where deleted) of every change of one key, in the log's order."""
        consumer = bare_consumer(self._bootstrap)
        found: list[tuple[float, dict[str, Any] | None]] = []
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            left = {
                number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
                for number in partitions
            }
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
            rest_until = time.monotonic() + 2
            while time.monotonic() < rest_until:
                for message in consumer.consume(1000, timeout=0.3):
                    rest_until = time.monotonic() + 2
                    if message.error() or message.key() is None or message.value() is None:
                        continue
                    if _payload(message.key()) != key:
                        continue
                    found.append((message.timestamp()[1] / 1000, _payload(message.value()).get("after")))
                positions = consumer.position([TopicPartition(topic, number) for number in left])
                if all(place.offset >= left[place.partition] for place in positions):
                    break
        finally:
            consumer.close()
        return found


def _payload(raw: bytes | None) -> dict[str, Any]:
    """Return the content of a JSON record, with or without a schema beside it."""
    if raw is None:
        return {}
    document = json.loads(raw)
    if isinstance(document, dict) and set(document) == {"schema", "payload"}:
        document = document["payload"]
    return document if isinstance(document, dict) else {}
