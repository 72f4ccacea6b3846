"""A worker of the block engine alone, for tests: copies every record into the table, and logs every block it finished.

python -m tests.integration.block_worker BOOTSTRAP GROUP TOPIC INSTANCE FOLDER SLEEP_MS STATE_FORMAT
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app import topics
from app.adapters.changelog_past import ChangelogPasts
from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds, KafkaGroups
from app.adapters.logs import configure_logs
from app.adapters.state_news import ToldStateNews
from app.agents.block_consumer import Block, WorkerApp
from app.agents.build import WorkerShape, _topic, add_table, build_app, quieten_faust
from app.agents.memory_shares import MemoryShares
from app.agents.recovery_watch import RecoveryWatch
from app.agents.run import records_to_recover
from app.bootstrap.state import state_home
from app.core import state_identity
from app.observe import NoMeter
from app.settings import KafkaSecurity

PARTITIONS = 4


def _make_changelog(admin: AdminClient, name: str) -> None:
    wanted = NewTopic(name, PARTITIONS, 1, config=dict(topics.CHANGELOG_CONFIGURATION))
    with contextlib.suppress(KafkaException):
        admin.create_topics([wanted])[name].result()


async def _watch_recovery(app: WorkerApp, watch: RecoveryWatch) -> None:
    while True:
        watch.look(records_to_recover(app), time.monotonic())
        await asyncio.sleep(0.02)


async def main(bootstrap: str, group: str, topic: str, instance: str, folder: Path, sleep_ms: int) -> None:
    """Run until SIGTERM."""
    configure_logs("block worker", "0", instance)
    quieten_faust()
    memory = MemoryShares.of(1024**3)
    rows_max, bytes_max = memory.recovered_rows_max, memory.fetch_bytes_of_one(2 * PARTITIONS)
    shape = WorkerShape(group, bootstrap, KafkaSecurity(), folder, instance, PARTITIONS, 500, rows_max, bytes_max, 1)
    app = build_app(shape)
    clients = KafkaClients(bootstrap, {})
    admin = clients.admin(f"{group}-{instance}-admin")
    _make_changelog(admin, shape.changelog)
    news = ToldStateNews(NoMeter())
    groups = KafkaGroups(clients, f"{group}-{instance}-groups")
    pasts = ChangelogPasts(KafkaEnds(admin), groups, shape.changelog, shape.group, topic)
    home = state_home(shape, pasts, news, memory)
    table = add_table(app, shape, clients.producer(f"{group}-{instance}"), home)

    async def persist() -> None:
        # The store is made when the table starts.
        await table.bulk.persist()

    app.before_commit.append(persist)
    log = os.open(folder / "blocks.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def copy(stream: AsyncIterator[Block]) -> None:
        async for block in stream:
            if not block.live:
                continue
            keys = sorted({r.key or b"" for r in block.records})
            old = dict(zip(keys, table.bulk.multi_get(block.partition, keys), strict=True))
            # The last offset wins, and a redelivered one changes nothing.
            fresh: dict[bytes, bytes] = {}
            for record in block.records:
                key = record.key or b""
                held = fresh.get(key) or old[key]
                if held is None or int(held.split(b" ")[0]) < record.offset:
                    fresh[key] = b"%d %s" % (record.offset, record.value)
            table.bulk.write_many(block.partition, list(fresh.items()))
            await asyncio.sleep(sleep_ms / 1000)
            if block.live:
                os.write(log, f"{instance} {block.partition} {block.begin} {block.end}\n".encode())
                block.done()

    app.agent(_topic(app, [topic]), name="copy")(copy)
    app.finalize()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    watching = asyncio.create_task(_watch_recovery(app, RecoveryWatch(news)))
    await app.start()
    while not stopping.is_set():
        if app.crashed:
            raise app.crash_reason
        await asyncio.sleep(0.05)
    watching.cancel()
    await app.consumer.commit()
    await app.stop()


if __name__ == "__main__":
    _bootstrap, _group, _topic_name, _instance, _folder, _sleep_ms, _format = sys.argv[1:8]
    for _module in (state_identity, topics):
        patch.object(_module, "STATE_FORMAT", int(_format)).start()
    asyncio.run(main(_bootstrap, _group, _topic_name, _instance, Path(_folder), int(_sleep_ms)))
