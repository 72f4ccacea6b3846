#!/usr/bin/env python3
"""Measure the ingest hop without Kafka: raw records of a CDC topic -> packed blocks of rows.

    python tests/benchmarks/ingest_hop.py [--changes 5000] [--rounds 15] [--only json] [--json FILE]

Told are microseconds of CPU per change, the least of the rounds: of each stage column by column, of the whole hop, and
of the whole hop record by record (what records that are not as usual take). Both are measured in turns, so that their
ratio holds on a machine that is busy with other things. Not a test: machines differ.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.agents.block_consumer import RawRecord
from app.agents.rows import PlainRows, RowBucket, RowReader, put_plain
from app.bench.load import Load, Spread
from app.codec.blocks import pack
from app.codec.envelope import Decoder, decoder_for
from app.codec.typed_reader import typed_reader_for
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester
from app.core.observation import Link
from app.core.store import Converter, StoreKind
from tests.benchmarks.traffic import SIDES, Schemas, contract, records

BLOCK_RECORDS = 5_000
PARTITIONS = 6
KEYS = 1_000_000
KEY = bytes(range(32))
KNOWN_KEYS_MAX = 65_536
PLACEHOLDER = "left-out-5d1f0b"
Stages = dict[str, Callable[[], object]]


class Hop:
    """One table's way through ingest."""

    def __init__(self, kind: StoreKind, load: Load, changes: int) -> None:
        self.records = list(records(kind, load, changes))
        store, of = SIDES[kind].name, contract(load)
        schemas = Schemas(kind, load)
        self.decoder: Decoder = decoder_for(kind, load.converter, PLACEHOLDER, schemas)
        self.digester = RowDigester(of, store, BY_LOG[kind], KEY)
        self.rows = RowReader(
            of,
            store,
            self.digester,
            KEY,
            PARTITIONS,
            typed=partial(typed_reader_for, kind, load.converter, PLACEHOLDER, schemas),
            known_keys_max=KNOWN_KEYS_MAX,
        )

    def blocks(self) -> list[list[RawRecord]]:
        """Return the records as fetched."""
        return [self.records[n : n + BLOCK_RECORDS] for n in range(0, len(self.records), BLOCK_RECORDS)]

    def by_columns(self) -> None:
        """Take the way of the usual records."""
        self.rows.forget_keys()
        for block in self.blocks():
            plain = self.rows.plain(block)
            assert not plain.left
            self.pack(self.put(plain))

    def put(self, plain: PlainRows) -> dict[int, RowBucket]:
        """Put rows into the buckets of their partitions."""
        buckets = {target: RowBucket() for target in range(PARTITIONS)}
        put_plain(plain, 0, len(plain.rows), buckets)
        return buckets

    def pack(self, buckets: dict[int, RowBucket]) -> int:
        """Pack the rows of a block as they are sent."""
        link = Link("topic", 0, 0, BLOCK_RECORDS)
        return sum(len(pack(b.block(7, 0, link, self.rows.groups))) for b in buckets.values() if b.rows)

    def by_records(self) -> None:
        """Take the way of the records that are not as usual."""
        for block in self.blocks():
            buckets = {target: RowBucket() for target in range(PARTITIONS)}
            for record in block:
                event = self.decoder.decode(record.key, record.value)
                assert event is not None
                self.rows.add(event, record.key or b"", record.offset, buckets)
            self.pack(buckets)

    def stages(self) -> Stages:
        """Return what the way by columns consists of."""
        typed: Any = self.rows._typed
        known: Any = self.rows._known
        chunks = [self.records[n : n + 1_000] for n in range(0, len(self.records), 1_000)]
        values = [[r.value for r in chunk] for chunk in chunks]
        read = [typed.read(chunk) for chunk in values]
        images = [[c.columns[n] for n in self.rows._compared] for c in read]
        sources = [[e.source for e in typed._unpack(chunk)] for chunk in values]
        plain = [self.rows.plain(block) for block in self.blocks()]
        buckets = [self.put(rows) for rows in plain]

        def each(of: Sequence[Any], does: Callable[[Any], object]) -> Callable[[], None]:
            def run() -> None:
                for one in of:
                    does(one)

            return run

        def read_anew(chunk: list[RawRecord]) -> None:
            self.rows.forget_keys()
            known.of([r.key for r in chunk])

        return {
            "unpack": each(values, typed._unpack),
            "place": each(sources, lambda s: typed._origin.places(s, [False] * len(s))),
            "transaction": each(sources, typed._origin.transactions),
            "read (unpack, place, transaction, columns)": each(values, typed.read),
            "key, known": each(chunks, lambda c: known.of([r.key for r in c])),
            "key, new": each(chunks, read_anew),
            "digest": each(images, lambda c: self.digester.groups_of(len(c[0]), c)),
            "rows (read, key, digest, assembling)": each(self.blocks(), self.rows.plain),
            "buckets": each(plain, self.put),
            "pack": each(buckets, self.pack),
        }


def _cpu_us(does: Callable[[], object], changes: int) -> float:
    began = time.process_time()
    does()
    return (time.process_time() - began) / changes * 1e6


def measure(hop: Hop, rounds: int) -> dict[str, float]:
    """Return the least time of each stage and of both ways, and the ratio of the ways."""
    timed = hop.stages() | {"HOP by columns": hop.by_columns, "HOP by records": hop.by_records}
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, does in timed.items():
            found[name].append(_cpu_us(does, len(hop.records)))
    told = {name: round(min(times), 2) for name, times in found.items()}
    return told | {"ratio": round(told["HOP by records"] / told["HOP by columns"], 2)}


def main() -> None:
    """Enter here from the shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="measure only the cases whose name contains this")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gc.set_threshold(200_000, 50, 1_000)  # as the worker sets it
    shapes = ((10, Spread.UNIFORM), (10, Spread.ZIPF), (40, Spread.UNIFORM))
    cases = {
        f"{kind.value} {load.name}": (kind, load)
        for converter in (Converter.JSON, Converter.AVRO)
        for kind in SIDES
        for load in (Load(converter, columns, KEYS, spread) for columns, spread in shapes)
    }
    told = {}
    for name, (kind, load) in cases.items():
        if arguments.only in name:
            told[name] = measure(Hop(kind, load, arguments.changes), arguments.rounds)
            sys.stdout.write(f"{name}\n" + "".join(f"  {n:45} {us:8.2f}\n" for n, us in told[name].items()))
            sys.stdout.flush()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
