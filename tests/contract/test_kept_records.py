"""What is read of a changelog many records at a time is what aiokafka reads one by one.

Whatever was compacted away or aborted, and also from the middle of a batch.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from app.agents.kept_records import BlockFetch, KeptRecord, KeptRecords

AT = TopicPartition("changelog", 0)
ABORT, COMMIT = 0, 1
_ATTRIBUTES_AT, _CONTROL = 21, 0x20


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - dice, not secrets


@dataclass
class _Partition:
    """An assignment of one partition, and its position."""

    position: int
    active: bool = True
    paused: bool = False

    def state_value(self, at: TopicPartition) -> _Partition:
        """Return the state of the one that there is."""
        del at
        return self

    def consumed_to(self, position: int) -> None:
        """Move the position."""
        self.position = position


@dataclass
class _Log:
    """A partition's log as the broker sends it, and which producers' transactions were aborted from which offset on."""

    dice: random.Random
    sent: bytearray = field(default_factory=bytearray)
    aborted: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0

    def add(self, count: int, *, producer: int | None = None) -> None:
        """Write one batch, of which compaction has left some."""
        made = self._builder(producer)
        for offset in range(count):
            if self.dice.random() < 0.7 or offset == count - 1:
                made.append(offset, 1_000, b"key %d" % self.dice.randrange(9), self.dice.choice([None, b"v"]), [])
        self._write(made, count)

    def end_transaction(self, producer: int, began: int, how: int) -> None:
        """Write a transaction's marker."""
        made = self._builder(producer)
        made.append(0, 1_000, struct.pack(">hh", 0, how), struct.pack(">hi", 0, 0), [])
        if how == ABORT:
            self.aborted.append((producer, began))
        self._write(made, 1, control=True)

    def _builder(self, producer: int | None) -> DefaultRecordBatchBuilder:
        transactional = producer is not None
        return DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=int(transactional),
            producer_id=producer if transactional else -1,
            producer_epoch=0 if transactional else -1,
            base_sequence=0 if transactional else -1,
            batch_size=1 << 20,
        )

    def _write(self, made: DefaultRecordBatchBuilder, count: int, *, control: bool = False) -> None:
        batch = bytearray(made.build())
        batch[:8] = struct.pack(">q", self.end)
        if control:
            (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
            struct.pack_into(">h", batch, _ATTRIBUTES_AT, attributes | _CONTROL)
        self.sent += batch
        self.end += count


def _log(seed: int) -> _Log:
    log = _Log(_dice(seed))
    for _ in range(12):
        what = log.dice.randrange(4)
        if what:
            log.add(log.dice.randint(1, 9))
        else:
            producer, began = log.dice.randint(1, 3), log.end
            for _ in range(log.dice.randint(1, 2)):
                log.add(log.dice.randint(1, 5), producer=producer)
            log.end_transaction(producer, began, log.dice.choice([ABORT, COMMIT]))
    return log


def _taken(fetch: Any, partition: _Partition, takes: Sequence[int | None]) -> list[tuple[list[KeptRecord], int]]:  # noqa: ANN401 - aiokafka is untyped
    """Return what each take brought and where it left the position."""
    told = []
    for at_most in takes:
        if not fetch.has_more():
            break
        records = fetch.getall(at_most)
        told.append(
            ([tuple(r) if isinstance(r, tuple) else (r.offset, r.key, r.value) for r in records], partition.position)
        )
    assert not fetch.has_more()
    return told


@pytest.mark.parametrize("seed", range(40))
def test_many_at_a_time_are_what_they_are_one_by_one(seed: int) -> None:
    """The same records, and the same position after each take, from wherever it was begun."""
    log = _log(seed)
    begin = log.dice.randrange(min(9, log.end))
    takes: list[int | None] = [*(log.dice.randint(1, 12) for _ in range(log.dice.randint(0, 9))), None]
    told = []
    for made, fetch in (
        (aiokafka_fetcher.PartitionRecords, aiokafka_fetcher.FetchResult),
        (KeptRecords, BlockFetch),
    ):
        partition = _Partition(begin)
        read = (log.aborted, begin, None, None, False, aiokafka_fetcher.READ_COMMITTED)
        records = made(AT, MemoryRecords(bytes(log.sent)), *read)
        result = fetch(AT, assignment=partition, partition_records=records, backoff=0)
        told.append(_taken(result, partition, takes))
    assert told[0] == told[1]
    assert told[1][-1][1] == log.end


def test_what_was_fetched_before_a_seek_is_not_taken() -> None:
    """The position has moved elsewhere meanwhile."""
    log = _Log(_dice(1))
    log.add(9)
    partition = _Partition(0)
    records = KeptRecords(AT, MemoryRecords(bytes(log.sent)), [], 0, None, None, True, aiokafka_fetcher.READ_COMMITTED)
    fetch = BlockFetch(AT, assignment=partition, partition_records=records, backoff=0)
    assert fetch.getall(2)
    partition.position = 7
    assert fetch.getall(2) == []
    assert (partition.position, fetch.has_more()) == (7, False)


def test_a_damaged_batch_is_told_and_nothing_before_it_is_lost() -> None:
    """What was good of the fetch is read again, since the position has not moved."""
    log = _Log(_dice(1))
    log.add(9)
    log.add(9)
    log.sent[-1] ^= 0xFF
    partition = _Partition(0)
    records = KeptRecords(AT, MemoryRecords(bytes(log.sent)), [], 0, None, None, True, aiokafka_fetcher.READ_COMMITTED)
    fetch = BlockFetch(AT, assignment=partition, partition_records=records, backoff=0)
    with pytest.raises(aiokafka_fetcher.Errors.CorruptRecordException):
        fetch.getall(100)
    assert fetch.getall(100) == []
    assert (partition.position, fetch.has_more()) == (0, False)
