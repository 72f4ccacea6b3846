"""Reads whole topics for tools: from the start or a moment to the present end, or on and on. Commits nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds
from app.core.errors import Unready

_ASK_S: Final = 10.0
_POLL_S: Final = 0.5
_AGAIN_S: Final = 2.0
_SILENT_POLLS_MAX: Final = 60
"""A broker that sends neither records nor ends for so many polls is not there."""

Begin = int | Mapping[tuple[str, int], int] | None
"""Where to begin: a wall-clock moment, offsets by topic and partition (0 where none is told), None for the start."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One Kafka record. `at_wall_ms` is the broker's or producer's wall clock, for display."""

    topic: str
    partition: int
    offset: int
    at_wall_ms: int
    key: bytes | None
    value: bytes | None


def _record(message: Message) -> LogRecord:
    _, at_wall_ms = message.timestamp()
    return LogRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        at_wall_ms=at_wall_ms,
        key=message.key(),
        value=message.value(),
    )


class TopicLog:
    """Reads committed records of any topic."""

    def __init__(self, clients: KafkaClients, client: str) -> None:
        self._clients = clients
        self._client = client

    def _consumer(self) -> Consumer:
        return self._clients.consumer(
            self._client,
            f"{self._client}-never-commits",
            # The library's own lines on stderr would tear the output; what matters is raised.
            {"enable.partition.eof": True, "fetch.wait.max.ms": 50, "log_level": 2},
        )

    def _partitions(self, consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
        try:
            known = consumer.list_topics(timeout=_ASK_S).topics
        except KafkaException as fault:
            raise Unready(
                f"Kafka does not answer: {fault.args[0].str()}",
                where=self._clients.bootstrap,
                hint="is the broker up, and is `bootstrap` its address?",
            ) from fault
        # One that was made just now may have no partitions yet that anybody leads.
        missing = [topic for topic in topics if topic not in known or not known[topic].partitions]
        if missing:
            raise Unready(
                f"there is no topic {', '.join(missing)}",
                where=self._clients.bootstrap,
                hint="`driftline init` makes Driftline's own topics, and a worker those of the connectors; "
                "is `deployment` the right one?",
            )
        return [TopicPartition(topic, number) for topic in topics for number in sorted(known[topic].partitions)]

    def _start(self, consumer: Consumer, topics: Sequence[str], begin: Begin) -> list[TopicPartition]:
        partitions = self._partitions(consumer, topics)
        try:
            if isinstance(begin, int):
                at_moment = [TopicPartition(p.topic, p.partition, begin) for p in partitions]
                partitions = consumer.offsets_for_times(at_moment, timeout=_ASK_S)
            else:
                for partition in partitions:
                    partition.offset = (begin or {}).get((partition.topic, partition.partition), 0)
            consumer.assign(partitions)
        except KafkaException as fault:
            raise Unready(f"cannot read: {fault.args[0].str()}", where=self._clients.bootstrap) from fault
        return partitions

    def ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the broker's own ids of topics that there are: one that was made anew has another."""
        quiet = replace(self._clients, properties={**self._clients.properties, "log_level": "2"})
        ends = KafkaEnds(quiet.admin(f"{self._client}-topics"))
        return {topic: ends.topic_id(topic) for topic in topics}

    def ends(self, topics: Sequence[str], *, latest: bool) -> dict[tuple[str, int], int]:
        """Return the offsets at which the partitions begin, or end for now."""
        consumer = self._consumer()
        try:
            return {
                (at.topic, at.partition): consumer.get_watermark_offsets(at, timeout=_ASK_S)[1 if latest else 0]
                for at in self._partitions(consumer, topics)
            }
        except KafkaException as fault:
            raise Unready(f"cannot read: {fault.args[0].str()}", where=self._clients.bootstrap) from fault
        finally:
            consumer.close()

    def wait_for(
        self, topics: Sequence[str], stopping: threading.Event, tell: Callable[[Unready, float], None]
    ) -> bool:
        """Wait until every partition of the topics can be read; return False where it is told to stop before.

        `tell` is told each time what is missing, and in how many seconds it is looked for again.
        """
        while not stopping.is_set():
            try:
                self.ends(topics, latest=False)
            except Unready as fault:
                tell(fault, _AGAIN_S)
                stopping.wait(_AGAIN_S)
            else:
                return True
        return False

    def until_now(self, topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord]:
        """Yield the records up to the present end, in the order of each partition."""
        consumer = self._consumer()
        try:
            partitions = self._start(consumer, topics, begin)
            left = {(p.topic, p.partition) for p in partitions}
            silent = 0
            while left:
                message = consumer.poll(_POLL_S)
                if message is None:
                    silent += 1
                    if silent > _SILENT_POLLS_MAX:
                        raise Unready("Kafka sends nothing any more", where=self._clients.bootstrap)
                    continue
                silent = 0
                if self._is_end(message):
                    left.discard((message.topic() or "", message.partition() or 0))
                else:
                    yield _record(message)
        finally:
            consumer.close()

    def on_and_on(self, topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord | None]:
        """Yield records as they come, and None now and then, so that the caller can look whether to stop."""
        consumer = self._consumer()
        try:
            self._start(consumer, topics, begin)
            while True:
                message = consumer.poll(_POLL_S)
                if message is None or self._is_end(message):
                    yield None
                else:
                    yield _record(message)
        finally:
            consumer.close()

    def _is_end(self, message: Message) -> bool:
        """Tell an end of a partition from a record; other errors are raised."""
        fault = message.error()
        if fault is None:
            return False
        if fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
            return True
        raise Unready(f"cannot read {message.topic()}: {fault.str()}", where=self._clients.bootstrap)
