"""The compare agent with few states in memory tells what it would with all of them, also when partitions move."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from faust.types import TP

from app.adapters.memory_state import MemoryState
from app.agents.block_consumer import Block, FetchEpoch, RawRecord
from app.agents.compare import Compare
from app.codec.blocks import pack
from app.core.errors import Undecodable
from app.core.finding import Finding
from app.core.observation import Observation
from app.simulation.faults import Fault
from app.simulation.setting import Setting
from app.simulation.world import World

RECORDS_PER_BLOCK = 40


class Table(MemoryState):
    """A table that may be given away and taken over again."""

    moves = 0

    def revision(self, partition: int) -> int:
        """Return how often it was."""
        return self.moves + 0 * partition

    async def room(self) -> None:
        """Have room."""


@dataclass
class Told:
    """The broker and the counts: what compare said, and how many states it held at most."""

    findings: list[Finding] = field(default_factory=list)

    def send(self, *_: object) -> None:
        """Take a record."""

    def flush(self) -> None:
        """Have all records."""

    def found(self, finding: Finding, detected_after_ms: int | None) -> None:
        """Take a finding."""
        del detected_after_ms
        self.findings.append(finding)

    def folded(self, rows: int, redelivered: int, dropped_links: int) -> None:
        """Count nothing."""


def _undecodable(block: Block, offset: int, fault: Undecodable) -> None:
    raise AssertionError((block, offset, fault))


@dataclass
class Ran:
    """What one partition's topic led to.

    `awake_most` is how many states were at most awake that no commit had still to write, `early_writes` how often some
    were written before a commit.
    """

    found: set[tuple[bytes, str]]
    awake_most: int = 0
    early_writes: int = 0


async def _ran(
    world: World, topic: list[Observation], *, awake_rows_max: int = 10**9, held_states_max: int = 10**9
) -> Ran:
    """Fold one partition's topic, and give the partition away after every seventh block: it goes on where it was."""
    told, table = Told(), Table([0])
    compare = Compare(
        contracts=[world.contract],
        table=table,
        sink=told,
        drifts="drifts",
        publish=lambda _: b"",
        explain=lambda _: (),
        counts=told,
        log_undecodable=_undecodable,
        clock_ms=lambda: 0,
        awake_rows_max=awake_rows_max,
        held_states_max=held_states_max,
    )
    ran, written = Ran(set()), 0
    taken = begin = reached = covered = 0
    while begin < len(topic):
        packed = [pack(observation) for observation in topic[begin : begin + RECORDS_PER_BLOCK]]
        records = [RawRecord(n, 0, None, value, ()) for n, value in enumerate(packed)]
        await compare.take(Block(TP("observations", 0), begin, begin + len(packed), records, FetchEpoch(0)))
        ran.early_writes += len(table.batches) - written
        await compare.acknowledge()
        written = len(table.batches)
        begin += len(packed)
        covered, reached = reached, begin
        _, shard = compare._shards[0]
        unwritten = shard._dirty.keys() | shard._aged.keys()
        ran.awake_most = max(ran.awake_most, sum(len(live.states.keys() - unwritten) for live in shard.live.values()))
        taken += 1
        if taken % 7 == 0:
            table.moves += 1
            begin = reached = covered
    ran.found = {(f.finding_id, f.stage.value) for f in told.findings}
    return ran


def _world() -> World:
    world = World(Setting.draw(12, 1_500, frozenset({Fault.ROGUE_WRITES, Fault.REPLICA_CONNECTOR_STALLS})))
    world.run()
    return world


def test_what_is_told_does_not_depend_on_what_is_in_memory() -> None:
    """Nor on a partition that is given away after every seventh block."""
    world = _world()
    held_most, drifts = [0, 0], 0
    for worker in world.workers:
        few = asyncio.run(_ran(world, worker.topic, awake_rows_max=0))
        many = asyncio.run(_ran(world, worker.topic))
        assert few.found == many.found
        drifts += len(few.found)
        held_most = [max(held_most[0], few.awake_most), max(held_most[1], many.awake_most)]
    assert drifts
    assert held_most[0] < held_most[1] / 2


def test_states_that_wait_for_a_commit_are_written_where_they_are_too_many() -> None:
    """However long a commit takes, and whatever that is, the same is told."""
    world = _world()
    topic = max((worker.topic for worker in world.workers), key=len)
    few = asyncio.run(_ran(world, topic, held_states_max=5))
    many = asyncio.run(_ran(world, topic))
    assert few.found == many.found
    assert few.early_writes > many.early_writes
