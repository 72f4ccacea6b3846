"""The engine of this project on the same hop: Faust fed with blocks, a bulk table, a small agent."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Final

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.changelog_past import ChangelogPasts
from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds, KafkaGroups
from app.adapters.state_news import ToldStateNews
from app.agents.block_consumer import Block
from app.agents.build import WorkerShape, add_table, build_app, quieten_faust
from app.agents.memory_shares import MemoryShares
from app.bench.contenders.work import GC_THRESHOLD, Asked, done, entry_of, started
from app.bootstrap.state import state_home
from app.observe import NoMeter
from app.settings import KafkaSecurity, WorkerSettings
from app.topics import CHANGELOG_CONFIGURATION

_PARTITIONS: Final = 4


async def main(asked: Asked) -> None:
    """Run until every event is in."""
    memory = MemoryShares.of(WorkerSettings().memory_bytes_max)
    shape = WorkerShape(
        asked.name,
        asked.bootstrap,
        KafkaSecurity(),
        asked.folder,
        "engine",
        _PARTITIONS,
        WorkerSettings().block_rows_max,
        memory.recovered_rows_max,
        memory.fetch_bytes_of_one(2 * _PARTITIONS),
        standby_replicas=0,
    )
    app = build_app(shape)
    clients = KafkaClients(asked.bootstrap, {})
    admin = clients.admin(f"{asked.name}-admin")
    wanted = NewTopic(shape.changelog, _PARTITIONS, 1, config=dict(CHANGELOG_CONFIGURATION))
    admin.create_topics([wanted])[shape.changelog].result()
    groups = KafkaGroups(clients, f"{asked.name}-groups")
    pasts = ChangelogPasts(KafkaEnds(admin), groups, shape.changelog, shape.group, asked.topic)
    home = state_home(shape, pasts, ToldStateNews(NoMeter()), memory)
    table = add_table(app, shape, clients.producer(asked.name), home)
    app.before_commit.append(lambda: table.bulk.persist())  # noqa: PLW0108 - the store is made when the table starts
    finished = asyncio.Event()
    seen = 0

    async def fold(stream: AsyncIterator[Block]) -> None:
        nonlocal seen
        async for block in stream:
            if block.records and not seen:
                started()
            # A block that is done lets go of its records.
            seen += len(block.records)
            newest: dict[bytes, bytes] = {}
            for record in block.records:
                newest[record.key or b""] = entry_of(record.value or b"")
            keys = sorted(newest)
            held = table.bulk.multi_get(block.partition, keys)
            fresh = [
                (key, newest[key]) for key, old in zip(keys, held, strict=True) if old is None or old < newest[key]
            ]
            table.bulk.write_many(block.partition, fresh)
            block.done()
            if seen >= asked.changes:
                finished.set()

    topic = app.topic(asked.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(topic, name="fold")(fold)
    app.finalize()
    await app.start()
    while not finished.is_set():
        if app.crashed:
            raise app.crash_reason
        await asyncio.sleep(0.01)
    # The first may find a commit under way that began before the last block was done, and only waits for it.
    for _ in range(2):
        await app.consumer.commit()
    done()
    await app.stop()


if __name__ == "__main__":
    gc.set_threshold(*GC_THRESHOLD)
    quieten_faust()
    asyncio.run(main(Asked.of_command()))
