"""Rows that are nowhere any more, and that the table has still: when they may be deleted from it.

Not before what comes again of them is known for a redelivery. A commit may be torn between rows and chains, so that all
that they went through is read once more; and a read that is as old as the row must be known to say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from app.core.keystate import KeyState
from app.core.limits import GONE_ROWS_MAX, READ_MARGIN_MS
from app.core.pipeline_reach import PipelineReach
from app.core.position import epoch_of, place_of
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
class _Rows:
    """Rows of one entity that wait as long as each other: a generation together, then each for its margin."""

    coming: _Generation = field(default_factory=_Generation)
    waiting: _Generation = field(default_factory=_Generation)
    until_ms: dict[bytes, int] = field(default_factory=dict)  # in the order of time

    def __contains__(self, row: bytes) -> bool:
        return row in self.waiting.rows or row in self.coming.rows or row in self.until_ms

    def __len__(self) -> int:
        return len(self.waiting.rows) + len(self.coming.rows) + len(self.until_ms)

    def discard(self, row: bytes) -> None:
        self.waiting.rows.pop(row, None)
        self.coming.rows.pop(row, None)
        self.until_ms.pop(row, None)

    def let_go(self, entity: EntityProgress, margin_ms: int, reached: Iterable[bytes]) -> list[bytes]:
        known_ms = _known_ms(entity)
        # A generation without rows has no positions, and waits for nothing.
        newest = self.waiting.newest
        is_known = all(known >= at for known, at in zip(entity.known_to, newest, strict=False))
        if is_known and (not newest or _was_brought(entity, newest[0], reached)):
            self.until_ms.update(dict.fromkeys(self.waiting.rows, known_ms + margin_ms))
            self.waiting, self.coming = self.coming, _Generation()
        left = list(takewhile(lambda row: self.until_ms[row] < known_ms, self.until_ms))
        for row in left:
            del self.until_ms[row]
        return left


@dataclass(slots=True)
class GoneRows:
    """Rows that wait to be deleted: until the logs are known beyond their last changes, and for a margin then.

    The margin is a read's. Where a replica never showed what its authority went through, it is as long as a pipeline
    may still bring that, and a pipeline that reports has come past it, so that what it shows then is known to be late.

    A generation waits together, so that a row takes no more than its key; those that come meanwhile are the next one.
    Where a log stands still for long, only so many wait: one that is never deleted is known to be absent all the same.
    """

    _rows: dict[tuple[int, bool], _Rows] = field(default_factory=dict)  # by entity, and whether it passed unseen

    def add(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Note a row that is gone; one that is noted already stays as it is."""
        number = entity.contract.number
        if any(row in self._rows.get((number, unseen), ()) for unseen in (False, True)) or len(self) >= GONE_ROWS_MAX:
            return
        passed_unseen = state.sides[0].stays[-1].earliest_ms != EVER
        rows = self._rows.setdefault((number, passed_unseen), _Rows())
        rows.coming.add(row, [side.position for side in state.sides])

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._rows.values()))

    def discard(self, number: int, row: bytes) -> None:
        """Forget a row of this entity that was touched."""
        for unseen in (False, True):
            if (number, unseen) in self._rows:
                self._rows[number, unseen].discard(row)

    def let_go(self, entities: Mapping[int, EntityProgress], pipelines: PipelineReach) -> list[bytes]:
        """Return the rows that may be deleted by what is known of the logs now, and forget them."""
        left = []
        for (number, unseen), rows in self._rows.items():
            entity, margin_ms, reached = entities[number], READ_MARGIN_MS, list[bytes]()
            if unseen:
                replicas = entity.contract.replicas
                margin_ms = max(margin_ms, *(replica.quiet_for_ms for replica in replicas))
                reached = [pipelines.place(number, i) for i in entity.judged if replicas[i].pipeline is not None]
            left += rows.let_go(entity, margin_ms, reached)
        return left


def _was_brought(entity: EntityProgress, at: bytes, reached: Iterable[bytes]) -> bool:
    """Whether pipelines are past a position of the authority, or its log has begun anew: then none will bring it."""
    return epoch_of(at) < epoch_of(entity.known_to[0]) or all(place >= place_of(at) for place in reached)


def _known_ms(entity: EntityProgress) -> int:
    """Return the latest time up to which one of an entity's logs is known; `EVER` where none is."""
    return max((at_ms for at_ms in entity.watermark_ms if at_ms is not None), default=EVER)
