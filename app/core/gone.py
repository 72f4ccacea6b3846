"""Rows that are nowhere any more, and that the table has still: when they may be deleted from it.

Not before what comes again of them is known for a redelivery. A commit may be torn between rows and chains, so that all
that they went through is read once more; and a read that is as old as the row must be known to say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.core.keystate import KeyState
from app.core.limits import GONE_ROWS_MAX, READ_MARGIN_MS
from app.core.progress import EntityProgress
from app.core.verdict import EVER


@dataclass(slots=True)
class _Generation:
    """Some rows of an entity, and the newest position that one of them has in each store."""

    rows: dict[bytes, None] = field(default_factory=dict)
    newest: list[bytes] = field(default_factory=list)

    def add(self, row: bytes, positions: Sequence[bytes]) -> None:
        self.rows[row] = None
        self.newest = [max(pair) for pair in zip(self.newest or positions, positions, strict=True)]


@dataclass(slots=True)
class GoneRows:
    """Rows that wait to be deleted: until the logs are known beyond their last changes, and for a read's margin then.

    A generation waits together, so that a row takes no more than its key; those that come meanwhile are the next one.
    Where a log stands still for long, only so many wait: one that is never deleted is known to be absent all the same.
    """

    _coming: dict[int, _Generation] = field(default_factory=dict)
    _waiting: dict[int, _Generation] = field(default_factory=dict)
    _until_ms: dict[bytes, int] = field(default_factory=dict)  # in the order of time

    def add(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Note a row that is gone; one that is noted already stays as it is."""
        number = entity.contract.number
        generations = (self._coming.get(number), self._waiting.get(number))
        if row in self._until_ms or any(found and row in found.rows for found in generations):
            return
        if len(self) < GONE_ROWS_MAX:
            self._coming.setdefault(number, _Generation()).add(row, [side.position for side in state.sides])

    def __len__(self) -> int:
        """Return how many wait."""
        generations = (*self._coming.values(), *self._waiting.values())
        return len(self._until_ms) + sum(len(generation.rows) for generation in generations)

    def discard(self, number: int, row: bytes) -> None:
        """Forget a row of this entity that was touched."""
        self._until_ms.pop(row, None)
        for generations in (self._coming, self._waiting):
            if number in generations:
                generations[number].rows.pop(row, None)

    def let_go(self, entities: Mapping[int, EntityProgress]) -> list[bytes]:
        """Return the rows that may be deleted by what is known of the logs now, and forget them."""
        for number, entity in entities.items():
            self._move_on(number, entity)
        known_ms = {number: _known_ms(entity) for number, entity in entities.items()}
        left = []
        for row, until_ms in self._until_ms.items():
            if until_ms >= known_ms[int.from_bytes(row[1:5], "big")]:
                break
            left.append(row)
        for row in left:
            del self._until_ms[row]
        return left

    def _move_on(self, number: int, entity: EntityProgress) -> None:
        """Let a generation wait for its margin once the logs are known beyond its changes, and begin with the next."""
        waiting = self._waiting.get(number)
        if waiting is not None:
            if any(known < at for known, at in zip(entity.known_to, waiting.newest, strict=True)):
                return
            until_ms = _known_ms(entity) + READ_MARGIN_MS
            self._until_ms.update(dict.fromkeys(waiting.rows, until_ms))
            del self._waiting[number]
        coming = self._coming.pop(number, None)
        if coming is not None:
            self._waiting[number] = coming


def _known_ms(entity: EntityProgress) -> int:
    """Return the latest time up to which one of an entity's logs is known; `EVER` where none is."""
    return max((at_ms for at_ms in entity.watermark_ms if at_ms is not None), default=EVER)
