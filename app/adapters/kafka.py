"""The one place where clients of the broker are made, so that TLS, SASL and their rotation have one place.

Producers are idempotent and wait for all replicas. A delivery that failed is remembered and raised by the next `flush`
or `check`: what was sent may only be committed after a `flush` that did not raise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from app.core.errors import Unready

if TYPE_CHECKING:
    from app.settings import Settings

_DELIVERY_LIMIT_S: Final = 300
"""As long as a broker may be away: it is waited for, and nothing is dropped in silence. Then the process ends."""
_POLL_EVERY_RECORDS: Final = 512
_QUEUE_RECORDS_MAX: Final = 1_000_000
_QUEUE_BYTES_MAX: Final = 268_435_456

_RECORD_BYTES_MAX: Final = 1_000_000
_RECORD_OWN_BYTES: Final = 36
"""What librdkafka takes of one record by default, and counts for a record without headers beside key and value."""

_PRODUCER: Final[Mapping[str, str | int | float | bool]] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "compression.type": "lz4",
    "queue.buffering.max.messages": _QUEUE_RECORDS_MAX,
    "delivery.timeout.ms": _DELIVERY_LIMIT_S * 1_000,
}
_CONSUMER: Final[Mapping[str, str | int | float | bool]] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    # The default of a second lets a fast reader starve between fetches.
    "fetch.queue.backoff.ms": 5,
    "enable.partition.eof": False,
}


@dataclass(frozen=True, slots=True)
class KafkaClients:
    """Makes every producer, consumer and admin client of one deployment.

    `properties` are librdkafka's own (TLS, SASL), as settings read them from files.
    """

    bootstrap: str
    properties: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> KafkaClients:
        """Return the factory of the deployment's clients."""
        return cls(settings.bootstrap, dict(settings.kafka))

    def _common(self, client: str) -> dict[str, str | int | float | bool]:
        return {"bootstrap.servers": self.bootstrap, "client.id": client, **self.properties}

    def producer(self, client: str, queue_bytes_max: int = _QUEUE_BYTES_MAX) -> KafkaSink:
        """Return a producer as a `Sink`; `client` names it in the broker's logs. A full queue blocks its `send`."""
        own = {"queue.buffering.max.kbytes": max(1, queue_bytes_max // 1024)}
        return KafkaSink(Producer({**_PRODUCER, **own, **self._common(client)}), where=self.bootstrap)

    def consumer(
        self, client: str, group: str, overrides: Mapping[str, str | int | float | bool] | None = None
    ) -> Consumer:
        """Return a consumer that commits nothing by itself and reads what was committed by its writers."""
        return Consumer({**_CONSUMER, **self._common(client), "group.id": group, **(overrides or {})})

    def admin(self, client: str) -> AdminClient:
        """Return an admin client."""
        return AdminClient(self._common(client))


class KafkaSink:
    """A `Sink` over one librdkafka producer.

    `flush` waits for what was sent before it was called and not for what others send meanwhile: a worker under load
    never has an empty queue. Reports come in order per partition (idempotence), so counting them is enough. One thread
    at a time reads reports, since counting is not atomic.
    """

    def __init__(self, producer: Producer, *, where: str) -> None:
        self._producer = producer
        self._where = where
        self._failure: str | None = None
        self._sent_since_poll = 0
        self._sent: dict[tuple[str, int], int] = {}
        self._delivered: dict[tuple[str, int], int] = {}
        self._acknowledged: dict[tuple[str, int], int] = {}
        self._reading_reports = threading.Lock()

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand over one record; a failed delivery is raised by the next `flush`.

        Blocks while librdkafka's queue is full, which is the back-pressure of the whole worker.
        """
        while True:
            try:
                self._producer.produce(
                    topic,
                    value=value,
                    key=key,
                    partition=partition,
                    headers=list(headers) or None,
                    on_delivery=self._on_delivery,
                )
            except BufferError:
                self._read_reports(0.1)
                self._raise_failure()
                continue
            except KafkaException as error:
                raise Unready(f"cannot produce to {topic}[{partition}]: {error}", where=self._where) from error
            break
        self._producer_has(topic, partition, 1)
        self._sent_since_poll += 1
        if self._sent_since_poll >= _POLL_EVERY_RECORDS:
            self._sent_since_poll = 0
            self._poll_if_nobody_does()

    def send_many(self, topic: str, partition: int, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Hand over records of one partition in order, as `send` does each; half its cost."""
        produce, on_delivery = self._producer.produce, self._on_delivery
        count = 0
        for key, value in items:
            try:
                produce(topic, value, key, partition, on_delivery)
            except BufferError:
                self.send(topic, partition, key, value)
                continue
            except KafkaException as error:
                raise Unready(f"cannot produce to {topic}[{partition}]: {error}", where=self._where) from error
            count += 1
            if count % _POLL_EVERY_RECORDS == 0:
                self._producer_has(topic, partition, _POLL_EVERY_RECORDS)
                self._poll_if_nobody_does()
        self._producer_has(topic, partition, count % _POLL_EVERY_RECORDS)

    def _producer_has(self, topic: str, partition: int, count: int) -> None:
        at = (topic, partition)
        self._sent[at] = self._sent.get(at, 0) + count

    def _poll_if_nobody_does(self) -> None:
        if self._reading_reports.acquire(blocking=False):
            try:
                self._producer.poll(0)
            finally:
                self._reading_reports.release()

    def _read_reports(self, seconds: float) -> None:
        with self._reading_reports:
            self._producer.poll(seconds)

    def _on_delivery(self, error: KafkaError | None, record: Message) -> None:
        topic, partition = record.topic(), record.partition()
        if error is not None:
            if self._failure is None:
                self._failure = f"a record of {topic}[{partition}] was not delivered: {error.str()}"
            return
        if topic is None or partition is None:
            return
        at = (topic, partition)
        self._delivered[at] = self._delivered.get(at, 0) + 1
        offset = record.offset()
        if offset is not None:
            self._acknowledged[at] = offset

    def acknowledged(self, topic: str, partition: int) -> int | None:
        """Return the offset of the last record that the broker acknowledged there, None if there was none."""
        return self._acknowledged.get((topic, partition))

    def check(self) -> None:
        """Raise if any delivery failed so far; `Unready` is the end of this process."""
        self._read_reports(0)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise Unready(
                self._failure,
                where=self._where,
                hint="nothing after it was committed; start again when the broker answers",
            )

    def flush(self) -> None:
        """Wait until everything handed over before is acknowledged; raise if anything was not."""
        wanted = dict(self._sent)
        deadline = time.monotonic() + _DELIVERY_LIMIT_S
        while True:
            self._read_reports(0)
            self._raise_failure()
            waiting = sum(
                count - self._delivered.get(at, 0) for at, count in wanted.items() if count > self._delivered.get(at, 0)
            )
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise Unready(f"{waiting} records not acknowledged after {_DELIVERY_LIMIT_S} s", where=self._where)
            self._read_reports(0.02)


@dataclass(frozen=True, slots=True)
class SentRecord:
    """One record as a test sees it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class MemorySink:
    """A `Sink` that keeps what it was given; `fail` makes the next `flush` raise, as a lost delivery would.

    A record is as large as librdkafka's may be: what is larger is refused at once, as it is there.
    """

    sent: list[SentRecord] = field(default_factory=list)
    flushed: int = 0
    fail: str | None = None

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Keep one record."""
        told = sum(len(name.encode()) + len(text) for name, text in headers)
        if len(key or b"") + len(value or b"") + told + _RECORD_OWN_BYTES > _RECORD_BYTES_MAX:
            raise Unready(f"cannot produce to {topic}[{partition}]: the record is too large", where="memory")
        self.sent.append(SentRecord(topic, partition, key, value, tuple(headers)))

    def send_many(self, topic: str, partition: int, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Keep records of one partition in order."""
        for key, value in items:
            self.send(topic, partition, key, value)

    def acknowledged(self, topic: str, partition: int) -> int | None:
        """Return the index of the last flushed record of a partition, None if there was none."""
        count = sum(1 for r in self.sent[: self.flushed] if (r.topic, r.partition) == (topic, partition))
        return count - 1 if count else None

    def check(self) -> None:
        """Raise what `fail` says."""
        if self.fail is not None:
            raise Unready(self.fail, where="memory")

    def flush(self) -> None:
        """Count everything as acknowledged, or raise what `fail` says."""
        self.check()
        self.flushed = len(self.sent)
