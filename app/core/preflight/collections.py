"""Whether a store of MongoDB tells its whole story by its change streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.core.contract import EntityContract
from app.core.preflight.databases import OWN_TABLES, StoreUnderCheck
from app.core.preflight.facts import CollectionFacts
from app.core.preflight.problems import Found, Problem


def collection_problems(
    store: StoreUnderCheck, facts: CollectionFacts, contracts: Iterable[EntityContract]
) -> Iterator[Found]:
    """Find what is wrong in one store for all contracts that live in it."""
    where = f"store {store.name}"
    if not facts.has_change_streams:
        yield Found(Problem.NO_REPLICA_SET, where)
    for own in OWN_TABLES:
        yield from _images(facts, f"{store.own_schema}.{own}", where, Problem.OWN_TABLE_MISSING)
    for contract in contracts:
        if all(table.store != store.name for table in contract.stores):
            continue
        name = contract.table_of(store.name).table
        yield from _images(facts, name, where, Problem.TABLE_MISSING)


def _images(facts: CollectionFacts, name: str, where: str, missing: Problem) -> Iterator[Found]:
    if name not in facts.has_images:
        yield Found(missing, f"{where}, table {name}")
    elif not facts.has_images[name]:
        yield Found(Problem.NO_IMAGES, f"{where}, collection {name}")
