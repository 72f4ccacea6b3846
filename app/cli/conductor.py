"""`driftline conductor`: have tables read again, slice by slice, until it is stopped."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.core.conducting import Concluded, Desk, Done, Outcome, Slice, Terms
from app.core.errors import ContractViolation, DriftlineError, Undecodable
from app.core.hours import daily_hours

if TYPE_CHECKING:
    from app.conductor.run import Feeds
    from app.core.contract import EntityContract
    from app.settings import Settings

_ID_BITS: Final = 96


class _Told:
    """Tells logs and metrics."""

    def __init__(self, entities: Sequence[str], stores: Sequence[str]) -> None:
        from app.adapters.logs import log
        from app.adapters.metrics import Metrics

        self._log = log()
        self.metrics = Metrics()
        self.metrics.expect(entities, stores)
        self.is_reached = dict.fromkeys(stores, True)
        self.is_reading = False

    def began(self, store: str, begun: Slice) -> None:
        self.is_reached[store] = True
        self._log.debug("slice is read again", store=store, entity=begun.part.contract.entity, count=begun.rows)

    def concluded(self, store: str, concluded: Concluded) -> None:
        from app import observe

        over, entity = concluded.slice, concluded.slice.part.contract.entity
        self.metrics.add(observe.ROWS_REREAD, max(over.rows, over.seen_rows), store=store, entity=entity)
        self.metrics.add(observe.SLICES, store=store, entity=entity, outcome=concluded.outcome.value)
        if concluded.outcome is not Outcome.WHOLE:
            self._log.warning(
                "slice was not read whole",
                store=store,
                entity=entity,
                count=over.seen_rows,
                total=over.rows,
                decision=concluded.outcome.value,
                hint="does the connector run and take signals? may it read this table? its log says why not",
            )

    def store_is_down(self, store: str, fault: DriftlineError) -> None:
        from app.adapters.logs import error_fields

        self.is_reached[store] = False
        self._log.warning("store cannot be asked", store=store, **error_fields(fault))

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        from app.adapters.logs import error_fields

        self._log.warning("record cannot be read", topic=topic, **error_fields(fault))


def _terms(settings: Settings) -> Terms:
    asked = settings.conductor
    return Terms(
        float(asked.rows_per_s),
        asked.slice_rows,
        tuple(map(daily_hours, asked.hours)),
        asked.pass_interval_s * 1_000,
        asked.lag_ms_max,
    )


def _feeds(settings: Settings, contracts: Sequence[EntityContract], stores: Sequence[str]) -> Feeds:
    from app.adapters.registry import schema_book
    from app.bootstrap.decoders import decoder_of
    from app.bootstrap.sources import own_topic
    from app.codec.control import decode_control
    from app.codec.records import RecordCodec
    from app.codec.told_topics import ToldTopics
    from app.conductor.run import Feeds
    from app.topics import CONTROL

    codec = RecordCodec(settings.deployment, schema_book(settings.registry_url, settings.deployment))
    decoders = {name: decoder_of(settings, settings.stores[name]) for name in stores}
    return Feeds(
        told=ToldTopics.of(settings.deployment, codec),
        words=CONTROL.name(settings.deployment),
        read_word=decode_control,
        signals={own_topic(settings.stores[name], "driftline_signal"): (name, decoders[name]) for name in stores},
        tables={
            table.topic: (table.store, decoders[table.store])
            for contract in contracts
            for table in contract.stores
            if table.store in decoders
        },
    )


@click.command()
@click.option("--instance", default="conductor-1", show_default=True, help="Names this process in logs.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Serve metrics and health here.")
@click.option("--http-host", default="127.0.0.1", show_default=True)
@click.pass_obj
def command(invocation: Invocation, instance: str, http_port: int | None, http_host: str) -> int:
    """Have tables read again within a budget, and hold them against what their logs said. Run one.

    Every store with a role `conduct` is read, through its connector's signals; `driftline init` gives the rights. What
    is found comes as drifts of the kind `capture_gap`, and `driftline status` tells how far it is.
    """
    from app.adapters.health import Health, HealthServer
    from app.adapters.kafka import KafkaClients
    from app.adapters.logs import configure_logs, must_wait
    from app.adapters.seal import KeySeals
    from app.adapters.slice_store import ROLE, slice_store
    from app.adapters.system_clock import monotonic_ms, wall_ms
    from app.adapters.topic_log import TopicLog
    from app.codec.contract_file import load_contracts
    from app.codec.rereads import decode_done, encode_done, record_key
    from app.codec.slice_signals import slice_id
    from app.conductor.run import Conductor
    from app.topics import REREADS

    settings = invocation.settings()
    configure_logs("conductor", version("driftline"), instance)
    contracts = load_contracts(settings.contracts_dir, settings)
    stores = {name: store for name, store in settings.stores.items() if ROLE in store.roles}
    if not stores:
        raise ContractViolation(
            f'no store has a role "{ROLE}"',
            where=str(invocation.config),
            hint=f"add stores.<name>.roles.{ROLE} with user and password_file, then run `driftline init`",
        )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    told = _Told([c.entity for c in contracts], list(stores))
    server = None
    if http_port is not None:
        health = Health(
            live=lambda: {"turning": True},
            ready=lambda: {
                "reading topics": told.is_reading,
                **{f"store {name}": reached for name, reached in told.is_reached.items()},
            },
            metrics_page=told.metrics.page,
        )
        server = HealthServer(http_host, http_port, health)
    clients = KafkaClients.of(settings)
    log, seals = TopicLog(clients, f"driftline-{instance}"), KeySeals.from_folder(settings.keys_dir)
    sink = clients.producer(f"driftline-{instance}")
    rereads = REREADS.name(settings.deployment)
    feeds = _feeds(settings, contracts, list(stores))
    terms = _terms(settings)

    def keep(done: Done) -> None:
        sink.check()
        sink.send(rereads, 0, record_key(done), encode_done(done, seals.seal_key))

    conductor = Conductor(
        desks={name: Desk.of(name, contracts, terms, settings.partitions, monotonic_ms()) for name in stores},
        stores={name: slice_store(store) for name, store in stores.items()},
        feeds=feeds,
        keep=keep,
        new_slice_id=lambda: slice_id(secrets.randbits(_ID_BITS)),
        monotonic_ms=monotonic_ms,
        wall_ms=wall_ms,
        tell=told,
        stopping=stopping,
    )
    try:
        # A topic of a connector is there when the connector has written to it, or a worker has begun.
        if log.wait_for([rereads, *feeds.topics], stopping, must_wait("conductor")):
            held = [decode_done(r.value, seals.open_key) for r in log.until_now([rereads]) if r.value is not None]
            for desk in conductor.desks.values():
                desk.resume(held)
            for record in log.until_now([feeds.words]):
                conductor.take(record)
            told.is_reading = True
            conductor.run(log.on_and_on(feeds.topics, wall_ms()))
    finally:
        sink.flush()
        if server is not None:
            server.close()
    return ExitCode.AGREE
