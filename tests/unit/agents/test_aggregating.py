"""What is told of a group is written before it is told, and that it was told afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from app.adapters.kafka import MemorySink
from app.adapters.memory_state import MemoryState
from app.agents.aggregating import Aggregating
from app.core import aggregate_judging
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
class Told:
    """What was told; `held` is how many drifts the table had records of when each of them was."""

    table: Table
    sink: MemorySink = field(default_factory=MemorySink)
    held: list[int] = field(default_factory=list)

    def publish(self, told: aggregate_judging.Told) -> bytes:
        """Make a record that is the step's name."""
        self.held.append(len(_drift_records(self.table)))
        return told.finding.stage.value.encode()

    def aggregate_told(self, told: aggregate_judging.Told) -> None:
        """Count nothing."""


def _drift_records(table: Table) -> list[tuple[bytes, bytes]]:
    return table.scan(0, b"ad", b"ae", 1_000)


def _aggregating(told: Told, held_states_max: int = 10**9) -> Aggregating:
    return Aggregating(
        contracts=[CONTRACT],
        partitions=PARTITIONS,
        table=told.table,
        sink=told.sink,
        drifts="drifts",
        publish=told.publish,
        counts=told,
        late_after_ms=2_000,
        held_states_max=held_states_max,
    )


def _drifting() -> tuple[Told, Aggregating]:
    """Return a worker that has found that a group is wrong, and has not begun to commit."""
    world = AggregateWorld(5)
    world.snapshot({number: ("eu", Decimal(number), 1) for number in range(6)})
    world.rest(3 * WINDOW_MS)
    world.write("R", 3, ("eu", Decimal("7.77"), 9))
    world.rest(3 * WINDOW_MS)
    told = Told(Table([0]))
    aggregating = _aggregating(told)
    for observation in world.observations:
        aggregating.take(0, observation)
        aggregating.read_rows(0)
    return told, aggregating


def test_nothing_is_told_before_the_table_has_it_and_all_of_it_once_after() -> None:
    """A commit's steps in their order: nothing leaves before the first is over, and the next one tells nothing."""
    told, aggregating = _drifting()
    asyncio.run(aggregating.tell())
    assert told.sink.sent == []
    asyncio.run(aggregating.write())
    assert told.sink.sent == []
    asyncio.run(aggregating.tell())
    sent = len(told.sink.sent)
    assert {record.value for record in told.sink.sent} == {Stage.CONFIRMED.value.encode()}
    assert told.sink.flushed == sent
    assert told.held == [sent] * sent
    before = dict(_drift_records(told.table))
    asyncio.run(aggregating.write())
    asyncio.run(aggregating.tell())
    assert told.sink.flushed == len(before) == len(told.sink.sent)
    after = dict(_drift_records(told.table))
    assert all(before[name] != after[name] for name in before)


def test_what_a_partition_found_before_it_went_away_is_left_to_its_new_owner() -> None:
    """Written and then given away: it is not told by the one that has it no more."""
    told, aggregating = _drifting()
    asyncio.run(aggregating.write())
    told.table.moves += 1
    asyncio.run(aggregating.tell())
    assert told.sink.sent == []


def test_rows_that_wait_for_a_commit_are_written_where_they_are_too_many() -> None:
    """However long a commit takes."""
    world = AggregateWorld(5)
    world.snapshot({number: ("eu", Decimal(number), 1) for number in range(6)})
    world.rest(3 * WINDOW_MS)
    written = {}
    for held_states_max in (2, 10**9):
        told = Told(Table([0]))
        aggregating = _aggregating(told, held_states_max)
        for observation in world.observations:
            aggregating.take(0, observation)
        written[held_states_max] = sum(len(items) for _, items in told.table.batches)
    assert written[2] > 0 == written[10**9]
