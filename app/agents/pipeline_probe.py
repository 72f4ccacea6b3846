"""How far the pipeline that fills a replica has come, in places of the authority's log.

A pipeline reads a topic of its own, written by a connector of its own. What its group has committed is applied. For a
partition that it has not read to the end, the last record below its offset is its place; one that it has read to the
end has come as far as the newest record of any partition showed its source to be at the look before. The least of the
partitions counts. At the look before, since a source fills its partitions side by side: what it has sent to one may be
seen there while what came first is still on its way to another.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from app.codec.envelope import Decoder
from app.core.errors import Undecodable, Unready
from app.core.position import postgres_place
from app.core.store import StoreKind

_TAIL_RECORDS: Final = 12
"""Records looked at before an offset: the last ones may be tombstones, or markers of transactions."""

_READ_S: Final = 0.8
_POSTGRES: Final = struct.Struct(">QQB")

At = tuple[str, int]


class Record(Protocol):
    """A record that was looked up."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...


class Offsets(Protocol):
    """Where partitions begin and end."""

    def offsets(self, partitions: Iterable[At], *, latest: bool) -> dict[At, int]:
        """Return the earliest or latest offsets."""
        ...

    def partitions_of(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have."""
        ...


Committed = Callable[[str, Iterable[At]], Mapping[At, int | None]]
"""Tells where a group is, None where it has committed nothing."""

ReadRanges = Callable[[Mapping[At, tuple[int, int]], float], Iterable[Record]]


@dataclass(frozen=True, slots=True)
class WatchedPipeline:
    """One pipeline: which entity and replica (index) it fills, whose log its places are of, and how it is read."""

    entity: int
    replica: int
    kind: StoreKind
    group: str
    topic: str
    decode: Callable[[bytes | None, bytes | None], Decoder]


def comparable(kind: StoreKind, place: bytes) -> bytes:
    """Return a place of another connector's log so that it compares with ours.

    PostgreSQL's place begins with the commit before it as that connector saw it, and a connector that captures fewer
    tables saw fewer commits. Whatever commits later than this change has a commit before it that is above the LSN of
    this change, so the LSN itself may stand there, and covers the rest of its own transaction.
    """
    if kind is not StoreKind.POSTGRES:
        return place
    before, lsn, _ = _POSTGRES.unpack(place)
    return postgres_place(max(before, lsn), lsn, is_delete=False)


class PipelineProbe:
    """Looks up how far pipelines are, again and again. It blocks, so it belongs in a thread."""

    def __init__(self, offsets: Offsets, committed: Committed, read: ReadRanges) -> None:
        self._offsets = offsets
        self._committed = committed
        self._read = read
        self._sources: dict[tuple[int, int], bytes] = {}  # by entity and replica: the newest place at the last look

    def reached(self, pipeline: WatchedPipeline) -> bytes | None:
        """Return the place up to which a pipeline has applied everything, None while that cannot be said.

        The first look says nothing; the next ones are to be a second apart or so.
        """
        count = self._offsets.partitions_of([pipeline.topic]).get(pipeline.topic)
        if not count:
            return None
        partitions = [(pipeline.topic, p) for p in range(count)]
        first = self._offsets.offsets(partitions, latest=False)
        # The ends first: what is committed later than that may be past them, never behind them unseen.
        ends = self._offsets.offsets(partitions, latest=True)
        committed = self._committed(pipeline.group, partitions)
        newest = self._places(pipeline, {at: (max(first[at], ends[at] - _TAIL_RECORDS), ends[at]) for at in partitions})
        behind = {
            at: (max(first[at], (committed.get(at) or 0) - _TAIL_RECORDS), committed.get(at) or 0)
            for at in partitions
            if (committed.get(at) or 0) < ends[at] and ends[at] > first[at]
        }
        applied = self._places(pipeline, behind)
        if any(at not in applied for at in behind) or not newest:
            return None
        filled = (pipeline.entity, pipeline.replica)
        source, self._sources[filled] = self._sources.get(filled), max(newest.values())
        return None if source is None else min([source, *applied.values()])

    def _places(self, pipeline: WatchedPipeline, ranges: Mapping[At, tuple[int, int]]) -> dict[At, bytes]:
        found: dict[At, bytes] = {}
        for record in self._read(ranges, _READ_S):
            try:
                event = pipeline.decode(record.key, record.value).decode(record.key, record.value)
            except (Undecodable, Unready):
                continue
            if event is not None:
                at = (record.topic, record.partition)
                place = comparable(pipeline.kind, event.place)
                found[at] = max(found.get(at, b""), place)
        return found
