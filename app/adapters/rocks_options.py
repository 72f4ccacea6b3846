"""How RocksDB is set for the worker's state, and why."""

from __future__ import annotations

from typing import Final

import rocksdict

_WRITE_BUFFER_BYTES: Final = 32 * 1024 * 1024
_BLOCK_CACHE_BYTES: Final = 64 * 1024 * 1024
_BLOOM_BITS_PER_KEY: Final = 10
_LOG_FILES_KEPT: Final = 2


class RocksOptions:
    """The options of all partitions of one worker, which share one block cache."""

    def __init__(self) -> None:
        self._cache = rocksdict.Cache(_BLOCK_CACHE_BYTES)

    def made(self) -> rocksdict.Options:
        """Return the options to open one partition with."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_keep_log_file_num(_LOG_FILES_KEPT)
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_bloom_filter(_BLOOM_BITS_PER_KEY, block_based=False)
        options.set_block_based_table_factory(table)
        return options
