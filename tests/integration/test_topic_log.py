"""Topics that are not there yet are waited for, on a real broker."""

from __future__ import annotations

import secrets
import threading

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.kafka import KafkaClients
from app.adapters.topic_log import TopicLog
from app.core.errors import Unready
from tests.integration.running_stack import running_stack

pytestmark = pytest.mark.stack


def test_a_topic_is_waited_for_until_somebody_makes_it() -> None:
    """What is missing is said, with what to do; afterwards every partition can be read."""
    clients = KafkaClients(running_stack("kafka")["kafka"]["bootstrap"], {})
    topic = f"waited-{secrets.token_hex(4)}"
    log, admin, told = TopicLog(clients, "test-waits"), clients.admin("test-waits-admin"), list[Unready]()

    def make_it(fault: Unready, again_in_s: float) -> None:
        assert again_in_s > 0
        told.append(fault)
        if len(told) == 1:
            admin.create_topics([NewTopic(topic, num_partitions=3)])[topic].result()

    try:
        assert log.wait_for([topic], threading.Event(), make_it)
        assert told[0].what == f"there is no topic {topic}"
        assert "a worker" in told[0].hint
        assert log.ends([topic], latest=True) == {(topic, partition): 0 for partition in range(3)}
    finally:
        admin.delete_topics([topic])[topic].result()


def test_who_waits_for_a_topic_can_be_stopped() -> None:
    """A process that is told to end does so, though the topic never comes."""
    clients = KafkaClients(running_stack("kafka")["kafka"]["bootstrap"], {})
    stopping = threading.Event()
    assert not TopicLog(clients, "test-waits").wait_for(["never-made"], stopping, lambda *_: stopping.set())


def test_a_broker_that_is_away_is_waited_for_like_a_topic() -> None:
    """Nobody listens there: that is told, and no error ends the process."""
    stopping, told = threading.Event(), list[Unready]()

    def stop(fault: Unready, _: float) -> None:
        told.append(fault)
        stopping.set()

    assert not TopicLog(KafkaClients("127.0.0.1:1", {}), "test-waits").wait_for(["any"], stopping, stop)
    assert "does not answer" in told[0].what
