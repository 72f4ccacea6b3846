"""What a change costs in RocksDB, by how RocksDB is set: reading a block's keys, and writing a commit.

    scripts/bench-state --keys 1000000 --changes 400000 [SETTING ...]

Each setting gets a folder of its own, filled in random order, and then the same changes. CPU seconds are the whole
process's, RocksDB's threads included, so that a busy machine disturbs little; compare within one run.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rocksdict

from app.adapters.rocks_options import RocksOptions
from app.agents.memory_shares import MemoryShares

PARTITIONS = 4
BLOCK_ROWS = 2_000
COMMIT_ROWS = 20_000
VALUE_PADDING = bytes(130)
MIB = 1024 * 1024

Vary = Callable[[rocksdict.Options, rocksdict.BlockBasedOptions], None]


def _nothing(_: rocksdict.Options, __: rocksdict.BlockBasedOptions) -> None:
    """Leave everything as the product has it."""


def _mmap(options: rocksdict.Options, _: rocksdict.BlockBasedOptions) -> None:
    options.set_allow_mmap_reads(True)
    options.set_compression_type(rocksdict.DBCompressionType.none())


def _hash_index(_: rocksdict.Options, table: rocksdict.BlockBasedOptions) -> None:
    table.set_data_block_index_type(rocksdict.DataBlockIndexType.binary_and_hash())
    table.set_data_block_hash_ratio(0.75)


def _partitioned(_: rocksdict.Options, table: rocksdict.BlockBasedOptions) -> None:
    table.set_index_type(rocksdict.BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_top_level_index_and_filter(True)


SETTINGS: dict[str, Vary] = {
    "product": _nothing,
    "no compression": lambda o, _: o.set_compression_type(rocksdict.DBCompressionType.none()),
    "lz4": lambda o, _: o.set_compression_type(rocksdict.DBCompressionType.lz4()),
    "snappy": lambda o, _: o.set_compression_type(rocksdict.DBCompressionType.snappy()),
    "cache 64 MiB": lambda _, t: t.set_block_cache(rocksdict.Cache(64 * MIB)),
    "cache 256 MiB": lambda _, t: t.set_block_cache(rocksdict.Cache(256 * MIB)),
    "block 2 KiB": lambda _, t: t.set_block_size(2 * 1024),
    "block 4 KiB": lambda _, t: t.set_block_size(4 * 1024),
    "block 16 KiB": lambda _, t: t.set_block_size(16 * 1024),
    "buffer 16 MiB": lambda o, _: o.set_write_buffer_size(16 * MIB),
    "buffer 32 MiB": lambda o, _: o.set_write_buffer_size(32 * MIB),
    "buffer 64 MiB": lambda o, _: o.set_write_buffer_size(64 * MIB),
    "universal": lambda o, _: o.set_compaction_style(rocksdict.DBCompactionStyle.universal()),
    "hash index": _hash_index,
    "partitioned index": _partitioned,
    "no buffer filter": lambda o, _: o.set_memtable_prefix_bloom_ratio(0.0),
    "mmap": _mmap,
    "no last filter": lambda o, _: o.set_optimize_filters_for_hits(True),
    "bloom of 1 bit": lambda _, t: t.set_bloom_filter(1, block_based=False),
}
WITHOUT_LOG = "without log"
"""The product's setting without RocksDB's own write-ahead log."""


@dataclass(frozen=True)
class Cost:
    """What one setting cost. CPU in microseconds per change."""

    get_us: float
    write_us: float
    cpu_us: float
    resident_mib: float
    disk_mib: float


def _key(number: int) -> bytes:
    return b"\x01\x00\x00\x00\x07\x84" + (number * 2_654_435_761 % 2**32).to_bytes(4, "big")


def _value() -> bytes:
    return b"\x01" + os.urandom(48) + VALUE_PADDING


def _uniform(keys: int, dice: random.Random) -> int:
    return dice.randrange(keys)


def _zipf(keys: int, dice: random.Random) -> int:
    """Return the rank of a key by Zipf's law with exponent 1: the logarithm of the rank is uniform."""
    return int(keys ** dice.random()) - 1


DRAWS = {"uniform": _uniform, "zipf": _zipf}


class State:
    """The partitions of one worker."""

    def __init__(self, folder: Path, vary: Vary, *, log: bool) -> None:
        memory = MemoryShares.of(1024 * MIB)
        ours = RocksOptions(memory.block_cache_bytes, memory.write_buffers_bytes)
        options, table = ours.made(), ours.table()
        vary(options, table)
        options.set_block_based_table_factory(table)
        self.partitions = [rocksdict.Rdict(str(folder / str(number)), options=options) for number in range(PARTITIONS)]
        writing = rocksdict.WriteOptions()
        writing.disable_wal = not log  # type: ignore[method-assign,assignment]  # a property, declared as a method
        for partition in self.partitions:
            partition.set_write_options(writing)

    def write(self, rows: dict[bytes, bytes]) -> None:
        """Write a commit."""
        batches = [rocksdict.WriteBatch(raw_mode=True) for _ in self.partitions]
        for key, value in rows.items():
            batches[key[-1] % PARTITIONS].put(key, value)
        for partition, batch in zip(self.partitions, batches, strict=True):
            partition.write(batch)

    def read(self, rows: list[bytes]) -> None:
        """Read a block's keys, sorted."""
        for number, partition in enumerate(self.partitions):
            found: Any = partition.get([key for key in rows if key[-1] % PARTITIONS == number])
            if None in found:
                raise RuntimeError("a key is missing that was written")

    def close(self) -> None:
        """Close."""
        for partition in self.partitions:
            partition.close()


def _fill(state: State, keys: int) -> None:
    numbers = list(range(keys))
    random.Random(1).shuffle(numbers)  # noqa: S311 - dice, not secrets
    for start in range(0, keys, COMMIT_ROWS):
        state.write({_key(number): _value() for number in numbers[start : start + COMMIT_ROWS]})


def _blocks(keys: int, changes: int, draw: Callable[[int, random.Random], int]) -> Iterator[list[bytes]]:
    dice = random.Random(2)  # noqa: S311 - dice, not secrets
    for _ in range(changes // BLOCK_ROWS):
        yield sorted({_key(draw(keys, dice)) for _ in range(BLOCK_ROWS)})


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _cost(state: State, folder: Path, blocks: Iterator[list[bytes]], changes: int) -> Cost:
    getting = writing = 0.0
    pending: dict[bytes, bytes] = {}
    waiting = 0
    for block in blocks:
        began = time.process_time()
        state.read(block)
        getting += time.process_time() - began
        value = _value()
        pending.update(dict.fromkeys(block, value))
        waiting += BLOCK_ROWS
        if waiting >= COMMIT_ROWS:
            began = time.process_time()
            state.write(pending)
            writing += time.process_time() - began
            pending, waiting = {}, 0
    per = 1e6 / changes
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Cost(getting * per, writing * per, (getting + writing) * per, _resident_mib(), disk / MIB)


def _measured(name: str, keys: int, changes: int, folder: Path) -> dict[str, Cost]:
    vary = SETTINGS["product" if name == WITHOUT_LOG else name]
    state = State(folder, vary, log=name != WITHOUT_LOG)
    _fill(state, keys)
    found = {}
    for draw, drawn in DRAWS.items():
        # Once to warm up, so that what is read is what a worker in its stride reads.
        _cost(state, folder, _blocks(keys, changes // 4, drawn), changes)
        found[draw] = _cost(state, folder, _blocks(keys, changes, drawn), changes)
    state.close()
    return found


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench-state", description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=400_000)
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: a temporary folder)")
    parser.add_argument("settings", nargs="*", default=["product"], help=f"of: {', '.join((*SETTINGS, WITHOUT_LOG))}")
    asked = parser.parse_args()
    names = [*SETTINGS, WITHOUT_LOG] if asked.settings == ["all"] else asked.settings
    print(f"{asked.keys} keys; microseconds of CPU per change; MiB")
    print(f"{'setting':<21} {'keys':<8} {'get':>6} {'write':>6} {'sum':>6} {'resident':>9} {'disk':>6}")
    for name in names:
        # A process of its own for each, so that memory is its own.
        pid = os.fork()
        if pid == 0:
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                for draw, cost in _measured(name, asked.keys, asked.changes, Path(folder)).items():
                    numbers = f"{cost.get_us:6.2f} {cost.write_us:6.2f} {cost.cpu_us:6.2f}"
                    print(f"{name:<21} {draw:<8} {numbers} {cost.resident_mib:9.0f} {cost.disk_mib:6.0f}", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
