"""Asking for the ends of partitions survives a change of their leaders."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from app.adapters.kafka_read import KafkaEnds
from app.core.errors import Unready


class _Admin:
    """An admin client that has not heard of the new leader until it is asked for the topics."""

    def __init__(self, refusal: int = KafkaError.FENCED_LEADER_EPOCH) -> None:
        self.refusal = refusal
        self.knows_leader = False

    def list_topics(self, timeout: float) -> None:
        """Learn of the leader."""
        assert timeout > 0
        self.knows_leader = True

    def list_offsets(self, asked: dict[TopicPartition, Any], **_how: object) -> dict[TopicPartition, Future[Any]]:
        """Answer, or refuse in the name of the leader's epoch."""
        answers: dict[TopicPartition, Future[Any]] = {at: Future() for at in asked}
        for answer in answers.values():
            if self.knows_leader:
                answer.set_result(SimpleNamespace(offset=7))
            else:
                answer.set_exception(KafkaException(KafkaError(self.refusal)))
        return answers


def test_who_is_refused_by_a_new_leader_learns_of_it_before_asking_again() -> None:
    """A restarted broker leads in a new epoch; a client that never learnt of it would be refused for ever."""
    ends = KafkaEnds(_Admin())  # type: ignore[arg-type]  # as much of one as is asked
    with pytest.raises(Unready):
        asyncio.run(ends.high_watermarks([("t", 0)]))
    assert asyncio.run(ends.high_watermarks([("t", 0)])) == [("t", 0, 7)]


@pytest.mark.parametrize(
    "refusal", [KafkaError.FENCED_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]
)
def test_a_leader_that_is_not_known_yet_is_waited_for(refusal: int) -> None:
    """The topics of a worker that starts may have been made a moment ago."""
    ends = KafkaEnds(_Admin(refusal))  # type: ignore[arg-type]  # as much of one as is asked
    assert ends.offsets([("t", 0)], latest=True) == {("t", 0): 7}


def test_a_refusal_that_is_of_no_leader_is_told() -> None:
    """Waiting would not change it."""
    ends = KafkaEnds(_Admin(KafkaError.TOPIC_AUTHORIZATION_FAILED))  # type: ignore[arg-type]  # likewise
    with pytest.raises(Unready, match="ends of partitions"):
        ends.offsets([("t", 0)], latest=True)
