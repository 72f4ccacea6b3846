"""Where a worker's state lives, what it belongs to, and what is done where it is lost."""

from __future__ import annotations

from functools import partial

from app.adapters.changelog_past import ChangelogPasts
from app.adapters.rocks import RocksPartition
from app.adapters.rocks_options import RocksOptions
from app.agents.build import WorkerShape
from app.agents.bulk_table import StateHome
from app.agents.memory_shares import MemoryShares
from app.ports import StateNews


def state_home(shape: WorkerShape, pasts: ChangelogPasts, news: StateNews, memory: MemoryShares) -> StateHome:
    """Return the home of the state; the topic of its changelog exists."""
    return StateHome(
        deployment=shape.deployment,
        changelog_id=pasts.ends.topic_id(pasts.changelog),
        open=partial(RocksPartition, options=RocksOptions(memory.block_cache_bytes, memory.write_buffers_bytes)),
        past=pasts.of,
        news=news,
        start_over=(
            f"stop all workers, delete topic {shape.changelog} and consumer group {shape.group}, "
            "have the connectors take new snapshots, and start again"
        ),
        written_rows_max=memory.written_rows_max,
    )
