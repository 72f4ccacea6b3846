"""Two stores whose logs reach one fold of aggregates in pieces, late, twice, and across crashes; and what is true."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from app.core.aggregate_fold import AggregateShard
from app.core.aggregate_judging import Told
from app.core.aggregate_status import AggregateStatus
from app.core.contract import (
    Aggregate,
    EntityContract,
    Field,
    FieldKind,
    FieldType,
    KeyField,
    Measure,
    Replica,
    StoreTable,
)
from app.core.contribution import NOTHING, ContributionReader
from app.core.finding import Stage
from app.core.normalise import encode
from app.core.observation import (
    INCREMENTAL_READ,
    PRESENT,
    SNAPSHOT_READ,
    Barrier,
    Beacon,
    Contributions,
    Link,
    Observation,
    SliceRead,
    Truncated,
)
from app.core.position import binlog_place
from app.core.types.canonical import Dialect

WINDOW_MS = 2_000
STEP_MS = 100
BEAT_MS = 500
STORES = "AR"
PARTITIONS = 2
REGION, AMOUNT, BUYER = FieldType(FieldKind.STRING), FieldType(FieldKind.DECIMAL, scale=2), FieldType(FieldKind.INT32)
Row = tuple[str, Decimal, int]
"""Region, amount, buyer."""

CONTRACT = EntityContract(
    entity="t",
    version=1,
    number=7,
    key=(KeyField("id", FieldType(FieldKind.INT32), dict.fromkeys(STORES, "id")),),
    fields=tuple(
        Field(name, type_, dict.fromkeys(STORES, name))
        for name, type_ in (("region", REGION), ("amount", AMOUNT), ("buyer", BUYER))
    ),
    authority="A",
    stores=tuple(StoreTable(store, "t", f"{store}.t", PARTITIONS) for store in STORES),
    replicas=(Replica("R", WINDOW_MS, 10 * WINDOW_MS),),
    aggregates=(
        Aggregate("rows", Measure.COUNT, by=("region",)),
        Aggregate("revenue", Measure.SUM, "amount", by=("region",)),
        Aggregate("buyers", Measure.DISTINCT, "buyer"),
    ),
)
WITHOUT_SNAPSHOT = replace(
    CONTRACT, stores=tuple(replace(table, has_snapshot=table.store != "R") for table in CONTRACT.stores)
)
"""The same, but that no snapshot tells of the replica."""
READERS = {store: ContributionReader(CONTRACT, store, Dialect.BINLOG_SQL) for store in STORES}


def contribution(row: Row | None, store: str = "A") -> bytes:
    """Return what a row adds."""
    return NOTHING if row is None else READERS[store].of(dict(zip(("region", "amount", "buyer"), row, strict=True)))


def region_group(region: str) -> bytes:
    """Return the name of a region's group."""
    return encode(REGION)(region)


def figures_of(rows: Iterable[Row]) -> list[dict[bytes, int]]:
    """Return, from nothing but the rows, what each aggregate's groups come to; figures of nothing are left out."""
    count: Counter[bytes] = Counter()
    revenue: Counter[bytes] = Counter()
    buyers = set()
    for region, amount, buyer in rows:
        count[region_group(region)] += 1
        revenue[region_group(region)] += int(amount * 100)
        buyers.add(buyer)
    found = [count, revenue, {b"": len(buyers)}]
    return [{name: figure for name, figure in each.items() if figure} for each in found]


@dataclass
class AggregateWorld:
    """Time goes in steps; every change reaches Kafka at once and the fold when the dice say so."""

    seed: int
    contract: EntityContract = CONTRACT
    now_ms: int = 0
    rows: dict[str, dict[int, Row]] = field(default_factory=lambda: {store: {} for store in STORES})
    told: list[Told] = field(default_factory=list)
    is_late: bool = True

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - a world's dice are no secret
        self.places = dict.fromkeys(STORES, 1_000)
        self.kafka: dict[tuple[str, int], list[tuple[int, bytes, bytes, bytes]]] = defaultdict(list)
        self.beaten: Counter[str] = Counter()
        self.beats: dict[str, list[Beacon]] = {store: [] for store in STORES}
        self.read: Counter[tuple[str, int]] = Counter()
        self.heard: Counter[str] = Counter()
        self.on_the_way: list[tuple[int, int, Row | None]] = []
        self.observations: list[Observation] = []
        self.folded = self.committed = 0
        self.found: list[Told] = []
        self.safe: list[Told] = []
        self.written: int | None = None
        self.table: dict[bytes, bytes] = {}
        self.shard = AggregateShard((self.contract,), 0)
        self.streams_alone = {table.store for table in self.contract.stores if not table.has_snapshot}
        self.is_lost = False  # whether the replica's connector leaves out what happens
        self.passes = 0
        for store in STORES:
            self._beat(store, streamed=store in self.streams_alone)

    # -- the stores ----------------------------------------------------------------------------------------------

    def snapshot(self, rows: dict[int, Row]) -> None:
        """Let both stores begin with the same rows."""
        for store in STORES:
            for number, row in rows.items():
                self.rows[store][number] = row
                if store not in self.streams_alone:
                    self._log(store, number, row, place=binlog_place(1, 1_000, 0, is_delete=False), flag=SNAPSHOT_READ)

    def pass_over(self, store: str) -> None:
        """Have a store's rows read again, and let it be said that all were."""
        begun = self._next_place(store)
        for number, row in self.rows[store].items():
            self._log(store, number, row, flag=INCREMENTAL_READ)
        link, self.passes = Link(f"{store}.signal", 0, self.passes, self.passes + 1), self.passes + 1
        place = self._next_place(store)
        self.observations.append(SliceRead(7, STORES.index(store), link, b"pass", b"", b"", begun, place))

    def change(self, number: int, row: Row | None, lag_ms: int) -> None:
        """Change a row of the authority, and of the replica within its window."""
        self.write("A", number, row)
        behind = max((at for at, of, _ in self.on_the_way if of == number), default=0)
        self.on_the_way.append((max(behind, self.now_ms + min(lag_ms, WINDOW_MS - STEP_MS)), number, row))

    def write(self, store: str, number: int, row: Row | None) -> None:
        """Change a row of one store."""
        if row is None and number not in self.rows[store]:
            return
        if row is None:
            del self.rows[store][number]
        else:
            self.rows[store][number] = row
        self._log(store, number, row)

    def truncate(self, store: str) -> None:
        """Empty a store's table."""
        self.rows[store].clear()
        self._log(store, 0, None, flag=-1)

    def _log(self, store: str, number: int, row: Row | None, *, place: bytes = b"", flag: int = 0) -> None:
        place = place or self._next_place(store)
        if store == "R" and self.is_lost:
            return
        self.kafka[store, number % PARTITIONS].append((flag, b"%d" % number, place, contribution(row, store)))

    def _next_place(self, store: str) -> bytes:
        self.places[store] += 1
        return binlog_place(1, self.places[store], 0, is_delete=False)

    def _beat(self, store: str, *, streamed: bool = True) -> None:
        self.places[store] += streamed
        place = binlog_place(1, self.places[store], 0, is_delete=False)
        self.beaten[store] += 1
        number, before_ms = self.beaten[store], max(0, self.now_ms - BEAT_MS + 20)
        if store == "R" and self.is_lost:
            return
        beacon = Beacon(store, 1, number, self.now_ms, before_ms, place, streamed, "server", (1, number - 1))
        self.beats[store].append(beacon)

    # -- time ----------------------------------------------------------------------------------------------------

    def step(self, act: Callable[[], None] = lambda: None) -> None:
        """Let a step of time pass: `act`, what arrives at the replica, a beacon now and then, and what is read."""
        self.now_ms += STEP_MS
        act()
        arrived = [change for change in self.on_the_way if change[0] <= self.now_ms]
        self.on_the_way = [change for change in self.on_the_way if change[0] > self.now_ms]
        for _, number, row in sorted(arrived, key=lambda change: change[0]):
            self.write("R", number, row)
        if self.now_ms % BEAT_MS == 0:
            for store in STORES:
                self._beat(store)
        self._ingest()
        self._fold()

    def rest(self, ms: int) -> None:
        """Let time pass in which nothing changes, and all is read."""
        self.is_late = False
        for _ in range(ms // STEP_MS):
            self.step()
        self.is_late = True

    def _ingest(self) -> None:
        streams: list[Callable[[], None]] = []
        for store in STORES:
            streams += [lambda s=store, p=p: self._send_rows(s, p) for p in range(PARTITIONS)]  # type: ignore[misc]
            streams.append(lambda s=store: self._send_beats(s))  # type: ignore[misc]
        self.dice.shuffle(streams)
        for send in streams:
            if not self.is_late or self.dice.random() < 0.5:
                send()

    def _send_rows(self, store: str, partition: int) -> None:
        records = self.kafka[store, partition]
        at = self.read[store, partition]
        begin = max(0, at - self.dice.choice((0, 0, 0, 3)))  # now and then some records come again
        end = len(records) if not self.is_late else self.dice.randint(at, len(records))
        self.read[store, partition] = end
        i = STORES.index(store)
        for cut, (flag, *_) in enumerate(records[begin:end], start=begin):
            if flag < 0:
                self._send_part(store, partition, begin, cut)
                place = records[cut][2]
                for p in range(PARTITIONS):
                    if p == partition:
                        link = Link(f"{store}.t", p, cut, cut + 1)
                        self.observations.append(Truncated(7, i, link, place, cut, 0))
                begin = cut + 1
        self._send_part(store, partition, begin, end)

    def _send_part(self, store: str, partition: int, begin: int, end: int) -> None:
        part = self.kafka[store, partition][begin:end]
        self.observations.append(
            Contributions(
                7,
                STORES.index(store),
                Link(f"{store}.t", partition, begin, end),
                [name for _, name, _, _ in part],
                bytes(flag | (PRESENT if value else 0) for flag, _, _, value in part),
                b"".join(place for _, _, place, _ in part),
                list(range(begin, end)),
                [value for _, _, _, value in part],
            )
        )

    def _send_beats(self, store: str) -> None:
        for n in range(self.heard[store], len(self.beats[store])):
            ends = [(f"{store}.t", p, len(self.kafka[store, p])) for p in range(PARTITIONS)]
            self.observations.append(Barrier(self.beats[store][n], Link(f"{store}.beacon", 0, n, n + 1), ends))
        self.heard[store] = len(self.beats[store])

    # -- the worker ----------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        while self.folded < len(self.observations):
            observation = self.observations[self.folded]
            states = {key: self.table.get(key) for key in self.shard.needed_keys(observation)}
            self.found += self.shard.fold(observation, states)
            self.folded += 1
            if self.dice.random() < 0.2:
                self._write(self.shard.flush())
            wanted = self.shard.scan_range()
            if wanted is not None:
                self._write(self.shard.flush())
                start, end, limit = wanted
                self.shard.scanned(sorted((k, v) for k, v in self.table.items() if start <= k < end)[:limit])
        self._commit()

    def _commit(self) -> None:
        """Take some of the steps of a commit: the state is written, then told what was found, then that it was."""
        if self.written is None:
            if self.is_late and self.dice.random() < 0.8:
                return
            self.safe, self.found = self.found, []
            self._write(self.shard.flush())
            self.written = self.folded
        if self.is_late and self.dice.random() < 0.4:
            return
        self.told += self.safe
        if self.is_late and self.dice.random() < 0.4:
            return  # the broker has it, and who told it does not know: it will be told once more
        self.shard.acknowledged(self.safe)
        self.safe = []
        self.committed, self.written = self.written, None

    def _write(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in items:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value

    def crash(self) -> None:
        """Kill the worker: it begins again with what was written, and with what was not committed."""
        self.shard = AggregateShard((self.contract,), 0)
        self.shard.restore(sorted((k, v) for k, v in self.table.items() if k[:2] != b"ar"))
        self.folded = self.committed
        self.found, self.safe, self.written = [], [], None

    # -- what came of it -----------------------------------------------------------------------------------------

    def figures(self, store: str) -> list[dict[bytes, int]]:
        """Return what the fold holds of a store; figures of nothing are left out."""
        tallies = self.shard.books[7][STORES.index(store)].tallies
        return [{name: g.figure for name, g in tally.groups.items() if g.figure} for tally in tallies]

    def statuses(self) -> list[AggregateStatus]:
        """Return how every aggregate stands."""
        return self.shard.statuses(self.now_ms, 2_000)

    def open_groups(self) -> set[bytes]:
        """Return the groups whose last word is a drift, each behind its aggregate's name and a zero byte."""
        last = {told.finding.canonical_key: told.finding.stage for told in self.told}
        return {name for name, stage in last.items() if stage is Stage.CONFIRMED}
