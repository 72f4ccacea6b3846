"""`driftline applier`: carry out repair commands, guarded, in a process with credentials of its own."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from app.applier.failpoints import no_failpoint
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.core.errors import Unready
from app.core.store import StoreKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.adapters.metrics import Metrics
    from app.applier.loop import ApplierLoop
    from app.ports import RowStore
    from app.settings import Settings, StoreSettings


@click.command()
@click.pass_obj
def command(invocation: Invocation) -> int:
    """Carry out repair commands. Starts paused until somebody says `driftline resume`.

    SIGTERM or SIGINT: the transaction in hand is finished, and no other begun.
    """
    from app.adapters.health import Health, HealthServer
    from app.adapters.logs import configure_logs, log
    from app.adapters.metrics import Metrics

    settings = invocation.settings()
    configure_logs("applier", version("driftline"), settings.applier.instance_id)
    metrics = Metrics()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    loop = compose(settings, metrics, stopping)
    health = Health(
        live=lambda: {"turning": True},
        ready=lambda: {"reading commands": loop.is_reading, "not stopping": not loop.stopping.is_set()},
        metrics_page=metrics.page,
    )
    server = HealthServer(settings.applier.http_host, settings.applier.http_port, health)
    try:
        if _start_words(loop):
            # Else one that nobody has told to go on yet would not say a word.
            hint = "it writes nothing until somebody says `driftline resume`" if loop.words.is_stopped else ""
            log().info("applier started", port=server.port, hint=hint)
            loop.run()
            log().info("applier ended")
    finally:
        server.close()
    return ExitCode.AGREE


def _wait_or_leave(stopping: threading.Event, seconds: float) -> None:
    """Wait; leave the process where it was told to stop meanwhile, for it has nothing in hand yet."""
    if stopping.wait(seconds):
        raise click.exceptions.Exit(ExitCode.AGREE)


def compose(
    settings: Settings, metrics: Metrics, stopping: threading.Event, failpoint: Callable[[str], None] = no_failpoint
) -> ApplierLoop:
    """Return the loop with everything real; `failpoint` is called between two steps."""
    from app import topics
    from app.adapters.image_seals import ImageSeals
    from app.adapters.kafka import KafkaClients
    from app.adapters.kafka_read import KafkaEnds
    from app.adapters.logs import log, must_wait
    from app.adapters.master_keys import FileMasterKeys, master_key_files
    from app.adapters.registry import prepared_book
    from app.adapters.seal import DeploymentSeals, Seal, read_key
    from app.adapters.signing import SIGNERS, SignersFile, read_signers, verify
    from app.adapters.system_clock import wall_ms
    from app.adapters.verify_ahead import VerifyAhead
    from app.applier.apply import Applier
    from app.applier.belief import Belief
    from app.applier.forward_clock import ForwardClock
    from app.applier.loop import ApplierLoop, Topics
    from app.applier.rehearse import Rehearsing
    from app.applier.words import Words, WordTopics
    from app.codec.contract_file import load_contracts
    from app.codec.records import FIXED_IDS, RecordCodec
    from app.core.pace import LogLags

    name = settings.deployment
    contracts = load_contracts(settings.contracts_dir, settings)
    metrics.expect([c.entity for c in contracts], list(settings.stores))
    wait = partial(_wait_or_leave, stopping)
    book = prepared_book(settings.registry_url, name, FIXED_IDS, must_wait("applier"), wait)
    codec = RecordCodec(name, book)
    clients = KafkaClients.of(settings)
    # What cannot be read now is refused now; later it is waited for.
    read_signers(settings.keys_dir / SIGNERS)
    master_key_files(settings.master_keys_dir)
    ahead = VerifyAhead(verify)
    belief = Belief(name, SignersFile(settings.keys_dir).now, ahead, ahead.expect)
    clock = ForwardClock(wall_ms)
    words = Words(
        clients.consumer("driftline-applier-control", f"{name}-applier-words"),
        clients.consumer("driftline-applier-words", f"{name}-applier-words"),
        KafkaEnds(clients.admin("driftline-applier-ends")),
        WordTopics(
            topics.APPROVALS.name(name),
            topics.CONTROL.name(name),
            topics.REHEARSALS.name(name),
            topics.STATUS.name(name),
        ),
        codec,
        log(),
        belief,
        clock,
        settings.panic_file,
        LogLags(((c.entity, replica.store) for c in contracts for replica in c.replicas), settings.partitions),
    )
    stores = row_stores(settings)
    targets = {replica.store for contract in contracts for replica in contract.replicas}
    applier = Applier(
        contracts={c.entity: c for c in contracts},
        stores=stores,
        targets=frozenset(targets & set(stores)),
        seals=DeploymentSeals(
            Seal([read_key(settings.keys_dir / "seal.key")]), ImageSeals(FileMasterKeys(settings.master_keys_dir))
        ),
        belief=belief,
        words_on=words.words_on,
        now_wall_ms=clock,
        limits=settings.applier.limits,
        is_stopped=words.asks_to_stop,
        is_quarantined=words.is_quarantined,
        rehearsed_at_ms=words.rehearsed_at_ms,
        failpoint=failpoint,
    )
    member = settings.applier.instance_id
    return ApplierLoop(
        applier=applier,
        rehearsing=Rehearsing(applier, row_stores(settings, targets_only=True, of_staging=True)),
        words=words,
        consumer=clients.consumer(
            f"driftline-{member}",
            f"{name}-applier",
            # Its own name in the group: an applier that comes back takes its partitions at once.
            {"group.instance.id": member, "session.timeout.ms": 10_000, "max.poll.interval.ms": 600_000},
        ),
        sink=clients.producer(f"driftline-{member}"),
        codec=codec,
        topics=Topics(
            topics.REPAIRS.name(name),
            topics.OUTCOMES.name(name),
            topics.QUARANTINE.name(name),
            topics.CONTROL.name(name),
            topics.REHEARSALS.name(name),
        ),
        meter=metrics,
        log=log(),
        stopping=stopping,
        partitions=settings.partitions,
    )


def row_stores(settings: Settings, *, targets_only: bool = False, of_staging: bool = False) -> dict[str, RowStore]:
    """Return every store row by row, or those that are some contract's replica, or the copies that they have.

    Their connections are let go of with the end of the command.
    """
    from app.adapters.mongodb_rows import MongodbRows
    from app.adapters.mysql_rows import MysqlRows
    from app.adapters.postgres_rows import PostgresRows
    from app.adapters.seal import read_key
    from app.codec.contract_file import load_contracts

    contracts = load_contracts(settings.contracts_dir, settings)
    digest_key = read_key(settings.keys_dir / "digest.key")
    replicas = {replica.store for contract in contracts for replica in contract.replicas}
    if of_staging:
        copies = [(each, each.staging) for each in settings.stores.values() if each.staging is not None]
        chosen = [replace(each, host=copy.host, port=copy.port) for each, copy in copies]
    else:
        chosen = list(settings.stores.values())
    kinds: dict[StoreKind, type[PostgresRows | MysqlRows | MongodbRows]] = {
        StoreKind.POSTGRES: PostgresRows,
        StoreKind.MARIADB: MysqlRows,
        StoreKind.MYSQL: MysqlRows,
        StoreKind.MONGODB: MongodbRows,
    }
    found: dict[str, RowStore] = {}
    context = click.get_current_context(silent=True)
    for store in chosen:
        if (store.name in replicas or not targets_only) and _has_logins(store):
            rows = found[store.name] = kinds[store.kind](store, contracts, digest_key)
            if context is not None:
                context.call_on_close(rows.close)
    return found


def _has_logins(store: StoreSettings) -> bool:
    """Tell whether a store may be read row by row: one of MongoDB that is only watched has no login for that."""
    return store.kind is not StoreKind.MONGODB or "read" in store.roles


def _start_words(loop: ApplierLoop) -> bool:
    """Read what people have said; while Kafka does not answer, try again. False if it is to stop before."""
    while not loop.stopping.is_set():
        try:
            loop.words.start()
        except Unready as fault:
            loop.log.warning("the applier must wait", what=fault.what, where=fault.where, hint=fault.hint)
            loop.stopping.wait(2)
        else:
            return True
    return False
