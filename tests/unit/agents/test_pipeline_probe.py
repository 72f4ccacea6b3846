"""How far a pipeline is, told from what its group has committed and from what its source has sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from app.agents.pipeline_probe import At, PipelineProbe, WatchedPipeline
from app.core.store import StoreKind

TOPIC = "pipe.t"


def place(n: int) -> bytes:
    """Return a place in the authority's log."""
    return n.to_bytes(17, "big")


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class _Decoder:
    def decode(self, key: bytes | None, value: bytes | None) -> object:
        """Take a record's value as its place; a tombstone has none."""
        del key
        return None if value is None else SimpleNamespace(place=value)


@dataclass
class _Kafka:
    """Two partitions of a pipeline's topic, and what its sink has committed."""

    logs: dict[int, list[bytes | None]] = field(default_factory=lambda: {0: [], 1: []})
    done: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})

    def offsets(self, partitions: Iterable[At], *, latest: bool) -> dict[At, int]:
        """Return the earliest or latest offsets."""
        return {(topic, p): len(self.logs[p]) if latest else 0 for topic, p in partitions}

    def partitions_of(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have."""
        return {topic: len(self.logs) for topic in topics}

    def committed(self, group: str, partitions: Iterable[At]) -> dict[At, int | None]:
        """Return where the sink is."""
        assert group == "sink"
        return {(topic, p): self.done[p] or None for topic, p in partitions}

    def read(self, ranges: Mapping[At, tuple[int, int]], seconds: float) -> list[_Record]:
        """Return the records of some ranges of offsets."""
        assert seconds > 0
        return [
            _Record(topic, p, b"key", value)
            for (topic, p), (begin, end) in ranges.items()
            for value in self.logs[p][begin:end]
        ]

    def probe(self) -> tuple[PipelineProbe, WatchedPipeline]:
        """Return a probe of this Kafka, which has looked once, and the pipeline that it watches."""
        pipeline = WatchedPipeline(7, 0, StoreKind.MARIADB, "sink", TOPIC, lambda _key, _value: cast("Any", _Decoder()))
        probe = PipelineProbe(self, self.committed, self.read)
        assert probe.reached(pipeline) is None
        return probe, pipeline


def test_a_partition_that_was_not_read_to_its_end_counts_by_what_was_applied_of_it() -> None:
    """The least of the partitions counts."""
    kafka = _Kafka({0: [place(1), place(4)], 1: [place(2), place(3)]}, {0: 2, 1: 1})
    probe, pipeline = kafka.probe()
    assert probe.reached(pipeline) == place(2)


def test_a_pipeline_that_has_read_everything_is_where_its_source_is() -> None:
    """A partition without anything new has nothing to wait for."""
    kafka = _Kafka({0: [place(1), place(9), None], 1: [place(2)]}, {0: 3, 1: 1})
    probe, pipeline = kafka.probe()
    assert probe.reached(pipeline) == place(9)


def test_what_is_still_on_its_way_to_another_partition_is_not_passed() -> None:
    """A change that was sent before and is seen later must not look as if the sink had left it out."""
    kafka = _Kafka({0: [place(1)], 1: [place(2)]}, {0: 1, 1: 1})
    probe, pipeline = kafka.probe()
    kafka.logs[1].append(place(6))
    kafka.done[1] = 2
    assert probe.reached(pipeline) == place(2), "place 5 may not be in partition 0 yet"
    kafka.logs[0].append(place(5))
    assert probe.reached(pipeline) == place(1)
    kafka.done[0] = 2
    assert probe.reached(pipeline) == place(6)


def test_nothing_is_said_of_a_topic_without_a_change() -> None:
    """There is no place that could have been passed."""
    probe, pipeline = _Kafka().probe()
    assert probe.reached(pipeline) is None
