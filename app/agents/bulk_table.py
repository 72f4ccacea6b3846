"""A Faust table that reads and writes in bulk: RocksDB below, a changelog record per key above.

Writes stay in memory until the next commit; of a key that was written twice only the last value is kept. The commit
sends them to the changelog in the order of `rank`, waits for the broker, and only then writes them, with the
changelog's offset, to RocksDB as one batch. So RocksDB never runs ahead of the changelog, and what a recovery finds
after a kill is all commits up to one, and perhaps a beginning of the next. With `rank` a fold says what must come last:
its own progress, so that after any kill its rows are at that progress or ahead of it, and redelivered rows change
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Final, Protocol

import faust
import rocksdict
from faust.stores import rocksdb
from faust.types import TP

from app.agents.block_consumer import Block

_WRITE_BUFFER_BYTES: Final = 32 * 1024 * 1024
_BLOCK_CACHE_BYTES: Final = 64 * 1024 * 1024
_BLOOM_BITS_PER_KEY: Final = 10

Items = dict[bytes, bytes | None]
Rank = Callable[[bytes], int]


class ChangelogSink(Protocol):
    """The producer of the changelog: a `Sink` that knows what the broker acknowledged."""

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand over one record."""
        ...

    def flush(self) -> None:
        """Wait for the acknowledgement of everything handed over; raise if anything was not."""
        ...

    def acknowledged(self, topic: str, partition: int) -> int | None:
        """Return the offset of the last acknowledged record of a partition."""
        ...


class BulkStore(rocksdb.Store):  # type: ignore[misc]  # Faust is untyped here
    """The store of one `BulkTable`; a `StateStore`."""

    def __init__(self, url: Any, app: Any, table: Any, *, sink: ChangelogSink, rank: Rank, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(url, app, table, **kwargs)
        self._sink = sink
        self._rank = rank
        self._written: dict[int, Items] = {}
        self._sending: dict[int, Items] = {}
        self._revisions: dict[int, int] = {}
        self._block_cache = rocksdict.Cache(_BLOCK_CACHE_BYTES)

    # What the agents use.

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order; quickest where the keys are sorted."""
        found: list[bytes | None] = self._db_for_partition(partition).get(list(keys))
        for items in (self._sending.get(partition), self._written.get(partition)):
            if items:
                found = [items.get(key, value) for key, value in zip(keys, found, strict=True)]
        return found

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in order; None deletes."""
        self._written.setdefault(partition, {}).update(items)

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        fresh = {**self._sending.get(partition, {}), **self._written.get(partition, {})}
        added = sorted((k, v) for k, v in fresh.items() if v is not None and start <= k < end)
        found: list[tuple[bytes, bytes]] = []
        for item in merge(self._stored(partition, start, end, fresh), added):
            if len(found) >= limit:
                break
            found.append(item)
        return found

    def _stored(
        self, partition: int, start: bytes, end: bytes, but: Mapping[bytes, object]
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._db_for_partition(partition).items(from_key=start):
            if key >= end:
                return
            if key not in but and key != self.offset_key:
                yield key, value

    def partitions(self) -> Iterator[int]:
        """Return the partitions that this worker holds."""
        return iter(sorted(self._dbs))

    def revision(self, partition: int) -> int:
        """Return a number that changes whenever a partition was given away or taken over."""
        return self._revisions.get(partition, 0)

    async def persist(self) -> None:
        """Send what was written to the changelog, wait for the broker, then write it to RocksDB with its offset."""
        if self._sending:
            raise RuntimeError("two commits at a time")
        self._sending, self._written = self._written, {}
        topic = self.table.changelog_topic_name
        for partition, items in self._sending.items():
            for key in sorted(items, key=self._rank):
                self._sink.send(topic, partition, key, items[key])
        await asyncio.to_thread(self._sink.flush)
        for partition, items in self._sending.items():
            db = self._dbs.get(partition)
            offset = self._sink.acknowledged(topic, partition)
            # A partition given away meanwhile is complete in the changelog, and its new owner reads it there.
            if db is not None and offset is not None and items:
                self._write(db, items.items(), offset)
        self._sending = {}

    def _write(self, db: Any, items: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:  # noqa: ANN401
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(offset).encode())
        db.write(batch)

    # What Faust calls.

    def apply_changelog_batch(
        self,
        batch: Iterable[Any],
        to_key: Callable[[Any], Any],
        to_value: Callable[[Any], Any],
    ) -> None:
        """Write blocks of the changelog in bulk.

        Faust swallows what recovery raises, after it has moved on: an error crashes the app from here.
        """
        del to_key, to_value
        try:
            for event in batch:
                block: Block = event.message.value
                items = ((r.key, r.value) for r in block.records if r.key is not None)
                self._write(self._db_for_partition(block.partition), items, block.end - 1)
        except Exception as error:
            asyncio.ensure_future(self.app.crash(error))  # noqa: RUF006 - the app ends with it
            raise

    def _open_for_partition(self, partition: int) -> Any:  # noqa: ANN401 - rocksdict is untyped
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(self._block_cache)
        table.set_bloom_filter(_BLOOM_BITS_PER_KEY, block_based=False)
        options.set_block_based_table_factory(table)
        return rocksdict.Rdict(str(self.partition_path(partition)), options=options)

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:  # noqa: ANN401 - Faust's signature
        """Forget partitions that went to another worker; they are complete in the changelog."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self._revisions[tp.partition] = self.revision(tp.partition) + 1
                self._written.pop(tp.partition, None)
                db = self._dbs.pop(tp.partition, None)
                if db is not None:
                    db.close()

    async def stop(self) -> None:
        """Close the databases; what was not persisted yet is in the changelog, or is read again."""
        for partition in list(self._dbs):
            with contextlib.suppress(rocksdict.DbClosedError):
                self._dbs.pop(partition).close()


class BulkTable(faust.Table):  # type: ignore[misc]  # Faust is untyped here
    """A table of bytes whose `store` is a `BulkStore`."""

    def __init__(self, app: Any, *, sink: ChangelogSink, rank: Rank, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's
        self._changelog_sink = sink
        self._rank = rank
        # Faust keeps reading the changelog after recovery where this is 1.
        super().__init__(app, key_type=bytes, value_type=bytes, recovery_buffer_size=2, **kwargs)

    @property
    def bulk(self) -> BulkStore:
        """The store, as agents use it."""
        made: BulkStore = self.data
        return made

    def info(self) -> Mapping[str, Any]:
        """Return what a copy of this table is made with."""
        return {**super().info(), "sink": self._changelog_sink, "rank": self._rank}

    def _new_store_by_url(self, url: Any) -> BulkStore:  # noqa: ANN401 - Faust's signature
        return BulkStore(
            url,
            self.app,
            self,
            sink=self._changelog_sink,
            rank=self._rank,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )
