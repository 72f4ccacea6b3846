"""Write a store's log into Kafka, each store by a process of its own: both logs at once, before any clock starts.

Kafka's timestamps are those of the logs' own clock, as they are where connectors keep up and a worker was away. Logs
are written as fast as this machine can, and by its clock the stores would be seconds apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from app.bench.envelopes import Side, headers_of
from app.bench.load import Load, Stretch
from app.bench.store_log import BEACON, SchemaIds, Sent, StoreLog
from app.core.errors import Unready

_PRODUCER: Final = {
    "enable.idempotence": True,
    "acks": "all",
    "batch.size": 500_000,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
}
_WAITING_MAX: Final = 250_000
_LOOK_EVERY: Final = 2_000
_FLUSH_S: Final = 120.0
_NAP_S: Final = 0.01


class Writer:
    """Writes records; `finish` returns how many, all of them acknowledged, or raises `Unready`.

    `began_wall_ms` is when the logs' clock began, by the wall's.
    """

    def __init__(
        self, bootstrap: str, began_wall_ms: int, headers: Sequence[tuple[str, bytes]] = (), linger_ms: int = 20
    ) -> None:
        self._where = bootstrap
        self._began_wall_ms = began_wall_ms
        own = {"bootstrap.servers": bootstrap, "linger.ms": linger_ms, "log_level": 2}
        self._producer = Producer({**_PRODUCER, **own})
        self._headers: list[tuple[str, str | bytes | None]] = list(headers)
        self._written = 0
        self._failures: list[str] = []

    def write(self, records: Iterable[Sent]) -> None:
        """Hand records over; waits while too many are on their way."""
        produce, headers, failed, began_wall_ms = (
            self._producer.produce,
            self._headers,
            self._failed,
            self._began_wall_ms,
        )
        for number, (topic, partition, key, value, at_us) in enumerate(records, 1):
            produce(topic, value, key, partition, failed, None, began_wall_ms + at_us // 1_000, headers)
            if number % _LOOK_EVERY == 0:
                self._producer.poll(0)
                while len(self._producer) > _WAITING_MAX:
                    self._producer.poll(0.01)
            self._written += 1
        self._producer.poll(0)

    def write_in_time(self, records: Iterable[Sent], first_us: int) -> float:
        """Write records when they are due, `first_us` of the logs' clock being now; return by how much one was late.

        Late ones are written at once, so that a slow writer shows as a delay and not as a lighter load. A beacon waits
        until the broker has what stands before it in the log, as it does with exactly-once connectors.
        """
        began_s = time.monotonic()
        late_s = 0.0
        due: list[Sent] = []
        for record in records:
            wait_s = began_s + (record.at_us - first_us) / 1_000_000 - time.monotonic()
            late_s = max(late_s, -wait_s)
            if wait_s > 0:
                self.write(due)
                due.clear()
                # Waking for each of many thousands a second would cost more than writing them.
                time.sleep(max(wait_s, _NAP_S))
            if record.topic.endswith(BEACON):
                self.write(due)
                due.clear()
                self._producer.flush(_FLUSH_S)
            due.append(record)
        self.write(due)
        return late_s

    def _failed(self, error: KafkaError | None, record: Message) -> None:
        if error is not None:
            self._failures.append(f"{record.topic()}: {error.str()}")

    def finish(self) -> int:
        """Wait until the broker has everything."""
        left = self._producer.flush(_FLUSH_S)
        if left or self._failures:
            raise Unready(f"{left} records not acknowledged; {self._failures[:1]}", where=self._where)
        return self._written


@dataclass(frozen=True, slots=True)
class LogOrder:
    """What one process is to write: the snapshot, or a stretch with beacons up to `until_us`."""

    bootstrap: str
    began_wall_ms: int
    side: Side
    load: Load
    ids: SchemaIds | None
    stretch: Stretch | None
    until_us: int


def write_log(order: LogOrder) -> int:
    """Write what is asked for, and return how many records that was."""
    log = StoreLog(order.side, order.load, order.ids)
    writer = Writer(order.bootstrap, order.began_wall_ms, headers_of(order.side))
    writer.write(log.snapshot() if order.stretch is None else log.stretch(order.stretch, order.until_us))
    return writer.finish()


def write_logs(orders: Sequence[LogOrder]) -> int:
    """Write several logs at once, and return how many records they have together."""
    with ProcessPoolExecutor(len(orders), get_context("spawn")) as processes:
        return sum(processes.map(write_log, orders))
