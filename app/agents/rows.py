"""Changes of one table as rows of blocks: canonical key, digests, flags, and the partition that each belongs to.

There are two ways to the same rows. `add` takes one decoded change, whatever it holds. `plain` takes a block of records
and reads what is usual in it column by column; what it leaves out goes the first way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.agents.block_consumer import RawRecord
from app.agents.known_keys import COMPARABLE, KeyPlaces, KnownKey, KnownKeys, raw_key_digest, told_key
from app.codec.transactions import transaction_number
from app.codec.typed import Changes, TypedReader
from app.core.contract import EntityContract
from app.core.digest import DIGEST_BYTES, RowDigester
from app.core.errors import Unmappable, Unready
from app.core.event import LEFT_OUT, ChangeEvent, Operation, Reading
from app.core.observation import (
    CREATED,
    INCREMENTAL_READ,
    PRESENT,
    QUARANTINED,
    SNAPSHOT_READ,
    UNMAPPABLE,
    Contributions,
    Link,
    RowBlock,
)
from app.core.position import PLACE_BYTES

BLOCK_BYTES_MAX: Final = 500_000
"""A packed block stays below Kafka's default limit of a megabyte for a message."""

CHUNK_RECORDS: Final = 1_000
"""Records that are read column by column at once: enough to pay for the columns, few enough to stay in a cache."""

_ROW_BYTES: Final = 64  # offsets, lengths, flags, places: what a row costs besides its key and digests
_FLAG_OF: Final = {Reading.LIVE: 0, Reading.INITIAL: SNAPSHOT_READ, Reading.INCREMENTAL: INCREMENTAL_READ}

Row = tuple[bytes, bytes, int, bytes, int, int, bytes]
"""One row: canonical key, digest of the raw key, flags, place, offset, transaction, digests of the groups."""


@dataclass(slots=True)
class RowBucket:
    """Rows of one block for one partition of `observations`."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0

    def block(self, entity: int, store: int, link: Link, groups: int) -> RowBlock:
        """Return the rows, of which there is at least one, under a link."""
        keys, raw_keys, flags, places, offsets, transactions, digests = zip(*self.rows, strict=True)
        return RowBlock(
            entity,
            store,
            link,
            groups,
            list(keys),
            b"".join(raw_keys),
            bytes(flags),
            b"".join(places),
            list(offsets),
            list(transactions),
            b"".join(digests),
        )


@dataclass(slots=True)
class PlainRows:
    """Rows that were read column by column, in the order of their records, and what is left to be read otherwise.

    `at[i]` tells which of the block's records row i was, `targets[i]` its partition of `observations`; `left` names
    the records that need a closer look. Tombstones are neither.
    """

    at: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left: list[int] = field(default_factory=list)


MakeTyped = Callable[[Sequence[str], Sequence[str]], TypedReader | None]
"""Makes the typed reader of a table from the key's columns and all columns that are asked for, the key's first."""


class RowReader:
    """Turns changes of one table into rows; `partitions` is how many `observations` has.

    Without a typed reader every record needs a closer look. `known_keys_max` bounds the keys that are kept.
    """

    def __init__(
        self,
        contract: EntityContract,
        store: str,
        digester: RowDigester,
        digest_key: bytes,
        partitions: int,
        *,
        typed: MakeTyped | None = None,
        known_keys_max: int = 0,
    ) -> None:
        self.entity = contract.number
        self.store = [table.store for table in contract.stores].index(store)
        self.groups = digester.group_count
        self._digester = digester
        self._key_columns = [part.columns[store] for part in contract.key]
        self._nothing = bytes(DIGEST_BYTES * digester.group_count)
        self._places = KeyPlaces(digester, self._key_columns, digest_key, contract.number, partitions)
        asked = list(dict.fromkeys((*self._key_columns, *digester.columns)))
        self._compared = [asked.index(column) for column in digester.columns]
        self._typed = typed(self._key_columns, asked) if typed is not None else None
        self._known = KnownKeys(self._typed.keys, self._places, known_keys_max) if self._typed is not None else None

    def plain(self, records: Sequence[RawRecord]) -> PlainRows:
        """Read what is usual in a block of records, and say what is left."""
        found = PlainRows()
        try:
            for start in range(0, len(records), CHUNK_RECORDS):
                if self._typed is not None and self._known is not None:
                    values = [record.value for record in records[start : start + CHUNK_RECORDS]]
                    self._read_chunk(self._typed.read(values), self._known, start, records, found)
        except Unready:
            pass  # the decoder of envelopes knows how to wait
        if len(found.at) < len(records):
            read = set(found.at)
            found.left = [n for n, r in enumerate(records) if n not in read and r.value is not None]
        return found

    def forget_keys(self) -> None:
        """Keep no keys of those that were read."""
        if self._known is not None:
            self._known.forget()

    def _read_chunk(
        self, changes: Changes, known_keys: KnownKeys, start: int, records: Sequence[RawRecord], found: PlainRows
    ) -> None:
        at = [start + n for n in changes.at]
        known = known_keys.of([records[n].key for n in at])
        self._follow_images(changes, known)
        columns = [changes.columns[n] for n in self._compared]
        digests = self._digester.groups_of(len(changes.present), columns)
        flags = [
            _FLAG_OF[reading] | (is_insert and CREATED)
            for reading, is_insert in zip(changes.readings, changes.inserts, strict=True)
        ]
        if len(digests) == len(at):
            flags = [flag | PRESENT for flag in flags]
        else:
            there = dict(zip(changes.present, digests, strict=True))
            digests = [there.get(n, self._nothing) for n in range(len(at))]
            flags = [flag | (n in there) * PRESENT for n, flag in enumerate(flags)]
        for n, key, flag, place, transaction, digest in zip(
            at, known, flags, changes.places, changes.transactions, digests, strict=True
        ):
            if key is not None and key.canonical and place is not None and digest is not None:
                found.at.append(n)
                found.targets.append(key.target)
                found.rows.append((key.canonical, key.raw, flag, place, records[n].offset, transaction, digest))

    def _follow_images(self, changes: Changes, known: list[KnownKey | None]) -> None:
        """Let the key of a row that is there be the one in its image, which need not be the one of its record."""
        keys = changes.columns[: len(self._key_columns)]
        is_sure = all(COMPARABLE.issuperset(map(type, column)) for column in keys)
        for n, values in zip(changes.present, zip(*keys, strict=True), strict=True):
            key = known[n]
            if key is not None and not (is_sure and key.values == values):
                known[n] = self._places.moved(key, values)

    def add(self, event: ChangeEvent, raw_key: bytes, offset: int, buckets: Mapping[int, RowBucket]) -> None:
        """Add the rows of one change to the buckets of their partitions; `Unmappable` if its key has no canonical form.

        A row whose other values do not fit is there all the same, flagged: nothing is guessed, its key is unknown.
        """
        raw = raw_key_digest(told_key(event.key, raw_key))
        flag = _FLAG_OF[event.reading] | (CREATED if event.operation is Operation.CREATE else 0)
        transaction = transaction_number(event.transaction)
        after = event.after
        if after is None:
            key = self._key_of(event, None)
            self._put(buckets, (key, raw, flag, event.place, offset, transaction, self._nothing))
            return
        key = self._key_of(event, after)
        moved_from = self._moved_from(event, after)
        if moved_from is not None:
            # The key of the contract is not the table's own: an update can move a row from one key to another.
            left = event.place[: PLACE_BYTES - 1] + b"\x00"
            self._put(buckets, (moved_from, raw, flag, left, offset, transaction, self._nothing))
        try:
            digests = self._digester.groups(after)
        except Unmappable:
            digests = self._nothing
            flag |= UNMAPPABLE
        self._put(buckets, (key, raw, flag | PRESENT, event.place, offset, transaction, digests))

    def add_unreadable(
        self, key: Mapping[str, object], raw_key: bytes, place: bytes, offset: int, buckets: Mapping[int, RowBucket]
    ) -> None:
        """Add the row of a record whose value could not be read; `Unmappable` if its key has no canonical form."""
        canonical = self._digester.canonical_key(key)
        flag = PRESENT | QUARANTINED
        raw = raw_key_digest(told_key(key, raw_key))
        self._put(buckets, (canonical, raw, flag, place, offset, 0, self._nothing))

    def contributions(self, topic: str, partition: int, begin: int, end: int) -> Iterable[tuple[int, Contributions]]:
        """Return what rows since the last time add to aggregates, and to which partition: here there are none."""
        del topic, partition, begin, end
        return ()

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

    def _put(self, buckets: Mapping[int, RowBucket], row: Row) -> None:
        bucket = buckets[self._places.target(row[0])]
        bucket.rows.append(row)
        bucket.size += _size_of(row)


def _size_of(row: Row) -> int:
    return len(row[0]) + len(row[-1]) + _ROW_BYTES


def put_plain(plain: PlainRows, start: int, end: int, buckets: Mapping[int, RowBucket]) -> int:
    """Put plain rows from `start` on into their buckets, up to `end` or the first row that fills its bucket.

    Returns the place behind the last row that was put.
    """
    for n in range(start, end):
        row = plain.rows[n]
        bucket = buckets[plain.targets[n]]
        bucket.rows.append(row)
        bucket.size += len(row[0]) + len(row[-1]) + _ROW_BYTES
        if bucket.size > BLOCK_BYTES_MAX:
            return n + 1
    return end


def full_buckets(buckets: Mapping[int, RowBucket]) -> Iterator[int]:
    """Return the partitions whose rows fill a block."""
    return (partition for partition, bucket in buckets.items() if bucket.size > BLOCK_BYTES_MAX)
