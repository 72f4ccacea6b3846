"""Makes the deployment's own topics as they are declared, and refuses ones that were made otherwise."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.kafka import KafkaClients
from app.core.errors import ContractViolation, Unready
from app.topics import ALL

_TIMEOUT_S: Final = 30
_BROKERS_OWN: Final = -1
"""As many replicas as the broker gives by default."""


def make_topics(clients: KafkaClients, deployment: str, observations: int) -> list[str]:
    """Make what is not there yet and return its names; topics that are there must have the right partitions."""
    wanted = {topic.name(deployment): topic for topic in ALL}
    admin = clients.admin("driftline-init")
    new = [
        NewTopic(name, topic.partitions(observations), _BROKERS_OWN, config=topic.configuration())
        for name, topic in wanted.items()
    ]
    made = []
    try:
        for name, answer in admin.create_topics(new, request_timeout=_TIMEOUT_S).items():
            try:
                answer.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            else:
                made.append(name)
        there = admin.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise Unready(
            f"the topics cannot be made: {error.args[0].str()}",
            where=clients.bootstrap,
            hint="is Kafka up, and may this user create topics?",
        ) from error
    for name, topic in wanted.items():
        found = len(there[name].partitions) if name in there else topic.partitions(observations)
        if found != topic.partitions(observations):
            raise ContractViolation(
                f"the topic has {found} partitions instead of {topic.partitions(observations)}",
                where=name,
                hint="`partitions` is never changed later: put the setting back, or choose another `deployment`",
            )
    return made
