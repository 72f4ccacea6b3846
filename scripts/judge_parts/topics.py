"""The published topics, read by a bare consumer from their beginning; no group, no commits."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from judge_parts.commit_times import transaction_of
from judge_parts.registry import Registry


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a published topic; `at` is the second that Kafka gave to it."""

    topic: str
    partition: int
    offset: int
    at: float
    value: dict[str, Any]


def bare_consumer(bootstrap: str, more: dict[str, str | int | float | bool] | None = None) -> Consumer:
    """Make a consumer that leaves no trace."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "judge-leaves-no-trace",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            **(more or {}),
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


@dataclass(frozen=True, slots=True)
class Recorded:
    """One change of a row as its topic holds it: Kafka's second, the transaction (see `transaction_of`), the row.

    The row is None where it was deleted.
    """

    at: float
    transaction: int | None
    row: dict[str, Any] | None


@dataclass
class _Mirror:
    """What was read of one change topic so far."""

    consumer: Consumer
    partitions: list[TopicPartition]
    read_to: dict[int, int] = field(default_factory=dict)
    keys: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    rows: dict[object, list[Recorded]] = field(default_factory=dict)
    read_at: float = float("-inf")


class ChangeTopics:
    """The change topics as the judge reads them: what the product cites is looked up here, not believed.

    Each topic is read once, and on from there when something newer is asked for.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._mirrors: dict[str, _Mirror] = {}

    def key_at(self, topic: str, partition: int, offset: int) -> dict[str, Any] | None:
        """Return the key of the record at an offset, or None where nothing with a key is there, or was read yet."""
        mirror = self._mirror(topic)
        if (partition, offset) not in mirror.keys and time.monotonic() - mirror.read_at > _READ_AGAIN_S:
            self._read_on(mirror)
        return mirror.keys.get((partition, offset))

    def history(self, topic: str, number: int) -> list[Recorded]:
        """Return every change of one row, in the log's order."""
        return list(self._mirror(topic).rows.get(number, ()))

    def read_on(self, topic: str) -> None:
        """Read what has come of a topic."""
        self._read_on(self._mirror(topic))

    def close(self) -> None:
        """Let the connections go."""
        for mirror in self._mirrors.values():
            mirror.consumer.close()
        self._mirrors.clear()

    def _mirror(self, topic: str) -> _Mirror:
        if topic not in self._mirrors:
            # Where a topic ends is asked behind a fetch that may wait so long, once for each partition.
            more: dict[str, str | int | float | bool] = {
                "enable.partition.eof": True,
                "fetch.wait.max.ms": _FETCH_WAITS_MS,
            }
            consumer = bare_consumer(self._bootstrap, more)
            numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
            self._mirrors[topic] = _Mirror(consumer, [TopicPartition(topic, number) for number in numbers])
            self._read_on(self._mirrors[topic])
        return self._mirrors[topic]

    @staticmethod
    def _read_on(mirror: _Mirror) -> None:
        """Read to what was the end when this began, or a little beyond; not beyond a transaction that stays open.

        A backlog of any length is read; the rest is left only when what is behind stands still for `_STANDS_STILL_S`.
        """
        ends = {at.partition: mirror.consumer.get_watermark_offsets(at, timeout=10)[1] for at in mirror.partitions}
        moved_at = time.monotonic()
        while behind := {number for number, end in ends.items() if mirror.read_to.get(number, 0) < end}:
            messages = mirror.consumer.consume(2000, timeout=0.05)
            if any(message.partition() in behind for message in messages):
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _STANDS_STILL_S:
                break
            for message in messages:
                partition, offset = message.partition(), message.offset()
                if partition is None or offset is None:
                    continue
                if message.error():  # the end, behind markers that are no messages
                    mirror.read_to[partition] = max(mirror.read_to.get(partition, 0), offset)
                    continue
                mirror.read_to[partition] = offset + 1
                key = _payload(message.key())
                if not key:
                    continue
                mirror.keys[partition, offset] = key
                if message.value() is not None:
                    envelope = _payload(message.value())
                    after, transaction = envelope.get("after"), transaction_of(envelope.get("source") or {})
                    # Long texts would fill the memory, and lateness is read from the other columns.
                    row = None if after is None else {c: v for c, v in after.items() if c not in _LONG}
                    mirror.rows.setdefault(key.get("id"), []).append(
                        Recorded(message.timestamp()[1] / 1000, transaction, row)
                    )
        mirror.read_at = time.monotonic()


_LONG = {"body", "big_text"}
_FETCH_WAITS_MS = 100
_STANDS_STILL_S = 5.0
_READ_AGAIN_S = 1.0
"""How soon a topic is read on for a record that was not there: one that is asked for in vain is asked for often."""


def _payload(raw: bytes | None) -> dict[str, Any]:
    """Return the content of a JSON record, with or without a schema beside it."""
    if raw is None:
        return {}
    document = json.loads(raw)
    if isinstance(document, dict) and set(document) == {"schema", "payload"}:
        document = document["payload"]
    return document if isinstance(document, dict) else {}
