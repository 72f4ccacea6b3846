"""What is told of a group is written before it is told, and that it was told afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.adapters.memory_state import MemoryState
from app.agents.aggregating import Aggregating
from app.core.aggregate_judging import Told
from app.core.finding import Stage
from tests.property.aggregate_world import CONTRACT, WINDOW_MS, AggregateWorld

PARTITIONS = 1


class Table(MemoryState):
    """A table that may be given away."""

    moves = 0

    def revision(self, partition: int) -> int:
        """Return how often it was."""
        return self.moves + 0 * partition


@dataclass
class Broker:
    """Takes what is told; `held` is what the table had on drifts at that moment."""

    table: Table
    told: list[tuple[bytes, Stage]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    flushed: int = 0

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Take a record."""
        del topic, partition, headers
        self.told.append((key or b"", Stage((value or b"").decode())))
        self.held.append(len(_drift_records(self.table)))

    def flush(self) -> None:
        """Have all records."""
        self.flushed = len(self.told)

    def aggregate_told(self, told: Told) -> None:
        """Count nothing."""


def _drift_records(table: Table) -> list[tuple[bytes, bytes]]:
    return table.scan(0, b"ad", b"ae", 1_000)


def _aggregating(table: Table, broker: Broker) -> Aggregating:
    return Aggregating(
        contracts=[CONTRACT],
        partitions=PARTITIONS,
        table=table,
        sink=broker,
        drifts="drifts",
        publish=lambda told: told.finding.stage.value.encode(),
        counts=broker,
        late_after_ms=2_000,
    )


def _drifting() -> tuple[Table, Broker, Aggregating]:
    """Return a worker that has found that a group is wrong, and has not begun to commit."""
    world = AggregateWorld(5)
    world.snapshot({number: ("eu", Decimal(number), 1) for number in range(6)})
    world.rest(3 * WINDOW_MS)
    world.write("R", 3, ("eu", Decimal("7.77"), 9))
    world.rest(3 * WINDOW_MS)
    table = Table([0])
    broker = Broker(table)
    aggregating = _aggregating(table, broker)
    for observation in world.observations:
        aggregating.take(0, observation)
        aggregating.read_rows(0)
    return table, broker, aggregating


def test_nothing_is_told_before_the_table_has_it_and_all_of_it_once_after() -> None:
    """A commit's steps in their order: nothing leaves before the first is over, and the next one tells nothing."""
    table, broker, aggregating = _drifting()
    asyncio.run(aggregating.tell())
    assert broker.told == []
    asyncio.run(aggregating.write())
    assert broker.told == []
    asyncio.run(aggregating.tell())
    assert {stage for _, stage in broker.told} == {Stage.CONFIRMED}
    assert broker.flushed == len(broker.told)
    assert broker.held == [len(broker.told)] * len(broker.told)
    before = dict(_drift_records(table))
    asyncio.run(aggregating.write())
    asyncio.run(aggregating.tell())
    assert broker.flushed == len(before) == len(broker.told)
    after = dict(_drift_records(table))
    assert all(before[name] != after[name] for name in before)


def test_what_a_partition_found_before_it_went_away_is_left_to_its_new_owner() -> None:
    """Written and then given away: it is not told by the one that has it no more."""
    table, broker, aggregating = _drifting()
    asyncio.run(aggregating.write())
    table.moves += 1
    asyncio.run(aggregating.tell())
    assert broker.told == []
