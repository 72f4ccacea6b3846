"""Run a worker: wait for Kafka, make what is missing there, put the worker together, and turn until told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Mapping, Sequence

from confluent_kafka.admin import AdminClient

from app.adapters.health import Health, HealthServer
from app.adapters.kafka import KafkaClients
from app.adapters.logs import error_fields, log
from app.adapters.metrics import Metrics
from app.agents.build import quieten_faust
from app.bootstrap.disk import disk_watch, wait_for_space
from app.bootstrap.exactly_once import check_exactly_once
from app.bootstrap.kafka_ready import make_topics, topics_needed, wait_for_broker
from app.bootstrap.partition_watch import check_partitions
from app.bootstrap.worker import build_worker
from app.codec.contract_file import load_contracts
from app.core.contract import EntityContract
from app.core.errors import DiskFull, StateDamaged
from app.settings import Settings


def run_worker(settings: Settings) -> None:
    """Run a worker until it is told to stop; raise what ended it otherwise."""
    # Without this the collector walks every record of every block again and again: a fifth of the time.
    gc.set_threshold(200_000, 50, 1_000)
    quieten_faust()
    contracts = load_contracts(settings.contracts_dir, settings)
    clients = KafkaClients.of(settings)
    admin = clients.admin(f"{settings.deployment}-worker-admin")
    needed, known = topics_needed(settings, contracts), wait_for_broker(admin, settings.bootstrap)
    stated = {name: topic.num_partitions for name, topic in needed.items()}
    check_partitions(stated, known, settings.bootstrap)
    make_topics(admin, needed, known, settings.bootstrap)
    check_exactly_once(settings, contracts)
    metrics = Metrics()
    wait_for_space(disk_watch(settings), metrics)
    try:
        asyncio.run(_run(settings, contracts, clients, admin, metrics, stated))
    except (StateDamaged, DiskFull) as fault:
        # Both are over with the next start: a damaged state is deleted by it, and a full disk is waited for.
        log().error("the worker starts over", **error_fields(fault))
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very process, as it was started


async def _run(
    settings: Settings,
    contracts: Sequence[EntityContract],
    clients: KafkaClients,
    admin: AdminClient,
    metrics: Metrics,
    stated_partitions: Mapping[str, int],
) -> None:
    run = build_worker(settings, contracts, clients, admin, metrics, stated_partitions)
    health = Health(
        live=lambda: {"turning": True},
        ready=lambda: {"partitions assigned and recovered": run.is_ready},
        metrics_page=metrics.page,
    )
    server = HealthServer(settings.worker.http_host, settings.worker.http_port, health)
    log().info("worker started", instance=settings.worker.instance_id, port=server.port)
    try:
        await run.run()
    finally:
        server.close()
    log().info("worker ended")
