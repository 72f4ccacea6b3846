"""A topic from its beginning to its present end, by a bare consumer without group and commits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

PATIENCE_S = 30.0
AT_ONCE = 5_000


class Record(NamedTuple):
    """One record as Kafka holds it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Silent(RuntimeError):
    """A topic did not give up to its end in time."""


def bare_consumer(bootstrap: str, group: str = "") -> Consumer:
    """Make a consumer; a group only serves to ask what it has committed, it is never joined."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or f"judge-{secrets.token_hex(4)}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
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
    consumer = bare_consumer(bootstrap)
    try:
        places = [TopicPartition(topic, partition) for partition in partitions_of(consumer, topic)]
        bounds = {place.partition: consumer.get_watermark_offsets(place, timeout=10) for place in places}
        at, ends = {p: low for p, (low, _) in bounds.items()}, {p: high for p, (_, high) in bounds.items()}
        consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in at.items()])
        heard = time.monotonic()
        while missing := sum(ends[partition] - at[partition] for partition in ends):
            # More than there is would be waited for.
            messages = consumer.consume(min(AT_ONCE, missing), timeout=1.0)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                raise Silent(f"{topic} gives nothing behind {at} of {ends}")
            for message in messages:
                if message.error() is not None:
                    raise KafkaException(message.error())
                partition, offset = message.partition(), message.offset()
                # What has come since is for the next reader.
                if partition is not None and offset is not None and offset < ends[partition]:
                    at[partition] = offset + 1
                    yield Record(partition, offset, message.key(), message.value())
    finally:
        consumer.close()
