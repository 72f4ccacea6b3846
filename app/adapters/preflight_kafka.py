"""What `driftline check` needs to know of Kafka's topics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported

from app.adapters.kafka import KafkaClients
from app.core.errors import Unready
from app.core.preflight.facts import TopicFact

_TIMEOUT_S: Final = 10.0


def read_topics(clients: KafkaClients, names: Iterable[str]) -> dict[str, TopicFact]:
    """Return those of the named topics that exist, with their settings."""
    admin = clients.admin("driftline-check")
    try:
        there = admin.list_topics(timeout=_TIMEOUT_S).topics
        wanted = [name for name in names if name in there and there[name].error is None]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
        answers = admin.describe_configs(resources, request_timeout=_TIMEOUT_S) if resources else {}
        settings = {
            resource.name: {name: str(entry.value) for name, entry in answer.result(_TIMEOUT_S).items()}
            for resource, answer in answers.items()
        }
    except (KafkaException, TimeoutError) as error:
        hint = "is the broker up, and is bootstrap right?"
        raise Unready(f"Kafka cannot be asked: {error}", where=clients.bootstrap, hint=hint) from error
    return {name: TopicFact(name, len(there[name].partitions), settings.get(name, {})) for name in wanted}
