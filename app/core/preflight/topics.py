"""Whether the topics that hold the stores' changes, and our own, are as they must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from app.core.contract import EntityContract
from app.core.preflight.databases import OWN_TABLES, StoreUnderCheck
from app.core.preflight.facts import TopicFact
from app.core.preflight.problems import Found, Problem


def topic_problems(
    topics: Mapping[str, TopicFact],
    contracts: Iterable[EntityContract],
    stores: Iterable[tuple[StoreUnderCheck, str]],
    own: Mapping[str, int],
) -> Iterator[Found]:
    """Find missing and misshapen topics. `stores` come with their topic prefix, `own` is name: partitions."""
    for contract in contracts:
        for table in contract.stores:
            yield from _shape(topics, table.topic, table.partitions)
    for store, prefix in stores:
        for table_name in OWN_TABLES[:3]:
            yield from _shape(topics, f"{prefix}.{store.own_schema}.{table_name}", 1)
    for name, partitions in own.items():
        yield from _shape(topics, name, partitions, is_own=True)


def _shape(topics: Mapping[str, TopicFact], name: str, partitions: int, *, is_own: bool = False) -> Iterator[Found]:
    where = f"topic {name}"
    topic = topics.get(name)
    if topic is None:
        yield Found(Problem.TOPIC_MISSING, where)
        return
    if topic.partitions != partitions:
        yield Found(Problem.TOPIC_PARTITIONS, where, f"it has {topic.partitions}, {partitions} are stated")
    if topic.settings.get("unclean.leader.election.enable", "false") == "true":
        yield Found(Problem.TOPIC_UNCLEAN, where)
    if not is_own and "compact" in topic.settings.get("cleanup.policy", "delete"):
        yield Found(Problem.TOPIC_COMPACTED, where)
