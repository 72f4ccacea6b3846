"""Faust as its documentation has it: an agent, and a table on RocksDB with its changelog."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

from app.agents.build import quieten_faust
from app.bench.contenders.work import Asked, done, entry_of, started


async def main(asked: Asked) -> None:
    """Run until every event is in."""
    app = faust.App(
        asked.name,
        broker=f"kafka://{asked.bootstrap}",
        store="rocksdb://",
        datadir=str(asked.folder),
        web_enabled=False,
        topic_disable_leader=True,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        loghandlers=[],
        logging_config=None,
    )
    topic = app.topic(asked.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    table = app.Table("state", partitions=4, key_type=bytes, value_type=bytes)
    finished = asyncio.Event()
    seen = 0

    async def fold(stream: Any) -> None:  # noqa: ANN401 - Faust is untyped here
        nonlocal seen
        async for key, value in stream.items():
            if not seen:
                started()
            entry = entry_of(value)
            held = table.get(key)
            if held is None or held < entry:
                table[key] = entry
            seen += 1
            if seen >= asked.changes:
                finished.set()

    app.agent(topic, name="fold")(fold)
    app.finalize()
    await app.start()
    await finished.wait()
    await app.producer.flush()
    await app.consumer.commit()
    done()
    await app.stop()


if __name__ == "__main__":
    quieten_faust()
    asyncio.run(main(Asked.of_command()))
