"""Ingest: reads the CDC partitions at any pace, and sends blocks, barriers and marks to the worker's partitions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Final

from app.core.finding import UnknownReason
from app.core.ledger import LedgerKind, LedgerRow
from app.core.observation import (
    CREATED,
    INCREMENTAL_READ,
    PRESENT,
    QUARANTINED,
    SNAPSHOT_READ,
    UNMAPPABLE,
    Barrier,
    Beacon,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    RowBlock,
    SliceRead,
    Truncated,
)
from app.simulation.connector import Connector, Record
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.keys import target_of
from app.simulation.setting import Setting
from app.simulation.stores import NUMBER, Entry, Kind, groups_of

MARK_MS: Final = 500
_COMMITS_MS: Final = (500, 2_000, 5_000)
"""How often it commits what was delivered, at most: what is read again after a crash is as old."""
_FEW: Final = 0.3
_SKIPPED: Final = 0.3
_HELD_EVERY_MS: Final = 8_000
_HELD_MS: Final = (500, 3_000, 8_000)
_HELD_AT_FIRST: Final = 0.2
_AGAIN_MS: Final = (0, 3_000, 8_000)
"""How long it takes to read much once more."""
_SLOW_MOST: Final = 20
_ECHOED: Final = frozenset({LedgerKind.COMMAND, LedgerKind.INVERSE, LedgerKind.REFUSAL})
_ROWS: Final = frozenset({Kind.ROW, Kind.READ})
_NOTHING: Final = bytes(16)
_FLAGS: Final = {None: 0, UnknownReason.QUARANTINED: QUARANTINED, UnknownReason.SCHEMA: UNMAPPABLE}

CdcPartition = tuple[str, int]
_Row = tuple[int, Entry, bool]


@dataclass(slots=True)
class Ingest:
    """One ingesting worker, killed and started again; `sent` is each partition of `observations`, as Kafka has it."""

    setting: Setting
    connectors: list[Connector]
    diary: Diary
    sent: list[list[Observation]] = field(init=False)
    _dice: Random = field(init=False)
    _read: dict[CdcPartition, int] = field(default_factory=dict)
    _committed: dict[CdcPartition, int] = field(default_factory=dict)
    _linked: list[dict[CdcPartition, int]] = field(init=False)
    _targets: dict[bytes, int] = field(default_factory=dict)
    _held_until_ms: dict[CdcPartition, int] = field(default_factory=dict)
    _slow_until_ms: int = 0
    _dies_ms: int | None = None
    _marked_ms: int = 0
    _commits_ms: int = 0
    _committed_ms: int = 0

    def __post_init__(self) -> None:
        self._dice = self.setting.dice("ingest")
        self._commits_ms = self.setting.dice("ingest commits").choice(_COMMITS_MS)
        self.sent = [[] for _ in range(self.setting.targets)]
        self._linked = [{} for _ in range(self.setting.targets)]
        if self.setting.has(Fault.PARTITIONS_REORDER):
            for connector in self.connectors:
                for at in connector.partitions:
                    if self._dice.random() < _HELD_AT_FIRST:
                        self._held_until_ms[at] = connector.starts_ms + self._dice.choice(_HELD_MS)

    def target_of(self, key: bytes) -> int:
        """Return the partition of `observations` that a row's changes go to."""
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = target_of(key, self.setting.targets)
        return target

    def step(self, now_ms: int, *, calm: bool) -> None:
        """Read some more of every partition; `calm` lets nothing go wrong any more."""
        dice = self._dice
        crash = self.setting.has(Fault.INGEST_CRASHES) and dice.random() < 0.005  # noqa: PLR2004 - a chance
        if self._dies_ms is not None and now_ms >= self._dies_ms:
            self._restart()
        elif crash and not calm:
            self.diary.note(Fault.INGEST_CRASHES, now_ms)
            self._slow_until_ms = now_ms + dice.choice(_AGAIN_MS)
            self._restart()
        elif now_ms < self.setting.lags_until_ms and self.setting.has(Fault.OFFSETS_GO_BACK) and dice.random() < 0.005:  # noqa: PLR2004 - a chance
            self.diary.note(Fault.OFFSETS_GO_BACK, now_ms)
            self._committed = {at: dice.randint(0, offset) for at, offset in self._committed.items()}
            self._slow_until_ms = now_ms + dice.choice(_AGAIN_MS)
            self._restart()
        for connector in self.connectors:
            for at, records in connector.partitions.items():
                if not calm and self._is_held(at, now_ms):
                    self.diary.note(Fault.PARTITIONS_REORDER, now_ms, connector.store.name)
                    continue
                self._read_on(connector, at, records, now_ms, calm=calm)
        if now_ms >= self._marked_ms:
            self._marked_ms = now_ms + MARK_MS
            self._mark(now_ms, calm=calm)

    def _is_held(self, at: CdcPartition, now_ms: int) -> bool:
        """Whether a partition is not read now: it is passed over, or nobody comes to it for long."""
        if not self.setting.has(Fault.PARTITIONS_REORDER):
            return False
        dice = self._dice
        if now_ms < self.setting.lags_until_ms and dice.random() < self.setting.tick_ms / _HELD_EVERY_MS:
            self._held_until_ms[at] = now_ms + dice.choice(_HELD_MS)
        return now_ms < self._held_until_ms.get(at, 0) or dice.random() < _SKIPPED

    def _read_on(
        self, connector: Connector, at: CdcPartition, records: list[Record], now_ms: int, *, calm: bool
    ) -> None:
        slow = now_ms < self._slow_until_ms
        few = not calm and (slow or self._dice.random() < _FEW)
        most = self._dice.randint(1, _SLOW_MOST) if slow else self.setting.block_rows
        while True:
            begin = self._read.get(at, 0)
            end = min(len(records), begin + most)
            if end <= begin:
                return
            if at[0] == connector.beacon_topic:
                self._send_beacons(connector, at, begin, end, now_ms, calm=calm)
            else:
                self._send_rows(connector, at, begin, end, now_ms, calm=calm)
            self._read[at] = end
            if few:
                return

    def tell(self, observation: Observation) -> None:
        """Send what is not read from a CDC partition to all."""
        for sent in self.sent:
            sent.append(observation)

    def _restart(self) -> None:
        """Begin again at what was committed, as a new process does."""
        self._dies_ms = None
        self._read = dict(self._committed)
        for linked in self._linked:
            linked.clear()
            linked.update(self._read)

    def _mark(self, now_ms: int, *, calm: bool) -> None:
        for target in range(self.setting.targets):
            links = [
                self._link(target, at, self._read.get(at, 0))
                for connector in self.connectors
                for at in connector.partitions
            ]
            self._send(target, Mark(links), now_ms, calm=calm)
        if self._dies_ms is None and (calm or now_ms >= self._committed_ms + self._commits_ms):
            # Nothing is committed behind a record whose delivery has failed.
            self._committed_ms = now_ms
            self._committed = dict(self._read)

    def _link(self, target: int, at: CdcPartition, end: int) -> Link:
        linked = self._linked[target]
        link = Link(at[0], at[1], linked.get(at, 0), end)
        linked[at] = end
        return link

    def _send(self, target: int, observation: Observation, now_ms: int, *, calm: bool) -> None:
        dice, setting = self._dice, self.setting
        lost = not calm and setting.has(Fault.BLOCKS_LOST) and dice.random() < 0.002  # noqa: PLR2004 - a chance
        if lost and not _begins_chain(observation):
            self.diary.note(Fault.BLOCKS_LOST, now_ms)
            self._dies_ms = self._dies_ms or now_ms + dice.choice([1, 600, 1_500])
            return
        self.sent[target].append(observation)
        if not calm and setting.has(Fault.BLOCKS_REPEAT) and dice.random() < 0.02:  # noqa: PLR2004 - a chance
            self.diary.note(Fault.BLOCKS_REPEAT, now_ms)
            self.sent[target].append(dice.choice(self.sent[target][-20:]))

    def _send_beacons(
        self, connector: Connector, at: CdcPartition, begin: int, end: int, now_ms: int, *, calm: bool
    ) -> None:
        for offset in range(begin, end):
            record = connector.partitions[at][offset]
            if record is None or record[0].beacon is None:
                continue
            entry, snapshot = record
            row = record[0].beacon
            beacon = Beacon(
                connector.store.name,
                row.epoch,
                row.sequence,
                row.issued_at_ms,
                row.previous_acknowledged_ms,
                entry.place,
                streamed=not snapshot,
                server=entry.server,
                replaced=entry.replaced,
            )
            ends = [(topic, number, len(found)) for (topic, number), found in connector.partitions.items()]
            for target in range(self.setting.targets):
                barrier = Barrier(beacon, self._link(target, at, offset + 1), ends)
                self._send(target, barrier, now_ms, calm=calm)

    def _send_rows(
        self, connector: Connector, at: CdcPartition, begin: int, end: int, now_ms: int, *, calm: bool
    ) -> None:
        records = connector.partitions[at]
        rows: defaultdict[int, list[_Row]] = defaultdict(list)

        def send(upto: int) -> None:
            for target, found in rows.items():
                block = self._block(connector, self._link(target, at, upto), found)
                self._send(target, block, now_ms, calm=calm)
            rows.clear()

        for offset in range(begin, end):
            record = records[offset]
            if record is None:
                continue
            entry, snapshot = record
            if entry.kind in _ROWS:
                rows[self.target_of(entry.key)].append((offset, entry, snapshot))
            elif entry.ledger is not None and entry.ledger.kind in _ECHOED:
                self._echo(connector, at, offset, entry, entry.ledger, now_ms, calm=calm)
            elif entry.kind is Kind.TRUNCATE or entry.slice is not None:
                send(offset)
                for target in range(self.setting.targets):
                    told = _told_to_all(connector.store.index, entry, self._link(target, at, offset + 1), offset)
                    self._send(target, told, now_ms, calm=calm)
        send(end)

    def _echo(
        self,
        connector: Connector,
        at: CdcPartition,
        offset: int,
        entry: Entry,
        row: LedgerRow,
        now_ms: int,
        *,
        calm: bool,
    ) -> None:
        link = self._link(row.partition, at, offset + 1)
        reason = row.reason.value if row.reason is not None else ""
        outcome, store = row.outcome.value, connector.store.index
        echo = LedgerEcho(NUMBER, store, link, row.row_id, entry.transaction, outcome, entry.place, reason)
        self._send(row.partition, echo, now_ms, calm=calm)

    def _block(self, connector: Connector, link: Link, rows: list[_Row]) -> RowBlock:
        has_large = connector.store.has_large
        entries = [entry for _, entry, _ in rows]
        return RowBlock(
            entity=NUMBER,
            store=connector.store.index,
            link=link,
            groups=2 if has_large else 1,
            keys=[entry.key for entry in entries],
            raw_keys=b"".join([entry.raw_key or entry.key[-8:] for entry in entries]),
            flags=bytes([_flags(entry, snapshot=snapshot) for _, entry, snapshot in rows]),
            places=b"".join([entry.place for entry in entries]),
            offsets=[offset for offset, _, _ in rows],
            transactions=[entry.transaction for entry in entries],
            digests=b"".join([_digests(entry, has_large=has_large) for entry in entries]),
        )


def _told_to_all(store: int, entry: Entry, link: Link, offset: int) -> Observation:
    """Return what every receiver is told of a truncate, or of a slice that is complete."""
    if entry.slice is None:
        return Truncated(NUMBER, store, link, entry.place, offset, entry.transaction)
    return SliceRead(NUMBER, store, link, *entry.slice, entry.place)


def _begins_chain(observation: Observation) -> bool:
    """Whether a link is the first of its chain, which is taken wherever it begins: nobody sees its loss."""
    match observation:
        case Mark(links=links):
            return any(link.begin == 0 for link in links)
        case (
            RowBlock(link=link)
            | Truncated(link=link)
            | Barrier(link=link)
            | LedgerEcho(link=link)
            | SliceRead(link=link)
        ):
            return link.begin == 0
        case _:
            return False


def _flags(entry: Entry, *, snapshot: bool) -> int:
    return (
        (0 if entry.value is None else PRESENT)
        | (SNAPSHOT_READ if snapshot else 0)
        | (CREATED if entry.created else 0)
        | (INCREMENTAL_READ if entry.kind is Kind.READ else 0)
        | _FLAGS[entry.reason]
    )


def _digests(entry: Entry, *, has_large: bool) -> bytes:
    if entry.value is None:
        return _NOTHING * 2 if has_large else _NOTHING
    main, large = groups_of(entry.value)
    if not has_large:
        return main
    return main + (_NOTHING if entry.left_out else large)
