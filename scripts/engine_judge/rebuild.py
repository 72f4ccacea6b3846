"""The linear rebuild: every state that every row had in one store, from one pass over its raw change topic.

A connector that was restarted sends changes again; a change at or below the newest place of its row is one of those and
tells nothing new. A change that leaves the compared fields as they were makes no new state.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from engine_judge.moments import EVER, Beacons, Place
from engine_judge.rows import ABSENT, Change, Digester, place_of, read_change
from engine_judge.topics import Record

_SNAPSHOT = 0xFFFFFFFF  # in place of a count of beacons: the state has held since ever
# Ten million states are held at once: digest, whether there is a row, beacons before it, partition, offset.
_PACKED = struct.Struct(">16s?IHQ")


class Stay(NamedTuple):
    """One state of a row in one store, from a change to the next; partition and offset are the change's in Kafka."""

    digest: bytes
    earliest_ms: int
    latest_ms: int
    partition: int
    offset: int


NEVER_SEEN = Stay(ABSENT, EVER, EVER, -1, -1)


@dataclass
class StoreHistory:
    """Every row of one store."""

    beacons: Beacons
    changes: int = 0
    sent_again: int = 0
    _states: dict[int, list[bytes]] = field(default_factory=dict)
    _newest: dict[int, Place] = field(default_factory=dict)

    def take(self, change: Change, digest: bytes, partition: int, offset: int) -> None:
        """Take in one change, in the order of its partition."""
        self.changes += 1
        newest = self._newest.get(change.number)
        if newest is not None and change.place <= newest:
            self.sent_again += 1
            return
        self._newest[change.number] = change.place
        states = self._states.setdefault(change.number, [])
        if digest == (_unpacked(states[-1])[0] if states else ABSENT):
            return
        before = _SNAPSHOT if change.is_snapshot else self.beacons.before(change.place)
        states.append(_PACKED.pack(digest, digest != ABSENT, before, partition, offset))

    def numbers(self) -> set[int]:
        """Return the rows that the store ever had."""
        return set(self._states)

    def stays(self, number: int) -> list[Stay]:
        """Return a row's states in their order; the first is that before the first change."""
        found = [NEVER_SEEN]
        for packed in self._states.get(number, ()):
            digest, before, partition, offset = _unpacked(packed)
            if before == _SNAPSHOT:
                found = [Stay(digest, EVER, EVER, partition, offset)]
            else:
                earliest, latest = self.beacons.earliest_ms(before), self.beacons.latest_ms(before)
                found.append(Stay(digest, earliest, latest, partition, offset))
        return found


def _unpacked(packed: bytes) -> tuple[bytes, int, int, int]:
    digest, present, before, partition, offset = _PACKED.unpack(packed)
    return (digest if present else ABSENT), before, partition, offset


def beacons_of(records: Iterable[Record], store: str) -> Beacons:
    """Read the beacons that a store's log carries: updates of the store's own row."""
    beacons = Beacons()
    for record in records:
        if record.value is None:
            continue
        envelope: dict[str, Any] = orjson.loads(record.value)
        row = envelope["after"]
        if envelope["op"] == "u" and row["store_id"] == store:
            beacons.add(place_of(envelope["source"]), row["issued_at_ms"], row["previous_acknowledged_ms"])
    return beacons


def history_of(records: Iterable[Record], beacons: Beacons, digester: Digester) -> StoreHistory:
    """Rebuild one store's rows from its change topic."""
    history = StoreHistory(beacons)
    for record in records:
        change = read_change(record.value)
        if change is not None:
            history.take(change, digester.of(change.row), record.partition, record.offset)
    return history
