"""How the memory that a worker may take is divided among what would else grow as far as it could."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.core.limits import HELD_STATES_MAX

_INTERPRETER_BYTES: Final = 192 * 1024 * 1024
"""The process before it has read anything: Python, librdkafka, RocksDB, the code."""

_STATE_BYTES: Final = 3_400
"""A row whose full state is in memory. Most that are awake or changed are held in less (`core/passage.py`)."""

_ROW_BYTES: Final = 768
"""One row that waits for a commit, as Python holds its key and value."""

_KEPT_RECORD_BYTES: Final = 512
"""One record of a changelog, as it was read: a row that differs may be larger than one at rest."""

_KNOWN_KEY_BYTES: Final = 448
"""One kept key: the bytes of the topic, the canonical form, the digest, its place in a dictionary."""

FETCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Per partition and fetch, however much memory there is: a block of the most records."""

_FETCH_BYTES_MIN: Final = 256 * 1024
"""Below it a connector's larger batches would come from one partition at a time."""

BLOCKS_BUFFERED_MAX: Final = 16
"""What waits for one agent or for the recovery. Blocks, not records: Faust's default of 4,096 would be gigabytes."""


@dataclass(frozen=True, slots=True)
class MemoryShares:
    """The bounds of one worker's buffers."""

    block_cache_bytes: int
    """RocksDB's blocks, indexes and filters, over all partitions."""
    write_buffers_bytes: int
    """What RocksDB has not yet written to tables, over all partitions."""
    producer_queue_bytes: int
    """Records that librdkafka has not delivered, in each of two producers; a full queue holds up the whole worker."""
    awake_rows_max: int
    """Rows whose verdict is open and whose states are in memory, over all partitions; more sleep in the table."""
    held_states_max: int
    """States changed since the last commit, over all partitions; above it they are written as rows."""
    written_rows_max: int
    """Rows written and not yet taken by a commit; above it nothing is folded until one has."""
    recovered_rows_max: int
    """Records of one block of a changelog. While one is recovered nothing is awake and nothing written."""
    known_keys_max: int
    """Keys of which is kept what follows from their bytes, over all tables."""
    fetched_bytes: int
    """Raw records that were fetched and not yet asked for, over all partitions."""

    @classmethod
    def of(cls, memory_bytes: int) -> MemoryShares:
        """Divide a worker's memory."""
        shared = memory_bytes - _INTERPRETER_BYTES
        return cls(
            block_cache_bytes=shared * 18 // 100,
            write_buffers_bytes=shared * 13 // 100,
            producer_queue_bytes=shared * 7 // 100,
            awake_rows_max=shared * 12 // 100 // _STATE_BYTES,
            # With those of the commit before, which stay in memory for the next one; most are small.
            held_states_max=shared * 16 // 100 // _STATE_BYTES,
            # Twice: one commit may be on its way while the next one fills.
            written_rows_max=shared * 6 // 100 // _ROW_BYTES,
            recovered_rows_max=shared * 25 // 100 // _KEPT_RECORD_BYTES // BLOCKS_BUFFERED_MAX,
            known_keys_max=shared * 8 // 100 // _KNOWN_KEY_BYTES,
            fetched_bytes=shared * 7 // 100,
        )

    def awake_rows_of_one(self, partitions: int) -> int:
        """Return `awake_rows_max` of one of so many partitions, all of which one worker may come to hold."""
        return self.awake_rows_max // partitions

    def fetch_bytes_of_one(self, partitions: int) -> int:
        """Return how much one fetch may bring of one of so many partitions, all that one worker may come to read.

        Of so many that each would bring too little, all together may hold more than their share.
        """
        return max(_FETCH_BYTES_MIN, min(FETCH_BYTES_MAX, self.fetched_bytes // partitions))

    def held_states_of_one(self, partitions: int) -> int:
        """Return `held_states_max` of one of so many partitions."""
        return min(HELD_STATES_MAX, self.held_states_max // partitions)
