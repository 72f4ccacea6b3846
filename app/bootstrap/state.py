"""Where a worker's state lives, what it belongs to, and what is done where it is lost."""

from __future__ import annotations

from functools import partial

from app.adapters.changelog_past import ChangelogPasts
from app.adapters.kafka_read import KafkaEnds
from app.adapters.rocks import RocksPartition
from app.adapters.rocks_options import RocksOptions
from app.agents.build import WorkerShape
from app.agents.bulk_table import StateHome
from app.agents.memory_shares import MemoryShares
from app.ports import StateNews


def state_home(shape: WorkerShape, ends: KafkaEnds, folded: str, news: StateNews, memory: MemoryShares) -> StateHome:
    """Return the home of the state that is folded from the topic `folded`; its changelog exists."""
    return StateHome(
        deployment=shape.deployment,
        changelog_id=ends.topic_id(shape.changelog),
        open=partial(RocksPartition, options=RocksOptions(memory.block_cache_bytes, memory.write_buffers_bytes)),
        past=ChangelogPasts(ends, shape.changelog, shape.group, folded).of,
        news=news,
        start_over=(
            f"stop all workers, delete topic {shape.changelog} and consumer group {shape.group}, "
            "have the connectors take new snapshots, and start again"
        ),
        written_rows_max=memory.written_rows_max,
    )
