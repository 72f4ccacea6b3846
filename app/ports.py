"""What the shells need of the world, as protocols. Each has an in-memory and a real form, held to one suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class StateStore(Protocol):
    """Per-partition key-value state with a changelog behind it."""

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        ...

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in one batch, then to the changelog; None deletes."""
        ...

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        ...

    def partitions(self) -> Iterator[int]:
        """Return the partitions that this worker holds."""
        ...


class Sink(Protocol):
    """A producer of Kafka records."""

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand over one record; a failed delivery is raised by the next `flush`."""
        ...

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged; raise if anything was not."""
        ...
