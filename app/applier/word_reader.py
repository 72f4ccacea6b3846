"""Reads topics of people's words from their beginning at each start, and remembers how far somebody has told of them.

What was told of before is history: it still has the effect that it has, and nobody is told of it again. How far that
goes is kept as offsets of the readers' group, which go on only behind what was told: what a crash cuts off is told
again, and nothing is lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from app.core.errors import Unready

_ASK_S: Final = 10.0
_COMMIT_AGAIN_S: Final = 60.0
"""A slower applier may have moved offsets back; and a broker forgets those that nobody has committed for a while."""

Place = tuple[str, int]
Hear = Callable[[Any, bool], None]
"""Takes a record in; the flag says that it is history."""


class Log(Protocol):
    """Writes log lines with declared fields."""

    def info(self, event: str, **fields: object) -> object:
        """Say what happened."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Say what somebody should look at."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Say what somebody must look at."""
        ...


class WordReader:
    """One consumer, and how far its topics were taken and told of. Of `only_new` there is no history."""

    def __init__(self, consumer: Consumer, at_once: int, topics: Sequence[str], only_new: Sequence[str] = ()) -> None:
        self._consumer = consumer
        self._at_once = at_once
        self._topics = topics
        self._only_new = only_new
        self._waiting: deque[Any] = deque()
        self._taken: dict[Place, int] = {}
        self._told: dict[Place, int] = {}
        self._commit_again_s = 0.0

    @property
    def places(self) -> Sequence[Place]:
        """The partitions that are read from their beginning."""
        return list(self._told)

    def start(self) -> None:
        """Begin to read; `Unready` where a topic is missing."""
        known = self._consumer.list_topics(timeout=_ASK_S).topics
        for topic in (*self._topics, *self._only_new):
            if topic not in known or known[topic].error is not None:
                raise Unready(f"there is no topic {topic}", hint="`driftline init` makes the topics")
        places = [TopicPartition(topic, p) for topic in self._topics for p in known[topic].partitions]
        told = self._consumer.committed(places, timeout=_ASK_S)
        self._told = {(p.topic, p.partition): max(0, p.offset) for p in told}
        # A start that is tried again goes on where the one before came to: else its words would pass for replayed.
        self._waiting.clear()
        begin = [TopicPartition(topic, p, self._taken.get((topic, p), 0)) for topic, p in self._told]
        ends = [TopicPartition(topic, p, OFFSET_END) for topic in self._only_new for p in known[topic].partitions]
        self._consumer.assign(begin + ends)

    def take(self, hear: Hear, wait_s: float = 0) -> None:
        """Take in what has come. A record at which `hear` is `Unready` comes again by the next call."""
        if not self._waiting:
            came = self._consumer.consume(self._at_once, timeout=wait_s)
            self._waiting.extend(message for message in came if message.error() is None)
        while self._waiting:
            message = self._waiting[0]
            place = (message.topic(), message.partition())
            hear(message, message.offset() < self._told.get(place, 0))
            self._taken[place] = message.offset() + 1
            self._waiting.popleft()

    def lacks(self, ends: Mapping[Place, int]) -> bool:
        """Tell whether something before these ends was not taken in."""
        if self._waiting:
            return True
        reached = self._consumer.position([TopicPartition(*place) for place in self._told])
        return any(max(0, p.offset) < ends.get((p.topic, p.partition), 0) for p in reached)

    def were_told(self, log: Log) -> None:
        """Make history of all that was taken in, and of all that another applier has told of.

        What was kept is never moved back: where two appliers keep theirs in the same moment, the one that is further
        puts it right by a later call. What cannot be kept now is kept by a later call, too.
        """
        told = {place: max(end, self._taken.get(place, 0)) for place, end in self._told.items()}
        if told == self._told and time.monotonic() < self._commit_again_s:
            return
        try:
            for kept in self._consumer.committed([TopicPartition(*place) for place in told], timeout=_ASK_S):
                told[kept.topic, kept.partition] = max(told[kept.topic, kept.partition], kept.offset)
            offsets = [TopicPartition(*place, end) for place, end in told.items() if end]
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets are not committed", what=error.args[0].str(), topic=",".join(self._topics))
            return
        self._told = told
        self._commit_again_s = time.monotonic() + _COMMIT_AGAIN_S

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()
