"""How a worker's memory is divided: all shares together are no more than it, and the default is what was measured."""

from __future__ import annotations

import pytest

from app.agents.memory_shares import BLOCKS_BUFFERED_MAX, MemoryShares
from app.core.limits import HELD_STATES_MAX
from app.settings import WorkerSettings

MIB = 1024 * 1024
DEFAULT_PARTITIONS = 4
STATE_BYTES, ROW_BYTES, RECORD_BYTES, KEY_BYTES, INTERPRETER_BYTES = 3_400, 768, 512, 448, 192 * MIB


@pytest.mark.parametrize("mebibytes", [384, 512, 1_024, 8_192])
def test_what_is_held_while_folding_fits_in_the_memory_of_a_worker(mebibytes: int) -> None:
    """Buffers, two producers' queues, states awake and changed, the rows of two commits, keys, what was fetched."""
    shares = MemoryShares.of(mebibytes * MIB)
    held_bytes = (
        INTERPRETER_BYTES
        + shares.block_cache_bytes
        + shares.write_buffers_bytes
        + 2 * shares.producer_queue_bytes
        + (shares.awake_rows_max + shares.held_states_max) * STATE_BYTES
        + 2 * shares.written_rows_max * ROW_BYTES
        + shares.known_keys_max * KEY_BYTES
        + shares.fetched_bytes
    )
    assert held_bytes <= mebibytes * MIB


@pytest.mark.parametrize("mebibytes", [384, 512, 1_024, 8_192])
def test_what_is_held_while_recovering_fits_too(mebibytes: int) -> None:
    """A full queue of blocks, besides RocksDB's own."""
    shares = MemoryShares.of(mebibytes * MIB)
    held_bytes = BLOCKS_BUFFERED_MAX * shares.recovered_rows_max * RECORD_BYTES
    assert INTERPRETER_BYTES + shares.block_cache_bytes + shares.write_buffers_bytes + held_bytes <= mebibytes * MIB


def test_a_worker_of_the_default_size_holds_as_many_changed_states_as_a_partition_may() -> None:
    """A smaller one fewer, and a larger one no more."""
    default = WorkerSettings().memory_bytes_max
    held = [MemoryShares.of(b).held_states_of_one(DEFAULT_PARTITIONS) for b in (default // 2, default, 8 * default)]
    assert held[0] < HELD_STATES_MAX / 2
    assert held[1:] == [HELD_STATES_MAX, HELD_STATES_MAX]


def test_more_partitions_hold_no_more_in_all() -> None:
    """One worker may come to hold all of them."""
    shares = MemoryShares.of(WorkerSettings().memory_bytes_max)
    for partitions in (8, 64):
        assert shares.fetch_bytes_of_one(partitions) * partitions <= shares.fetched_bytes
        assert shares.held_states_of_one(partitions) * partitions <= shares.held_states_max
        assert shares.awake_rows_of_one(partitions) * partitions <= shares.awake_rows_max
