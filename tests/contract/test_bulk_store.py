"""What a commit of the table promises: the changelog first, in order, then the disk; one writer; bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from app.adapters.kafka import MemorySink
from app.agents.bulk_table import BulkStore
from app.agents.kept_records import KeptBlock
from app.core.errors import StateLost, Unready
from app.core.state_identity import IDENTITY_KEY


@dataclass
class _MemoryPartition:
    items_held: dict[bytes, bytes] = field(default_factory=dict)
    stands_at: int | None = None
    written: int = 0

    def multi_get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.items_held.get(key) for key in keys]

    def items(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((k, v) for k, v in sorted(self.items_held.items()) if start <= k < end)

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        for key, value in items:
            self.written += 1
            if value is None:
                self.items_held.pop(key, None)
            else:
                self.items_held[key] = value
        self.stands_at = offset

    def offset(self) -> int | None:
        return self.stands_at

    def close(self) -> None:
        pass


def _store(sink: MemorySink, *, written_rows_max: int = 1_000) -> tuple[BulkStore, _MemoryPartition]:
    """Return a store without Faust around it, that holds partition 0."""
    disk = _MemoryPartition()
    store: Any = BulkStore.__new__(BulkStore)
    store.table = SimpleNamespace(changelog_topic_name="changelog")
    store._sink, store._rank = sink, lambda item: item[0][0]
    store._home = SimpleNamespace(written_rows_max=written_rows_max, start_over="start over")
    store._dbs, store._owned = {0: disk}, {0}
    store._written, store._sending, store._revisions = {}, {}, {}
    store._taken = asyncio.Event()
    return store, disk


def test_a_commit_reaches_the_changelog_in_the_order_of_ranks_and_the_identity_comes_first() -> None:
    """And then the disk, at the offset of the last of them."""
    sink = MemorySink()
    store, disk = _store(sink)
    store.write_many(0, [(b"\x03c", b"3"), (b"\x01a", b"1"), (IDENTITY_KEY, b"i"), (b"\x02b", None), (b"\x01a", b"1!")])
    asyncio.run(store.persist())
    assert [(r.key, r.value) for r in sink.sent] == [
        (IDENTITY_KEY, b"i"),
        (b"\x01a", b"1!"),
        (b"\x02b", None),
        (b"\x03c", b"3"),
    ]
    assert disk.stands_at == 3
    assert disk.items_held == {IDENTITY_KEY: b"i", b"\x01a": b"1!", b"\x03c": b"3"}


def test_what_was_not_delivered_is_not_on_disk() -> None:
    """The disk never runs ahead of the changelog."""
    sink = MemorySink(fail="the broker is away")
    store, disk = _store(sink)
    store.write_many(0, [(b"\x01a", b"1")])
    with pytest.raises(Unready, match="away"):
        asyncio.run(store.persist())
    assert disk == _MemoryPartition()


def _block(begin: int, *items: tuple[bytes | None, bytes | None]) -> KeptBlock:
    records = [(begin + n, key, value) for n, (key, value) in enumerate(items)]
    return KeptBlock(0, begin, begin + len(items), records)


def _recovered(store: BulkStore, *blocks: KeptBlock) -> None:
    store.apply_changelog_batch([SimpleNamespace(message=SimpleNamespace(value=b)) for b in blocks], str, str)


def test_a_recovery_writes_of_a_block_what_is_newest_and_where_it_ends() -> None:
    """A key that was deleted at last is gone, and one that was written again is there; each is written once."""
    store, disk = _store(MemorySink())
    first = _block(0, (b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (None, b"?"), (b"c", None))
    _recovered(store, first)
    assert disk == _MemoryPartition({b"a": b"2"}, stands_at=5, written=3)
    _recovered(store, _block(6, (b"a", None), (b"b", b"3")), KeptBlock(0, 8, 12, []))
    assert disk == _MemoryPartition({b"b": b"3"}, stands_at=11, written=5)


def test_a_recovery_does_not_jump_over_what_was_deleted_unread() -> None:
    """Rows would be missing that nobody could tell from rows that never were: the worker ends."""
    store, disk = _store(MemorySink())
    _recovered(store, _block(0, (b"a", b"1"), (b"b", None)))
    crashed: list[Exception] = []

    async def crash(error: Exception) -> None:
        crashed.append(error)

    async def recovering() -> None:
        store.app = SimpleNamespace(crash=crash)
        with pytest.raises(StateLost):
            _recovered(store, _block(3, (b"a", b"2")))
        await asyncio.sleep(0)

    asyncio.run(recovering())
    assert [type(error) for error in crashed] == [StateLost]
    assert (disk.items_held, disk.stands_at) == ({b"a": b"1"}, 1)


def test_another_writer_of_the_changelog_ends_this_one() -> None:
    """A worker that was paused while another took over, or that one's successor: offsets are not what they must be."""
    sink = MemorySink()
    store, disk = _store(sink)
    store.write_many(0, [(b"\x01a", b"1")])
    asyncio.run(store.persist())
    sink.send("changelog", 0, b"\x01a", b"somebody's")
    store.write_many(0, [(b"\x01b", b"2")])
    with pytest.raises(Unready, match="another writer"):
        asyncio.run(store.persist())
    assert disk.stands_at == 0


def test_what_changed_hands_during_a_commit_is_not_written_to_disk() -> None:
    """Its new owner reads it in the changelog; our disk would jump over what others wrote."""

    class _Interrupted(MemorySink):
        def flush(self) -> None:
            super().flush()
            store._revisions[0] = 7

    sink = _Interrupted()
    store, disk = _store(sink)
    store.write_many(0, [(b"\x01a", b"1")])
    asyncio.run(store.persist())
    assert disk.stands_at is None


def test_there_is_room_again_when_a_commit_has_taken_what_was_written() -> None:
    """Not before: nothing is folded while a commit's share waits."""
    store, _ = _store(MemorySink(), written_rows_max=2)

    async def waited() -> list[bool]:
        store.write_many(0, [(b"\x01a", b"1")])
        await asyncio.wait_for(store.room(), 5)
        store.write_many(0, [(b"\x01b", b"2")])
        waiting = asyncio.create_task(store.room())
        await asyncio.sleep(0)
        before = waiting.done()
        await store.persist()
        await asyncio.wait_for(waiting, 5)
        return [before, waiting.done()]

    assert asyncio.run(waited()) == [False, True]


def test_a_scan_sees_what_is_written_and_not_yet_on_disk() -> None:
    """In the order of keys, without what was deleted since."""
    store, disk = _store(MemorySink())
    disk.write([(b"\x01a", b"1"), (b"\x01b", b"2"), (b"\x01d", b"4")], 2)
    store.write_many(0, [(b"\x01b", None), (b"\x01c", b"3")])
    assert store.scan(0, b"\x01", b"\x02", 2) == [(b"\x01a", b"1"), (b"\x01c", b"3")]
