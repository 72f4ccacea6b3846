"""State in memory, for tests, replay and simulation: the same promises as the worker's table, without a broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class MemoryState:
    """A `StateStore` that forgets when the process ends; `batches` tells a test what was written together."""

    def __init__(self, partitions: Sequence[int]) -> None:
        self._tables: dict[int, dict[bytes, bytes]] = {partition: {} for partition in partitions}
        self.batches: list[tuple[int, list[tuple[bytes, bytes | None]]]] = []

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        table = self._tables[partition]
        return [table.get(key) for key in keys]

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in order; None deletes."""
        table = self._tables[partition]
        self.batches.append((partition, list(items)))
        for key, value in items:
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        table = self._tables[partition]
        found = sorted(key for key in table if start <= key < end)
        return [(key, table[key]) for key in found[:limit]]

    def partitions(self) -> Iterator[int]:
        """Return the partitions that were given at the start."""
        return iter(self._tables)
