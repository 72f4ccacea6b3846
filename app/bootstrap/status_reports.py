"""What a worker says of itself each second."""

from __future__ import annotations

from collections.abc import Sequence

from app import observe, topics
from app.adapters.kafka import KafkaSink
from app.adapters.metrics import Metrics
from app.adapters.system_clock import monotonic_ms, wall_ms
from app.agents.aggregating import Aggregating
from app.agents.compare import Compare
from app.agents.counting import AgentCounts
from app.agents.disk_watch import with_disk_full
from app.agents.stall_watch import StallWatch
from app.bootstrap.disk import disk_watch
from app.codec.aggregates import encode_aggregate
from app.codec.records import RecordCodec
from app.core.aggregate_status import record_key as aggregate_key
from app.core.status import record_key
from app.settings import Settings


class StatusReports:
    """Says each second how far every entity is proven."""

    def __init__(
        self,
        settings: Settings,
        compare: Compare,
        aggregating: Aggregating,
        counts: AgentCounts,
        codec: RecordCodec,
        sink: KafkaSink,
        metrics: Metrics,
        stores: Sequence[str],
    ) -> None:
        self._settings = settings
        self._compare = compare
        self._aggregating = aggregating
        self._counts = counts
        self._codec = codec
        self._sink = sink
        self._metrics = metrics
        self._stores = stores
        self._stalls = StallWatch(settings.stall_after_ms)
        self._topic = topics.STATUS.name(settings.deployment)
        self._aggregates_topic = topics.AGGREGATES.name(settings.deployment)
        self._disk = disk_watch(settings)

    async def send(self) -> None:
        """Publish every entity's report and bring the metrics up to date; raise where the disk is nearly full."""
        seen = self._compare.reports(wall_ms(), self._settings.worker.instance_id)
        reports = self._stalls.note(seen, monotonic_ms())
        is_disk_low = self._disk.is_low
        if is_disk_low:
            reports = with_disk_full(reports)
        for report in reports:
            self._sink.send(self._topic, 0, record_key(report), self._codec.status(report))
        aggregates = self._aggregating.statuses(wall_ms())
        for status in aggregates:
            self._sink.send(self._aggregates_topic, 0, aggregate_key(status), encode_aggregate(status))
        self._counts.reported(reports)
        self._counts.aggregates_stand(aggregates)
        for store in self._stores:
            self._metrics.set(observe.STORE_STALLED, float(self._stalls.is_stalled(store)), store=store)
        self._metrics.set(observe.DISK_HEADROOM, self._disk.free_bytes())
        if is_disk_low:
            raise self._disk.fault()
