"""How the memory that a worker may take is divided among what would else grow as far as it could."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.core.cost_constants import SHIPPED
from app.core.limits import HELD_STATES_MAX

_INTERPRETER_BYTES: Final = 192 * 1024 * 1024
"""The process before it has read anything: Python, librdkafka, RocksDB, the code."""

_ROW_BYTES: Final = 768
"""One row that waits for a commit, as Python holds its key and value."""

_KEPT_RECORD_BYTES: Final = 512
"""One record of a changelog, as it was read: a row that differs may be larger than one at rest."""

BLOCKS_BUFFERED_MAX: Final = 16
"""What waits for one agent or for the recovery. Blocks, not records: Faust's default of 4,096 would be gigabytes."""


@dataclass(frozen=True, slots=True)
class MemoryShares:
    """The bounds of one worker's buffers.

    What the fetches hold is bounded by `FETCH_BYTES_MAX` and `BLOCKS_BUFFERED_MAX`, and is what the shares leave over.
    """

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

    @classmethod
    def of(cls, memory_bytes: int) -> MemoryShares:
        """Divide a worker's memory."""
        shared = memory_bytes - _INTERPRETER_BYTES
        return cls(
            block_cache_bytes=shared * 20 // 100,
            write_buffers_bytes=shared * 15 // 100,
            producer_queue_bytes=shared * 7 // 100,
            awake_rows_max=shared * 15 // 100 // int(SHIPPED.live_row_bytes),
            # With those of the commit before, which stay in memory for the next one; most are small.
            held_states_max=shared * 16 // 100 // int(SHIPPED.live_row_bytes),
            # Twice: one commit may be on its way while the next one fills.
            written_rows_max=shared * 10 // 100 // _ROW_BYTES,
            recovered_rows_max=shared * 25 // 100 // _KEPT_RECORD_BYTES // BLOCKS_BUFFERED_MAX,
        )

    def awake_rows_of_one(self, partitions: int) -> int:
        """Return `awake_rows_max` of one of so many partitions, all of which one worker may come to hold."""
        return self.awake_rows_max // partitions

    def held_states_of_one(self, partitions: int) -> int:
        """Return `held_states_max` of one of so many partitions."""
        return min(HELD_STATES_MAX, self.held_states_max // partitions)
