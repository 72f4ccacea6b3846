"""Changes of one table as rows of blocks: canonical key, digests, flags, and the partition that each belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from app.codec.envelope import transaction_number
from app.core.contract import EntityContract
from app.core.digest import DIGEST_BYTES, RowDigester, keyed_hash, partition_of
from app.core.errors import Unmappable
from app.core.event import LEFT_OUT, ChangeEvent, Operation, Reading
from app.core.observation import (
    CREATED,
    INCREMENTAL_READ,
    PRESENT,
    QUARANTINED,
    SNAPSHOT_READ,
    UNMAPPABLE,
    Link,
    RowBlock,
)
from app.core.position import PLACE_BYTES

BLOCK_BYTES_MAX: Final = 500_000
"""A packed block stays below Kafka's default limit of a megabyte for a message."""

_ROW_BYTES: Final = 64  # offsets, lengths, flags, places: what a row costs besides its key and digests
_RAW_KEY_BYTES: Final = 8
_FLAG_OF: Final = {Reading.LIVE: 0, Reading.INITIAL: SNAPSHOT_READ, Reading.INCREMENTAL: INCREMENTAL_READ}


@dataclass(slots=True)
class RowBucket:
    """Rows of one block for one partition of `observations`, as columns."""

    keys: list[bytes] = field(default_factory=list)
    raw_keys: bytearray = field(default_factory=bytearray)
    flags: bytearray = field(default_factory=bytearray)
    places: bytearray = field(default_factory=bytearray)
    offsets: list[int] = field(default_factory=list)
    transactions: list[int] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    size: int = 0

    def block(self, entity: int, store: int, link: Link, groups: int) -> RowBlock:
        """Return the rows under a link."""
        return RowBlock(
            entity,
            store,
            link,
            groups,
            self.keys,
            bytes(self.raw_keys),
            bytes(self.flags),
            bytes(self.places),
            self.offsets,
            self.transactions,
            bytes(self.digests),
        )


class RowReader:
    """Turns decoded changes of one table into rows; `partitions` is how many `observations` has."""

    def __init__(
        self, contract: EntityContract, store: str, digester: RowDigester, digest_key: bytes, partitions: int
    ) -> None:
        self.entity = contract.number
        self.store = [table.store for table in contract.stores].index(store)
        self.groups = digester.group_count
        self._digester = digester
        self._digest_key = digest_key
        self._partitions = partitions
        self._key_columns = [part.columns[store] for part in contract.key]
        self._nothing = bytes(DIGEST_BYTES * digester.group_count)

    def add(self, event: ChangeEvent, raw_key: bytes, offset: int, buckets: Mapping[int, RowBucket]) -> None:
        """Add the rows of one change to the buckets of their partitions; `Unmappable` if its key has no canonical form.

        A row whose other values do not fit is there all the same, flagged: nothing is guessed, its key is unknown.
        """
        flag = _FLAG_OF[event.reading] | (CREATED if event.operation is Operation.CREATE else 0)
        raw_key = _told_key(event.key, raw_key)
        transaction = transaction_number(event.transaction)
        after = event.after
        if after is None:
            self._put(
                buckets, self._key_of(event, None), raw_key, flag, event.place, offset, transaction, self._nothing
            )
            return
        key = self._key_of(event, after)
        moved_from = self._moved_from(event, after)
        if moved_from is not None:
            # The key of the contract is not the table's own: an update can move a row from one key to another.
            left = event.place[: PLACE_BYTES - 1] + b"\x00"
            self._put(buckets, moved_from, raw_key, flag, left, offset, transaction, self._nothing)
        try:
            digests = self._digester.groups(after)
        except Unmappable:
            digests = self._nothing
            flag |= UNMAPPABLE
        self._put(buckets, key, raw_key, flag | PRESENT, event.place, offset, transaction, digests)

    def add_unreadable(
        self, key: Mapping[str, object], raw_key: bytes, place: bytes, offset: int, buckets: Mapping[int, RowBucket]
    ) -> None:
        """Add the row of a record whose value could not be read; `Unmappable` if its key has no canonical form."""
        flag = PRESENT | QUARANTINED
        canonical_key = self._digester.canonical_key(key)
        self._put(buckets, canonical_key, _told_key(key, raw_key), flag, place, offset, 0, self._nothing)

    def _key_of(self, event: ChangeEvent, image: Mapping[str, object] | None) -> bytes:
        for row in (image, event.key, event.before):
            if row is not None and all(row.get(column, LEFT_OUT) is not LEFT_OUT for column in self._key_columns):
                return self._digester.canonical_key(row)
        return self._digester.canonical_key(event.key or {})

    def _moved_from(self, event: ChangeEvent, after: Mapping[str, object]) -> bytes | None:
        before = event.before
        if before is None or event.operation is not Operation.UPDATE:
            return None
        left = [before.get(column) for column in self._key_columns]
        if left == [after.get(column) for column in self._key_columns]:
            return None
        if any(value is None or value is LEFT_OUT for value in left):
            return None
        return self._digester.canonical_key(before)

    def _put(
        self,
        buckets: Mapping[int, RowBucket],
        key: bytes,
        raw_key: bytes,
        flag: int,
        place: bytes,
        offset: int,
        transaction: int,
        digests: bytes,
    ) -> None:
        bucket = buckets[partition_of(keyed_hash(self._digest_key, self.entity, key), self._partitions)]
        bucket.keys.append(key)
        bucket.raw_keys += blake2b(raw_key, digest_size=_RAW_KEY_BYTES).digest()
        bucket.flags.append(flag)
        bucket.places += place
        bucket.offsets.append(offset)
        bucket.transactions.append(transaction)
        bucket.digests += digests
        bucket.size += len(key) + len(digests) + _ROW_BYTES


def _told_key(key: Mapping[str, object] | None, raw_key: bytes) -> bytes:
    """Return what tells one key from another: its values, since another schema would change the bytes."""
    return raw_key if key is None else repr(sorted(key.items())).encode()


def full_buckets(buckets: Mapping[int, RowBucket]) -> Iterator[int]:
    """Return the partitions whose rows fill a block."""
    return (partition for partition, bucket in buckets.items() if bucket.size > BLOCK_BYTES_MAX)
