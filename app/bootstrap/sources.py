"""Which topics a worker reads, of which store, and what makes rows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.agents.contributing import ContributingRowReader
from app.agents.ingest import Role, Source
from app.agents.rows import RowReader
from app.bootstrap.decoders import typed_readers_of
from app.codec.contract_file import topic_of
from app.codec.envelope import Decoder
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester
from app.core.errors import ContractViolation
from app.settings import Settings, StoreSettings


def sources_of(
    settings: Settings,
    contracts: Sequence[EntityContract],
    decoders: dict[str, Decoder],
    digesters: dict[tuple[str, str], RowDigester],
    digest_key: bytes,
    known_keys_max: int,
) -> Iterator[Source]:
    """Yield every topic to read; raise `ContractViolation` where two entities claim the same.

    `known_keys_max` bounds the keys that all tables together keep.
    """
    owner: dict[str, str] = {}
    tables = sum(len(contract.stores) for contract in contracts)
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
            if contract.aggregates:
                dialect = BY_LOG[settings.stores[table.store].kind]
                rows: RowReader = ContributingRowReader(
                    contract, table.store, digester, digest_key, settings.partitions, dialect
                )
            else:
                rows = RowReader(
                    contract,
                    table.store,
                    digester,
                    digest_key,
                    settings.partitions,
                    typed=typed_readers_of(settings, settings.stores[table.store]),
                    known_keys_max=known_keys_max // tables,
                )
            yield Source(table.topic, table.store, Role.TABLE, decoders[table.store], contract.entity, rows)
    for store in stores_compared(settings, contracts):
        decoder = decoders[store.name]
        yield Source(own_topic(store, "driftline_beacon"), store.name, Role.BEACON, decoder)
        yield Source(own_topic(store, "driftline_ledger"), store.name, Role.LEDGER, decoder)
        yield Source(own_topic(store, "driftline_signal"), store.name, Role.SIGNAL, decoder)


def row_readers(
    settings: Settings, contracts: Sequence[EntityContract], decoders: dict[str, Decoder], digest_key: bytes
) -> Iterator[tuple[tuple[str, str], tuple[Decoder, RowDigester]]]:
    """Yield by (entity, store) what makes a digest of a record."""
    for contract in contracts:
        for table in contract.stores:
            dialect = BY_LOG[settings.stores[table.store].kind]
            digester = RowDigester(contract, table.store, dialect, digest_key)
            yield (contract.entity, table.store), (decoders[table.store], digester)


def stores_compared(settings: Settings, contracts: Sequence[EntityContract]) -> list[StoreSettings]:
    """Return the stores that any contract names."""
    named = {table.store for contract in contracts for table in contract.stores}
    return [store for name, store in settings.stores.items() if name in named]


def own_topic(store: StoreSettings, table: str) -> str:
    """Return the topic of a table of ours in a store."""
    return topic_of(store.topic_prefix, f"{store.schema}.{table}")
