"""The table of keys as compare and plan see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.agents.bulk_table import BulkStore, BulkTable


class HeldTable:
    """A table's store, asked for each time: Faust makes it only once the app runs. Meanings: `BulkStore`."""

    def __init__(self, table: BulkTable) -> None:
        self._table = table

    @property
    def _store(self) -> BulkStore:
        return self._table.bulk

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        return self._store.multi_get(partition, keys)

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in order; None deletes."""
        self._store.write_many(partition, items)

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        return self._store.scan(partition, start, end, limit)

    def partitions(self) -> Iterator[int]:
        """Return the partitions that this worker holds."""
        return self._store.partitions()

    def revision(self, partition: int) -> int:
        """Return a number that changes whenever a partition was given away or taken over."""
        return self._store.revision(partition)

    async def room(self) -> None:
        """Wait until a commit has taken what was written, where that is much."""
        await self._store.room()

    async def persist(self) -> None:
        """Make what was written durable."""
        await self._store.persist()
