"""The ceiling: librdkafka read in batches, one sorted multi-get and one write batch each, and no framework."""

from __future__ import annotations

import gc
import time
from itertools import groupby
from typing import Any, Final

import rocksdict
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.rocks_options import RocksOptions
from app.agents.memory_shares import MemoryShares
from app.bench.contenders.work import GC_THRESHOLD, Asked, done, entry_of, started
from app.settings import WorkerSettings

_BATCH: Final = 5_000
_COMMIT_EVERY_S: Final = 1.0


def _store(asked: Asked) -> Any:  # noqa: ANN401 - rocksdict is untyped
    """Open RocksDB with the options and the memory that a worker gives it."""
    memory = MemoryShares.of(WorkerSettings().memory_bytes_max)
    options = RocksOptions(memory.block_cache_bytes, memory.write_buffers_bytes)
    return rocksdict.Rdict(str(asked.folder / "state"), options=options.made())


def _failed(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        raise RuntimeError(error.str())


def _partition_of(message: Message) -> int:
    return message.partition() or 0


def main(asked: Asked) -> None:
    """Run until every event is in."""
    store = _store(asked)
    common = {"bootstrap.servers": asked.bootstrap}
    consumer = Consumer(
        {
            **common,
            "group.id": asked.name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # The default of a second lets a fast reader starve between fetches.
            "fetch.queue.backoff.ms": 5,
        }
    )
    producer = Producer(
        {**common, "enable.idempotence": True, "acks": "all", "linger.ms": 5, "compression.type": "lz4"}
    )
    _make_changelog(asked)
    consumer.subscribe([asked.topic])
    seen, commit_at = 0, time.monotonic() + _COMMIT_EVERY_S
    while seen < asked.changes:
        messages = consumer.consume(_BATCH, 0.1)
        if messages and not seen:
            started()
        seen += len(messages)
        for partition, records in groupby(sorted(messages, key=_partition_of), key=_partition_of):
            newest = {bytes(r.key() or b""): entry_of(bytes(r.value() or b"")) for r in records}
            keys = sorted(newest)
            batch = rocksdict.WriteBatch(raw_mode=True)
            for key, held in zip(keys, store.get(keys), strict=True):
                if held is None or held < newest[key]:
                    batch.put(key, newest[key])
                    _send(producer, f"{asked.name}-changelog", key, newest[key], partition)
            store.write(batch)
        producer.poll(0)
        if time.monotonic() >= commit_at or seen >= asked.changes:
            producer.flush()
            consumer.commit(asynchronous=False)
            commit_at = time.monotonic() + _COMMIT_EVERY_S
    done()
    consumer.close()
    store.close()


def _make_changelog(asked: Asked) -> None:
    topic = NewTopic(f"{asked.name}-changelog", 4, 1, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": asked.bootstrap})
    for made in admin.create_topics([topic]).values():
        made.result()


def _send(producer: Producer, topic: str, key: bytes, value: bytes, partition: int) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition, _failed)
        except BufferError:
            producer.poll(0.01)
        else:
            return


if __name__ == "__main__":
    gc.set_threshold(*GC_THRESHOLD)
    main(Asked.of_command())
