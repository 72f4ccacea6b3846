"""Writes the traffic as the stores' connectors would: in the order of each log, with a beacon every so many changes.

The beacons' clock goes by beacons and not by any clock here: half a second each. So what must be found is settled by
the seed alone, however fast the machine is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from drill_parts.envelopes import Log, MariadbLog, PostgresLog, Sent, beacon, change
from drill_parts.traffic import Step

BEAT_MS: Final = 500
_ACKNOWLEDGED_AFTER_MS: Final = 30
_SENT_AGAIN: Final = 400


class NotWritten(RuntimeError):
    """The broker did not take a record of the drill's own."""


@dataclass
class Writer:
    """Both connectors."""

    bootstrap: str
    authority: PostgresLog
    replica: MariadbLog
    written: int = 0  # records, tombstones and beacons included
    _beats: int = 0
    _problem: str = ""
    _recent: dict[str, deque[Sent]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._logs: dict[str, Log] = {log.name: log for log in (self.authority, self.replica)}
        self._recent = {name: deque(maxlen=_SENT_AGAIN) for name in self._logs}
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 10,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                # The broker is killed once, and comes back.
                "delivery.timeout.ms": 300_000,
                "log_level": 2,
            }
        )

    def write(self, steps: Iterable[Step]) -> None:
        """Write changes."""
        for step in steps:
            for sent in change(self._logs[step.store], step.number, step.row, step.operation):
                self._send(step.store, sent)

    def beat(self, *, snapshot: bool = False) -> None:
        """Write one beacon into both logs, once the broker has what stands before it in them.

        The product takes exactly-once connectors only, whose beacons are never seen before older changes are; this
        producer's may be, since it sends to partitions side by side.
        """
        self.flush()
        self._beats += 1
        issued_ms = self._beats * BEAT_MS
        previous_ms = issued_ms - BEAT_MS + _ACKNOWLEDGED_AFTER_MS
        for name, log in self._logs.items():
            self._send(name, beacon(log, self._beats, issued_ms, previous_ms, snapshot=snapshot))

    def send_again(self, store: str) -> None:
        """Write what was written last of a store once more, as a connector does that was killed."""
        for sent in list(self._recent[store]):
            self._produce(sent)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._producer.flush(300)
        self._raise_problem()
        if len(self._producer):
            raise NotWritten(f"{len(self._producer)} records of the drill were not taken within five minutes")

    def _send(self, store: str, sent: Sent) -> None:
        self._recent[store].append(sent)
        self._produce(sent)

    def _produce(self, sent: Sent) -> None:
        while True:
            try:
                self._producer.produce(
                    sent.topic, value=sent.value, key=sent.key, partition=sent.partition, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.2)
        self.written += 1
        self._producer.poll(0)
        self._raise_problem()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._problem = f"{message.topic()}[{message.partition()}]: {error.str()}"

    def _raise_problem(self) -> None:
        if self._problem:
            raise NotWritten(self._problem)
