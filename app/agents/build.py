"""Put the Faust app of a worker together. Agents are registered by call; nothing happens on import.

Settings of Faust that matter here: the web server off; agents that crash take the process down, since a restarted agent
would skip what it fell over; heartbeats each second and a session of ten, with a name per worker that survives its
restart, so that a killed worker is back without a rebalance.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from app import topics
from app.agents.block_consumer import WorkerApp
from app.agents.bulk_table import BulkTable, ChangelogSink, StateHome
from app.agents.compare import Compare, changelog_rank
from app.agents.ingest import Ingest, Role, Source
from app.agents.memory_shares import BLOCKS_BUFFERED_MAX
from app.agents.plan import Plan, PlanTopics
from app.agents.side_by_side import SideBySide
from app.settings import KafkaSecurity, SaslMechanism, SecurityProtocol


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What a worker's app is made with."""

    deployment: str
    bootstrap: str
    security: KafkaSecurity
    state_dir: Path
    instance_id: str
    partitions: int
    block_rows_max: int
    recovered_rows_max: int
    fetch_bytes_max: int
    standby_replicas: int

    @property
    def group(self) -> str:
        """The consumer group of all workers of a deployment."""
        return topics.group_of(self.deployment)

    @property
    def changelog(self) -> str:
        """The topic that the state is kept in."""
        return topics.changelog_of(self.deployment)


def build_app(shape: WorkerShape) -> WorkerApp:
    """Return an app without agents."""
    # Faust makes the folder itself, but not its parents.
    folder = shape.state_dir / shape.instance_id
    folder.mkdir(parents=True, exist_ok=True)
    return WorkerApp(
        shape.group,
        broker=[f"kafka://{address}" for address in shape.bootstrap.split(",")],
        broker_credentials=_credentials(shape.security),
        store="rocksdb://",
        datadir=str(folder),
        web_enabled=False,
        topic_disable_leader=True,
        # Every topic is there before an app is built; Faust would ask for its own again, and crash of a broker that
        # is away in that moment.
        topic_allow_declare=False,
        topic_partitions=shape.partitions,
        topic_replication_factor=1,
        table_standby_replicas=shape.standby_replicas,
        agent_supervisor=CrashingSupervisor,
        broker_heartbeat_interval=1.0,
        broker_session_timeout=10.0,
        broker_request_timeout=30.0,
        broker_commit_interval=0.35,
        broker_max_poll_records=shape.block_rows_max,
        recovered_rows_max=shape.recovered_rows_max,
        consumer_group_instance_id=f"{shape.group}-{shape.instance_id}",
        consumer_max_fetch_size=shape.fetch_bytes_max,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=BLOCKS_BUFFERED_MAX,
        # Rebalances wait for blocks in hand; a hundred milliseconds each.
        stream_wait_empty=True,
        loghandlers=[],
        logging_config=None,
    )


def add_table(app: WorkerApp, shape: WorkerShape, sink: ChangelogSink, home: StateHome) -> BulkTable:
    """Give the app its one table: the state of the rows, and what the planner remembers."""
    table = BulkTable(app, sink=sink, rank=changelog_rank, home=home, name=topics.TABLE, partitions=shape.partitions)
    app.tables.add(table)
    return table


def add_agents(
    app: WorkerApp,
    *,
    sources: list[Source],
    observations: str,
    plan_topics: PlanTopics,
    ingest: Ingest,
    compare: Compare,
    plan: Plan,
) -> None:
    """Register the agents on their topics."""
    tables = [source.topic for source in sources if source.role is not Role.BEACON]
    app.side_by_side = _side_by_side(sources)
    app.packed_topics = frozenset({observations})
    beacons = [source.topic for source in sources if source.role is Role.BEACON]
    app.agent(_topic(app, tables), name="ingest")(ingest.tables)
    if beacons:
        app.agent(_topic(app, beacons), name="beacons")(ingest.beacons)
    app.agent(_topic(app, [observations]), name="compare")(compare.run)
    planned_on = [plan_topics.drifts, plan_topics.outcomes, plan_topics.approvals]
    app.agent(_topic(app, planned_on), name="plan")(plan.run)


def _side_by_side(sources: Iterable[Source]) -> SideBySide:
    tables = [source for source in sources if source.role is Role.TABLE]
    beacons = {
        beacon.topic: frozenset(table.entity for table in tables if table.store == beacon.store)
        for beacon in sources
        if beacon.role is Role.BEACON
    }
    return SideBySide({table.topic: table.entity for table in tables}, beacons)


def _topic(app: WorkerApp, names: list[str]) -> Any:  # noqa: ANN401 - Faust is untyped here
    # Values are blocks already; the raw codec lets them through.
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _credentials(security: KafkaSecurity) -> Any:  # noqa: ANN401 - Faust is untyped here
    if security.protocol is SecurityProtocol.PLAINTEXT:
        return None
    context = None
    if security.protocol in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}:
        context = ssl.create_default_context(cafile=str(security.ca_file) if security.ca_file else None)
        if security.certificate_file is not None:
            password = security.client_properties().get("ssl.key.password")
            context.load_cert_chain(str(security.certificate_file), security.key_file, password)
    if not security.uses_sasl:
        return faust.SSLCredentials(context)
    mechanism = security.sasl_mechanism or SaslMechanism.PLAIN
    return faust.SASLCredentials(
        username=security.sasl_user,
        password=security.client_properties().get("sasl.password"),
        mechanism=mechanism.value,
        ssl_context=context,
    )


def quieten_faust() -> None:
    """Let Faust and aiokafka speak of what matters only."""
    for name in ("faust", "mode", "aiokafka", "app.agents.block_consumer", "app.agents.bulk_table"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A commit that waits for the broker overlaps its timer; that is back-pressure and no news.
    logging.getLogger("mode.timers").setLevel(logging.ERROR)
