"""A topic from its beginning to its present end, by a bare consumer without group and commits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

PATIENCE_S = 30.0
AT_ONCE = 5_000


class Record(NamedTuple):
    """One record as Kafka holds it; `at_s` is the second that Kafka gave to it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    at_s: float = 0.0


class Silent(RuntimeError):
    """A topic did not give up to its end in time."""


def bare_consumer(bootstrap: str, group: str = "", *, tells_ends: bool = False) -> Consumer:
    """Make a consumer; a group only serves to ask what it has committed, it is never joined."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or f"judge-{secrets.token_hex(4)}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": tells_ends,
            "fetch.queue.backoff.ms": 5,
            # A broker that is killed is what these clients are there for.
            "log_level": 2,
        }
    )


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Return the numbers of a topic's partitions."""
    told = consumer.list_topics(topic, timeout=10).topics[topic]
    if told.error is not None:
        raise KafkaException(told.error)
    return sorted(told.partitions)


def read_whole(bootstrap: str, topic: str) -> Iterator[Record]:
    """Give every record of a topic, each partition in its order, up to the ends that it has when this begins."""
    consumer = bare_consumer(bootstrap, tells_ends=True)
    try:
        places = [TopicPartition(topic, partition) for partition in partitions_of(consumer, topic)]
        bounds = {place.partition: consumer.get_watermark_offsets(place, timeout=10) for place in places}
        consumer.assign([TopicPartition(topic, partition, low) for partition, (low, _) in bounds.items()])
        left, heard = set(bounds), time.monotonic()
        while left:
            messages = consumer.consume(AT_ONCE, timeout=0.1)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                raise Silent(f"{topic} does not come to its end in {sorted(left)} of {bounds}")
            for message in messages:
                partition, offset, error = message.partition(), message.offset(), message.error()
                if partition is None or offset is None:
                    continue
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name there
                    raise KafkaException(error)
                # What has come since is for the next reader; the end of a transaction is no record.
                if error is None and offset < bounds[partition][1]:
                    yield Record(partition, offset, message.key(), message.value(), message.timestamp()[1] / 1_000)
                if error is not None or offset >= bounds[partition][1] - 1:
                    left.discard(partition)
    finally:
        consumer.close()
