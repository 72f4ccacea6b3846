"""The composition root of the worker: settings in, a running worker out. Concrete adapters are named here alone."""

from __future__ import annotations

import asyncio
import gc
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app import observe, topics
from app.adapters.health import Health, HealthServer
from app.adapters.kafka import KafkaClients, KafkaSink
from app.adapters.kafka_read import KafkaEnds, KafkaReader
from app.adapters.logs import error_fields, log
from app.adapters.metrics import Metrics
from app.adapters.registry import Registry, prepared_book
from app.adapters.seal import DeploymentSeals, read_key
from app.adapters.system_clock import monotonic_ms, wall_ms
from app.agents.block_consumer import Block
from app.agents.build import WorkerShape, add_agents, add_table, build_app, quieten_faust
from app.agents.bulk_table import BulkStore, BulkTable
from app.agents.compare import Compare
from app.agents.counting import AgentCounts
from app.agents.differing import DifferingFields
from app.agents.ingest import Ingest, Role, Source
from app.agents.pipeline_probe import PipelineProbe, WatchedPipeline
from app.agents.plan import Plan, PlanTopics
from app.agents.rows import RowReader
from app.agents.run import Duty, WorkerRun
from app.agents.stall_watch import StallWatch
from app.codec.blocks import pack
from app.codec.contract_file import load_contracts, topic_of
from app.codec.envelope import Decoder, decoder_for
from app.codec.records import FIXED_IDS, RecordCodec
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester, keyed_hash
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.finding import Finding
from app.core.observation import PipelineReached
from app.core.published import PublishedFinding, QuarantinedRecord
from app.core.status import record_key
from app.core.store import Converter, StoreKind
from app.settings import Settings, StoreSettings

_BROKER_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_REPEAT_PIPELINE_EVERY: Final = 10
"""A worker that took a partition over has not heard of the pipeline yet."""

_AVRO_MARK: Final = b"\x00"
_SCHEMA_MARK: Final = b'{"schema"'


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it was put together."""

    run: WorkerRun
    metrics: Metrics
    sinks: Sequence[KafkaSink]


def run_worker(settings: Settings) -> None:
    """Run a worker until it is told to stop; raise what ended it otherwise."""
    # Without this the collector walks every record of every block again and again: a fifth of the time.
    gc.set_threshold(200_000, 50, 1_000)
    quieten_faust()
    contracts = load_contracts(settings.contracts_dir, settings)
    clients = KafkaClients.of(settings)
    admin = clients.admin(f"{settings.deployment}-worker-admin")
    wait_for_broker(admin, settings.bootstrap)
    make_topics(admin, settings, contracts)
    asyncio.run(_run(settings, contracts, clients, admin))


async def _run(
    settings: Settings, contracts: Sequence[EntityContract], clients: KafkaClients, admin: AdminClient
) -> None:
    worker = build_worker(settings, contracts, clients, admin)
    run = worker.run
    health = Health(
        live=lambda: {"turning": True},
        ready=lambda: {"partitions assigned and recovered": run.is_ready},
        metrics_page=worker.metrics.page,
    )
    server = HealthServer(settings.worker.http_host, settings.worker.http_port, health)
    log().info("worker started", instance=settings.worker.instance_id, port=server.port)
    try:
        await run.run()
    finally:
        server.close()
    log().info("worker ended")


def _tell_registry(fault: Unready, again_in_s: float) -> None:
    log().warning("the worker must wait", again_in_ms=int(again_in_s * 1_000), **error_fields(fault))


def wait_for_broker(admin: AdminClient, bootstrap: str) -> None:
    """Wait until the broker answers, for half a minute; then `Unready`."""
    for wait_s in _BROKER_WAITS_S:
        try:
            admin.list_topics(timeout=5.0)
        except KafkaException as error:
            log().warning(
                "the broker does not answer", where=bootstrap, again_in_ms=int(wait_s * 1_000), what=str(error)
            )
            time.sleep(wait_s)
        else:
            return
    raise Unready("the broker does not answer", where=bootstrap, hint="is it running? is `bootstrap` right?")


def make_topics(admin: AdminClient, settings: Settings, contracts: Sequence[EntityContract]) -> None:
    """Make the topics that are missing: ours, and those of the connectors, which Faust would ignore until later."""
    wanted = {
        topic.name(settings.deployment): NewTopic(
            topic.name(settings.deployment),
            num_partitions=topic.partitions(settings.partitions),
            replication_factor=-1,
            config=topic.configuration(),
        )
        for topic in topics.ALL
    }
    for contract in contracts:
        for table in contract.stores:
            wanted[table.topic] = NewTopic(table.topic, num_partitions=table.partitions, replication_factor=-1)
    for store in _stores(settings, contracts):
        for name in (_own_topic(store, "driftline_beacon"), _own_topic(store, "driftline_ledger")):
            wanted.setdefault(name, NewTopic(name, num_partitions=1, replication_factor=-1))
    known = admin.list_topics(timeout=10.0).topics
    missing = [topic for name, topic in wanted.items() if name not in known]
    if not missing:
        return
    for name, made in admin.create_topics(missing).items():
        try:
            made.result()
        except KafkaException as error:
            if "TOPIC_ALREADY_EXISTS" not in str(error):
                raise Unready(f"cannot make topic {name}: {error}", where=settings.bootstrap) from error


def _own_topic(store: StoreSettings, table: str) -> str:
    return topic_of(store.topic_prefix, f"{store.schema}.{table}")


def _stores(settings: Settings, contracts: Sequence[EntityContract]) -> list[StoreSettings]:
    named = {table.store for contract in contracts for table in contract.stores}
    return [store for name, store in settings.stores.items() if name in named]


def build_worker(
    settings: Settings, contracts: Sequence[EntityContract], clients: KafkaClients, admin: AdminClient
) -> Worker:
    """Put a worker together. Nothing is started."""
    metrics = Metrics()
    stores = _stores(settings, contracts)
    metrics.expect([c.entity for c in contracts], [s.name for s in stores])
    digest_key = read_key(settings.keys_dir / "digest.key")
    seals = DeploymentSeals.from_folder(settings.keys_dir)
    book = prepared_book(settings.registry_url, settings.deployment, FIXED_IDS, _tell_registry)
    codec = RecordCodec(settings.deployment, book)
    name = f"{settings.deployment}-{settings.worker.instance_id}"
    sink, changelog = clients.producer(f"{name}-records"), clients.producer(f"{name}-changelog")
    shape = WorkerShape(
        deployment=settings.deployment,
        bootstrap=settings.bootstrap,
        security=settings.kafka_security,
        state_dir=settings.state_dir,
        instance_id=settings.worker.instance_id,
        partitions=settings.partitions,
        block_rows_max=settings.worker.block_rows_max,
    )
    app = build_app(shape)
    table = add_table(app, shape, changelog)
    counts = AgentCounts(metrics, [c.entity for c in contracts])
    decoders = {store.name: _decoder(settings, store) for store in stores}
    readers = dict(_readers(settings, contracts, decoders, digest_key))
    ends = KafkaEnds(admin)
    by_offset = KafkaReader(clients, f"{name}-lookup")
    by_offset.connect()
    sources = list(
        _sources(settings, contracts, decoders, {at: digester for at, (_, digester) in readers.items()}, digest_key)
    )
    numbers = {contract.entity: contract.number for contract in contracts}
    held = _Held(table)

    def publish(finding: Finding) -> bytes:
        key_hash = keyed_hash(digest_key, numbers[finding.entity], finding.canonical_key)
        return codec.finding(PublishedFinding(finding, seals.seal_key(finding.entity, finding.canonical_key), key_hash))

    ingest = Ingest(
        sources=sources,
        contracts=contracts,
        observations=topics.OBSERVATIONS.name(settings.deployment),
        partitions=settings.partitions,
        sink=sink,
        quarantine=_QuarantineTopic(sink, codec, topics.QUARANTINE.name(settings.deployment)),
        watermarks=_Watermarks(ends, sources).of,
        counts=counts,
        wall_ms=wall_ms,
    )
    compare = Compare(
        contracts=contracts,
        table=held,
        sink=sink,
        drifts=topics.DRIFTS.name(settings.deployment),
        publish=publish,
        explain=DifferingFields(by_offset.several, readers, monotonic_ms).names,
        counts=counts,
        log_undecodable=_log_undecodable,
        clock_ms=monotonic_ms,
    )
    plan_topics = PlanTopics(
        *(t.name(settings.deployment) for t in (topics.DRIFTS, topics.OUTCOMES, topics.APPROVALS, topics.REPAIRS))
    )
    plan = Plan(
        contracts={contract.entity: contract for contract in contracts},
        table=held,
        sink=sink,
        topics=plan_topics,
        records=codec,
        partitions=settings.partitions,
        counts=counts,
        wall_ms=wall_ms,
        log_undecodable=_log_undecodable,
    )
    add_agents(
        app,
        sources=sources,
        observations=topics.OBSERVATIONS.name(settings.deployment),
        plan_topics=plan_topics,
        ingest=ingest,
        compare=compare,
        plan=plan,
    )
    app.before_commit += [compare.acknowledge, held.persist]
    app.finalize()
    reports = _Reports(settings, compare, counts, codec, sink, metrics, [s.name for s in stores])
    probing = _Probing(
        PipelineProbe(ends, KafkaReader(clients, f"{name}-pipelines").read),
        list(_pipelines(settings, contracts)),
        held,
        sink,
        topics.OBSERVATIONS.name(settings.deployment),
        settings.partitions,
        compare.beacon_now_ms,
    )
    duties = [
        Duty("statuses", 1.0, reports.send),
        Duty("pipelines", 1.0, probing.look),
        Duty("commands due", 1.0, _awaited(plan.resend_due)),
    ]

    def check_sinks() -> None:
        sink.check()
        changelog.check()

    run = WorkerRun(app=app, ingest=ingest, duties=duties, check_sinks=check_sinks, stopping=asyncio.Event())
    return Worker(run, metrics, [sink, changelog])


def _decoder(settings: Settings, store: StoreSettings) -> Decoder:
    registry = Registry(settings.registry_url) if settings.registry_url is not None else None
    return decoder_for(store.kind, store.converter, settings.placeholder, registry)


def _readers(
    settings: Settings, contracts: Sequence[EntityContract], decoders: dict[str, Decoder], digest_key: bytes
) -> Iterator[tuple[tuple[str, str], tuple[Decoder, RowDigester]]]:
    for contract in contracts:
        for table in contract.stores:
            dialect = BY_LOG[settings.stores[table.store].kind]
            digester = RowDigester(contract, table.store, dialect, digest_key)
            yield (contract.entity, table.store), (decoders[table.store], digester)


def _sources(
    settings: Settings,
    contracts: Sequence[EntityContract],
    decoders: dict[str, Decoder],
    digesters: dict[tuple[str, str], RowDigester],
    digest_key: bytes,
) -> Iterator[Source]:
    owner: dict[str, str] = {}
    for contract in contracts:
        for table in contract.stores:
            if table.topic in owner:
                raise ContractViolation(
                    f"{contract.entity} and {owner[table.topic]} both read topic {table.topic}",
                    where=str(settings.contracts_dir),
                    hint="one table belongs to one entity",
                )
            owner[table.topic] = contract.entity
            digester = digesters[contract.entity, table.store]
            rows = RowReader(contract, table.store, digester, digest_key, settings.partitions)
            yield Source(table.topic, table.store, Role.TABLE, decoders[table.store], contract.entity, rows)
    for store in _stores(settings, contracts):
        decoder = decoders[store.name]
        yield Source(_own_topic(store, "driftline_beacon"), store.name, Role.BEACON, decoder)
        yield Source(_own_topic(store, "driftline_ledger"), store.name, Role.LEDGER, decoder)


def _pipelines(settings: Settings, contracts: Sequence[EntityContract]) -> Iterator[WatchedPipeline]:
    for contract in contracts:
        kind = settings.stores[contract.authority].kind
        decode = _guessing_decoder(settings, kind)
        for index, replica in enumerate(contract.replicas):
            if replica.pipeline is not None:
                pipeline = replica.pipeline
                yield WatchedPipeline(contract.number, index, kind, pipeline.group, pipeline.topic, decode)


def _guessing_decoder(settings: Settings, kind: StoreKind) -> Callable[[bytes | None, bytes | None], Decoder]:
    """Return what picks the decoder of a pipeline's record by its bytes: its converter is not ours to set."""
    made: dict[Converter, Decoder] = {}

    def pick(key: bytes | None, value: bytes | None) -> Decoder:
        first = (value or key or b"")[:16].lstrip()
        converter = Converter.JSON
        if first.startswith(_AVRO_MARK) and settings.registry_url is not None:
            converter = Converter.AVRO
        elif first.startswith(_SCHEMA_MARK):
            converter = Converter.JSON_SCHEMA
        if converter not in made:
            registry = Registry(settings.registry_url) if settings.registry_url is not None else None
            made[converter] = decoder_for(kind, converter, settings.placeholder, registry)
        return made[converter]

    return pick


def _log_undecodable(block: Block, offset: int, fault: Undecodable) -> None:
    log().error(
        "a record of ours cannot be read",
        topic=block.topic,
        partition=block.partition,
        offset=offset,
        reason=fault.reason,
        **error_fields(fault),
    )


class _Held:
    """The table, which has its store only once the app runs."""

    def __init__(self, table: BulkTable) -> None:
        self._table = table

    @property
    def _store(self) -> BulkStore:
        return self._table.bulk

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.multi_get(partition, keys)

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        self._store.write_many(partition, items)

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return self._store.scan(partition, start, end, limit)

    def partitions(self) -> Iterator[int]:
        return self._store.partitions()

    def revision(self, partition: int) -> int:
        return self._store.revision(partition)

    async def persist(self) -> None:
        await self._store.persist()


class _Watermarks:
    """Asks for the ends of all CDC partitions of a store, its beacons' and its ledger's included."""

    def __init__(self, ends: KafkaEnds, sources: Sequence[Source]) -> None:
        self._ends = ends
        self._sources = sources
        self._partitions: dict[str, list[tuple[str, int]]] = {}

    async def of(self, store: str) -> list[tuple[str, int, int]]:
        if store not in self._partitions:
            names = [source.topic for source in self._sources if source.store == store]
            counts = await asyncio.to_thread(self._ends.partitions_of, names)
            self._partitions[store] = [(name, p) for name, count in counts.items() for p in range(count)]
        return await self._ends.high_watermarks(self._partitions[store])


class _QuarantineTopic:
    def __init__(self, sink: KafkaSink, codec: RecordCodec, topic: str) -> None:
        self._sink = sink
        self._codec = codec
        self._topic = topic

    def put(self, record: QuarantinedRecord) -> None:
        key = f"{record.topic}/{record.partition}/{record.offset}".encode()
        headers = [
            ("reason", record.reason.encode()),
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
        ]
        self._sink.send(self._topic, 0, key, self._codec.quarantine(record), headers)
        log().warning(
            "a record went to quarantine",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=record.reason,
            what=record.what,
        )


class _Reports:
    """Says each second how far every entity is proven."""

    def __init__(
        self,
        settings: Settings,
        compare: Compare,
        counts: AgentCounts,
        codec: RecordCodec,
        sink: KafkaSink,
        metrics: Metrics,
        stores: Sequence[str],
    ) -> None:
        self._settings = settings
        self._compare = compare
        self._counts = counts
        self._codec = codec
        self._sink = sink
        self._metrics = metrics
        self._stores = stores
        self._stalls = StallWatch(settings.stall_after_ms)
        self._topic = topics.STATUS.name(settings.deployment)

    async def send(self) -> None:
        seen = self._compare.reports(wall_ms(), self._settings.worker.instance_id)
        reports = self._stalls.note(seen, monotonic_ms())
        for report in reports:
            self._sink.send(self._topic, 0, record_key(report), self._codec.status(report))
        self._counts.reported(reports)
        for store in self._stores:
            self._metrics.set(observe.STORE_STALLED, float(self._stalls.is_stalled(store)), store=store)
        free = shutil.disk_usage(self._settings.state_dir).free
        self._metrics.set(observe.DISK_HEADROOM, free)


class _Probing:
    """Tells every partition how far each pipeline is, whenever that moved, and now and then anyway."""

    def __init__(
        self,
        probe: PipelineProbe,
        pipelines: Sequence[WatchedPipeline],
        table: _Held,
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
                or (place == self._told.get(at) and self._rounds % _REPEAT_PIPELINE_EVERY)
            ):
                continue
            self._told[at] = place
            packed = pack(PipelineReached(pipeline.entity, pipeline.replica, place, seen_at_ms))
            for target in range(self._partitions):
                self._sink.send(self._observations, target, None, packed)


def _awaited(do: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def doing() -> None:
        do()

    return doing
