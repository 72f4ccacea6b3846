"""How far a deployment's workers have come, as the broker knows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds
from app.core.errors import Unready

_ASK_S: Final = 10.0

Offsets = Mapping[tuple[str, int], int]
"""Offsets by topic and partition."""


class Progress:
    """Asks for ends of topics and for what a group has committed; a context, since it holds a connection."""

    def __init__(self, clients: KafkaClients, group: str) -> None:
        self._consumer: Consumer = clients.consumer("bench-progress", group)
        self._ends = KafkaEnds(clients.admin("bench-ends"))
        self._partitions: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the connection go."""
        self._consumer.close()

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Return the end of every partition of these topics."""
        wanted = list(topics)
        if new := [topic for topic in wanted if topic not in self._partitions]:
            self._partitions |= self._ends.partitions_of(new)
        places = [(topic, partition) for topic in wanted for partition in range(self._partitions[topic])]
        return self._ends.offsets(places, latest=True)

    def committed(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int] | None:
        """Return how far the group has committed these partitions, 0 where it has not; None while nobody can say."""
        try:
            told = self._consumer.committed([TopicPartition(*at) for at in places], timeout=_ASK_S)
        except KafkaException:
            return None
        return {(place.topic, place.partition): max(place.offset, 0) for place in told}

    def has_committed(self, ends: Offsets) -> bool:
        """Tell whether the group has committed up to these ends. Partitions without a record need no commit."""
        now = self.committed(ends)
        return now is not None and all(now[at] >= end for at, end in ends.items())

    def has_moved(self, stood: Offsets) -> bool:
        """Tell whether the group has committed beyond these offsets, in every partition."""
        now = self.committed(stood)
        return now is not None and all(now[at] > offset for at, offset in stood.items())


class GroupMembers:
    """Asks the broker who is in a group."""

    def __init__(self, clients: KafkaClients, group: str) -> None:
        self._admin = clients.admin("bench-group")
        self._group = group

    def count(self) -> int:
        """Return how many members the group has."""
        described = self._admin.describe_consumer_groups([self._group], request_timeout=_ASK_S)[self._group]
        return len(described.result().members)


def until(
    claim: Callable[[], bool],
    check: Callable[[], None],
    within_s: float,
    what: str,
    every_s: float = 0.05,
    instead: Callable[[], object] | None = None,
) -> None:
    """Wait until a claim holds; `check` raises what makes waiting vain, `Unready` says what did not come in time.

    `instead` looks once more then, for what there is in its place.
    """
    deadline = time.monotonic() + within_s
    while not claim():
        check()
        if time.monotonic() > deadline:
            found = f"; there is {instead()}" if instead is not None else ""
            raise Unready(f"not within {within_s:.0f} s: {what}{found}", where="bench")
        time.sleep(every_s)
