"""The worker, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from confluent_kafka.admin import AdminClient

from app import observe, topics
from app.adapters.changelog_past import ChangelogPasts
from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds, KafkaGroups, KafkaReader
from app.adapters.logs import must_wait
from app.adapters.metrics import Metrics
from app.adapters.planner_trust import PlannerTrust
from app.adapters.registry import prepared_book
from app.adapters.seal import KeySeals, read_key
from app.adapters.state_news import ToldStateNews
from app.adapters.system_clock import monotonic_ms, wall_ms
from app.agents.aggregating import Aggregating
from app.agents.build import WorkerShape, add_agents, add_table, build_app
from app.agents.compare import Compare
from app.agents.counting import AgentCounts
from app.agents.differing import DifferingFields
from app.agents.ingest import Ingest
from app.agents.memory_shares import MemoryShares
from app.agents.pipeline_probe import PipelineProbe
from app.agents.plan import Plan, PlanTopics
from app.agents.recovery_watch import RecoveryWatch
from app.agents.run import COPIES_TOLD_EVERY_S, Duty, WorkerRun, records_to_copy
from app.bootstrap.decoders import decoder_of
from app.bootstrap.disk import state_bytes
from app.bootstrap.findings import FindingRecords
from app.bootstrap.held_table import HeldTable
from app.bootstrap.partition_watch import PartitionWatch
from app.bootstrap.pipelines import PipelineReports, watched_pipelines
from app.bootstrap.sources import row_readers, sources_of, stores_compared
from app.bootstrap.state import state_home
from app.bootstrap.status_reports import StatusReports
from app.bootstrap.store_watermarks import StoreWatermarks
from app.bootstrap.unreadable import QuarantineTopic, log_undecodable, log_waiting
from app.codec.records import FIXED_IDS, RecordCodec
from app.core.contract import EntityContract, RepairMode
from app.settings import Settings


def build_worker(
    settings: Settings,
    contracts: Sequence[EntityContract],
    clients: KafkaClients,
    admin: AdminClient,
    metrics: Metrics,
    stated_partitions: Mapping[str, int],
) -> WorkerRun:
    """Put a worker together. Nothing is started; the changelog's topic exists."""
    stores = stores_compared(settings, contracts)
    metrics.expect([c.entity for c in contracts], [s.name for s in stores])
    digest_key = read_key(settings.keys_dir / "digest.key")
    seals = KeySeals.from_folder(settings.keys_dir)
    book = prepared_book(settings.registry_url, settings.deployment, FIXED_IDS, must_wait("worker"))
    codec = RecordCodec(settings.deployment, book)
    name = f"{settings.deployment}-{settings.worker.instance_id}"
    memory = MemoryShares.of(settings.worker.memory_bytes_max)
    sink, changelog = (
        clients.producer(f"{name}-{what}", memory.producer_queue_bytes) for what in ("records", "changelog")
    )
    shape = WorkerShape(
        deployment=settings.deployment,
        bootstrap=settings.bootstrap,
        security=settings.kafka_security,
        state_dir=settings.state_dir,
        instance_id=settings.worker.instance_id,
        partitions=settings.partitions,
        block_rows_max=settings.worker.block_rows_max,
        recovered_rows_max=memory.recovered_rows_max,
        fetch_bytes_max=memory.fetch_bytes_of_one(_partitions_read(settings, contracts)),
        standby_replicas=settings.standby_replicas,
    )
    app = build_app(shape)
    ends, news = KafkaEnds(admin), ToldStateNews(metrics)
    groups = KafkaGroups(clients, f"{name}-groups")
    observations = topics.OBSERVATIONS.name(settings.deployment)
    pasts = ChangelogPasts(ends, groups, shape.changelog, shape.group, observations)
    table = add_table(app, shape, changelog, state_home(shape, pasts, news, memory))
    counts = AgentCounts(metrics, [c.entity for c in contracts])
    counts.tolerated(contracts)
    decoders = {store.name: decoder_of(settings, store) for store in stores}
    readers = dict(row_readers(settings, contracts, decoders, digest_key))
    by_offset = KafkaReader(clients, f"{name}-lookup")
    by_offset.connect()
    digesters = {at: digester for at, (_, digester) in readers.items()}
    sources = list(sources_of(settings, contracts, decoders, digesters, digest_key, memory.known_keys_max))
    held = HeldTable(table)
    ingest = Ingest(
        sources=sources,
        contracts=contracts,
        observations=observations,
        partitions=settings.partitions,
        sink=sink,
        quarantine=QuarantineTopic(sink, codec, topics.QUARANTINE.name(settings.deployment), stores),
        watermarks=StoreWatermarks(ends, sources).of,
        counts=counts,
        tell_waiting=log_waiting,
        wall_ms=wall_ms,
    )
    finding_records = FindingRecords(contracts, stores, codec, seals, digest_key)
    aggregating = Aggregating(
        contracts=contracts,
        partitions=settings.partitions,
        table=held,
        sink=sink,
        drifts=topics.DRIFTS.name(settings.deployment),
        publish=finding_records.aggregate_record,
        counts=counts,
        late_after_ms=settings.stall_after_ms,
        held_states_max=memory.held_states_of_one(settings.partitions),
    )
    compare = Compare(
        contracts=contracts,
        table=held,
        sink=sink,
        drifts=topics.DRIFTS.name(settings.deployment),
        publish=finding_records.record,
        explain=DifferingFields(by_offset.several, readers, monotonic_ms).names,
        counts=counts,
        log_undecodable=log_undecodable,
        clock_ms=monotonic_ms,
        awake_rows_max=memory.awake_rows_of_one(settings.partitions),
        held_states_max=memory.held_states_of_one(settings.partitions),
        aggregates=aggregating if aggregating.is_wanted else None,
    )
    plan_topics = PlanTopics(
        *(t.name(settings.deployment) for t in (topics.DRIFTS, topics.OUTCOMES, topics.APPROVALS, topics.REPAIRS))
    )
    trust = PlannerTrust.from_folder(settings.deployment, settings.keys_dir, wall_ms)
    if any(replica.repair.mode is not RepairMode.OBSERVE for contract in contracts for replica in contract.replicas):
        # Who only watches needs no key to sign with.
        trust.check()
    plan = Plan(
        contracts={contract.entity: contract for contract in contracts},
        table=held,
        sink=sink,
        topics=plan_topics,
        records=codec,
        partitions=settings.partitions,
        counts=counts,
        trust=trust,
        wall_ms=wall_ms,
        log_undecodable=log_undecodable,
        fences=settings.fences,
    )
    add_agents(
        app,
        sources=sources,
        observations=observations,
        plan_topics=plan_topics,
        ingest=ingest,
        compare=compare,
        plan=plan,
    )
    app.before_commit += [
        *([aggregating.write] if aggregating.is_wanted else []),
        compare.acknowledge,
        held.persist,
        *([aggregating.tell] if aggregating.is_wanted else []),
    ]
    app.finalize()
    reports = StatusReports(settings, compare, aggregating, counts, codec, sink, metrics, [s.name for s in stores])
    probing = PipelineReports(
        PipelineProbe(ends, groups.committed, KafkaReader(clients, f"{name}-pipelines").read),
        list(watched_pipelines(settings, contracts)),
        held,
        sink,
        observations,
        settings.partitions,
        compare.beacon_now_ms,
    )

    def tell_copies() -> None:
        metrics.set(observe.STATE_COPIES_LEFT, records_to_copy(app))

    partitions = PartitionWatch(stated_partitions, ends.partitions_of, settings.bootstrap)
    duties = [
        Duty("statuses", 1.0, reports.send),
        Duty("pipelines", 1.0, probing.look),
        Duty("partitions", 5.0, partitions.look, always=True),
        Duty("commands due", 1.0, _awaited(plan.resend_due)),
        Duty(
            "copies",
            COPIES_TOLD_EVERY_S,
            _awaited(tell_copies),
        ),
        Duty("state size", 10.0, _awaited(lambda: metrics.set(observe.STATE_BYTES, state_bytes(settings)))),
    ]

    def check_sinks() -> None:
        sink.check()
        changelog.check()

    return WorkerRun(
        app=app,
        ingest=ingest,
        duties=duties,
        check_sinks=check_sinks,
        recovery=RecoveryWatch(news),
        stopping=asyncio.Event(),
    )


def _partitions_read(settings: Settings, contracts: Sequence[EntityContract]) -> int:
    """Return how many partitions of tables and of observations one worker may come to read."""
    return settings.partitions + sum(table.partitions for contract in contracts for table in contract.stores)


def _awaited(do: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def doing() -> None:
        do()

    return doing
