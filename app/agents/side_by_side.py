"""Which partitions are read next, so that the stores of an entity come to be known side by side.

In a backlog Kafka gives what it has, and one store may be read hours ahead of another. Every row that it changed then
waits in memory, with all its states, until the other store is read as far. So a partition waits while another of the
same entity has records that are older by more than a step. Kafka's timestamps are good enough for that: what is judged
does not depend on the order in which partitions are read, only what it costs.

A store's beacons are waited for too, and wait for nobody: they are few, and a row whose beacons are known is placed in
time as it is folded, and not again when they come.

Timestamps are not believed without limit: a record without one takes its partition out of all this, and one that claims
to be of the future counts as of now, or its partition would wait for as long as any other has something to read.

A partition that was read to its end holds up nobody. One whose records cannot be had holds up its entity, which could
not be judged without it anyway; so does one of which nothing has been read yet, as at a start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

STEP_MS: Final = 100
"""How much older another partition's records must be for one to wait."""

_NOTHING_READ: Final = -1

TopicPartition = tuple[str, int]


@dataclass(slots=True)
class SideBySide:
    """How far each entity's partitions were read, by Kafka's timestamps.

    `entities` names the entity of a table's topic, `beacons` those whose tables are in the store of a beacon's topic.
    """

    entities: Mapping[str, str]
    beacons: Mapping[str, Iterable[str]] = field(default_factory=dict)
    _newest_ms: dict[TopicPartition, int] = field(default_factory=dict)
    _unread: set[TopicPartition] = field(default_factory=set)

    def read(self, at: TopicPartition, newest_ms: int | None, *, has_more: bool, now_ms: int) -> None:
        """Note that a partition was read up to a timestamp (None: no record), and whether it has more by now."""
        if at[0] not in self.entities and at[0] not in self.beacons:
            return
        if newest_ms is not None and newest_ms < 0:
            self._newest_ms.pop(at, None)
            self._unread.discard(at)
            return
        if newest_ms is not None or at not in self._newest_ms:
            self._newest_ms[at] = _NOTHING_READ if newest_ms is None else min(newest_ms, now_ms)
        (self._unread.add if has_more else self._unread.discard)(at)

    def forget(self) -> None:
        """Forget everything: the partitions are read from elsewhere."""
        self._newest_ms.clear()
        self._unread.clear()

    def ahead(self) -> set[TopicPartition]:
        """Return the partitions that are to wait for others of their entities."""
        if not self._unread:
            return set()
        oldest_ms: dict[str, int] = {}
        for at in self._unread:
            newest_ms = self._newest_ms[at]
            for entity in self.beacons[at[0]] if at[0] in self.beacons else (self.entities[at[0]],):
                oldest_ms[entity] = min(newest_ms, oldest_ms.get(entity, newest_ms))
        return {
            at
            for at, newest_ms in self._newest_ms.items()
            if at[0] in self.entities and newest_ms > oldest_ms.get(self.entities[at[0]], newest_ms) + STEP_MS
        }
