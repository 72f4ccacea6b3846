"""Time of folding one change, without Kafka and RocksDB: `python tests/benchmarks/fold_bench.py [--profile]`.

Two stores that agree: every change of the authority is followed, a block later, by the replica's. Told are microseconds
per change for `needed_keys`, `fold` and the writes of a commit, each in the quickest stretch between two commits, since
others may use the machine; and bytes written per change.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import hashlib
import math
import pstats
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.fold import Effects, Shard
from app.core.observation import PRESENT, SNAPSHOT_READ, Barrier, Beacon, Link, Mark, Observation, RowBlock
from app.core.position import binlog_place

INT = FieldType(FieldKind.INT64)
BLOCK_ROWS = 1_000
BLOCKS_PER_BEACON = 10
BEACON_MS = 500
WINDOW_MS = 10_000


def contract() -> EntityContract:
    """Return a contract over stores A (the authority) and R."""
    return EntityContract(
        entity="t",
        version=1,
        number=7,
        key=(KeyField("id", INT, {"A": "id", "R": "id"}),),
        fields=(Field("v", INT, {"A": "v", "R": "v"}),),
        authority="A",
        stores=(StoreTable("A", "t", "A.t", 1), StoreTable("R", "t", "R.t", 1)),
        replicas=(Replica("R", WINDOW_MS, 10 * WINDOW_MS),),
    )


class Traffic:
    """Observations of two stores whose rows follow each other."""

    def __init__(self, keys: int, *, zipf: bool, seed: int = 1) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - dice of a benchmark
        self.keys = [b"\x84" + n.to_bytes(4, "big") for n in range(keys)]
        self.weights = [1 / (n + 1) for n in range(keys)] if zipf else None
        self.ends = {"A.t": 0, "R.t": 0, "A.beacon": 0, "R.beacon": 0}
        self.place = 100
        self.sequence = 0
        self.changed = 0

    def _link(self, topic: str, records: int) -> Link:
        begin = self.ends[topic]
        self.ends[topic] += records
        return Link(topic, 0, begin, begin + records)

    def snapshot(self, store: int, keys: list[bytes], values: list[bytes]) -> RowBlock:
        """Return a block of rows as a store's snapshot reads them."""
        place = binlog_place(1, 50, 0, is_delete=False)
        return replace(
            self.rows(store, keys, values),
            flags=bytes([PRESENT | SNAPSHOT_READ]) * len(keys),
            places=place * len(keys),
        )

    def rows(self, store: int, keys: list[bytes], values: list[bytes]) -> RowBlock:
        """Return a block of rows of a store."""
        topic = f"{'AR'[store]}.t"
        link = self._link(topic, len(keys))
        self.place += len(keys)
        places = b"".join(binlog_place(1, self.place - len(keys) + n + 1, 0, is_delete=False) for n in range(len(keys)))
        offsets = list(range(link.begin, link.end))
        return RowBlock(
            7, store, link, 1, keys, b"raw_key_" * len(keys), bytes([PRESENT]) * len(keys), places, offsets, offsets,
            b"".join(values),
        )  # fmt: skip

    def start(self) -> Iterator[Observation]:
        """Yield the rows as snapshots show them, and the beacons that cover them."""
        for store in "AR":
            beacon = Beacon(store, 1, 0, 0, 0, binlog_place(1, 50, 0, is_delete=False), streamed=False, server="s")
            yield Barrier(beacon, self._link(f"{store}.beacon", 1), [])

    def beacons(self) -> Iterator[Observation]:
        """Yield a mark and a beacon of each store, behind everything so far."""
        self.sequence += 1
        at_ms = self.sequence * BEACON_MS
        for store in "AR":
            self.place += 1
            end = self.ends[f"{store}.t"]
            yield Mark([Link(f"{store}.t", 0, end, end)])
            beacon = Beacon(
                store, 1, self.sequence, at_ms, at_ms - BEACON_MS + 20,
                binlog_place(1, self.place, 0, is_delete=False), streamed=True, server="s",
            )  # fmt: skip
            yield Barrier(beacon, self._link(f"{store}.beacon", 1), [(f"{store}.t", 0, end)])

    def blocks(self, number: int) -> Iterator[Observation]:
        """Yield blocks of changes: the replica's follow the authority's."""
        for _ in range(number):
            keys = self.rng.choices(self.keys, self.weights, k=BLOCK_ROWS)
            self.changed += BLOCK_ROWS
            values = [
                hashlib.blake2b((self.changed + n).to_bytes(8, "big"), digest_size=16).digest()
                for n in range(BLOCK_ROWS)
            ]
            yield self.rows(0, keys, values)
            yield self.rows(1, keys, values)


class Timed:
    """A shard over a dict, with the time that each step took."""

    def __init__(self) -> None:
        self.shard = Shard((contract(),), 0)
        self.table: dict[bytes, bytes] = {}
        self.spent = {"needed": 0.0, "fold": 0.0, "flush": 0.0}
        self.least = dict.fromkeys(self.spent, math.inf)
        self.rows = self.stretch = 0
        self.written = self.written_bytes = 0
        self.findings = 0

    def fill(self, traffic: Traffic) -> None:
        """Let both stores' snapshots show every row, until all are covered and at rest, which is not timed."""
        for start in range(0, len(traffic.keys), BLOCK_ROWS):
            keys = traffic.keys[start : start + BLOCK_ROWS]
            values = [hashlib.blake2b(key, digest_size=16).digest() for key in keys]
            for store in (0, 1):
                self.take(traffic.snapshot(store, keys, values))
        self.commit()
        for _ in range(3):
            for observation in traffic.beacons():
                self.take(observation)
            self.commit()
        self.spent = dict.fromkeys(self.spent, 0.0)
        self.rows = self.stretch = self.written = self.written_bytes = 0

    def end_stretch(self) -> None:
        """Keep what each step took per change since the last commit, if nothing was quicker."""
        self.commit()
        changes, self.stretch = self.rows - self.stretch, self.rows
        for step, seconds in self.spent.items():
            self.least[step] = min(self.least[step], seconds / changes)
        self.spent = dict.fromkeys(self.spent, 0.0)

    def take(self, observation: Observation) -> None:
        """Fold one observation."""
        clock = time.process_time
        began = clock()
        needed = self.shard.needed_keys(observation)
        self.spent["needed"] += clock() - began
        states = {key: self.table.get(key) for key in needed}
        began = clock()
        effects = self.shard.fold(observation, states)
        self.spent["fold"] += clock() - began
        self._count(effects)
        while due := self.shard.due_keys():
            states = {key: self.table.get(key) for key in due}
            began = clock()
            effects = self.shard.wake(states)
            self.spent["fold"] += clock() - began
            self._count(effects)
        if self.shard.is_full:
            self._flush()

    def _count(self, effects: Effects) -> None:
        self.rows += effects.rows
        self.findings += len(effects.findings)

    def _flush(self) -> None:
        began = time.process_time()
        writes = self.shard.flush()
        self.spent["flush"] += time.process_time() - began
        for key, value in writes:
            self.written += 1
            self.written_bytes += len(key) + len(value or b"")
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value

    def commit(self) -> None:
        """Write what a commit writes, and sweep."""
        self._flush()
        while (wanted := self.shard.sweep_range()) is not None:
            start, end, limit = wanted
            items = sorted((k, v) for k, v in self.table.items() if start <= k < end)[:limit]
            self._count(self.shard.sweep(items))
            self._flush()


def run(keys: int, rounds: int, *, zipf: bool, profile: cProfile.Profile | None = None) -> Timed:
    """Fold rounds of twenty thousand changes each."""
    traffic, timed = Traffic(keys, zipf=zipf), Timed()
    for observation in traffic.start():
        timed.take(observation)
    timed.fill(traffic)
    if profile is not None:
        profile.enable()
    for n in range(rounds):
        for observation in traffic.blocks(BLOCKS_PER_BEACON):
            timed.take(observation)
        for observation in traffic.beacons():
            timed.take(observation)
        if n % 2:
            timed.end_stretch()
    return timed


def main() -> None:
    """Enter here from the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--zipf", action="store_true")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    if chosen.profile:
        profile = cProfile.Profile()
        run(chosen.keys, chosen.rounds, zipf=chosen.zipf, profile=profile)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    gc.set_threshold(200_000, 50, 1_000)  # as the worker does
    timed = run(chosen.keys, chosen.rounds, zipf=chosen.zipf)
    if timed.findings:
        raise SystemExit(f"{timed.findings} findings in traffic that agrees")
    for step, seconds in timed.least.items():
        sys.stdout.write(f"{step}: {seconds * 1e6:.2f} us/change\n")
    sys.stdout.write(
        f"sum: {sum(timed.least.values()) * 1e6:.2f} us/change; {timed.rows} changes, "
        f"{timed.written / timed.rows:.2f} writes and {timed.written_bytes / timed.rows:.0f} bytes per change\n"
    )


if __name__ == "__main__":
    main()
