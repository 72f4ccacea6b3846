"""CDC topics -> `observations`: decode, digest, re-key, and say of every stretch of every log that it was read.

What every partition of `observations` is told of a CDC partition forms a chain of links [begin, end). A link begins
where the last one for that same receiver ended, so that a receiver who lost one notices. Rows go only to the partitions
that own them; the others hear of the stretch by the next mark. A block of the CDC topic is finished when a mark that
covers it has gone to every receiver: then its offset may be committed, and what is committed is never above what every
chain has been told. After a start the chains go on from the committed offsets, which is why that order matters.

If records of a CDC partition were skipped (the broker deleted them before they were read), the next link begins above
what was told, receivers drop it, and the store stalls in plain sight. That is intended: what was not read is unknown.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from app.agents.block_consumer import Block, RawRecord
from app.agents.rows import PlainRows, RowBucket, RowReader, full_buckets, put_plain
from app.codec.blocks import pack
from app.codec.envelope import Decoder
from app.codec.slice_signals import word_of
from app.codec.transactions import transaction_number
from app.core.contract import EntityContract
from app.core.errors import Undecodable, Unmappable, Unready
from app.core.event import ChangeEvent, Operation, Reading
from app.core.observation import Barrier, Beacon, LedgerEcho, Link, Mark, Observation, SliceRead, Truncated
from app.core.position import PLACE_BYTES
from app.core.published import QuarantinedRecord
from app.ports import Sink

QUARANTINED_IN_A_ROW_MAX: Final = 100
"""More unreadable records in a row than this are no accident: the partition stops, and does not go to quarantine."""

_RETRY_FIRST_S: Final = 0.5
_RETRY_MOST_S: Final = 15.0
_DELETE_AND_CREATE: Final = 1  # the last byte of a place, as `app.core.position` fills it
_BYTE_MAX: Final = 255
_ECHOED_KINDS: Final = frozenset({"command", "inverse", "refusal"})

Watermarks = Callable[[str], Awaitable[list[tuple[str, int, int]]]]
"""Ask the broker how far the CDC partitions of a store reach, uncommitted records included."""

TellWaiting = Callable[[Block, Unready, float], None]
"""Say that a block waits, for what, and in how many seconds it is tried again."""


class Role(Enum):
    """What a CDC topic carries."""

    TABLE = "table"
    BEACON = "beacon"
    LEDGER = "ledger"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True)
class Source:
    """One CDC topic: whose it is, and how its records are read. Only tables have a reader of rows."""

    topic: str
    store: str
    role: Role
    decoder: Decoder
    entity: str = ""
    rows: RowReader | None = None


class Quarantine(Protocol):
    """Takes records that could not be read; a failed write is raised by the next flush."""

    def put(self, record: QuarantinedRecord) -> None:
        """Keep one record with its bytes and its reason."""
        ...


class Counts(Protocol):
    """Counts for metrics."""

    def consumed(self, store: str, entity: str, records: int) -> None:
        """Count records that were read and taken further."""
        ...

    def quarantined(self, store: str, reason: str) -> None:
        """Count one record that went to quarantine."""
        ...

    def heard(self, store: str, at_wall_ms: int) -> None:
        """Note when beacons of a store were read."""
        ...


@dataclass(slots=True)
class _Track:
    """One CDC partition since the last seek: where it is, what each receiver was told, and what waits for a mark."""

    epoch: int
    position: int
    told: list[int]
    waiting: deque[Block] = field(default_factory=deque)
    contributed: int = 0  # up to where what rows add to aggregates was told
    unreadable_in_a_row: int = 0
    last_place: bytes = bytes(PLACE_BYTES)


_Decoded = ChangeEvent | Undecodable | None


class Ingest:
    """The ingest of one worker. It runs in one event loop and keeps nothing that the topics cannot give again."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        contracts: Sequence[EntityContract],
        observations: str,
        partitions: int,
        sink: Sink,
        quarantine: Quarantine,
        watermarks: Watermarks,
        counts: Counts,
        tell_waiting: TellWaiting,
        wall_ms: Callable[[], int],
    ) -> None:
        self._sources = {source.topic: source for source in sources}
        self._contracts = {contract.entity: contract for contract in contracts}
        self._topic = observations
        self._partitions = partitions
        self._sink = sink
        self._quarantine = quarantine
        self._watermarks = watermarks
        self._counts = counts
        self._tell_waiting = tell_waiting
        self._wall_ms = wall_ms
        self._tracks: dict[tuple[str, int], _Track] = {}

    async def tables(self, stream: AsyncIterator[Block]) -> None:
        """Read blocks of tables, ledgers and signals for as long as the stream lasts."""
        async for block in stream:
            rows = self._sources[block.topic].rows
            plain = rows.plain(block.records) if rows is not None else PlainRows(left=list(range(len(block.records))))
            decoded = await self._decoded(block, plain.left)
            if block.live:
                self._take(block, plain, decoded)

    async def beacons(self, stream: AsyncIterator[Block]) -> None:
        """Read blocks of beacon tables for as long as the stream lasts."""
        async for block in stream:
            decoded = await self._decoded(block, range(len(block.records)))
            await self._take_beacons(block, decoded)

    def follow(self, epoch: int, starts: Mapping[tuple[str, int], int]) -> None:
        """Take over the partitions of a new assignment at their positions; forget those that went elsewhere."""
        mine = {at: start for at, start in starts.items() if at[0] in self._sources}
        for at in list(self._tracks):
            if at not in mine:
                del self._tracks[at]
        for at, start in mine.items():
            track = self._tracks.get(at)
            if track is None or track.epoch < epoch:
                self._tracks[at] = _Track(epoch, start, [start] * self._partitions, contributed=start)

    def mark(self) -> None:
        """Tell every receiver how far every CDC partition of this worker was read, and finish what that covers."""
        if not self._tracks:
            return
        for target in range(self._partitions):
            links = []
            for (topic, partition), track in self._tracks.items():
                links.append(Link(topic, partition, track.told[target], track.position))
                track.told[target] = track.position
            self._send(target, Mark(links))
        for track in self._tracks.values():
            track.contributed = track.position
            while track.waiting:
                track.waiting.popleft().done()

    # -- blocks --------------------------------------------------------------------------------------------------

    def _send(self, target: int, observation: Observation) -> None:
        self._sink.send(self._topic, target, None, pack(observation))

    def _track(self, block: Block) -> _Track:
        at = (block.topic, block.partition)
        track = self._tracks.get(at)
        if track is None or track.epoch != block.epoch or track.position != block.begin:
            # After a seek the chains go on from the committed offset, which every receiver was told. A block that
            # begins elsewhere follows records that the broker deleted: the gap is told as a gap.
            told = [block.begin] * self._partitions
            track = self._tracks[at] = _Track(block.epoch, block.begin, told, contributed=block.begin)
        return track

    def _link(self, block: Block, track: _Track, target: int, end: int) -> Link:
        link = Link(block.topic, block.partition, track.told[target], end)
        track.told[target] = end
        return link

    async def _decoded(self, block: Block, which: Sequence[int]) -> list[_Decoded]:
        """Decode some records of a block, and wait while what decoding needs (a registry) is away."""
        decoder = self._sources[block.topic].decoder
        decoded: list[_Decoded] = []
        for index in which:
            record = block.records[index]
            try:
                decoded.append(decoder.decode(record.key, record.value))
            except Undecodable as fault:
                decoded.append(fault)
            except Unready as fault:
                decoded.append(await self._decoded_in_the_end(block, record, fault))
                if not block.live:
                    break
        return decoded

    async def _decoded_in_the_end(self, block: Block, record: RawRecord, fault: Unready) -> _Decoded:
        """Try a record again and again, in a thread: who does not answer must hold up nothing else meanwhile."""
        decode = self._sources[block.topic].decoder.decode
        delay_s = _RETRY_FIRST_S
        while block.live:
            self._tell_waiting(block, fault, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_MOST_S)
            try:
                return await asyncio.to_thread(decode, record.key, record.value)
            except Undecodable as undecodable:
                return undecodable
            except Unready as again:
                fault = again
        return None

    def _take(self, block: Block, plain: PlainRows, decoded: Sequence[_Decoded]) -> None:
        source = self._sources[block.topic]
        track = self._track(block)
        if source.rows is not None:
            self._take_rows(block, track, source, source.rows, plain, decoded)
        else:
            self._take_inserts(block, track, source, decoded)
        track.position = block.end
        track.waiting.append(block)
        self._counts.consumed(source.store, source.entity, len(block.records))

    def _take_rows(
        self,
        block: Block,
        track: _Track,
        source: Source,
        rows: RowReader,
        plain: PlainRows,
        decoded: Sequence[_Decoded],
    ) -> None:
        buckets = {target: RowBucket() for target in range(self._partitions)}
        taken = 0
        for index, event in zip(plain.left, decoded, strict=True):
            record = block.records[index]
            taken = self._take_plain(block, track, rows, plain, taken, bisect_left(plain.at, index), buckets)
            try:
                if isinstance(event, Undecodable):
                    raise event
                if event is None:
                    continue
                if event.operation is Operation.TRUNCATE:
                    self._send_rows(block, track, rows, buckets, record.offset)
                    self._send_truncate(block, track, rows, event, record)
                elif event.operation is not Operation.MESSAGE:
                    rows.add(event, record.key or b"", record.offset, buckets)
                track.last_place = event.place
                track.unreadable_in_a_row = 0
            except Undecodable as fault:
                self._reject(source, track, record, block, fault.reason, fault.what)
                self._flag_unreadable(source, track, rows, record, buckets)
            except Unmappable as fault:
                self._reject(source, track, record, block, "unmappable", fault.what)
            self._send_full(block, track, rows, buckets, record.offset + 1)
        self._take_plain(block, track, rows, plain, taken, len(plain.at), buckets)
        self._send_rows(block, track, rows, buckets, block.end)

    def _take_plain(
        self,
        block: Block,
        track: _Track,
        rows: RowReader,
        plain: PlainRows,
        start: int,
        end: int,
        buckets: dict[int, RowBucket],
    ) -> int:
        """Put the plain rows from `start` to `end` into their buckets, and send those that become full."""
        while start < end:
            start = put_plain(plain, start, end, buckets)
            _, _, _, track.last_place, offset, _, _ = plain.rows[start - 1]
            track.unreadable_in_a_row = 0
            self._send_full(block, track, rows, buckets, offset + 1)
        return end

    def _send_full(self, block: Block, track: _Track, rows: RowReader, buckets: dict[int, RowBucket], end: int) -> None:
        for target in list(full_buckets(buckets)):
            self._send_bucket(block, track, rows, buckets, target, end)

    def _send_rows(self, block: Block, track: _Track, rows: RowReader, buckets: dict[int, RowBucket], end: int) -> None:
        for target, bucket in buckets.items():
            if bucket.rows:
                self._send_bucket(block, track, rows, buckets, target, end)
        for target, part in rows.contributions(block.topic, block.partition, track.contributed, end):
            self._send(target, part)
            track.contributed = end

    def _send_bucket(
        self, block: Block, track: _Track, rows: RowReader, buckets: dict[int, RowBucket], target: int, end: int
    ) -> None:
        link = self._link(block, track, target, end)
        self._send(target, buckets[target].block(rows.entity, rows.store, link, rows.groups))
        buckets[target] = RowBucket()

    def _send_truncate(
        self, block: Block, track: _Track, rows: RowReader, event: ChangeEvent, record: RawRecord
    ) -> None:
        transaction = transaction_number(event.transaction)
        for target in range(self._partitions):
            link = self._link(block, track, target, record.offset + 1)
            self._send(target, Truncated(rows.entity, rows.store, link, event.place, record.offset, transaction))
        track.contributed = record.offset + 1

    def _take_inserts(self, block: Block, track: _Track, source: Source, decoded: Sequence[_Decoded]) -> None:
        """Take what was added to a ledger or a signal table."""
        take = self._echo if source.role is Role.LEDGER else self._slice
        for record, event in zip(block.records, decoded, strict=True):
            try:
                if isinstance(event, Undecodable):
                    raise event
                if event is not None and event.reading is Reading.LIVE and event.operation is Operation.CREATE:
                    take(block, track, source, record, event)
                track.unreadable_in_a_row = 0
            except Undecodable as fault:
                self._reject(source, track, record, block, fault.reason, fault.what)

    def _echo(self, block: Block, track: _Track, source: Source, record: RawRecord, event: ChangeEvent) -> None:
        row = event.after or {}
        try:
            contract = self._contracts.get(str(row["entity"]))
            command_id = bytes.fromhex(str(row["command_id"]))
            target = int(str(row["partition"]))
            kind, outcome, reason = str(row["kind"]), str(row["outcome"]), str(row["reason"])
        except (KeyError, ValueError) as error:
            raise Undecodable("shape", f"no ledger row of ours: {type(error).__name__}") from error
        stores = [table.store for table in contract.stores] if contract is not None else []
        if contract is None or source.store not in stores or kind not in _ECHOED_KINDS:
            return
        if not 0 <= target < self._partitions:
            raise Undecodable("shape", f"a ledger row names partition {target} of {self._partitions}")
        link = self._link(block, track, target, record.offset + 1)
        transaction = transaction_number(event.transaction)
        store = stores.index(source.store)
        self._send(
            target, LedgerEcho(contract.number, store, link, command_id, transaction, outcome, event.place, reason)
        )

    def _slice(self, block: Block, track: _Track, source: Source, record: RawRecord, event: ChangeEvent) -> None:
        word = word_of(event.after or {})
        if word is None:
            return
        contract = self._contracts.get(word.entity)
        stores = [table.store for table in contract.stores] if contract is not None else []
        if contract is None or source.store not in stores:
            return
        name, store = word.slice_id.encode(), stores.index(source.store)
        for target in range(self._partitions):
            link = self._link(block, track, target, record.offset + 1)
            read = SliceRead(contract.number, store, link, name, word.low, word.high, word.begun, event.place)
            self._send(target, read)

    # -- beacons -------------------------------------------------------------------------------------------------

    async def _take_beacons(self, block: Block, decoded: Sequence[_Decoded]) -> None:
        source = self._sources[block.topic]
        beacons: list[tuple[int, Beacon]] = []
        for record, event in zip(block.records, decoded, strict=False):
            try:
                if isinstance(event, Undecodable):
                    raise event
                beacon = None if event is None else beacon_of(source.store, event)
            except Undecodable as fault:
                self._reject(source, self._track(block), record, block, fault.reason, fault.what)
                continue
            if beacon is not None:
                beacons.append((record.offset, beacon))
        ends: list[tuple[str, int, int]] = []
        if beacons:
            # Asked after the beacons were seen, so that what is before them in the log is below these ends.
            ends = await self._ends(block, source.store)
        if not block.live:
            return
        track = self._track(block)
        for offset, beacon in beacons:
            for target in range(self._partitions):
                self._send(target, Barrier(beacon, self._link(block, track, target, offset + 1), ends))
        track.position = block.end
        track.waiting.append(block)
        self._counts.consumed(source.store, "", len(block.records))
        if beacons:
            self._counts.heard(source.store, self._wall_ms())
            self.mark()

    async def _ends(self, block: Block, store: str) -> list[tuple[str, int, int]]:
        delay_s = _RETRY_FIRST_S
        while True:
            try:
                return await self._watermarks(store)
            except Unready as fault:
                if not block.live:
                    return []
                self._tell_waiting(block, fault, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_MOST_S)

    # -- what cannot be read -------------------------------------------------------------------------------------

    def _reject(self, source: Source, track: _Track, record: RawRecord, block: Block, reason: str, what: str) -> None:
        track.unreadable_in_a_row += 1
        self._quarantine.put(
            QuarantinedRecord(
                topic=block.topic,
                partition=block.partition,
                offset=record.offset,
                stage="normalise" if reason == "unmappable" else "decode",
                reason=reason,
                what=what,
                key=record.key,
                value=record.value,
                at_wall_ms=self._wall_ms(),
                entity=source.entity,
                store=source.store,
            )
        )
        self._counts.quarantined(source.store, reason)
        if track.unreadable_in_a_row > QUARANTINED_IN_A_ROW_MAX:
            raise Unready(
                f"more than {QUARANTINED_IN_A_ROW_MAX} records in a row cannot be read, the last at offset "
                f"{record.offset}: {reason}",
                where=f"{block.topic}[{block.partition}]",
                hint="compare the store's converter in driftline.yaml with the connector's; then start again",
            )

    def _flag_unreadable(
        self,
        source: Source,
        track: _Track,
        rows: RowReader,
        record: RawRecord,
        buckets: dict[int, RowBucket],
    ) -> None:
        """Let the row of an unreadable record be unknown, as far as its key can be read.

        Its own place is unknown: it takes one between the change before it and the next. Where nothing was read before
        it since the start, it stands before everything, and the row keeps the state that it had.
        """
        try:
            key = source.decoder.key_of(record.key)
            if key is not None:
                behind = min(_DELETE_AND_CREATE + track.unreadable_in_a_row, _BYTE_MAX)
                place = track.last_place[: PLACE_BYTES - 1] + bytes([behind])
                rows.add_unreadable(key, record.key or b"", place, record.offset, buckets)
        except (Undecodable, Unmappable, Unready):
            return


def beacon_of(store: str, event: ChangeEvent) -> Beacon | None:
    """Return the beacon that a change of `driftline_beacon` is, None for what is none of this store's own.

    Only updates of the store's own row count, and its row as a snapshot shows it: a pipeline may copy the table.
    """
    row = event.after
    if row is None or row.get("store_id") != store:
        return None
    streamed = event.reading is Reading.LIVE
    if streamed and event.operation is not Operation.UPDATE:
        return None
    if event.reading is Reading.INCREMENTAL:
        return None
    try:
        return Beacon(
            store=store,
            epoch=int(str(row["writer_epoch"])),
            sequence=int(str(row["sequence"])),
            issued_at_ms=int(str(row["issued_at_ms"])),
            previous_acknowledged_ms=int(str(row["previous_acknowledged_ms"])),
            place=event.place,
            streamed=streamed,
            server=str(row["server"]),
            replaced=_writer_of(event.before),
        )
    except (KeyError, ValueError) as error:
        raise Undecodable("shape", f"no beacon of ours: {type(error).__name__}") from error


def _writer_of(row: Mapping[str, object] | None) -> tuple[int, int] | None:
    """Return by whom a beacon's row was written, and as which; None where the log left that out."""
    epoch, sequence = (row or {}).get("writer_epoch"), (row or {}).get("sequence")
    return (epoch, sequence) if isinstance(epoch, int) and isinstance(sequence, int) else None
