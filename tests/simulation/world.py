"""A seeded world around the fold: two logs, a pipeline, connectors and a worker that all misbehave, and exact truth.

Goal: the fold, fed through blocks of one to n, tells every drift and nothing else, whatever lags, stalls or crashes.
Method: the stores' logs are drawn first, with exact times; connectors, ingest and compare then move in small steps of
virtual time. Oracle: `oracle.drifts` on the exact times. A world is a function of its seed alone.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.finding import Finding, Stage
from app.core.fold import META, Effects, Shard
from app.core.observation import (
    CREATED,
    INCREMENTAL_READ,
    PRESENT,
    SNAPSHOT_READ,
    Barrier,
    Beacon,
    Link,
    Mark,
    Observation,
    RowBlock,
    SliceRead,
    Truncated,
)
from app.core.position import binlog_place
from tests.simulation.oracle import ABSENT, History, drifts, vouched_at

STEP_MS = 50
BEACON_MS = 500
START_MS = 3_000
SLACK_MS = 1_500
SLOW_SLACK_MS = 4_000

FAULTS = (
    "authority_connector_stalls",
    "replica_connector_stalls",
    "connector_repeats",
    "ingest_partition_stalls",
    "ingest_crashes",
    "worker_crashes",
    "torn_flushes",
    "unacknowledged_findings",
    "rogue_writes",
    "lost_changes",
    "rogue_deletes",
    "rogue_inserts",
    "pipeline_stalls",
    "hot_row",
    "truncate",
    "truncated_rows_come_back",
    "beacon_writer_changes",
    "slow_commits",
    "skipped_states",
    "authority_returns_to_old_states",
    "snapshot_again",
    "second_replica",
    "replica_covered_late",
    "second_replica_never_covered",
)


def digest(value: str) -> bytes:
    """Return a row digest for a value; empty for no row."""
    return hashlib.blake2b(value.encode(), digest_size=16).digest() if value else ABSENT


Change = tuple[int, str, bytes, str]
"""When, in which store, which row, and its value; empty for none."""


@dataclass(frozen=True)
class Entry:
    """One entry of a store's log."""

    at_ms: int
    kind: str  # row, truncate, beacon, slice
    key: bytes = b""
    state: bytes = b""
    created: bool = False
    beacon: tuple[int, int, int, int] = (0, 0, 0, 0)  # epoch, sequence, issued, previous acknowledged
    reread: bool = False  # a row that was read again, at its window's close


@dataclass
class Store:
    """One store: its log, its connector's position in it, and the CDC partitions in Kafka."""

    name: str
    log: list[Entry] = field(default_factory=list)
    sent: int = 0
    furthest: int = 0
    begun: dict[bytes, bytes] = field(default_factory=dict)  # where each slice began
    starts_ms: int = START_MS
    first_snapshot: int = 0
    partitions: dict[tuple[str, int], list[tuple[int, Entry | None, bytes]]] = field(default_factory=dict)
    stalls: list[tuple[int, int]] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    snapshot_again_ms: int | None = None
    outage_ms: int = 0
    lag_ms: int = 30


class World:
    """One seeded run; `run` returns what was counted."""

    def __init__(self, seed: int, faults: set[str] | None = None) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        rng = self.rng
        self.faults = faults if faults is not None else {f for f in FAULTS if rng.random() < 0.4}
        self.window_ms = rng.choice([0, 1_000, 2_000, 3_000, 5_000])
        self.end_ms = START_MS + rng.choice([20_000, 40_000])
        self.keys = [f"k{i}".encode() for i in range(rng.randint(5, 40))]
        self.targets = rng.randint(1, 3)
        self.cdc_partitions = rng.randint(1, 3)
        self.counts: Counter[str] = Counter()
        self.names = "ARS" if "second_replica" in self.faults else "AR"
        self.values: dict[tuple[str, bytes], str] = {}
        self.truth: dict[str, dict[bytes, History]] = {s: defaultdict(History) for s in self.names}
        self.stores = {name: Store(name) for name in self.names}
        int64 = FieldType(FieldKind.INT64)
        columns = dict.fromkeys(self.names, "v")
        tables = tuple(StoreTable(s, "t", f"{s}.t", self.cdc_partitions) for s in self.names)
        self.contract = EntityContract(
            entity="t",
            version=1,
            number=7,
            key=(KeyField("id", int64, columns),),
            fields=(Field("v", int64, columns),),
            authority="A",
            stores=tables,
            replicas=tuple(Replica(name, self.window_ms, self.window_ms * 10) for name in self.names[1:]),
        )
        self._write_history()
        self._write_beacons()
        if "replica_covered_late" in self.faults:
            self.stores[self.names[-1]].starts_ms = rng.randint(START_MS + 2_000, self.end_ms)
        if "second_replica_never_covered" in self.faults and "S" in self.stores:
            self.stores["S"].starts_ms = 10**9
        for store in self.stores.values():
            store.log.sort(key=lambda e: e.at_ms)
            for p in range(self.cdc_partitions):
                store.partitions[f"{store.name}.t", p] = []
            store.partitions[f"{store.name}.beacon", 0] = []
            store.partitions[f"{store.name}.signal", 0] = []
        # The worker's side.
        self.positions: dict[tuple[str, int], int] = defaultdict(int)
        self.committed: dict[tuple[str, int], int] = defaultdict(int)
        self.linked: dict[tuple[int, str, int], int] = defaultdict(int)
        self.topic: list[list[Observation]] = [[] for _ in range(self.targets)]
        self.read = [0] * self.targets
        self.read_committed = [0] * self.targets
        self.table: list[dict[bytes, bytes]] = [{} for _ in range(self.targets)]
        self.shards = [Shard((self.contract,), p) for p in range(self.targets)]
        self.findings: list[Finding] = []
        self.waiting: list[list[Finding]] = [[] for _ in range(self.targets)]

    # -- truth ---------------------------------------------------------------------------------------------------

    def _put(self, store: str, at_ms: int, key: bytes, value: str) -> None:
        state = digest(value)
        history = self.truth[store][key]
        if history.times_ms[-1] >= at_ms:
            at_ms = history.times_ms[-1] + 1
        if history.states[-1] == state:
            return
        created = history.states[-1] == ABSENT
        history.change(at_ms, state)
        self.values[store, key] = value
        self.stores[store].log.append(Entry(at_ms, "row", key, state, created=created))

    def _write_history(self) -> None:
        rng = self.rng
        events = [e for key in self.keys for e in self._changes_of(key)]
        for replica in self.names[1:]:
            events += [*self._piped(replica, events), *self._rogue(replica)]
        cut = rng.randint(START_MS + 5_000, self.end_ms - 3_000) if "truncate" in self.faults else None
        # At one moment the authority comes first; sorting is stable, and changes of one row are in their order.
        back: list[Change] = []
        for at, store, key, value in sorted(events, key=lambda event: event[:2]):
            if cut is not None and at >= cut:
                back = self._truncate(cut)
                cut = None
            while back and back[0][0] <= at:
                self._put(back[0][1], back[0][0], *back.pop(0)[2:])
            self._put(store, at, key, value)
        for came_at, store, key, value in back if cut is None else self._truncate(cut):
            self._put(store, came_at, key, value)

    def _changes_of(self, key: bytes) -> list[Change]:
        """Draw what the authority does to one row."""
        rng = self.rng
        rate_ms = 60 if "hot_row" in self.faults and key == self.keys[0] else rng.choice([2_000, 8_000, 30_000])
        changes = [(0, "A", key, f"{key.decode()}-0")] if rng.random() < 0.9 else []
        at = n = 0
        while (at := at + max(1, int(rng.expovariate(1 / rate_ms)))) <= self.end_ms:
            n += 1
            old = "authority_returns_to_old_states" in self.faults and rng.random() < 0.3
            value = "" if rng.random() < 0.1 else f"{key.decode()}-{max(0, n - 2) if old else n}"
            changes.append((at, "A", key, value))
        return changes

    def _piped(self, replica: str, events: list[Change]) -> list[Change]:
        """Draw what a replica's pipeline makes of the authority's changes."""
        rng = self.rng
        stalls = []
        if "pipeline_stalls" in self.faults:
            at = rng.randint(START_MS, self.end_ms)
            stalls.append((at, at + rng.choice([300, self.window_ms // 2, self.window_ms + 4_000])))
        arrived_ms: dict[bytes, int] = defaultdict(int)
        piped = []
        for at, store, key, value in events:
            if store != "A":
                continue
            if at and "lost_changes" in self.faults and rng.random() < 0.05:
                self.counts["lost_changes"] += 1
                continue
            if at and "skipped_states" in self.faults and rng.random() < 0.2:
                self.counts["skipped_states"] += 1
                continue
            lag = rng.randint(5, max(6, min(800, self.window_ms // 2))) if at else 0
            arrives = max(arrived_ms[key], at + lag)
            for begin, end in stalls:
                if begin <= arrives < end:
                    arrives = end
                    self.counts["pipeline_stalls"] += 1
            arrived_ms[key] = arrives
            piped.append((arrives, replica, key, value))
        return piped

    def _rogue(self, replica: str) -> list[Change]:
        """Draw what somebody does to a replica behind the pipeline's back."""
        rng = self.rng
        done = []
        for fault, value_of in (("rogue_writes", "rogue-{}"), ("rogue_deletes", ""), ("rogue_inserts", "extra-{}")):
            if fault in self.faults:
                for i in range(rng.randint(1, 6)):
                    key = f"x{i}".encode() if fault == "rogue_inserts" else rng.choice(self.keys)
                    done.append((rng.randint(START_MS, self.end_ms), replica, key, value_of.format(i)))
                    self.counts[fault] += 1
        return done

    def _truncate(self, at_ms: int) -> list[Change]:
        """Cut the replica's rows, and return those that are put back as they were."""
        rng = self.rng
        self.counts["truncate"] += 1
        at_ms = max([at_ms] + [h.times_ms[-1] + 1 for h in self.truth["R"].values()])
        back = []
        for key, history in self.truth["R"].items():
            if history.states[-1] != ABSENT:
                history.change(at_ms, ABSENT)
                if "truncated_rows_come_back" in self.faults and rng.random() < 0.7:
                    self.counts["truncated_rows_come_back"] += 1
                    came_at = at_ms + rng.choice([20, 500, self.window_ms + 3_000])
                    back.append((came_at, "R", key, self.values["R", key]))
        self.stores["R"].log.append(Entry(at_ms, "truncate"))
        if back:
            # What comes at once after a stall may be read in another order than it was written.
            self.stores["R"].stalls.append((at_ms - 200, back[-1][0] + self.window_ms + 4_000))
        return sorted(back)

    def _write_beacons(self) -> None:
        rng = self.rng
        change_at = rng.randint(START_MS, self.end_ms) if "beacon_writer_changes" in self.faults else 10**9
        self.counts["beacon_writer_changes"] += change_at < 10**9
        for store in self.stores.values():
            sequence, acknowledged, epoch = 0, 0, 1
            at = rng.randint(0, BEACON_MS)
            while at < self.end_ms + 40_000:
                if epoch == 1 and at > change_at:
                    epoch, acknowledged = 2, at + 2_000
                    at = acknowledged
                sequence += 1
                slow = "slow_commits" in self.faults and rng.random() < 0.05
                self.counts["slow_commits"] += slow
                committed = at + rng.randint(1, 900 if slow else 30)
                store.log.append(Entry(committed, "beacon", beacon=(epoch, sequence, at, acknowledged)))
                acknowledged = committed + rng.randint(1, 40)
                at = max(at + BEACON_MS, acknowledged + 1)
            fault = "authority_connector_stalls" if store.name == "A" else "replica_connector_stalls"
            store.lag_ms = rng.choice([10, 100, 400])
            if fault in self.faults:
                begin = rng.randint(START_MS, self.end_ms)
                store.stalls.append((begin, begin + rng.choice([1_000, 8_000, 20_000])))
                self.counts[fault] += 1
            if "snapshot_again" in self.faults and rng.random() < 0.7:
                store.snapshot_again_ms = rng.randint(START_MS + 4_000, self.end_ms)
                store.outage_ms = rng.choice([0, 2_000, 6_000])
            if "connector_repeats" in self.faults:
                store.repeats = sorted(rng.sample(range(START_MS, self.end_ms), 2))

    # -- connectors, ingest, compare -----------------------------------------------------------------------------

    def _partition_of(self, key: bytes) -> int:
        return key[-1] % self.cdc_partitions

    def _target_of(self, key: bytes) -> int:
        return sum(key) % self.targets

    def _connect(self, store: Store, now_ms: int) -> None:
        if now_ms < store.starts_ms or any(begin <= now_ms < end for begin, end in store.stalls):
            return
        if store.repeats and now_ms >= store.repeats[0]:
            store.repeats.pop(0)
            self.counts["connector_repeats"] += 1
            store.sent = max(store.sent - self.rng.randint(1, 60), store.first_snapshot)
        if store.snapshot_again_ms is not None and now_ms >= store.snapshot_again_ms:
            if now_ms < store.snapshot_again_ms + store.outage_ms:
                return
            # The connector lost its place: what was changed meanwhile is not told, only what is there now is.
            store.snapshot_again_ms = None
            self.counts["snapshot_again"] += 1
            store.repeats.clear()
            self._snapshot(store, sum(1 for e in store.log if e.at_ms <= now_ms), now_ms)
            return
        if store.sent == 0:
            store.first_snapshot = sum(1 for e in store.log if e.at_ms <= store.starts_ms - 1_500)
            self._snapshot(store, store.first_snapshot, store.starts_ms)
        while store.sent < len(store.log) and store.log[store.sent].at_ms <= now_ms - store.lag_ms:
            entry = store.log[store.sent]
            place = binlog_place(1, store.sent + 1, 0, is_delete=False)
            if entry.kind == "beacon":
                store.partitions[f"{store.name}.beacon", 0].append((now_ms, entry, place))
            elif entry.kind == "slice":
                begun = store.begun[entry.key] = store.begun.get(entry.key, place)
                store.partitions[f"{store.name}.signal", 0].append((now_ms, replace(entry, state=begun), place))
            elif entry.reread and store.sent < store.furthest:
                pass  # a connector that starts again reads its chunk again: an old window's reads never come twice
            else:
                p = self._partition_of(entry.key) if entry.kind == "row" else 0
                store.partitions[f"{store.name}.t", p].append((now_ms, entry, place))
            if self.rng.random() < 0.05:
                for partition in store.partitions.values():
                    partition.append((now_ms, None, b""))
            store.sent += 1
            store.furthest = max(store.furthest, store.sent)

    def _snapshot(self, store: Store, n: int, now_ms: int) -> None:
        """Deliver what the table shows after n entries of the log, as reads; the stream goes on from there."""
        rows: dict[bytes, bytes] = {}
        for entry in store.log[:n]:
            if entry.kind == "row":
                rows[entry.key] = entry.state
            elif entry.kind == "truncate":
                rows.clear()
        place = binlog_place(1, n, 0, is_delete=False)
        beacon = next((e.beacon for e in reversed(store.log[:n]) if e.kind == "beacon"), (0, 0, 0, 0))
        read = Entry(0, "beacon read", beacon=beacon)
        store.partitions[f"{store.name}.beacon", 0].append((now_ms, read, place))
        for key, state in rows.items():
            if state != ABSENT:
                tp = (f"{store.name}.t", self._partition_of(key))
                store.partitions[tp].append((now_ms, Entry(0, "read", key, state), place))
        store.sent = n

    def _ingest(self, now_ms: int) -> None:
        rng = self.rng
        if "ingest_crashes" in self.faults and rng.random() < 0.01:
            self.counts["ingest_crashes"] += 1
            self.positions = defaultdict(int, self.committed)
            for target in range(self.targets):
                for topic, p in list(self.positions):
                    self.linked[target, topic, p] = self.positions[topic, p]
        for store in self.stores.values():
            for (topic, p), records in store.partitions.items():
                if "ingest_partition_stalls" in self.faults and rng.random() < 0.5:
                    self.counts["ingest_partition_stalls"] += 1
                    continue
                begin = self.positions[topic, p]
                end = min(len(records), begin + rng.choice([1, 3, 50, 500]))
                if end > begin:
                    if topic.endswith(".beacon"):
                        self._send_beacons(store, topic, p, begin, end)
                    elif topic.endswith(".signal"):
                        self._send_slices(store, topic, p, begin, end)
                    else:
                        self._send_rows(store, topic, p, begin, end)
                    self.positions[topic, p] = end
        if now_ms % BEACON_MS == 0:
            for target in range(self.targets):
                links = []
                for store in self.stores.values():
                    for topic, p in store.partitions:
                        links.append(self._link(target, topic, p, self.positions[topic, p]))
                self.topic[target].append(Mark(links))
            self.committed = defaultdict(int, self.positions)

    def _link(self, target: int, topic: str, p: int, end: int) -> Link:
        link = Link(topic, p, self.linked[target, topic, p], end)
        self.linked[target, topic, p] = end
        return link

    def _send_beacons(self, store: Store, topic: str, p: int, begin: int, end: int) -> None:
        for offset in range(begin, end):
            _, entry, place = store.partitions[topic, p][offset]
            if entry is None:
                continue
            epoch, sequence, issued, acknowledged = entry.beacon
            streamed = entry.kind == "beacon"
            beacon = Beacon(store.name, epoch, sequence, issued, acknowledged, place, streamed, "server")
            ends = [(t, n, len(records)) for (t, n), records in store.partitions.items()]
            for target in range(self.targets):
                self.topic[target].append(Barrier(beacon, self._link(target, topic, p, offset + 1), ends))

    def _send_slices(self, store: Store, topic: str, p: int, begin: int, end: int) -> None:
        """Send the word of each slice that is complete; the entry before it only began the slice."""
        for offset in range(begin, end):
            _, entry, place = store.partitions[topic, p][offset]
            if entry is not None and entry.state != place:
                for target in range(self.targets):
                    link = self._link(target, topic, p, offset + 1)
                    index = self.names.index(store.name)
                    self.topic[target].append(SliceRead(7, index, link, entry.key, b"", b"", entry.state, place))

    def _send_rows(self, store: Store, topic: str, p: int, begin: int, end: int) -> None:
        index = self.names.index(store.name)
        rows: dict[int, list[tuple[int, Entry, bytes]]] = defaultdict(list)

        def send(upto: int) -> None:
            for target, found in rows.items():
                self.topic[target].append(
                    RowBlock(
                        entity=7,
                        store=index,
                        link=self._link(target, topic, p, upto),
                        groups=1,
                        keys=[e.key for _, e, _ in found],
                        raw_keys=b"".join(e.key.ljust(8)[:8] for _, e, _ in found),
                        flags=bytes(
                            (PRESENT if e.state else 0)
                            | (SNAPSHOT_READ if e.kind == "read" else 0)
                            | (CREATED if e.created else 0)
                            | (INCREMENTAL_READ if e.reread else 0)
                            for _, e, _ in found
                        ),
                        places=b"".join(place for _, _, place in found),
                        offsets=[offset for offset, _, _ in found],
                        transactions=[offset + 1 for offset, _, _ in found],
                        digests=b"".join(e.state or bytes(16) for _, e, _ in found),
                    )
                )
            rows.clear()

        for offset in range(begin, end):
            _, entry, place = store.partitions[topic, p][offset]
            if entry is None:
                continue
            if entry.kind == "truncate":
                send(offset)
                for target in range(self.targets):
                    link = self._link(target, topic, p, offset + 1)
                    self.topic[target].append(Truncated(7, index, link, place, offset, 1))
            else:
                rows[self._target_of(entry.key)].append((offset, entry, place))
        send(end)

    def _compare(self) -> None:
        rng = self.rng
        for p in range(self.targets):
            if "worker_crashes" in self.faults and rng.random() < 0.01:
                self.counts["worker_crashes"] += 1
                self._restart(p)
            shard, topic = self.shards[p], self.topic[p]
            for _ in range(rng.choice([1, 5, 100])):
                if self.read[p] >= len(topic):
                    break
                observation = topic[self.read[p]]
                self.read[p] += 1
                states = {key: self.table[p].get(key) for key in shard.needed_keys(observation)}
                self._apply(p, shard.fold(observation, states))
                wanted = shard.sweep_range()
                if wanted is not None:
                    self._flush(p)
                    start, end, limit = wanted
                    items = sorted((k, v) for k, v in self.table[p].items() if start <= k < end)[:limit]
                    self._apply(p, shard.sweep(items))
            if "unacknowledged_findings" in self.faults and rng.random() < 0.5:
                self.counts["unacknowledged_findings"] += 1
                continue
            waiting, self.waiting[p] = self.waiting[p], []
            self._apply(p, shard.acknowledged(waiting))
            if "torn_flushes" in self.faults and rng.random() < 0.02:
                # The changelog took a beginning of what the commit wrote, and then the worker was killed.
                self.counts["torn_flushes"] += 1
                writes = shard.flush()
                self._write(p, writes[: rng.randint(0, len(writes))])
                self._restart(p)
                continue
            self._flush(p)
            self.read_committed[p] = self.read[p]

    def _flush(self, p: int) -> None:
        self._write(p, self.shards[p].flush())

    def _write(self, p: int, writes: list[tuple[bytes, bytes | None]]) -> None:
        for key, value in writes:
            if value is None:
                self.table[p].pop(key, None)
            else:
                self.table[p][key] = value

    def _restart(self, p: int) -> None:
        shard = self.shards[p] = Shard((self.contract,), p)
        items = sorted((k, v) for k, v in self.table[p].items() if k[:1] == META)
        rows = shard.restore(items)
        self.waiting[p] = []
        self.read[p] = self.read_committed[p]
        self._apply(p, shard.revive({row: self.table[p].get(row) for row in rows}))

    def _apply(self, p: int, effects: Effects) -> None:
        self.findings += effects.findings
        self.waiting[p] += effects.findings
        self.counts["rows"] += effects.rows
        self.counts["redelivered"] += effects.redelivered
        self.counts["dropped_links"] += effects.dropped_links
        self.counts["broken_epochs"] += len(effects.broken_epochs)

    # -- the run -------------------------------------------------------------------------------------------------

    def run(self) -> Counter[str]:
        """Run the world to its quiet end and hold what was told against the truth."""
        now_ms = START_MS
        while now_ms < self.end_ms + 38_000:
            for store in self.stores.values():
                self._connect(store, now_ms)
            self._ingest(now_ms)
            self._compare()
            now_ms += STEP_MS
        self.faults -= {
            "unacknowledged_findings",
            "worker_crashes",
            "torn_flushes",
            "ingest_crashes",
            "ingest_partition_stalls",
        }
        for _ in range(400):
            self._ingest(1)
            self._compare()
        self._judge()
        return self.counts

    def _judge(self) -> None:
        for i, name in enumerate(self.names[1:]):
            if self.stores[name].starts_ms <= self.end_ms:
                self._judge_replica(i, name)
            else:
                self.counts["uncovered"] += 1
                assert not any(f.replica == name for f in self.findings), "something was said of what nobody has read"
                assert all(shard.verified_through_ms(7, i) is None for shard in self.shards)

    def _judge_replica(self, i: int, name: str) -> None:
        progresses = [shard.progress.entities[7] for shard in self.shards]
        base = [b for progress in progresses if (b := progress.base_ms[i]) is not None]
        assert len(base) == self.targets, "not every partition is covered"
        start_ms = max(base)
        told: dict[bytes, list[list[int]]] = defaultdict(list)
        seen: set[tuple[bytes, Stage]] = set()
        for finding in self.findings:
            if finding.replica != name or not finding.canonical_key or (finding.finding_id, finding.stage) in seen:
                continue
            seen.add((finding.finding_id, finding.stage))
            key = finding.canonical_key
            if finding.stage is Stage.CONFIRMED:
                told[key].append([finding.evidence.judged_at_ms, 10**9])
                moment = finding.evidence.judged_at_ms
                vouched = vouched_at(self.truth["A"][key], self.truth[name][key], moment)
                if vouched > moment - self.window_ms:
                    self.counts["false_alarms"] += 1
                    self.counts[f"false:{name}:{key!r}@{moment}"] += 1
            elif finding.stage is Stage.RESOLVED:
                told[key][-1][1] = finding.evidence.replica_watermark_ms
        slack_ms = SLOW_SLACK_MS if self.counts["slow_commits"] or self.counts["beacon_writer_changes"] else SLACK_MS
        end_ms = min(p.watermark_ms[store] or 0 for p in progresses for store in (0, i + 1))
        for key in set(self.truth["A"]) | set(self.truth[name]):
            for begin, end in drifts(self.truth["A"][key], self.truth[name][key], self.window_ms, start_ms, end_ms):
                if end - begin < slack_ms:
                    continue
                self.counts["planted"] += 1
                if not any(d <= begin + slack_ms and over >= begin for d, over in told[key]):
                    self.counts["missed"] += 1
                    self.counts[f"missed:{name}:{key!r}@{begin}-{end}"] += 1
        for shard in self.shards:
            self.counts["unknown"] += shard.live[7].unknown_keys(i).total()
            through = shard.verified_through_ms(7, i)
            lag = end_ms - (through or 0)
            if lag > self.window_ms + 1_000:
                self.counts["verified_late"] += 1
