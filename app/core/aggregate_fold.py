"""The fold of aggregates: what contributions, barriers and truncates do to one partition's figures, and what is told.

All contributions of an entity come to one partition of `observations` (`partition_of_aggregates`), so that its figures
are whole there. The shell does what it does for rows (`app.core.fold`): it reads the states that `needed_keys` names,
folds, and writes what `flush` returns before the offset is committed. What is written are the rows' contributions with
their positions, each by itself: what is written twice, or again after a kill, is the same. Figures are made from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.aggregate_book import Book, Touched
from app.core.aggregate_judging import Told, Watched
from app.core.aggregate_status import AggregateStatus
from app.core.contract import EntityContract
from app.core.journal import META, Notes, Write, beacon_records, chain_record, entity_record, restore, store_record
from app.core.limits import HELD_STATES_MAX, SWEEP_KEYS
from app.core.observation import (
    INCREMENTAL_READ,
    SNAPSHOT_READ,
    Barrier,
    Contributions,
    Link,
    Mark,
    Observation,
    SliceRead,
    Truncated,
)
from app.core.position import BEFORE_ALL, PLACE_BYTES, POSITION_BYTES, STREAM, epoch_of, position
from app.core.progress import Chain, EntityProgress, Progress, was_before_gap

PREFIX: Final = b"a"
"""The first byte of this fold's keys in the worker's table; the fold of rows has 0 and 1, the planner `p`."""

ROWS: Final = PREFIX + b"r"
"""What the keys of rows begin with: a start reads all others at once, and these by and by."""

_NEWEST: Final = PREFIX + b"v"
_DRIFT: Final = PREFIX + b"d"
_META: Final = PREFIX + META
_CHAIN: Final = _META + b"c"
_BEACON: Final = _META + b"b"
_ENTITY: Final = _META + b"e"
_RANKS: Final = {_NEWEST: 0, ROWS: 1, _BEACON: 2, _ENTITY: 2, _CHAIN: 4}


def changelog_rank(key: bytes) -> int:
    """Return in which order a commit reaches the changelog.

    How new rows can be, rows, beacons and coverage (`app.core.journal.commit_rank`), the rest, chains.
    """
    return _RANKS.get(key[:3], _RANKS.get(key[:2], 3))


def partition_of_aggregates(entity: int, partitions: int) -> int:
    """Return the partition of `observations` that an entity's aggregates belong to."""
    return entity % partitions


@dataclass(slots=True)
class AggregateShard:
    """The fold of the aggregates of one partition of `observations`; of contracts without any it knows nothing."""

    contracts: Sequence[EntityContract]
    partition: int
    held_states_max: int = HELD_STATES_MAX
    progress: Progress = field(init=False)
    books: dict[int, list[Book]] = field(init=False)
    watched: dict[int, list[Watched]] = field(init=False)
    # What the next flush writes.
    _rows: dict[bytes, bytes | None] = field(default_factory=dict)
    _extended: dict[tuple[str, int], Link] = field(default_factory=dict)
    _records: dict[bytes, bytes | None] = field(default_factory=dict)
    _topics: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress.of(self.contracts)
        self.books = {c.number: [_book(c, i) for i in range(len(c.stores))] for c in self.contracts}
        self.watched = {
            c.number: [Watched(c, r, k) for r in range(len(c.replicas)) for k in range(len(c.aggregates))]
            for c in self.contracts
        }
        self._topics = frozenset(table.topic for c in self.contracts for table in c.stores)

    # -- what the shell calls ------------------------------------------------------------------------------------

    def restore(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in all records under `PREFIX` but the rows."""
        known: list[tuple[bytes, bytes]] = []
        for key, value in items:
            number, rest = int.from_bytes(key[2:6], "big"), key[6:]
            if key[:2] == _META:
                known.append((key[1:], value))
            elif number in self.books and key[:2] == _NEWEST and rest[0] < len(self.books[number]):
                self.books[number][rest[0]].newest = value
            elif number in self.watched and key[:2] == _DRIFT:
                for watched in self.watched[number]:
                    watched.restore(rest, value)
        restore(self.progress, Notes(), known)

    def needed_keys(self, observation: Observation) -> list[bytes]:
        """Return the table keys whose states `fold` needs for this observation."""
        if not isinstance(observation, Contributions) or observation.entity not in self.books:
            return []
        prefix = _row_prefix(observation.entity, observation.store)
        return sorted({prefix + row for row in observation.rows} - self._rows.keys())

    def fold(self, observation: Observation, states: Mapping[bytes, bytes | None]) -> list[Told]:
        """Take one observation in and return what is to be told; others than those named above change nothing."""
        match observation:
            case Contributions():
                self._fold_contributions(observation, states)
            case Truncated():
                self._fold_truncate(observation)
            case Mark():
                for link in observation.links:
                    if link.topic in self._topics and self.progress.extends(link):
                        self._extend(link)
            case Barrier():
                self._fold_barrier(observation)
            case SliceRead():
                self._fold_slice(observation)
            case _:
                return []
        return self._advance()

    @property
    def is_full(self) -> bool:
        """Whether a flush is wanted, for there are many rows in memory."""
        return len(self._rows) > self.held_states_max

    def scan_range(self) -> tuple[bytes, bytes, int] | None:
        """Return which rows are to be read for `scanned`: first key, end (excluded), how many; None if none.

        What `flush` returns must be written before they are read.
        """
        for books in self.books.values():
            for book in books:
                if book.cursor is not None:
                    return book.cursor, book.end, SWEEP_KEYS
        return None

    def scanned(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Take in what `scan_range` asked for; rows that a truncate or a new snapshot has ended are removed."""
        entity, i, book = next(
            (self.progress.entities[number], i, book)
            for number, books in self.books.items()
            for i, book in enumerate(books)
            if book.cursor is not None
        )
        there = []
        for key, value in items:
            if self._counts(entity, i, value[:POSITION_BYTES]):
                there.append(value[POSITION_BYTES:])
            else:
                self._rows[key] = None
        resume_at = items[-1][0] + b"\x00" if len(items) == SWEEP_KEYS else None
        self._watch(entity, i, book.read(there, resume_at))

    def flush(self) -> list[Write]:
        """Return what changed since the last flush, to be written together; None deletes."""
        written: list[Write] = [
            (_NEWEST + number.to_bytes(4, "big") + bytes([i]), book.newest)
            for number, books in self.books.items()
            for i, book in enumerate(books)
            if book.newest != BEFORE_ALL
        ]
        written += [
            (_DRIFT + number.to_bytes(4, "big") + key, value)
            for number, all_watched in self.watched.items()
            for watched in all_watched
            for key, value in watched.flush()
        ]
        written += self._rows.items()
        written += self._records.items()
        written += [_prefixed(chain_record(link, self.progress.chains[at])) for at, link in self._extended.items()]
        self._rows, self._records, self._extended = {}, {}, {}
        return written

    def acknowledged(self, told: Iterable[Told]) -> None:
        """Note that the broker has findings, each of which was told after what `flush` returned was safe."""
        for each in told:
            for watched in self._watched_of(each.finding.entity):
                watched.acknowledged(each)

    def statuses(self, newest_beacon_ms: int | None, late_after_ms: int) -> list[AggregateStatus]:
        """Return how every aggregate stands; one that was not judged for longer than its window and that is behind."""
        return [
            watched.status(entity, self.books[number], newest_beacon_ms, late_after_ms)
            for number, entity in self.progress.entities.items()
            for watched in self.watched[number]
        ]

    # -- observations --------------------------------------------------------------------------------------------

    def _extend(self, link: Link) -> Chain:
        self._extended[link.topic, link.partition] = link
        return self.progress.extend(link)

    def _record(self, write: Write) -> None:
        key, value = _prefixed(write)
        self._records[key] = value

    def _fold_contributions(self, told: Contributions, states: Mapping[bytes, bytes | None]) -> None:
        entity = self.progress.entities.get(told.entity)
        if entity is None or told.store >= len(entity.contract.stores):
            return
        if not self.progress.extends(told.link):
            self._note_hole(entity, told)
        known = self.progress.chains.get((told.link.topic, told.link.partition))
        reached = told.link.begin if known is None else known.reached
        chain = self._extend(told.link)
        book = self.books[told.entity][told.store]
        store = entity.contract.stores[told.store].store
        prefix = _row_prefix(told.entity, told.store)
        for n, row in enumerate(told.rows):
            if told.offsets[n] < reached:
                continue
            is_snapshot = bool(told.flags[n] & SNAPSHOT_READ)
            place = told.places[n * PLACE_BYTES : (n + 1) * PLACE_BYTES]
            at, broken = self.progress.place_row(store, chain, place, snapshot=is_snapshot)
            if broken:
                self._epoch_broken(store)
            if not is_snapshot:
                if at < chain.newest:
                    continue
                if not told.flags[n] & INCREMENTAL_READ:
                    chain.newest = at
            self._put(entity, told.store, book, prefix + row, states, at, told.values[n])

    def _put(
        self,
        entity: EntityProgress,
        i: int,
        book: Book,
        row: bytes,
        states: Mapping[bytes, bytes | None],
        at: bytes,
        contribution: bytes,
    ) -> None:
        held = (self._rows[row] if row in self._rows else states.get(row)) or b""
        held_at, before = held[:POSITION_BYTES], held[POSITION_BYTES:]
        if at <= held_at:
            return
        self._rows[row] = at + contribution if contribution else None
        before = before if held and self._counts(entity, i, held_at) else b""
        book.change(row, at, before, contribution if self._counts(entity, i, at) else b"")

    def _counts(self, entity: EntityProgress, i: int, at: bytes) -> bool:
        """Whether a row that was last changed at a position is there: in this epoch, and behind the last truncate.

        Without snapshots, behind the newest gap.
        """
        store = self.progress.stores[entity.contract.stores[i].store]
        is_known = store.has_snapshot or not was_before_gap(store, at)
        return epoch_of(at) == store.epoch and at > entity.floor[i] and is_known

    def _note_hole(self, entity: EntityProgress, told: Contributions) -> None:
        """Go on behind contributions that never came: nothing of that store is known before a new snapshot."""
        self.progress.chains.pop((told.link.topic, told.link.partition))
        self.progress.outdate(entity, told.store)
        entity.covered_at_ms[told.store] = None
        for r in range(len(entity.base_ms)):
            if told.store in {0, r + 1}:
                entity.base_ms[r] = None
        self._record(entity_record(entity))

    def _fold_truncate(self, cut: Truncated) -> None:
        entity = self.progress.entities.get(cut.entity)
        if entity is None or not self.progress.extends(cut.link):
            return
        known = self.progress.chains.get((cut.link.topic, cut.link.partition))
        is_seen = known is not None and cut.offset < known.reached
        chain = self._extend(cut.link)
        if is_seen:
            return
        at = self.progress.take_truncate(entity, cut, chain)
        if at is None:
            return
        book = self.books[cut.entity][cut.store]
        book.newest = max(book.newest, at)
        self._read_again(entity, cut.store)
        self._record(entity_record(entity))

    def _fold_slice(self, read: SliceRead) -> None:
        entity = self.progress.entities.get(read.entity)
        if entity is None or read.low or read.high or read.store >= len(entity.contract.stores):
            return
        epoch = self.progress.stores[entity.contract.stores[read.store].store].epoch
        if self.progress.take_pass(entity, read.store, read.begun, position(epoch, STREAM, read.place)):
            self._record(entity_record(entity))

    def _fold_barrier(self, barrier: Barrier) -> None:
        name, link = barrier.beacon.store, barrier.link
        if name not in self.progress.stores or not self.progress.extends(link):
            return
        known = self.progress.chains.get((link.topic, link.partition))
        is_seen = known is not None and link.end <= known.reached
        chain = self._extend(link)
        if is_seen:
            return
        if self.progress.take_beacon(barrier, chain):
            self._epoch_broken(name)
        store = self.progress.stores[name]
        if store.is_newest(barrier.beacon):
            for write in beacon_records(self.progress, name, barrier.beacon.previous_acknowledged_ms):
                self._record(write)
        self._record(store_record(self.progress, name))

    def _epoch_broken(self, store: str) -> None:
        for entity in self.progress.entities.values():
            for i, table in enumerate(entity.contract.stores):
                if table.store == store:
                    self._read_again(entity, i)
                    self._record(entity_record(entity))
        self._record(store_record(self.progress, store))

    def _read_again(self, entity: EntityProgress, i: int) -> None:
        # A group of which no row is left is found by none.
        self._watch(entity, i, self.books[entity.contract.number][i].read_again())
        for watched in self.watched[entity.contract.number]:
            if i in {0, watched.replica + 1}:
                watched.watch_drifts()

    # -- judging -------------------------------------------------------------------------------------------------

    def _advance(self) -> list[Told]:
        self.progress.advance()
        for name in self.progress.joined_late():
            self._epoch_broken(name)
        found: list[Told] = []
        for number, entity in self.progress.entities.items():
            books = self.books[number]
            is_cut = False
            for i, book in enumerate(books):
                if entity.known_to[i] > book.cut.at:
                    is_covered = entity.covered_at_ms[i] is not None
                    self._watch(entity, i, book.advance(entity.known_to[i], is_covered=is_covered))
                    is_cut = True
            if is_cut:
                found += self._judge(entity)
        return found

    def _watch(self, entity: EntityProgress, i: int, touched: Touched) -> None:
        for watched in self.watched[entity.contract.number]:
            if i in {0, watched.replica + 1}:
                watched.unsettled |= touched.get(watched.aggregate, set())

    def _watched_of(self, entity: str) -> list[Watched]:
        return next(self.watched[c.number] for c in self.contracts if c.entity == entity)

    def _judge(self, entity: EntityProgress) -> list[Told]:
        number = entity.contract.number
        books = self.books[number]
        found: list[Told] = []
        for watched in self.watched[number]:
            found += watched.judge(self.progress, entity, books, self.partition)
        # What every replica has been judged by is needed no more.
        books[0].forget(min((w.authority_cut for w in self.watched[number]), default=0))
        for i, book in enumerate(books[1:]):
            book.forget(min((w.judged_cut for w in self.watched[number] if w.replica == i), default=0))
        return found


def _book(contract: EntityContract, i: int) -> Book:
    return Book(contract, _row_prefix(contract.number, i), _row_prefix(contract.number, i + 1))


def _row_prefix(entity: int, store: int) -> bytes:
    return ROWS + entity.to_bytes(4, "big") + bytes([store])


def _prefixed(write: Write) -> Write:
    return PREFIX + write[0], write[1]
