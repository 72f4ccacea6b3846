"""Rows that were read again: what a read says against what the log said, and which rows of a slice were not there.

A read stands in its store's log at its window's close, behind every change that it may have seen and before every one
that it has not. So it is folded like a change, and if the row is not as the log said, the log left something out.
A row that is there by the log, and that neither a read nor a change has shown since the slice was begun, is not there.
Nothing is concluded from what was changed shortly before: a database may write a commit to its log before it shows it.
(MongoDB may not.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from app.core.journal import GAP_RECORDS, META, Write
from app.core.keystate import KeyState, Side
from app.core.limits import PENDING_SLICES_MAX, READ_MARGIN_MS
from app.core.position import epoch_of, place_of
from app.core.progress import EntityProgress, Progress
from app.core.rows import BlockOfStore, apply_floors, drop_unseen, fold_change
from app.core.timeline import Timeline
from app.core.verdict import ABSENT, EVER, Stay

_SLICES: Final = META + b"r"


@dataclass(frozen=True, slots=True)
class Gap:
    """What a read found in a row of one store: the state that the log told, and the one that was read."""

    row: bytes
    store: int
    told: Stay
    read: Stay


@dataclass(frozen=True, slots=True)
class PendingSlice:
    """A slice that was read whole, and waits until the store's log is known beyond `told_at`."""

    slice_id: bytes
    entity: int
    store: int
    low: bytes
    high: bytes
    begun: bytes
    told_at: bytes


def fold_read(source: BlockOfStore, state: KeyState, n: int, at: bytes) -> Stay | None:
    """Put the n-th row of a block, a read, into its row's state; return what the log had told if that was not so."""
    entity, store = source.entity, source.block.store
    side = state.sides[store]
    is_covered = entity.covered_at_ms[store] is not None
    if source.is_floored:
        apply_floors(source.progress, entity, state)
    drop_unseen(source.progress, entity, state)
    if at <= side.position:
        return None
    # A connector sends what it read before a truncate also where the truncate came within the window.
    # MongoDB acknowledges the word that opens a window when all before it in the log is to be seen.
    may_be_old = is_covered and source.store.has_snapshot
    if may_be_old and changed_lately(source.timeline, max(side.position, entity.floor[store]), at):
        side.position = at
        return None
    told = side.stays[-1]
    if not fold_change(source, state, n, at):
        _stand_where_read(source, state, n, at)
        return None
    read = side.stays[-1]
    is_proof = is_covered and read.position == at and len(told.digest) != 1 and len(read.digest) != 1
    return told if is_proof else None


def _stand_where_read(source: BlockOfStore, state: KeyState, n: int, at: bytes) -> None:
    """Let a row at rest stand where it was read last: its image is found there for longest, and it is kept small."""
    side = state.sides[source.block.store]
    stay = side.stays[-1]
    if len(side.stays) == 1 and stay.latest_ms == EVER and all(r.drift is None for r in state.replicas):
        link = source.block.link
        side.stays[0] = Stay(stay.digest, at, EVER, EVER, link.partition, source.block.offsets[n], 0)


def changed_lately(timeline: Timeline, changed_at: bytes, read_at: bytes) -> bool:
    """Whether a change may be so young that a read behind it in the log did not see it.

    A pass that was begun before the oldest beacon that is kept has given every change time enough.
    """
    _, changed_ms = timeline.bracket(changed_at)
    read_ms, _ = timeline.bracket(read_at)
    return read_ms != EVER and changed_ms + READ_MARGIN_MS > read_ms


def is_valid(progress: Progress, entity: EntityProgress, pending: PendingSlice) -> bool:
    """Whether a slice was begun and completed in the part of the store's log that its present coverage stands for."""
    store = progress.stores[entity.contract.stores[pending.store].store]
    return (
        entity.covered_at_ms[pending.store] is not None
        and bool(store.snapshots)
        and epoch_of(pending.told_at) == store.epoch
        and store.snapshots[-1] < place_of(pending.begun) <= place_of(pending.told_at)
    )


def is_missed(timeline: Timeline, side: Side, pending: PendingSlice) -> bool:
    """Whether a row of a slice is there by the log alone: nothing has shown it since the slice was begun."""
    if side.stays[-1].digest == ABSENT or side.position >= pending.begun:
        return False
    return not changed_lately(timeline, side.position, pending.begun)


def end_missed(timeline: Timeline, state: KeyState, row: bytes, pending: PendingSlice) -> Gap:
    """Make a row absent that a slice did not show, and return the gap."""
    side = state.sides[pending.store]
    told = side.stays[-1]
    read = Stay(ABSENT, pending.told_at, *timeline.bracket(pending.told_at))
    side.stays.append(read)
    side.position = pending.told_at
    side.groups = side.raw_keys = b""
    return Gap(row, pending.store, told, read)


@dataclass(slots=True)
class Rereads:
    """What one partition has yet to do with what was read again: gaps to be told, and slices to be held against it.

    Both are kept with the rows. `writes` is what the next flush writes before any row: a gap is in no row's state, so
    that it must be known before the state is that which was read.
    """

    gaps: dict[bytes, Gap] = field(default_factory=dict)  # by finding id
    slices: dict[bytes, PendingSlice] = field(default_factory=dict)
    writes: dict[bytes, bytes | None] = field(default_factory=dict)

    def restore(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in all records of a partition that are ours."""
        for key, value in items:
            if key.startswith(GAP_RECORDS):
                row, store, told, read = json.loads(value)
                gap = Gap(bytes.fromhex(row), store, _unpacked(told), _unpacked(read))
                self.gaps[key[len(GAP_RECORDS) :]] = gap
            elif key.startswith(_SLICES):
                entity, store, *parts = json.loads(value)
                slice_id = key[len(_SLICES) :]
                self.slices[slice_id] = PendingSlice(slice_id, entity, store, *map(bytes.fromhex, parts))

    def add_gap(self, finding_id: bytes, gap: Gap) -> None:
        """Keep a gap until the broker has its finding."""
        self.gaps[finding_id] = gap
        value = [gap.row.hex(), gap.store, _packed(gap.told), _packed(gap.read)]
        self.writes[GAP_RECORDS + finding_id] = json.dumps(value).encode()

    def forget_gap(self, finding_id: bytes) -> None:
        """Take in that the broker has a gap's finding."""
        if self.gaps.pop(finding_id, None) is not None:
            self.writes[GAP_RECORDS + finding_id] = None

    def add_slice(self, pending: PendingSlice) -> Iterator[Write]:
        """Let a slice wait; the oldest goes where too many do. Yields what is to be written."""
        self.slices[pending.slice_id] = pending
        value = [pending.entity, pending.store, pending.low, pending.high, pending.begun, pending.told_at]
        yield _SLICES + pending.slice_id, json.dumps(value, default=bytes.hex).encode()
        if len(self.slices) > PENDING_SLICES_MAX:
            yield self.forget_slice(next(iter(self.slices)))

    def forget_slice(self, slice_id: bytes) -> Write:
        """Take in that a slice was held against the rows, or proves nothing."""
        self.slices.pop(slice_id, None)
        return _SLICES + slice_id, None

    def known(self, entity: EntityProgress) -> list[PendingSlice]:
        """Return the slices of an entity beyond which their store's log is known by now."""
        number = entity.contract.number
        return [s for s in self.slices.values() if s.entity == number and entity.known_to[s.store] > s.told_at]


def _packed(stay: Stay) -> list[object]:
    return [stay.digest.hex(), stay.position.hex(), *stay[2:]]


def _unpacked(packed: list[Any]) -> Stay:
    digest, at, *rest = packed
    return Stay(bytes.fromhex(digest), bytes.fromhex(at), *rest)
