"""How RocksDB is set for the worker's state, and why.

The state is a cache of its changelog, read in sorted blocks of some thousand keys and written in one batch per commit.

- Durability: the write-ahead log is kept and never synced. A killed process loses nothing that it had written, so its
  restart reads little of the changelog; a power cut loses the log's end and with it the offset that stands in the same
  batch, and what is missing is read from the changelog. Without the log a write costs no less CPU
  (`scripts/bench-state`), and a restart would read everything that was in memory.
- Memory: one block cache and one write buffer manager over all partitions, so that their number changes nothing.
- Reading: a filter over what is not yet in tables, since every key is first looked for there: the largest gain of all
  that was tried (`scripts/bench-state all`). In tables a Bloom filter of ten bits a key, which leads to the one that
  holds it; to save it in the last level saves memory and costs more than it saves.
- Compaction by levels: a sorted run more or less per level keeps a read to one or two tables; the writes that it saves
  to compact otherwise are few, since a commit writes each key once.
- Checksums are verified on every read: damage must be noticed, whatever it costs.
"""

from __future__ import annotations

from typing import Final

import rocksdict

_WRITE_BUFFER_BYTES_MAX: Final = 32 * 1024 * 1024
_BLOOM_BITS_PER_KEY: Final = 10
_BUFFER_FILTER_SHARE: Final = 0.1
"""Of a write buffer: some ten bits for each of its rows."""
_LOG_FILES_KEPT: Final = 2


class RocksOptions:
    """The options of all partitions of one worker, which share one cache and one bound of what is not written yet."""

    def __init__(self, block_cache_bytes: int, write_buffers_bytes: int) -> None:
        self._cache = rocksdict.Cache(block_cache_bytes)
        # Beyond the bound the largest buffer is written to a table; nothing waits for that.
        self._buffers = rocksdict.WriteBufferManager(write_buffers_bytes, False)
        self._write_buffer_bytes = min(_WRITE_BUFFER_BYTES_MAX, write_buffers_bytes)

    def table(self) -> rocksdict.BlockBasedOptions:
        """Return how tables are laid out on disk and read."""
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_bloom_filter(_BLOOM_BITS_PER_KEY, block_based=False)
        return table

    def made(self) -> rocksdict.Options:
        """Return the options to open one partition with."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(self._write_buffer_bytes)
        options.set_write_buffer_manager(self._buffers)
        options.set_memtable_prefix_bloom_ratio(_BUFFER_FILTER_SHARE)
        options.set_memtable_whole_key_filtering(True)
        options.set_keep_log_file_num(_LOG_FILES_KEPT)
        options.set_block_based_table_factory(self.table())
        return options
