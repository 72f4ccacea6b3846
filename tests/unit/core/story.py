"""Two or three stores told by hand: rows and beacons in the order of their logs, folded at once."""

from __future__ import annotations

import hashlib
from collections import Counter

from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Pipeline, Replica, StoreTable
from app.core.finding import Finding, Stage
from app.core.fold import META, Effects, Shard, row_key
from app.core.journal import Write
from app.core.keystate import KeyState, OpenDrift
from app.core.limits import AWAKE_ROWS_MAX
from app.core.observation import (
    CREATED,
    INCREMENTAL_READ,
    PRESENT,
    SNAPSHOT_READ,
    Barrier,
    Beacon,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    SliceRead,
    Truncated,
)
from app.core.position import binlog_place
from app.core.state_forms import decode

INT = FieldType(FieldKind.INT64)
WINDOW_MS = 1_000


def contract(*, pipeline: bool, stores: str = "AR", partitions: int = 1, streams_alone: str = "") -> EntityContract:
    """Return a contract over stores of one letter each, the first the authority; some without a snapshot."""
    fills = Pipeline("group", "topic") if pipeline else None
    return EntityContract(
        entity="t",
        version=1,
        number=7,
        key=(KeyField("id", INT, dict.fromkeys(stores, "id")),),
        fields=(Field("v", INT, dict.fromkeys(stores, "v")),),
        authority=stores[0],
        stores=tuple(StoreTable(s, "t", f"{s}.t", partitions, s not in streams_alone) for s in stores),
        replicas=tuple(Replica(store, WINDOW_MS, 10 * WINDOW_MS, fills) for store in stores[1:]),
    )


def digest(value: str) -> bytes:
    """Return a row digest for a value; empty for no row."""
    return hashlib.blake2b(value.encode(), digest_size=16).digest() if value else b""


class Story:
    """Tells one shard what happened; `findings` are what it told. A store that is `late` shows nothing yet."""

    def __init__(
        self,
        *,
        pipeline: bool = False,
        stores: str = "AR",
        late: str = "",
        awake_rows_max: int = AWAKE_ROWS_MAX,
        partitions: int = 1,
        streams_alone: str = "",
    ) -> None:
        self.contract = contract(pipeline=pipeline, stores=stores, partitions=partitions, streams_alone=streams_alone)
        self.streams_alone = streams_alone
        self.replaced: dict[str, tuple[int, int]] = {}
        self.awake_rows_max = awake_rows_max
        self.shard = Shard((self.contract,), 0, awake_rows_max)
        self.table: dict[bytes, bytes] = {}
        self.findings: list[Finding] = []
        self.sweeps = True  # whether passes over the rows go on
        self.commits = self.acknowledges = True  # whether the table and the broker have what was written and told
        self.stores = stores
        self.places = dict.fromkeys(stores, 100)
        self.offsets: Counter[str] = Counter()
        self.acknowledged_ms = dict.fromkeys(stores, 0)
        self.sequence = 0
        self.started = ""
        for store in stores:
            if store not in late:
                self.start(store)

    def start(self, store: str) -> None:
        """Let a store's connector begin, with the snapshot of its beacon if it takes one."""
        self.started += store
        if store not in self.streams_alone:
            self._beacon(store, 0, streamed=False)

    def restart(self) -> None:
        """Let the worker start again from its table."""
        self.shard = Shard((self.contract,), 0, self.awake_rows_max)
        rows = self.shard.restore(sorted((k, v) for k, v in self.table.items() if k[:1] == META))
        self._take(self.shard.revive({row: self.table.get(row) for row in rows}))

    def observe(self, observation: Observation) -> None:
        """Fold one observation, then whatever sweeps want, and acknowledge what was told."""
        states = {key: self.table.get(key) for key in self.shard.needed_keys(observation)}
        self._take(self.shard.fold(observation, states))
        self._take(self.shard.wake({key: self.table.get(key) for key in self.shard.due_keys()}))
        while self.sweeps and (wanted := self.shard.sweep_range()) is not None:
            start, end, limit = wanted
            items = sorted((k, v) for k, v in self.table.items() if start <= k < end)[:limit]
            self._take(self.shard.sweep(items))

    def acknowledge(self, findings: list[Finding]) -> None:
        """Let the broker have what was told."""
        self._take(self.shard.acknowledged(findings))

    def _take(self, effects: Effects) -> None:
        told = effects.findings
        self.findings += told
        if told and self.acknowledges:
            self._take(self.shard.acknowledged(told))
        self.flush()

    def flush(self) -> None:
        """Write what changed, as a commit does."""
        if not self.commits:
            return
        self.write(self.shard.flush())

    def write(self, writes: list[Write]) -> None:
        """Let the table have these."""
        for key, value in writes:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value

    def state(self, key: str = "k") -> KeyState:
        """Return a row's state as the table holds it."""
        return decode(self.table[row_key(7, key.encode())])

    def drift(self, key: str = "k") -> OpenDrift:
        """Return the drift that a row has."""
        drift = self.state(key).replicas[0].drift
        assert drift is not None
        return drift

    def _next(self, topic: str, partition: int = 0) -> Link:
        at = f"{topic}/{partition}" if partition else topic
        self.offsets[at] += 1
        return Link(topic, partition, self.offsets[at] - 1, self.offsets[at])

    def place(self, store: str) -> bytes:
        """Return the next place in a store's log."""
        self.places[store] += 1
        return binlog_place(1, self.places[store], 0, is_delete=False)

    def row(
        self,
        store: str,
        value: str,
        *,
        key: str = "k",
        raw: str = "",
        snapshot: bool = False,
        created: bool = False,
        transaction: int = 0,
        place: bytes = b"",
    ) -> bytes:
        """Let a store's log show a row with a value ("" for none), under a raw key; return the change's place."""
        place = place or (binlog_place(1, 100, 0, is_delete=False) if snapshot else self.place(store))
        flags = (SNAPSHOT_READ if snapshot else 0) | (CREATED if created else 0)
        self.observe(self.block(store, value, place, key=key, raw=raw, flags=flags, transaction=transaction))
        return place

    def reread(self, store: str, value: str, *, key: str = "k", raw: str = "", place: bytes = b"") -> bytes:
        """Let a row be read again, at its window's close; return the place of that."""
        place = place or self.place(store)
        self.observe(self.block(store, value, place, key=key, raw=raw, flags=INCREMENTAL_READ))
        return place

    def cut(self, store: str, transaction: int = 9) -> None:
        """Let a store's table be truncated."""
        link = self._next(f"{store}.t")
        cut = Truncated(7, self.stores.index(store), link, self.place(store), link.begin, transaction)
        self.observe(cut)

    def slice_read(self, store: str, begun: bytes, *, low: str = "", high: str = "", name: str = "slice") -> None:
        """Let the conductor say that a slice begun at a place was read whole."""
        link, place = self._next(f"{store}.signal"), self.place(store)
        number = self.stores.index(store)
        self.observe(SliceRead(7, number, link, name.encode(), low.encode(), high.encode(), begun, place))

    def block(
        self,
        store: str,
        value: str,
        place: bytes,
        *,
        key: str = "k",
        raw: str = "",
        partition: int = 0,
        flags: int = 0,
        transaction: int = 0,
    ) -> RowBlock:
        """Return a block of one row, the next of its CDC partition."""
        link = self._next(f"{store}.t", partition)
        return RowBlock(
            7,
            self.stores.index(store),
            link,
            1,
            [key.encode()],
            raw.encode().ljust(8, b"\x00"),
            bytes([flags | (PRESENT if value else 0)]),
            place,
            [link.begin],
            [transaction],
            digest(value) or bytes(16),
        )

    def beacons(self, at_ms: int, stores: str = "") -> None:
        """Let stores (all that began) show a beacon that was issued at a moment, with all before it read."""
        for store in stores or self.started:
            self._beacon(store, at_ms)

    def _beacon(self, store: str, at_ms: int, *, streamed: bool = True) -> None:
        self.observe(self.all_read(store))
        self.observe(self.barrier(store, at_ms, streamed=streamed))

    def all_read(self, store: str) -> Mark:
        """Return the word that a store's log was read up to the blocks that were made of it."""
        return Mark([Link(topic, partition, end, end) for topic, partition, end in self._ends(store)])

    def _ends(self, store: str) -> list[tuple[str, int, int]]:
        topic, partitions = f"{store}.t", self.contract.stores[self.stores.index(store)].partitions
        return [(topic, p, self.offsets[f"{topic}/{p}" if p else topic]) for p in range(partitions)]

    def barrier(self, store: str, at_ms: int, *, streamed: bool = True) -> Barrier:
        """Return a store's next beacon, behind the blocks that were made of its log."""
        self.sequence += 1
        place = self.place(store) if streamed else binlog_place(1, 100, 0, is_delete=False)
        before, self.replaced[store] = self.replaced.get(store, (0, 0)), (1, self.sequence)
        beacon = Beacon(store, 1, self.sequence, at_ms, self.acknowledged_ms[store], place, streamed, "server", before)
        self.acknowledged_ms[store] = at_ms + 10
        return Barrier(beacon, self._next(f"{store}.beacon"), self._ends(store))

    def lose_beacon(self, store: str, at_ms: int) -> None:
        """Let a store's log have a beacon that nobody reads, in a stretch that its connector has left out."""
        self.sequence += 1
        self.place(store)
        self.replaced[store] = (1, self.sequence)
        self.acknowledged_ms[store] = at_ms + 10

    def read_beacon_again(self, store: str, place: bytes) -> None:
        """Let a snapshot that stands at a place show the store's beacon too."""
        self.sequence += 1
        beacon = Beacon(store, 1, self.sequence, 0, 0, place, streamed=False, server="server")
        self.observe(Barrier(beacon, self._next(f"{store}.beacon"), []))

    def until(self, start_ms: int, end_ms: int, stores: str = "") -> None:
        """Let beacons pass, two a second."""
        for at_ms in range(start_ms, end_ms + 1, 500):
            self.beacons(at_ms, stores)

    def pipeline_reached(self, place: bytes, seen_at_ms: int) -> None:
        """Report how far the pipeline has come."""
        self.observe(PipelineReached(7, 0, place, seen_at_ms))

    def ledger(self, command_id: bytes, transaction: int, outcome: str = "applied", reason: str = "") -> None:
        """Let the replica's ledger show a command's row."""
        link, place = self._next("R.ledger"), self.place("R")
        self.observe(LedgerEcho(7, 1, link, command_id, transaction, outcome, place, reason))

    def stages(self, key: str = "k", replica: str = "R") -> list[Stage]:
        """Return the steps told of one row of a replica so far."""
        return [f.stage for f in self.findings if (f.canonical_key, f.replica) == (key.encode(), replica)]
