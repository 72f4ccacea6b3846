"""Rows of a table that aggregates are made of: each row as any other, and beside it what it adds to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.agents.block_consumer import RawRecord
from app.agents.known_keys import raw_key_digest, told_key
from app.agents.rows import BLOCK_BYTES_MAX, PlainRows, Row, RowBucket, RowReader
from app.core.aggregate_fold import partition_of_aggregates
from app.core.contract import EntityContract
from app.core.contribution import NOTHING, UNREADABLE, ContributionReader
from app.core.digest import Dialect, RowDigester
from app.core.errors import Unmappable
from app.core.event import ChangeEvent
from app.core.observation import PRESENT, QUARANTINED, Contributions, Link

_ROW_BYTES: Final = 48  # names, offsets, flags, places: what a row costs besides its contribution


@dataclass(slots=True)
class _Gathered:
    rows: list[bytes] = field(default_factory=list)
    flags: bytearray = field(default_factory=bytearray)
    places: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)


class ContributingRowReader(RowReader):
    """A reader of rows that takes a closer look at every record, and gathers contributions meanwhile."""

    def __init__(
        self,
        contract: EntityContract,
        store: str,
        digester: RowDigester,
        digest_key: bytes,
        partitions: int,
        dialect: Dialect,
    ) -> None:
        super().__init__(contract, store, digester, digest_key, partitions)
        self._contributions = ContributionReader(contract, store, dialect)
        self._target = partition_of_aggregates(contract.number, partitions)
        self._gathered = _Gathered()
        self._image: Mapping[str, object] | None = None

    def plain(self, records: Sequence[RawRecord]) -> PlainRows:
        """Leave every record to be read by itself: the columns of a block do not have what aggregates need."""
        return PlainRows(left=[n for n, record in enumerate(records) if record.value is not None])

    def add(self, event: ChangeEvent, raw_key: bytes, offset: int, buckets: Mapping[int, RowBucket]) -> None:
        """Add the rows of one change, and what they add to aggregates."""
        self._image = event.after
        try:
            super().add(event, raw_key, offset, buckets)
        except Unmappable:
            raw = raw_key_digest(told_key(event.key, raw_key))
            self._gather(raw, QUARANTINED | (PRESENT if event.after is not None else 0), event.place, offset)
            raise

    def _put(self, buckets: Mapping[int, RowBucket], row: Row) -> None:
        super()._put(buckets, row)
        key, raw, flags, place, offset, _, _ = row
        self._gather(key + raw, flags, place, offset)

    def _gather(self, name: bytes, flags: int, place: bytes, offset: int) -> None:
        gathered = self._gathered
        gathered.rows.append(name)
        gathered.flags.append(flags)
        gathered.places.append(place)
        gathered.offsets.append(offset)
        gathered.values.append(self._value(flags))

    def _value(self, flags: int) -> bytes:
        if not flags & PRESENT:
            return NOTHING
        if flags & QUARANTINED or self._image is None:
            return UNREADABLE
        return self._contributions.of(self._image)

    def contributions(self, topic: str, partition: int, begin: int, end: int) -> Iterator[tuple[int, Contributions]]:
        """Yield what was gathered between two positions, with the partition of `observations` that it goes to."""
        gathered, self._gathered = self._gathered, _Gathered()
        start = size = 0
        for n, value in enumerate(gathered.values):
            size += len(gathered.rows[n]) + len(value) + _ROW_BYTES
            is_last = n + 1 == len(gathered.values)
            # Rows of one record (a key that moved) stay together: a link covers it once.
            if size > BLOCK_BYTES_MAX and not is_last and gathered.offsets[n + 1] != gathered.offsets[n]:
                middle = gathered.offsets[n] + 1
                yield self._target, self._part(gathered, start, n + 1, Link(topic, partition, begin, middle))
                start, size, begin = n + 1, 0, middle
        if gathered.values:
            link = Link(topic, partition, begin, end)
            yield self._target, self._part(gathered, start, len(gathered.values), link)

    def _part(self, gathered: _Gathered, start: int, end: int, link: Link) -> Contributions:
        return Contributions(
            self.entity,
            self.store,
            link,
            gathered.rows[start:end],
            bytes(gathered.flags[start:end]),
            b"".join(gathered.places[start:end]),
            gathered.offsets[start:end],
            gathered.values[start:end],
        )
