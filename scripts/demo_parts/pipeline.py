"""The pipeline that somebody else wrote, seen from outside: its connectors, its lag, and what it can be made to lose.

Its sources and sinks run in a Connect worker of their own. A lost change is made as operators make one: the sink is
stopped, its offsets are moved past the change, and it goes on as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition

from demo_parts.connect import Connect


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The demo's pipeline from the origin to the copy."""

    connect: Connect
    bootstrap: str

    def sinks(self) -> list[str]:
        """Return the names of the sink connectors."""
        return [name for name in self.connect.connectors() if "topics" in self.connect.config(name)]

    def sink_of(self, table: str) -> str:
        """Return the sink that writes a table."""
        for name in self.sinks():
            if any(topic.rsplit(".", 1)[-1] == table for topic in self._topics(name)):
                return name
        raise LookupError(f"no sink of {self.connect.url} writes {table}; it has {self.connect.connectors()}")

    def failures(self) -> dict[str, str]:
        """Return the connectors that have failed, with the causes."""
        said = {name: self.connect.failure(name) for name in self.connect.connectors()}
        return {name: causes for name, causes in said.items() if causes}

    def mend(self, *, copy_was_gone: bool = False) -> None:
        """Start what has failed again, as whoever runs this pipeline would; every sink, where its database was gone.

        Debezium's JDBC sink does not come back by itself: in the middle of a flush it gives up, and before one it asks
        its dead connection for the table as often as it may try a flush, and gives up then. Until it has, it is a
        member of its group that its successor waits for: therefore its connector may not try for long.
        """
        if copy_was_gone:
            for name in self.sinks():
                self.connect.restart(name)
        for name in self.failures():
            self.connect.restart(name, only_failed=True)

    def topic_of(self, table: str) -> str:
        """Return the topic through which a table reaches its sink."""
        for topic in self._topics(self.sink_of(table)):
            if topic.rsplit(".", 1)[-1] == table:
                return topic
        raise LookupError(table)

    def _topics(self, sink: str) -> list[str]:
        return [topic.strip() for topic in self.connect.config(sink)["topics"].split(",")]

    def ends(self, topic: str) -> dict[int, int]:
        """Return each partition's end offset."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "demo-looks-only"})
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return {
                number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
                for number in partitions
            }
        finally:
            consumer.close()

    def lose(self, table: str, change: Callable[[], None]) -> float:
        """Make the pipeline lose one change of a quiet table; return the wall-clock second at which it was committed.

        The table must be one that nothing else writes meanwhile: all that comes in between is lost with it.
        """
        sink, topic = self.sink_of(table), self.topic_of(table)
        self.connect.stop(sink)
        try:
            before = self.ends(topic)
            change()
            committed_at = wall_clock()
            after = _until_it_moves(lambda: self.ends(topic), before)
            self.connect.move_sink(sink, {(topic, n): end for n, end in after.items() if end != before[n]})
        finally:
            self.connect.resume(sink)
        return committed_at


def _until_it_moves(look: Callable[[], dict[int, int]], before: dict[int, int]) -> dict[int, int]:
    """Wait for the end to move and then to rest: a delete is followed by its tombstone."""
    deadline = time.monotonic() + 30
    last = before
    while time.monotonic() < deadline:
        time.sleep(0.4)
        now = look()
        if now != before and now == last:
            return now
        last = now
    raise TimeoutError("the change did not reach the pipeline's topic within 30 s: is its source connector running?")


def await_condition(reached: Callable[[], bool], seconds: float, what: str, every: float = 0.1) -> float:
    """Wait until a condition holds; return how many seconds it took, or raise with what was awaited."""
    begun = time.monotonic()
    while not reached():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every)
    return time.monotonic() - begun


def wall_clock() -> float:
    """Return the time of day in seconds; only compared with the times that Kafka gives to records on this machine."""
    return time.time()  # noqa: TID251 - a judge of latency measures with a clock
