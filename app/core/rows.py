"""One row's state as changes come in: what a change leaves, what a truncate cut, what a new snapshot no longer shows.

Nothing here judges; the history that the verdict needs is only kept, in the order of the store's log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.core.digest import row_digest
from app.core.finding import UnknownReason
from app.core.judging import collapse, was_cut
from app.core.keystate import KeyState, Side
from app.core.limits import RAW_KEYS_MAX, STAYS_MAX, UNCOVERED_STAYS_MAX
from app.core.observation import CREATED, PRESENT, QUARANTINED, RAW_KEY_BYTES, SNAPSHOT_READ, UNMAPPABLE, RowBlock
from app.core.position import BEFORE_ALL, PLACE_BYTES, SNAPSHOT, STREAM, epoch_of, place_of, position
from app.core.progress import EntityProgress, Progress, StoreProgress, was_before_gap
from app.core.timeline import Timeline
from app.core.verdict import ABSENT, EVER, OPEN, Stay, stay_of, unknown_state

_NOTHING = bytes(16)
_IMAGE = PRESENT | QUARANTINED | UNMAPPABLE


@dataclass(slots=True)
class BlockOfStore:
    """A block with what all its rows need: the entity's progress and the beacons of the store.

    `images[n]` is the digest of the n-th row's groups where that is all there is to its state, None where it needs a
    closer look: the row is absent or not known, or its table has groups that a log may leave out.
    """

    progress: Progress
    entity: EntityProgress
    block: RowBlock
    timeline: Timeline
    store: StoreProgress
    last_beacon: bytes
    last_issued_ms: int
    is_floored: bool  # a truncate may stand behind a row's newest change
    common_ms: list[int | None]
    known_ms: int  # the newest of these and of where coverage began; `EVER` before it
    settles: list[int]  # the replicas of which the history of a row at rest may be forgotten
    swept: list[int]  # the replicas that a sweep has judged
    raw_keys: list[bytes]
    images: list[bytes | None]

    @classmethod
    def of(cls, progress: Progress, entity: EntityProgress, block: RowBlock) -> BlockOfStore:
        """Return a block of an entity's rows as it is folded."""
        timeline = progress.timeline_of(entity, block.store)
        last, issued_ms = (timeline.positions[-1], timeline.issued_ms[-1]) if timeline.positions else (BEFORE_ALL, EVER)
        is_floored = any(floor != BEFORE_ALL for floor in entity.floor)
        common_ms = [entity.common_ms(i) for i in range(len(entity.base_ms))]
        known_ms = max((at for at in (*common_ms, *entity.base_ms) if at is not None), default=EVER)
        # A replica that no sweep has judged is held against all that its authority showed: nothing of it is forgotten.
        settles = [] if entity.unswept else sorted(entity.judged)
        swept = sorted(entity.judged - entity.unswept)
        store = progress.stores[entity.contract.stores[block.store].store]
        raw_keys = [block.raw_keys[i : i + RAW_KEY_BYTES] for i in range(0, len(block.raw_keys), RAW_KEY_BYTES)]
        images: list[bytes | None] = [None] * len(block.keys)
        if block.groups == 1:
            images = [
                block.digests[n * 16 : n * 16 + 16] if flags & _IMAGE == PRESENT else None
                for n, flags in enumerate(block.flags)
            ]
        return cls(
            progress,
            entity,
            block,
            timeline,
            store,
            last,
            issued_ms,
            is_floored,
            common_ms,
            known_ms,
            settles,
            swept,
            raw_keys,
            images,
        )


def fold_change(source: BlockOfStore, state: KeyState, n: int, at: bytes) -> bool:
    """Put the n-th change of a block into its row's state at its position; False if the row is as it was."""
    block, entity = source.block, source.entity
    side = state.sides[block.store]
    if source.is_floored:
        apply_floors(source.progress, entity, state)
    if at <= side.position:
        behind_floor = at < entity.floor[block.store]
        return _fold_behind_floor(source, state, n, at) if behind_floor else _fold_other_key(source, state, n, at)
    flags = block.flags[n]
    if at[:2] != side.position[:2]:
        _begin_epoch(source, side, n, at)
    if side.stays[-1].digest == ABSENT:
        side.groups = b""  # of a row that was cut: what comes now is another
    digest = _row_state(source, side, n)
    side.position = at
    # An insert where a row is shown: what ended that row, a truncate, is still on its way through another partition.
    begins_anew = flags & CREATED and digest != ABSENT
    if digest == side.stays[-1].digest and not begins_anew:
        return False
    side.stays.append(stay_left(source, n, at, digest))
    if source.is_floored:
        apply_floors(source.progress, entity, state)
    if len(side.stays) > UNCOVERED_STAYS_MAX:
        _bound(entity, block.store, side)
    return True


def _begin_epoch(source: BlockOfStore, side: Side, n: int, at: bytes) -> None:
    """Forget which rows a side has shown before, as the first change of another epoch comes, which a snapshot began."""
    flags = source.block.flags[n]
    if flags & SNAPSHOT_READ:
        side.raw_keys = b""  # this snapshot shows which are there
    elif epoch_of(at) == source.store.epoch and _was_before_snapshot(source.store, side):
        if source.raw_keys[n] == side.raw_keys[-RAW_KEY_BYTES:]:
            _drop_unseen(source.store, side)
        elif flags & PRESENT:
            side.raw_keys = b""  # what is there under another one, its snapshot shows in its own partition


def stay_left(source: BlockOfStore, n: int, at: bytes, digest: bytes) -> Stay:
    """Return the state in which the n-th change of a block, at this position, leaves its row."""
    block = source.block
    if at > source.last_beacon:
        earliest_ms, latest_ms = source.last_issued_ms, OPEN
    else:
        earliest_ms, latest_ms = source.timeline.bracket(at)
    if block.flags[n] & SNAPSHOT_READ:
        earliest_ms = EVER
    return stay_of((digest, at, earliest_ms, latest_ms, block.link.partition, block.offsets[n], block.transactions[n]))


def _fold_behind_floor(source: BlockOfStore, state: KeyState, n: int, at: bytes) -> bool:
    """Put in a change that came after the truncate that ended it.

    The truncate travels in one CDC partition and overtakes rows of the others. What a row showed before it was
    cut still counts: without it the replica would seem to have left its last good state too early.
    """
    store = source.block.store
    side = state.sides[store]
    last, raw_keys = side.stays[-1], side.raw_keys
    if not was_cut(last) or last.position != side.position or len(side.stays) < 2:  # noqa: PLR2004
        return False
    before = side.stays[-2]
    if at <= before.position:
        return False
    digest = _row_state(source, side, n)
    side.raw_keys = raw_keys
    if digest == before.digest:
        return False
    side.stays.insert(-1, stay_left(source, n, at, digest))
    return True


def _fold_other_key(source: BlockOfStore, state: KeyState, n: int, at: bytes) -> bool:
    """Put in a change of another raw key that is older than the newest one: raw keys travel in partitions of their own.

    Whatever has the raw key of the newest change is a redelivery, and so is what comes from an older epoch.
    """
    block = source.block
    side = state.sides[block.store]
    raw_key = source.raw_keys[n]
    if raw_key == side.raw_keys[-RAW_KEY_BYTES:] or epoch_of(at) != epoch_of(side.position):
        return False
    known = _raw_keys_without(side, raw_key)
    if not block.flags[n] & PRESENT:
        side.raw_keys = known
        return False
    if not known or len(known) < len(side.raw_keys):
        return False
    side.raw_keys = (raw_key + known)[-RAW_KEYS_MAX * RAW_KEY_BYTES :]
    side.groups = b""
    side.stays[-1] = side.stays[-1]._replace(digest=unknown_state(UnknownReason.KEY_COLLISION))
    return True


def _raw_keys_without(side: Side, raw_key: bytes) -> bytes:
    """Return the raw keys but one; all of them where there are too many to know what is left."""
    keys = [side.raw_keys[i : i + RAW_KEY_BYTES] for i in range(0, len(side.raw_keys), RAW_KEY_BYTES)]
    return side.raw_keys if len(keys) >= RAW_KEYS_MAX else b"".join(key for key in keys if key != raw_key)


def _row_state(source: BlockOfStore, side: Side, n: int) -> bytes:
    """Return the state that a change leaves, and note whose rows may be there then.

    It is a digest, absence, or why it is not known. Two raw keys under one canonical key are two rows. Once there was
    more than one, the row is known again when all but one were deleted and that one has shown itself since.
    """
    raw_key, known = source.raw_keys[n], side.raw_keys
    is_alone = known == raw_key or not known
    image = source.images[n]
    if is_alone and image is not None:
        side.raw_keys = raw_key
        return image
    block = source.block
    others = b"" if is_alone else _raw_keys_without(side, raw_key)
    present = bool(block.flags[n] & PRESENT)
    side.raw_keys = others + raw_key if present and len(others) < RAW_KEYS_MAX * RAW_KEY_BYTES else others
    if others:
        side.groups = b""
        return unknown_state(UnknownReason.KEY_COLLISION)
    return _image_state(side, block, n)


def _image_state(side: Side, block: RowBlock, n: int) -> bytes:
    flags, width = block.flags[n], block.groups * 16
    if flags & (QUARANTINED | UNMAPPABLE):
        side.groups = b""  # what this change did to a field that the next one leaves out, nobody knows
    if flags & QUARANTINED:
        return unknown_state(UnknownReason.QUARANTINED)
    if flags & UNMAPPABLE:
        return unknown_state(UnknownReason.SCHEMA)
    if not flags & PRESENT:
        side.groups = b""
        return ABSENT
    groups = block.digests[n * width : (n + 1) * width]
    if block.groups == 1:
        return groups
    parts = [groups[g : g + 16] for g in range(0, width, 16)]
    known = [side.groups[g : g + 16] for g in range(0, len(side.groups), 16)] or [_NOTHING] * block.groups
    parts = [was if new == _NOTHING else new for new, was in zip(parts, known, strict=True)]
    side.groups = b"".join(parts)
    return unknown_state(UnknownReason.PARTIAL) if _NOTHING in parts else row_digest(side.groups)


def apply_floors(progress: Progress, entity: EntityProgress, state: KeyState) -> bool:
    """Make a row absent where a truncate stands behind its newest change."""
    changed = False
    for number, cuts in enumerate(entity.cuts):
        for floor in cuts:
            if _cut_at(state.sides[number], floor, progress.timeline_of(entity, number)):
                changed = True
    return changed


def _cut_at(side: Side, floor: bytes, timeline: Timeline) -> bool:
    # Usually the truncate is the newest; but it may come after rows of other partitions that stand behind it.
    at = len(side.stays)
    while at and side.stays[at - 1].position > floor:
        at -= 1
    if not at or side.stays[at - 1].digest == ABSENT or (at == len(side.stays) and side.position > floor):
        return False
    side.stays.insert(at, Stay(ABSENT, floor, *timeline.bracket(floor), -1, -1, 1))
    if side.position < floor:
        side.position = floor
        # The groups stay: a change that the truncate has overtaken may leave some out.
        side.raw_keys = b""
    return True


def drop_unseen(progress: Progress, entity: EntityProgress, state: KeyState) -> bool:
    """Make a row absent that the snapshot of its store's newest epoch did not show."""
    changed = False
    for number, side in enumerate(state.sides):
        if entity.covered_at_ms[number] is None:
            continue  # the snapshot may not have come to this row yet
        changed = _drop_unseen(progress.stores[entity.contract.stores[number].store], side) or changed
    return changed


def _drop_unseen(store: StoreProgress, side: Side) -> bool:
    """Make one side's row absent likewise. A change under its raw key comes behind what the snapshot read of it."""
    if side.stays[-1].digest == ABSENT or not _was_before_snapshot(store, side):
        return False
    phase = SNAPSHOT if store.has_snapshot else STREAM
    at = position(store.epoch, phase, store.snapshots[-1] or bytes(PLACE_BYTES))
    side.stays.append(Stay(ABSENT, at, EVER, OPEN))
    side.position = at
    side.groups = side.raw_keys = b""
    return True


def _was_before_snapshot(store: StoreProgress, side: Side) -> bool:
    """Whether what a side shows is of an earlier epoch, and stands in the log before this one's snapshot.

    Without snapshots, whether it stands before the newest gap.
    """
    if not store.has_snapshot:
        return was_before_gap(store, side.position)
    if not store.epoch or epoch_of(side.position) >= store.epoch:
        return False
    return store.log_restarted or place_of(side.position) <= store.snapshots[-1]


def settle(source: BlockOfStore, state: KeyState) -> None:
    """Forget the history of a row that was not live: it agreed for good, up to this common time at least.

    Not of one that a truncate has cut and no sweep has come to: it has not agreed since. Nor of one whose state is
    unknown or whose drift waits for a touch.
    """
    judged = source.settles
    if source.is_floored and source.swept and apply_floors(source.progress, source.entity, state):
        return
    if not judged or has_drift(state) or not agrees(state, judged):
        vouch_at_rest(state, source.common_ms, source.swept)
        return
    collapse(state, judged)
    for i in judged:
        replica, common_ms = state.replicas[i], source.common_ms[i]
        if common_ms is not None and common_ms > replica.vouched_until_ms:
            replica.vouched_until_ms = common_ms


def vouch_at_rest(state: KeyState, common_ms: Sequence[int | None], swept: Iterable[int]) -> None:
    """Let a row's replicas that were judged, and have not changed since, count as judged at these common times.

    Else one that was at rest for long would seem to have waited all the while, as soon as its row is touched.
    """
    truth = state.sides[0].stays[-1]
    for i in swept:
        replica, shown, known_ms = state.replicas[i], state.sides[i + 1].stays[-1], common_ms[i]
        if known_ms is None or replica.drift is not None or replica.look_ms != OPEN:
            continue
        is_one = truth.digest == shown.digest or len(truth.digest) == 1 or len(shown.digest) == 1
        if is_one and truth.latest_ms <= known_ms and shown.latest_ms <= known_ms:
            replica.vouched_until_ms = max(replica.vouched_until_ms, known_ms)


def _bound(entity: EntityProgress, store: int, side: Side) -> None:
    if len(side.stays) <= UNCOVERED_STAYS_MAX:
        return
    if not entity.keeps_history(store):
        _cut(side, UNCOVERED_STAYS_MAX, UnknownReason.UNCOVERED)
        entity.forgotten_to[store] = max(entity.forgotten_to[store], side.stays[1].position)
    if len(side.stays) > STAYS_MAX:
        _cut(side, STAYS_MAX // 2, UnknownReason.HOT)


def _cut(side: Side, kept: int, reason: UnknownReason) -> None:
    """Keep the newest states. What is cut off cannot be judged: it vouches for anything, since ever."""
    side.stays[:-kept] = [Stay(unknown_state(reason), BEFORE_ALL)]


def has_drift(state: KeyState) -> bool:
    """Whether a drift of the row is kept."""
    for replica in state.replicas:  # noqa: SIM110 - half the time of a generator, for every row
        if replica.drift is not None:
            return True
    return False


def agrees(state: KeyState, judged: Iterable[int]) -> bool:
    """Whether these replicas show what the authority shows, and it is known."""
    newest = state.sides[0].stays[-1].digest
    if len(newest) == 1:
        return False
    for i in judged:  # noqa: SIM110 - half the time of a generator, for every row
        if state.sides[i + 1].stays[-1].digest != newest:
            return False
    return True


def agrees_for_good(state: KeyState, i: int) -> bool:
    """Whether a replica shows what the authority shows, it is known, and no history is kept."""
    truth, shown = state.sides[0].stays, state.sides[i + 1].stays
    return len(truth) == len(shown) == 1 and truth[0].digest == shown[0].digest and len(truth[0].digest) != 1


def is_settled(state: KeyState, judged: Iterable[int]) -> bool:
    """Whether nothing is to be judged: those replicas agree for good, and no drift is kept."""
    return all(agrees_for_good(state, i) for i in judged) and not has_drift(state)


def is_gone(state: KeyState) -> bool:
    """Whether the row is nowhere and nothing is left to say of it."""
    for side in state.sides:  # a loop, and this first: nearly every row that is written is somewhere
        if side.stays[-1].digest != ABSENT or len(side.stays) > 1:
            return False
    return not has_drift(state)
