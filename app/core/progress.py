"""How far one partition of `observations` knows each store's log: chains, barriers, watermarks, epochs and coverage.

A chain is what was reached of one CDC partition. A barrier is a beacon together with how far all CDC partitions of its
store must be read for everything before it to be known. Where an entity's chains have reached it, or have shown what
stands behind it in the log, the watermark of that store and entity moves to the moment at which the beacon was issued.
Coverage of an entity in a store is earned by the first streamed beacon after a snapshot of this epoch, since Debezium
streams only when the snapshot is complete. Where the contract has come to mean something else, all that was read before
is outdated, and a snapshot of a later epoch is needed.

A store without a snapshot that tells its place (MongoDB) is known by its stream alone. Its beacons say which beacon
they replaced: one that did not replace the newest that was read stands behind a gap, and coverage ends. From there on a
pass over the whole table is what a snapshot is elsewhere: a row that it did not show and that has not changed since is
not there. A gap begins no epoch: nothing announces it in the partitions of rows, and those that are read before its
beacon have their place in the one log all the same.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from app.core.contract import EntityContract
from app.core.limits import BREAKS_IN_A_ROW_MAX, PENDING_BARRIERS_MAX, TRUNCATES_KEPT
from app.core.observation import Barrier, Beacon, Link, Truncated
from app.core.position import BEFORE_ALL, SNAPSHOT, STREAM, epoch_of, place_of, position
from app.core.timeline import Timeline
from app.core.verdict import EVER

_UNTOLD: Final = 2**62
"""The end of a partition that a barrier does not name: it is reached by no reading."""


@dataclass(slots=True)
class Chain:
    """What was reached of one CDC partition: the next Kafka position, and the newest streamed change's position."""

    reached: int
    newest: bytes = BEFORE_ALL
    epoch: int = 0
    streaming: bool = False


class Pending(NamedTuple):
    """A barrier that waits for chains: its beacon's position, and the end of each partition of its store."""

    at: bytes
    issued_ms: int
    snapshot_complete: bool
    ends: dict[tuple[str, int], int]


@dataclass(slots=True)
class StoreProgress:
    """One store's log: its beacons, its epoch, and the barriers that wait for chains."""

    timeline: Timeline = field(default_factory=Timeline)
    epoch: int = 0
    snapshots: list[bytes] = field(default_factory=list)  # per epoch: where its snapshot, or newest gap, is in the log
    broken_in_a_row: int = 0  # epochs that ended before any entity was covered in them
    log_restarted: bool = False  # places of the epoch before cannot be compared with this one's
    log_began: int = 0  # places of this epoch and the later ones are of the log that is
    snapshot_seen: bool = False  # the beacon's own row was read by this epoch's snapshot
    server: str = ""
    last_beacon: bytes = BEFORE_ALL
    has_snapshot: bool = True
    newest: tuple[int, int] | None = None  # without a snapshot: the newest beacon, which the next one is to replace
    pending: list[Pending] = field(default_factory=list)

    def shows_new_log(self, place: bytes) -> bool:
        """Whether a snapshot that stands at a place is of a log that has begun anew.

        One that goes on is never read again at a place before what it has streamed, or before its last snapshot.
        """
        if self.last_beacon == BEFORE_ALL:
            return bool(self.snapshots) and place < self.snapshots[-1]
        return epoch_of(self.last_beacon) == self.epoch and place < place_of(self.last_beacon)

    def is_newest(self, beacon: Beacon) -> bool:
        """Whether time goes by a beacon, and by none behind it."""
        at = self.last_beacon
        return self.timeline.positions[-1:] == [at] and place_of(at) == beacon.place

    def stands_behind_gap(self, beacon: Beacon) -> bool:
        """Whether changes before a beacon of a store without snapshots may never have been read.

        One that comes again is in none: a store's row is written by compare-and-set, with ever higher numbers.
        """
        writer, goes_on = (beacon.epoch, beacon.sequence), beacon.place > place_of(self.last_beacon)
        is_same_log = goes_on and beacon.server == self.server
        if self.newest is None:
            # Beacons may be known further than their store, after a commit that was torn.
            comes_again = writer <= self.timeline.sequence or (beacon.server == self.server and not goes_on)
            return not comes_again
        if writer <= self.newest:
            return goes_on
        return not is_same_log or beacon.replaced != self.newest


@dataclass(slots=True)
class EntityProgress:
    """One entity: watermark and coverage per store (None: not yet), and where a truncate cut each store."""

    contract: EntityContract
    watermark_ms: list[int | None]
    covered_at_ms: list[int | None]
    floor: list[bytes]
    cuts: list[list[bytes]]  # per store: the truncates that a row may not know of yet, the newest last, the floor
    base_ms: list[int | None]  # per replica: from when on it is judged; None before both stores were covered
    swept: list[bool]  # per replica: every row that was there at coverage has been judged once
    known_to: list[bytes]  # per store: the beacon up to which its log is known, in memory only
    outdated: list[int | None]  # per store: up to this epoch, rows are held by another meaning of the contract
    outdated_at: list[bytes]  # per store without snapshots: the place of its newest beacon when they came to be so
    forgotten_to: list[bytes]  # per store: up to where what rows showed was forgotten, as no pair was judged
    passed: list[bytes]  # per store without snapshots: where the newest pass over the whole table has ended

    @property
    def judged(self) -> frozenset[int]:
        """The replicas that may be judged."""
        return frozenset(i for i, base in enumerate(self.base_ms) if base is not None)

    @property
    def unswept(self) -> frozenset[int]:
        """The replicas that may be judged, and of which rows that nobody touched have not been judged yet."""
        return frozenset(i for i in self.judged if not self.swept[i])

    def forget_cuts(self, floor: Sequence[bytes]) -> None:
        """Forget the truncates before these, one per store, which every row knows of by now."""
        for cuts, known in zip(self.cuts, floor, strict=False):
            del cuts[: bisect_left(cuts, known)]

    @classmethod
    def new(cls, contract: EntityContract) -> EntityProgress:
        """Return the progress of an entity of which nothing is known."""
        n = len(contract.stores)
        nothing: list[int | None] = [None] * n
        return cls(
            contract,
            watermark_ms=[*nothing],
            covered_at_ms=[*nothing],
            floor=[BEFORE_ALL] * n,
            cuts=[[] for _ in range(n)],
            base_ms=[None] * (n - 1),
            swept=[False] * (n - 1),
            known_to=[BEFORE_ALL] * n,
            outdated=[*nothing],
            outdated_at=[b""] * n,
            forgotten_to=[BEFORE_ALL] * n,
            passed=[BEFORE_ALL] * n,
        )

    def keeps_history(self, store: int) -> bool:
        """Whether what a store's rows show is kept to be judged: it is covered, and one that it is held against."""
        others = self.covered_at_ms[1:] if store == 0 else self.covered_at_ms[:1]
        return self.covered_at_ms[store] is not None and any(at is not None for at in others)

    def is_shown_whole(self, store: int, at: bytes) -> bool:
        """Whether what shows all rows of a store, in their present meaning, is over where a beacon stands.

        Given that a snapshot of its epoch is, if it has one.
        """
        if self.contract.stores[store].has_snapshot:
            outdated = self.outdated[store]
            return outdated is None or epoch_of(at) > outdated
        return BEFORE_ALL < self.passed[store] < at

    def common_ms(self, replica: int) -> int | None:
        """Return the common time of the authority and a replica; None before coverage."""
        if self.base_ms[replica] is None:
            return None
        mine, theirs = self.watermark_ms[0], self.watermark_ms[replica + 1]
        return None if mine is None or theirs is None else min(mine, theirs)


@dataclass(slots=True)
class Progress:
    """Everything known of the logs in one partition of `observations`."""

    chains: dict[tuple[str, int], Chain] = field(default_factory=dict)
    stores: dict[str, StoreProgress] = field(default_factory=dict)
    entities: dict[int, EntityProgress] = field(default_factory=dict)
    writers_began_ms: dict[int, int] = field(default_factory=dict)  # per writer's epoch, on the common clock
    _joined_late: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, contracts: Iterable[EntityContract]) -> Progress:
        """Return the progress of a partition that has read nothing."""
        self = cls()
        for contract in contracts:
            self.entities[contract.number] = EntityProgress.new(contract)
            for table in contract.stores:
                self.stores.setdefault(table.store, StoreProgress(has_snapshot=table.has_snapshot))
        return self

    def timeline_of(self, entity: EntityProgress, i: int) -> Timeline:
        """Return the beacons of an entity's i-th store."""
        return self.stores[entity.contract.stores[i].store].timeline

    def records_read(self, store: str) -> int:
        """Return the positions reached in the change topics of a store's tables, added up: it grows with its log."""
        topics = {t.topic for e in self.entities.values() for t in e.contract.stores if t.store == store}
        return sum(chain.reached for (topic, _), chain in self.chains.items() if topic in topics)

    def extends(self, link: Link) -> bool:
        """Whether a link begins at or below what was reached; one above it is dropped with all that it carries."""
        chain = self.chains.get((link.topic, link.partition))
        return chain is None or link.begin <= chain.reached

    def extend(self, link: Link) -> Chain:
        """Take a link in, and return its chain."""
        chain = self.chains.get((link.topic, link.partition))
        if chain is None:
            chain = self.chains[link.topic, link.partition] = Chain(link.begin)
        chain.reached = max(chain.reached, link.end)
        return chain

    def place_row(self, store_name: str, chain: Chain, place: bytes, *, snapshot: bool) -> tuple[bytes, bool]:
        """Return the position of a row, and whether it breaks its store's epoch.

        All rows of one snapshot carry one place in the log. One that stands elsewhere is a snapshot taken again:
        changes may be missing in between. A streamed row belongs to the newest epoch if its chain has shown that
        epoch's snapshot or if it stands behind it in the log.
        """
        store = self.stores[store_name]
        if snapshot:
            broken = False
            epoch = self._epoch_of_snapshot(store, chain, place)
            if epoch is None and not store.snapshots and store.last_beacon == BEFORE_ALL:
                store.snapshots.append(place)
                epoch = 0
            elif epoch is None:
                restarted = store.shows_new_log(place) or (store.log_restarted and not store.snapshot_seen)
                self.break_epoch(store_name, place, log_restarted=restarted)
                epoch, broken = store.epoch, True
            chain.epoch = max(chain.epoch, epoch)
            return position(epoch, SNAPSHOT, place), broken
        chain.streaming = True
        if chain.epoch < store.epoch and self._joins(store, chain, place):
            chain.epoch = store.epoch
        return position(chain.epoch, STREAM, place), False

    @staticmethod
    def _epoch_of_snapshot(store: StoreProgress, chain: Chain, place: bytes) -> int | None:
        """Return the epoch of a row that a snapshot read; None if nobody has seen that snapshot yet.

        A place of a log that was may come again in the one that is. It is the old one's in a chain that has shown
        nothing behind it, as soon as it is known where the new log's own snapshot stands.
        """
        epoch = max((n for n, known in enumerate(store.snapshots) if known == place), default=None)
        if epoch is None or epoch >= store.log_began:
            return epoch
        lags = chain.epoch <= epoch and chain.newest < position(epoch, STREAM, b"")
        return epoch if lags and store.snapshots[-1] else None

    @staticmethod
    def _joins(store: StoreProgress, chain: Chain, place: bytes) -> bool:
        """Whether a streamed row shows that its chain, whose rows the snapshot did not read, is in the newest epoch.

        After a restart of the log its places do not tell, and what lags behind it is of the old one. A chain is in the
        new one when it goes back itself, or with coverage, which waits for all that was before.
        """
        if not store.log_restarted:
            return place > store.snapshots[-1]
        return not store.snapshots[-1] or place_of(chain.newest) >= place

    def break_epoch(self, store_name: str, place: bytes, *, log_restarted: bool) -> None:
        """Begin a new epoch of a store: its entities are uncovered at once."""
        store = self.stores[store_name]
        if store.broken_in_a_row > BREAKS_IN_A_ROW_MAX:
            self._uncover(store_name)  # and so it stays: no more is proven by another epoch
            return
        store.epoch += 1
        store.snapshots += [b""] * (store.epoch - len(store.snapshots)) + [place]
        store.log_restarted = log_restarted
        if log_restarted:
            store.log_began = store.epoch
        store.snapshot_seen = False
        store.broken_in_a_row += 1
        self._uncover(store_name)

    def _uncover(self, store_name: str) -> None:
        """Let nothing be proven of a store until all its rows are shown again."""
        self.stores[store_name].pending.clear()
        for entity in self.entities.values():
            for i, table in enumerate(entity.contract.stores):
                if table.store == store_name:
                    entity.covered_at_ms[i] = None
                    entity.passed[i] = BEFORE_ALL
                    for r in range(len(entity.base_ms)):
                        if i in {0, r + 1}:
                            entity.base_ms[r] = None
                            entity.swept[r] = False

    def take_beacon(self, barrier: Barrier, chain: Chain) -> bool:
        """Take a beacon and its barrier in; True if it broke its store's epoch."""
        beacon: Beacon = barrier.beacon
        store = self.stores.setdefault(beacon.store, StoreProgress())
        if store.has_snapshot:
            broken = beacon.streamed and self._shows_new_log(store, chain, beacon)
            if broken:
                self.break_epoch(beacon.store, b"", log_restarted=True)
        elif beacon.streamed and beacon.replaced is not None:
            broken = self._follow(store, chain, beacon)
        else:
            return False  # it does not tell whether something is missing before it
        at, is_taken_again = self.place_row(beacon.store, chain, beacon.place, snapshot=not beacon.streamed)
        broken = broken or is_taken_again
        store.server = beacon.server
        if not beacon.streamed:
            store.snapshot_seen = store.snapshot_seen or epoch_of(at) == store.epoch
            return broken
        store.last_beacon = at if store.has_snapshot else max(at, store.last_beacon)
        began_ms = self.writers_began_ms.get(beacon.epoch, beacon.previous_acknowledged_ms)
        self.writers_began_ms[beacon.epoch] = min(began_ms, beacon.previous_acknowledged_ms)
        writer = (beacon.epoch, beacon.sequence)
        if self.superseded(beacon):
            return broken
        if store.timeline.add(at, writer, beacon.issued_at_ms, beacon.previous_acknowledged_ms):
            ends = {(topic, partition): end for topic, partition, end in barrier.ends}
            # Rows of one snapshot at many places are no snapshot as we know it: nothing is proven by them.
            is_read = store.snapshot_seen and store.broken_in_a_row <= BREAKS_IN_A_ROW_MAX
            complete = is_read or not store.has_snapshot
            store.pending.append(Pending(at, store.timeline.issued_ms[-1], complete, ends))
            if complete:
                self._join(store, ends)
            if len(store.pending) > PENDING_BARRIERS_MAX:
                store.pending = _thinned(store.pending)
        return broken

    def _follow(self, store: StoreProgress, chain: Chain, beacon: Beacon) -> bool:
        """Hold a beacon of a store without snapshots against the one before it; True if it stands behind a gap."""
        is_behind_gap = store.stands_behind_gap(beacon)
        if is_behind_gap and place_of(store.last_beacon) < beacon.place:
            store.snapshots[-1:] = [beacon.place]
            self._uncover(beacon.store)
        elif is_behind_gap:
            self.break_epoch(beacon.store, beacon.place, log_restarted=True)
            chain.epoch = store.epoch
        writer = (beacon.epoch, beacon.sequence)
        if is_behind_gap:
            store.newest = writer
        elif store.newest is not None:
            store.newest = max(writer, store.newest)
        return is_behind_gap

    def take_pass(self, entity: EntityProgress, i: int, begun: bytes, ended_at: bytes) -> bool:
        """Let a pass over a whole table show which rows are there, from its beginning's place to its end's position.

        False if a gap may be within it, or if snapshots show that of this store.
        """
        store = self.stores[entity.contract.stores[i].store]
        if store.has_snapshot or store.newest is None or epoch_of(ended_at) != store.epoch:
            return False
        if not store.snapshots[-1] < begun <= place_of(ended_at):
            return False
        entity.passed[i] = max(entity.passed[i], ended_at)
        return True

    def outdate(self, entity: EntityProgress, i: int) -> None:
        """Let all that was read of an entity in a store count for nothing until it is read in a later epoch.

        Where nothing begins one, until it is read behind the next beacon, as if that stood behind a gap.
        """
        store = self.stores[entity.contract.stores[i].store]
        entity.outdated[i] = store.epoch
        if not store.has_snapshot:
            entity.outdated_at[i] = place_of(store.last_beacon)
            entity.passed[i] = BEFORE_ALL
            store.newest = None

    def outdate_again(self, entity: EntityProgress, i: int) -> None:
        """After a restart, let the next beacon stand behind a gap if none has since an entity came to be outdated."""
        store = self.stores[entity.contract.stores[i].store]
        if store.has_snapshot or entity.outdated[i] is None:
            return
        if not store.snapshots or store.snapshots[-1] <= entity.outdated_at[i]:
            store.newest = None

    def _shows_new_log(self, store: StoreProgress, chain: Chain, beacon: Beacon) -> bool:
        """Whether a streamed beacon stands in another log than what was read of its store before.

        One of an older writer is in no timeline, so that it would look new if it came again after a torn commit.
        """
        if store.server not in {"", beacon.server}:
            return True
        if store.last_beacon == BEFORE_ALL:
            # The stream begins where its snapshot stands, or the log has begun anew between the two.
            return bool(store.snapshots) and beacon.place < store.snapshots[chain.epoch]
        return (
            chain.streaming
            and not self.superseded(beacon)
            and not (store.log_restarted and epoch_of(store.last_beacon) < store.epoch)
            and (beacon.epoch, beacon.sequence) > store.timeline.sequence
            and place_of(store.last_beacon) >= beacon.place
        )

    def _join(self, store: StoreProgress, ends: Mapping[tuple[str, int], int]) -> None:
        """Let the chains that were read to the end that they had at a beacon be in its epoch.

        What comes next in them stands behind the beacon in the log. Chains of no table, a ledger's and the signals',
        are in no snapshot and would stay in the log that was.
        """
        for at, end in ends.items():
            chain = self.chains.get(at)
            if chain is not None and chain.reached >= end:
                chain.epoch = max(chain.epoch, store.epoch)

    def take_truncate(self, entity: EntityProgress, cut: Truncated, chain: Chain) -> bytes | None:
        """Let a truncate be the floor of its table, and return where it stands; None if its chain has shown it before.

        What stood below the floor is gone.
        """
        at, _ = self.place_row(entity.contract.stores[cut.store].store, chain, cut.place, snapshot=False)
        if at <= chain.newest:
            return None
        chain.newest = at
        cuts = entity.cuts[cut.store]
        insort(cuts, at)
        del cuts[:-TRUNCATES_KEPT]
        entity.floor[cut.store] = cuts[-1]
        return at

    def superseded(self, beacon: Beacon) -> bool:
        """Whether a newer writer had begun when an older one issued this beacon.

        Two writers' clocks are close but not the same, so such a beacon moves no watermark and brackets nothing. One
        that was issued before still does, however late it comes: without it a stalled store would have no brackets.
        """
        return any(
            epoch > beacon.epoch and began_ms < beacon.issued_at_ms for epoch, began_ms in self.writers_began_ms.items()
        )

    def advance(self) -> list[EntityProgress]:
        """Move the watermarks that may move, and return the entities of which one did."""
        moved: dict[int, EntityProgress] = {}
        self._join_late()
        for name, store in self.stores.items():
            if not store.pending:
                continue
            unreached = len(store.pending)
            for number, entity in self.entities.items():
                for i, table in enumerate(entity.contract.stores):
                    if table.store != name:
                        continue
                    last = self._reached_barrier(store, table.topic, table.partitions)
                    unreached = min(unreached, last + 1)
                    was_covered = entity.covered_at_ms[i] is not None
                    if last >= 0 and self._move(entity, i, store.pending[last]):
                        moved[number] = entity
                    if entity.covered_at_ms[i] is not None:
                        store.broken_in_a_row = 0
                        if not was_covered:
                            for p in range(table.partitions):
                                self.chains.setdefault((table.topic, p), Chain(0)).epoch = store.epoch
            # What every entity has reached is needed no more; the newest reached one stays for those that joined late.
            del store.pending[: max(unreached - 1, 0)]
        return list(moved.values())

    def _join_late(self) -> None:
        """Let chains that have come to a beacon's end be in its epoch, where no snapshot tells them of it.

        Then all is to be read again, by a pass that is begun behind it: what came in these chains so far may have been
        read by the last one, and stands in the log that was.
        """
        for name, store in self.stores.items():
            if store.has_snapshot or not store.log_restarted:
                continue
            late = [
                chain
                for entity in self.entities.values()
                for table in entity.contract.stores
                if table.store == name and self._reached_barrier(store, table.topic, table.partitions) >= 0
                for p in range(table.partitions)
                if (chain := self.chains.get((table.topic, p))) is not None and chain.epoch < store.epoch
            ]
            for chain in late:
                chain.epoch = store.epoch
            if late:
                store.snapshots[-1] = place_of(store.last_beacon)
                self._uncover(name)
                self._joined_late.append(name)

    def joined_late(self) -> list[str]:
        """Return the stores that were uncovered since this was asked last because chains came late to their epoch."""
        names, self._joined_late = self._joined_late, []
        return names

    def _reached_barrier(self, store: StoreProgress, topic: str, partitions: int) -> int:
        """Return the index of the newest pending barrier that a topic's chains have reached, -1 for none.

        A chain has reached a barrier where it has shown a change that stands behind the beacon in the log, for each
        partition carries its changes in the log's order. One that shows none has to be read to the end that it had when
        the beacon was read: in a backlog that is the end of the whole backlog.
        """
        nothing = Chain(0)
        chains = [((topic, p), self.chains.get((topic, p), nothing)) for p in range(partitions)]
        for index in range(len(store.pending) - 1, -1, -1):
            at, ends = store.pending[index].at, store.pending[index].ends
            if all(chain.newest > at or chain.reached >= ends.get(place, _UNTOLD) for place, chain in chains):
                return index
        return -1

    def _move(self, entity: EntityProgress, i: int, barrier: Pending) -> bool:
        issued_ms, snapshot_complete = barrier.issued_ms, barrier.snapshot_complete
        held = entity.watermark_ms[i]
        entity.known_to[i] = max(entity.known_to[i], barrier.at)
        if held is not None and issued_ms <= held and entity.covered_at_ms[i] is not None:
            return False
        entity.watermark_ms[i] = issued_ms if held is None else max(held, issued_ms)
        if entity.covered_at_ms[i] is None and snapshot_complete and entity.is_shown_whole(i, barrier.at):
            entity.covered_at_ms[i] = entity.watermark_ms[i]
            if not entity.contract.stores[i].has_snapshot:
                entity.outdated[i] = None
        for r in range(len(entity.base_ms)):
            if entity.base_ms[r] is None:
                entity.base_ms[r] = self._begins_ms(entity, r)
        return True

    def _begins_ms(self, entity: EntityProgress, r: int) -> int | None:
        """Return from when on a replica can be judged: both stores are covered, and nothing since is forgotten."""
        mine, theirs = entity.covered_at_ms[0], entity.covered_at_ms[r + 1]
        my_ms, their_ms = entity.watermark_ms[0], entity.watermark_ms[r + 1]
        if mine is None or theirs is None or my_ms is None or their_ms is None:
            return None
        forgotten_ms = max(self._forgotten_ms(entity, i) for i in (0, r + 1))
        if forgotten_ms > min(my_ms, their_ms):
            return None
        # What the authority showed before its watermark may have been forgotten, as another replica agreed with it.
        return max(mine, theirs, my_ms, forgotten_ms)

    def _forgotten_ms(self, entity: EntityProgress, i: int) -> int:
        """Return from when on at the latest all is known that a store's rows show.

        A snapshot stands before a beacon that was issued before it, perhaps: its rows are known from when that was
        acknowledged.
        """
        # Without snapshots a row shows from its reading on what it may have shown since long.
        store, at = self.stores[entity.contract.stores[i].store], max(entity.forgotten_to[i], entity.passed[i])
        if store.snapshots:
            at = max(at, position(store.epoch, STREAM, store.snapshots[-1]))
        return EVER if at == BEFORE_ALL else self.timeline_of(entity, i).bracket(at)[1]


def was_before_gap(store: StoreProgress, at: bytes) -> bool:
    """Whether a position is before the newest gap in the log of a store without snapshots, or nothing tells of it."""
    return not store.snapshots or at < position(store.epoch, STREAM, store.snapshots[-1])


def _thinned(pending: list[Pending]) -> list[Pending]:
    """Keep some of many barriers, at even steps of time: the beacons of a long backlog come all at once.

    Were the oldest dropped, time would stand still until the reading has come to those that are left.
    """
    step_ms = 3 * (pending[-1].issued_ms - pending[0].issued_ms) // PENDING_BARRIERS_MAX
    kept = [pending[0]]
    for barrier, following in pairwise(pending[1:]):
        if following.issued_ms - kept[-1].issued_ms > step_ms:
            kept.append(barrier)
    return [*kept, pending[-1]]
