"""Asking for the ends of partitions survives a change of their leaders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from app.adapters.kafka_read import KafkaEnds
from app.core.errors import Unready


class _Admin:
    """An admin client that has not heard of the new leader until it is asked for the topics."""

    def __init__(self) -> None:
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
                answer.set_exception(KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)))
        return answers


@pytest.mark.parametrize(
    "ask",
    [
        lambda ends: asyncio.run(ends.high_watermarks([("t", 0)])),
        lambda ends: [(*at, offset) for at, offset in ends.offsets([("t", 0)], latest=True).items()],
    ],
    ids=["high watermarks", "committed ends"],
)
def test_who_is_refused_by_a_new_leader_learns_of_it_before_asking_again(ask: Callable[[KafkaEnds], Any]) -> None:
    """A restarted broker leads in a new epoch; a client that never learnt of it would be refused for ever."""
    ends = KafkaEnds(_Admin())  # type: ignore[arg-type]  # as much of one as is asked
    with pytest.raises(Unready):
        ask(ends)
    assert ask(ends) == [("t", 0, 7)]
