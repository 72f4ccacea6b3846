"""Gathers facts from every part of a deployment and asks the rules of `app.core.preflight` about them.

A part that cannot be asked is a problem of its own, and does not keep the others from being asked.
"""

from __future__ import annotations

import stat
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final

from app import topics
from app.adapters.kafka import KafkaClients
from app.adapters.live_rows import live_row_problems
from app.adapters.master_keys import FIRST
from app.adapters.mysql_standbys import MysqlStandbys
from app.adapters.preflight_connect import read_connect
from app.adapters.preflight_fences import read_fence
from app.adapters.preflight_kafka import read_topics
from app.adapters.preflight_mongodb import read_collections
from app.adapters.preflight_mysql import read_mysql
from app.adapters.preflight_postgres import read_postgres
from app.adapters.registry import Registry
from app.codec.envelope import decoder_for
from app.core.contract import EntityContract
from app.core.errors import DriftlineError
from app.core.preflight.collections import collection_problems
from app.core.preflight.connectors import connector_problems
from app.core.preflight.databases import OWN_TABLES, StoreUnderCheck, database_problems, is_repaired, length_problems
from app.core.preflight.facts import ConnectorFacts, DatabaseFacts, TableFact
from app.core.preflight.fences import fence_problems
from app.core.preflight.problems import Found, Problem
from app.core.preflight.topics import topic_problems
from app.core.store import StoreKind
from app.settings import Settings, StoreSettings

_KEYS: Final = ("digest.key", "seal.key")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def live_problems(settings: Settings, contracts: Sequence[EntityContract], rows: int) -> Iterator[Found]:
    """Find everything that is wrong with the running parts; `rows` live rows of each table are compared (0: none)."""
    used = {table.store for contract in contracts for table in contract.stores}
    stores = [store for name, store in settings.stores.items() if name in used]
    yield from secret_file_problems(settings)
    connectors = yield from _connectors(settings, contracts, stores)
    tables: dict[str, Mapping[str, TableFact]] = {}
    for store in stores:
        if store.kind is StoreKind.MONGODB:
            yield from _collections(settings, store, contracts)
            continue
        publication = _publication(store, connectors)
        try:
            facts = _database(store, contracts, publication)
        except DriftlineError as error:
            yield _unreachable(error, f"store {store.name}")
            continue
        tables[store.name] = facts.tables
        yield from database_problems(_under_check(settings, store), facts, contracts)
        if f"{store.schema}.driftline_fence" in facts.tables and is_repaired(store.name, contracts):
            yield from _fences(settings, store)
        for place, fault in MysqlStandbys(store).faults():
            yield Found(Problem.STANDBY_SILENT, f"store {store.name}, standby {place}", fault)
    yield from length_problems(contracts, tables)
    yield from _topics(settings, contracts, stores)
    if rows:
        yield from _live_rows(settings, contracts, [store for store in stores if store.name in tables], rows)


def secret_file_problems(settings: Settings) -> Iterator[Found]:
    """Find secrets' files that are not there, or that others may read."""
    named = [role.password_file for store in settings.stores.values() for role in store.roles.values()]
    named += [settings.kafka_security.sasl_password_file, settings.kafka_security.key_password_file]
    named += [settings.kafka_security.key_file, settings.connect.password_file if settings.connect else None]
    keys = [settings.keys_dir / name for name in _KEYS]
    keys += list(settings.master_keys_dir.glob("ledger*.key")) or [settings.master_keys_dir / FIRST]
    for path in sorted({path for path in (*named, *keys, settings.placeholder_file) if path is not None}):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield Found(Problem.SECRET_MISSING, str(path), error.strerror or "")
            continue
        if mode & _OTHERS and path != settings.placeholder_file:
            yield Found(Problem.SECRET_READABLE, str(path), f"mode {stat.S_IMODE(mode):o}")


def _under_check(settings: Settings, store: StoreSettings) -> StoreUnderCheck:
    slice_rows = settings.conductor.slice_rows if "conduct" in store.roles else 0
    return StoreUnderCheck(store.name, store.kind, store.converter, store.schema, slice_rows)


def _unreachable(error: DriftlineError, where: str) -> Found:
    return Found(
        Problem.UNREACHABLE, error.where or where, f"{error.what} ({error.hint})" if error.hint else error.what
    )


def _connectors(
    settings: Settings, contracts: Sequence[EntityContract], stores: Sequence[StoreSettings]
) -> Generator[Found, None, dict[str, ConnectorFacts]]:
    """Yield problems of connectors; the generator's value is the facts by store."""
    found: dict[str, ConnectorFacts] = {}
    named = [store for store in stores if settings.connect is not None and store.connector is not None]
    for store in stores:
        if store not in named:
            yield Found(Problem.CONNECTOR_UNNAMED, f"store {store.name}")
    if settings.connect is None or not named:
        return found
    try:
        connectors, is_open = read_connect(settings.connect, [store.connector or "" for store in named])
    except DriftlineError as error:
        yield _unreachable(error, "Connect")
        return found
    if is_open:
        yield Found(Problem.CONNECT_OPEN, settings.connect.url)
    placeholder = settings.placeholder if settings.placeholder_file.is_file() else ""
    for store in named:
        facts = connectors.get(store.connector or "")
        if facts is None:
            yield Found(Problem.CONNECTOR_MISSING, f"connector {store.connector}")
            continue
        found[store.name] = facts
        yield from connector_problems(_under_check(settings, store), facts, store.topic_prefix, placeholder, contracts)
    return found


def _publication(store: StoreSettings, connectors: Mapping[str, ConnectorFacts]) -> str | None:
    facts = connectors.get(store.name)
    return None if facts is None else facts.config.get("publication.name", "dbz_publication")


def _collections(settings: Settings, store: StoreSettings, contracts: Sequence[EntityContract]) -> Iterator[Found]:
    try:
        facts = read_collections(store, _tables(store, contracts))
    except DriftlineError as error:
        yield _unreachable(error, f"store {store.name}")
        return
    yield from collection_problems(_under_check(settings, store), facts, contracts)
    if f"{store.schema}.driftline_fence" in facts.has_images and is_repaired(store.name, contracts):
        yield from _fences(settings, store)


def _tables(store: StoreSettings, contracts: Sequence[EntityContract]) -> list[str]:
    names = [f"{store.schema}.{table}" for table in OWN_TABLES]
    return names + [table.table for contract in contracts for table in contract.stores if table.store == store.name]


def _database(store: StoreSettings, contracts: Sequence[EntityContract], publication: str | None) -> DatabaseFacts:
    names = _tables(store, contracts)
    return read_postgres(store, names, publication) if store.kind is StoreKind.POSTGRES else read_mysql(store, names)


def _fences(settings: Settings, store: StoreSettings) -> Iterator[Found]:
    if "apply" not in store.roles:
        return
    try:
        flags = read_fence(store)
    except DriftlineError as error:
        yield _unreachable(error, f"store {store.name}, role apply")
    else:
        yield from fence_problems(store.name, flags, settings.fences)


def _topics(
    settings: Settings, contracts: Sequence[EntityContract], stores: Sequence[StoreSettings]
) -> Iterator[Found]:
    own = {topic.name(settings.deployment): topic.partitions(settings.partitions) for topic in topics.ALL}
    names = [table.topic for contract in contracts for table in contract.stores]
    names += [f"{store.topic_prefix}.{store.schema}.{table}" for store in stores for table in OWN_TABLES[:3]]
    try:
        found = read_topics(KafkaClients.of(settings), [*names, *own])
    except DriftlineError as error:
        yield _unreachable(error, "Kafka")
        return
    yield from topic_problems(found, contracts, [(_under_check(settings, s), s.topic_prefix) for s in stores], own)


def _live_rows(
    settings: Settings, contracts: Sequence[EntityContract], stores: Sequence[StoreSettings], rows: int
) -> Iterator[Found]:
    clients = KafkaClients.of(settings)
    registry = Registry(settings.registry_url) if settings.registry_url is not None else None
    for store in stores:
        for contract in contracts:
            if all(table.store != store.name for table in contract.stores):
                continue
            try:
                decoder = decoder_for(store.kind, store.converter, settings.placeholder, registry)
                yield from live_row_problems(store, contract, clients, decoder, rows)
            except DriftlineError as error:
                yield _unreachable(error, f"store {store.name}, table {contract.table_of(store.name).table}")
