"""Which pipelines fill the replicas, and how far each is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from app.adapters.kafka import KafkaSink
from app.adapters.logs import error_fields, log
from app.agents.pipeline_probe import PipelineProbe, WatchedPipeline
from app.bootstrap.decoders import decoder_by_bytes
from app.bootstrap.held_table import HeldTable
from app.codec.blocks import pack
from app.core.contract import EntityContract
from app.core.errors import Unready
from app.core.observation import PipelineReached
from app.settings import Settings

_REPEAT_EVERY_ROUNDS: Final = 10
"""A worker that took a partition over has not heard of the pipeline yet."""


def watched_pipelines(settings: Settings, contracts: Sequence[EntityContract]) -> Iterator[WatchedPipeline]:
    """Yield every pipeline that a contract names."""
    for contract in contracts:
        kind = settings.stores[contract.authority].kind
        decode = decoder_by_bytes(settings, kind)
        for index, replica in enumerate(contract.replicas):
            if replica.pipeline is not None:
                pipeline = replica.pipeline
                yield WatchedPipeline(contract.number, index, kind, pipeline.group, pipeline.topic, decode)


class PipelineReports:
    """Tells every partition how far each pipeline is, whenever that moved, and now and then anyway."""

    def __init__(
        self,
        probe: PipelineProbe,
        pipelines: Sequence[WatchedPipeline],
        table: HeldTable,
        sink: KafkaSink,
        observations: str,
        partitions: int,
        beacon_now_ms: Callable[[], int | None],
    ) -> None:
        self._probe = probe
        self._beacon_now_ms = beacon_now_ms
        self._pipelines = pipelines
        self._table = table
        self._sink = sink
        self._observations = observations
        self._partitions = partitions
        self._told: dict[tuple[int, int], bytes] = {}
        self._rounds = 0

    async def look(self) -> None:
        """Look at every pipeline once, and tell what moved."""
        # One worker is enough: the one that holds the first partition.
        if 0 not in self._table.partitions():
            self._told.clear()
            return
        self._rounds += 1
        for pipeline in self._pipelines:
            try:
                place = await asyncio.to_thread(self._probe.reached, pipeline)
            except Unready as fault:
                log().warning("cannot see how far a pipeline is", topic=pipeline.topic, **error_fields(fault))
                continue
            at = (pipeline.entity, pipeline.replica)
            # Asked after looking: what the pipeline had written by then was committed before this moment.
            seen_at_ms = self._beacon_now_ms()
            if (
                place is None
                or seen_at_ms is None
                or (place == self._told.get(at) and self._rounds % _REPEAT_EVERY_ROUNDS)
            ):
                continue
            self._told[at] = place
            packed = pack(PipelineReached(pipeline.entity, pipeline.replica, place, seen_at_ms))
            for target in range(self._partitions):
                self._sink.send(self._observations, target, None, packed)
