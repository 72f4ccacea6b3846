"""How far a store's change topics reach at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.adapters.kafka_read import KafkaEnds
from app.agents.ingest import Source


class StoreWatermarks:
    """Asks for the ends of all CDC partitions of a store, its beacons' and its ledger's included."""

    def __init__(self, ends: KafkaEnds, sources: Sequence[Source]) -> None:
        self._ends = ends
        self._sources = sources
        self._partitions: dict[str, list[tuple[str, int]]] = {}

    async def of(self, store: str) -> list[tuple[str, int, int]]:
        """Return (topic, partition, end) of each; `Unready` where Kafka does not tell."""
        if store not in self._partitions:
            names = [source.topic for source in self._sources if source.store == store]
            counts = await asyncio.to_thread(self._ends.partitions_of, names)
            self._partitions[store] = [(name, p) for name, count in counts.items() for p in range(count)]
        return await self._ends.high_watermarks(self._partitions[store])
