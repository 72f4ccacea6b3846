"""A Faust table that reads and writes in bulk: RocksDB below, a changelog record per key above.

Writes stay in memory until the next commit; of a key that was written twice only the last value is kept. The commit
sends them to the changelog in the order of `rank`, waits for the broker, and only then writes them, with the
changelog's offset, to RocksDB as one batch. So RocksDB never runs ahead of the changelog, and what a recovery finds
after a kill is all commits up to one, and perhaps a beginning of the next. With `rank` a fold says what must come last:
its own progress, so that after any kill its rows are at that progress or ahead of it, and redelivered rows change
nothing.

A partition has one writer, and a changelog without transactions has no holes: if the broker's offset after a commit is
not the one before it and as many further as were sent, somebody else has written there, and this worker must go.

RocksDB is a cache. What is damaged or belongs to something else is deleted and read again from the changelog; what the
changelog itself does not hold any more ends the worker, since nobody could tell it from rows that never were.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Any, Protocol

import faust
from faust.stores import rocksdb
from faust.types import TP

from app.agents.kept_records import KeptBlock
from app.core.errors import StateDamaged, StateLost, Unready
from app.core.state_identity import IDENTITY_KEY, ChangelogPast, StateIdentity, why_lost
from app.ports import PartitionState, Rebuild, StateNews

Items = dict[bytes, bytes | None]
Rank = Callable[[tuple[bytes, bytes | None]], int]


class ChangelogSink(Protocol):
    """The producer of the changelog: a `Sink` that knows what the broker acknowledged."""

    def send_many(self, topic: str, partition: int, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Hand over records of one partition in order; None deletes."""
        ...

    def flush(self) -> None:
        """Wait for the acknowledgement of everything handed over; raise if anything was not."""
        ...

    def acknowledged(self, topic: str, partition: int) -> int | None:
        """Return the offset of the last acknowledged record of a partition."""
        ...


@dataclass(frozen=True, slots=True)
class StateHome:
    """Where the state lives and what it belongs to.

    `past` asks the broker about partitions; `written_rows_max` bounds what waits for a commit; `start_over` says what a
    person must do where state is lost.
    """

    deployment: str
    changelog_id: str
    open: Callable[[Path], PartitionState]
    past: Callable[[Iterable[int]], Awaitable[Mapping[int, ChangelogPast]]]
    news: StateNews
    start_over: str
    written_rows_max: int

    def identity(self, partition: int) -> StateIdentity:
        """Return what the state of a partition belongs to."""
        return StateIdentity(self.deployment, partition, self.changelog_id)


class BulkStore(rocksdb.Store):  # type: ignore[misc]  # Faust is untyped here
    """The store of one `BulkTable`; a `StateStore`."""

    def __init__(
        self,
        url: Any,  # noqa: ANN401 - Faust's signature
        app: Any,  # noqa: ANN401 - Faust's signature
        table: Any,  # noqa: ANN401 - Faust's signature
        *,
        sink: ChangelogSink,
        rank: Rank,
        home: StateHome,
        **kwargs: Any,  # noqa: ANN401 - Faust's signature
    ) -> None:
        super().__init__(url, app, table, **kwargs)
        self._sink = sink
        self._rank = rank
        self._home = home
        self._owned: set[int] = set()
        self._written: dict[int, Items] = {}
        self._sending: dict[int, Items] = {}
        self._revisions: dict[int, int] = {}
        self._taken = asyncio.Event()

    # What the agents use.

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order; quickest where the keys are sorted."""
        with self._marking_damage(partition):
            found: list[bytes | None] = self._db_for_partition(partition).multi_get(keys)
        for items in (self._sending.get(partition), self._written.get(partition)):
            if items:
                found = [items.get(key, value) for key, value in zip(keys, found, strict=True)]
        return found

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in order; None deletes."""
        self._written.setdefault(partition, {}).update(items)

    async def room(self) -> None:
        """Wait while a commit's share of rows has been written and the commit before it is still on its way."""
        while sum(len(items) for items in self._written.values()) >= self._home.written_rows_max:
            self._taken.clear()
            await self._taken.wait()

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        fresh = {**self._sending.get(partition, {}), **self._written.get(partition, {})}
        added = sorted((k, v) for k, v in fresh.items() if v is not None and start <= k < end)
        found: list[tuple[bytes, bytes]] = []
        with self._marking_damage(partition):
            stored = self._db_for_partition(partition).items(start, end)
            for item in merge(((k, v) for k, v in stored if k not in fresh), added):
                if len(found) >= limit:
                    break
                found.append(item)
        return found

    def partitions(self) -> Iterator[int]:
        """Return the partitions that this worker owns; those that it stands by for are not among them."""
        return iter(sorted(self._owned))

    def revision(self, partition: int) -> int:
        """Return a number that changes with every assignment, since another worker may have had the partition."""
        return self._revisions.get(partition, 0)

    async def persist(self) -> None:
        """Send what was written to the changelog, wait for the broker, then write it to RocksDB with its offset."""
        if self._sending:
            raise RuntimeError("two commits at a time")
        self._sending, self._written = self._written, {}
        self._taken.set()
        topic = self.table.changelog_topic_name
        revisions = {partition: self.revision(partition) for partition in self._sending}
        for partition, items in self._sending.items():
            self._sink.send_many(topic, partition, sorted(items.items(), key=self._rank_of))
        await asyncio.to_thread(self._sink.flush)
        for partition, items in self._sending.items():
            # What changed hands meanwhile is complete in the changelog, and its owner reads it there.
            if items and self.revision(partition) == revisions[partition]:
                self._keep(partition, items, self._sink.acknowledged(topic, partition))
        self._sending = {}

    def _rank_of(self, item: tuple[bytes, bytes | None]) -> int:
        return -1 if item[0] == IDENTITY_KEY else self._rank(item)

    def _keep(self, partition: int, items: Items, acknowledged: int | None) -> None:
        with self._marking_damage(partition):
            db = self._db_for_partition(partition)
            stored = db.offset()
            expected = (-1 if stored is None else stored) + len(items)
            if acknowledged != expected:
                raise Unready(
                    f"record {acknowledged} was acknowledged where {expected} was due: another writer is there",
                    where=f"{self.table.changelog_topic_name}[{partition}]",
                    hint="was this worker paused, or the topic made again? the next start reads what is there",
                )
            db.write(items.items(), acknowledged)

    @contextmanager
    def _marking_damage(self, partition: int) -> Iterator[None]:
        """Leave a mark where damage is found, since a database in use cannot be exchanged: the next start sees it."""
        try:
            yield
        except StateDamaged:
            self._damage_mark(partition).touch()
            raise

    def _damage_mark(self, partition: int) -> Path:
        path: Path = self.partition_path(partition)
        return path.with_suffix(".damaged")

    def _discard(self, partition: int, why: Rebuild, what: str) -> None:
        shutil.rmtree(self.partition_path(partition), ignore_errors=True)
        self._damage_mark(partition).unlink(missing_ok=True)
        self._home.news.rebuilding(partition, why, what)

    # What Faust calls.

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog's offset that a partition stands at."""
        offset: int | None = self._db_for_partition(tp.partition).offset()
        return offset

    def apply_changelog_batch(
        self,
        batch: Iterable[Any],
        to_key: Callable[[Any], Any],
        to_value: Callable[[Any], Any],
    ) -> None:
        """Write blocks of the changelog in bulk: of a key that stands in one several times only the last value.

        Each is one batch together with the offset of its end, so that a crash finds the state as of some block.

        Faust swallows what recovery raises, after it has moved on: an error crashes the app from here.
        """
        del to_key, to_value
        try:
            for event in batch:
                self._apply(event.message.value)
        except Exception as error:
            asyncio.ensure_future(self.app.crash(error))  # noqa: RUF006 - the app ends with it
            raise

    def _apply(self, block: KeptBlock) -> None:
        newest = {key: value for _, key, value in block.records if key is not None}
        with self._marking_damage(block.partition):
            db: PartitionState = self._db_for_partition(block.partition)
            stored = db.offset()
            due = 0 if stored is None else stored + 1
            if block.begin > due:
                raise self._lost(block.partition, f"its records {due} to {block.begin} were not read")
            db.write(newest.items(), block.end - 1)

    def _open_for_partition(self, partition: int) -> PartitionState:
        path = self.partition_path(partition)
        if self._damage_mark(partition).exists():
            self._discard(partition, Rebuild.DAMAGED, "it was found damaged in use")
        try:
            opened = self._home.open(path)
        except StateDamaged as fault:
            self._discard(partition, Rebuild.DAMAGED, fault.what)
            opened = self._home.open(path)
        if self._is_foreign(partition, opened):
            opened.close()
            self._discard(partition, Rebuild.FOREIGN, "it holds the state of something else")
            opened = self._home.open(path)
        return opened

    def _is_foreign(self, partition: int, opened: PartitionState) -> bool:
        if opened.offset() is None:
            return False
        return opened.multi_get([IDENTITY_KEY])[0] != self._home.identity(partition).record()

    def _lost(self, partition: int, what: str) -> StateLost:
        where = f"{self.table.changelog_topic_name}[{partition}]"
        return StateLost(what, where=where, hint=self._home.start_over)

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Begin anew with every partition: between two assignments others may have had it, and offsets are sought."""
        for partition in (*self._owned, *self._written):
            self._revisions[partition] = self.revision(partition) + 1
        self._written.clear()
        self._taken.set()
        self._owned.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        changelog = self.table.changelog_topic.topics
        owned = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic in changelog}
        for partition, past in (await self._home.past(owned)).items():
            why = why_lost(self._db_for_partition(partition).offset(), past)
            if why is not None:
                raise self._lost(partition, why)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Take the partitions over: each is a state that knows itself, or has just begun.

        Faust ignores what is raised here and would go on: nothing goes on from a state that is not one.
        """
        del standby_tps
        try:
            for tp in sorted(active_tps):
                self._take_over(tp.partition)
        except Exception as error:  # noqa: BLE001 - the app ends with it
            await self.app.crash(error)
            await asyncio.Event().wait()

    def _take_over(self, partition: int) -> None:
        identity = self._home.identity(partition).record()
        with self._marking_damage(partition):
            db: PartitionState = self._db_for_partition(partition)
            begun, held = db.offset() is not None, db.multi_get([IDENTITY_KEY])[0]
        if not begun:
            self.write_many(partition, [(IDENTITY_KEY, identity)])
        elif held != identity:
            raise self._lost(partition, "the changelog does not begin as a changelog of this deployment and version")
        self._revisions[partition] = self.revision(partition) + 1
        self._owned.add(partition)

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:  # noqa: ANN401 - Faust's signature
        """Close partitions that went to another worker; they are complete in the changelog."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                db = self._dbs.pop(tp.partition, None)
                if db is not None:
                    db.close()

    async def stop(self) -> None:
        """Close the databases; what was not persisted yet is in the changelog, or is read again."""
        while self._dbs:
            self._dbs.popitem()[1].close()


class BulkTable(faust.Table):  # type: ignore[misc]  # Faust is untyped here
    """A table of bytes whose `store` is a `BulkStore`."""

    def __init__(self, app: Any, *, sink: ChangelogSink, rank: Rank, home: StateHome, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's
        self._changelog_sink = sink
        self._rank = rank
        self._home = home
        # Faust keeps reading the changelog after recovery where this is 1.
        super().__init__(app, key_type=bytes, value_type=bytes, recovery_buffer_size=2, **kwargs)

    @property
    def bulk(self) -> BulkStore:
        """The store, as agents use it."""
        made: BulkStore = self.data
        return made

    def info(self) -> Mapping[str, Any]:
        """Return what a copy of this table is made with."""
        return {**super().info(), "sink": self._changelog_sink, "rank": self._rank, "home": self._home}

    def _new_store_by_url(self, url: Any) -> BulkStore:  # noqa: ANN401 - Faust's signature
        return BulkStore(
            url,
            self.app,
            self,
            sink=self._changelog_sink,
            rank=self._rank,
            home=self._home,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )
