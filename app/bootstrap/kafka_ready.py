"""What must hold in Kafka before a worker can read: a broker that answers, and every topic."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app import topics
from app.adapters.logs import log
from app.bootstrap.sources import own_topic, stores_compared
from app.core.contract import EntityContract
from app.core.errors import Unready
from app.settings import Settings

_BROKER_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


def wait_for_broker(admin: AdminClient, bootstrap: str) -> dict[str, int]:
    """Return the topics that there are, with their numbers of partitions; wait for half a minute, then `Unready`."""
    for wait_s in _BROKER_WAITS_S:
        try:
            known = admin.list_topics(timeout=5.0).topics
        except KafkaException as error:
            log().warning(
                "the broker does not answer", where=bootstrap, again_in_ms=int(wait_s * 1_000), what=str(error)
            )
            time.sleep(wait_s)
        else:
            return {name: len(topic.partitions) for name, topic in known.items()}
    raise Unready("the broker does not answer", where=bootstrap, hint="is it running? is `bootstrap` right?")


def topics_needed(settings: Settings, contracts: Sequence[EntityContract]) -> dict[str, NewTopic]:
    """Return every topic that a worker reads or writes: ours, and those of the connectors."""
    wanted = {
        topic.name(settings.deployment): NewTopic(
            topic.name(settings.deployment),
            num_partitions=topic.partitions(settings.partitions),
            replication_factor=-1,
            config=topic.configuration(),
        )
        for topic in topics.ALL
    }
    changelog = topics.changelog_of(settings.deployment)
    wanted[changelog] = NewTopic(
        changelog,
        num_partitions=settings.partitions,
        replication_factor=-1,
        config=dict(topics.CHANGELOG_CONFIGURATION),
    )
    for contract in contracts:
        for table in contract.stores:
            wanted[table.topic] = NewTopic(table.topic, num_partitions=table.partitions, replication_factor=-1)
    for store in stores_compared(settings, contracts):
        for own in ("driftline_beacon", "driftline_ledger", "driftline_signal"):
            name = own_topic(store, own)
            wanted.setdefault(name, NewTopic(name, num_partitions=1, replication_factor=-1))
    return wanted


def make_topics(admin: AdminClient, wanted: Mapping[str, NewTopic], known: Mapping[str, int], bootstrap: str) -> None:
    """Make the topics that are not known; those of the connectors too, which Faust would ignore until later."""
    missing = [topic for name, topic in wanted.items() if name not in known]
    if not missing:
        return
    for name, made in admin.create_topics(missing).items():
        try:
            made.result()
        except KafkaException as error:
            if "TOPIC_ALREADY_EXISTS" not in str(error):
                raise Unready(f"cannot make topic {name}: {error}", where=bootstrap) from error
