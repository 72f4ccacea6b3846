"""How a changelog is read: its records are wanted by the million, and of each only the key and the value.

aiokafka makes an object of eleven fields of each record, step by step in Python. Here those of a whole batch of the
broker's are made at once, as plain tuples, and taken from a fetch in large blocks. A row that was written waiting and
soon after at rest stands in such a block twice, and only what is newest has to reach RocksDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher as aiokafka_fetcher
from faust.types import TP

KeptRecord = tuple[int, bytes | None, bytes | None]
"""Offset, key and value of one record of a changelog: nobody asks for more of it."""


class KeptBlock(NamedTuple):
    """What the consumer read of one partition of a changelog between the positions `begin` and `end`."""

    partition: int
    begin: int
    end: int
    records: list[KeptRecord]


class KeptRecords(aiokafka_fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The records of one fetch of a changelog as `KeptRecord`, those of a batch of the broker's made at once.

    aiokafka steps from batch to batch, over what was aborted and over markers, and finds one record in each: all of it.
    """

    def __init__(self, tp: TP, records: Any, *read: Any) -> None:  # noqa: ANN401 - aiokafka is untyped
        super().__init__(tp, _WholeBatches(records), *read)
        self._one_by_one: Iterator[KeptRecord] = chain.from_iterable(self._records_iterator)

    def __iter__(self) -> Iterator[KeptRecord]:
        return self._one_by_one

    def _consumer_record(self, tp: Any, record: _WholeBatch) -> list[KeptRecord]:  # noqa: ANN401 - aiokafka is untyped
        del tp
        begin = self.next_fetch_offset
        return [(each.offset, each.key, each.value) for each in record.batch if each.offset >= begin]


class _WholeBatch:
    """A batch as it is, but for one record in it in place of its own: itself, at the offset of its last."""

    __slots__ = ("batch",)

    def __init__(self, batch: Any) -> None:  # noqa: ANN401 - aiokafka is untyped
        self.batch = batch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - aiokafka is untyped
        return getattr(self.batch, name)

    def __iter__(self) -> Iterator[_WholeBatch]:
        return iter((self,))

    def __next__(self) -> Any:  # noqa: ANN401 - aiokafka is untyped
        return next(self.batch)  # the marker, of a control batch

    @property
    def offset(self) -> int:
        """The offset of its last record."""
        return int(self.batch.next_offset) - 1


class _WholeBatches:
    """The batches of one fetch, each as a `_WholeBatch`."""

    def __init__(self, records: Any) -> None:  # noqa: ANN401 - aiokafka is untyped
        self.has_next = records.has_next
        self._next_batch = records.next_batch

    def next_batch(self) -> _WholeBatch:
        """Return the next one."""
        return _WholeBatch(self._next_batch())


class BlockFetch(aiokafka_fetcher.FetchResult):  # type: ignore[misc]  # aiokafka is untyped
    """One fetch, of which records are taken many at a time; the position is behind the last that was taken."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Return so many of its records, or what is left of them."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        records = self._partition_records
        taken: list[Any] = list(islice(records, max_records))
        is_over = len(taken) != max_records
        if not is_over:
            records.next_fetch_offset = taken[-1][0] + 1
        self._update_position()
        if is_over:
            self._partition_records = None
        return taken
