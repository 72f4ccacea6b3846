"""`observations` -> figures of aggregates: the shell around their fold (`app.core.aggregate_fold`).

It folds what compare reads, into keys of its own in the same table. Order of effects: contributions of rows and what is
to be told into the table; when that is safe, findings to the broker; before the next commit, that it has them. Figures
are not judged again as they were after a kill, so what was told must not be forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from app.core.aggregate_fold import PREFIX, ROWS, AggregateShard, partition_of_aggregates
from app.core.aggregate_judging import Told
from app.core.aggregate_status import AggregateStatus
from app.core.contract import EntityContract
from app.core.observation import Barrier, Observation
from app.ports import Sink, StateStore

_SCAN_ITEMS: Final = 5_000
_SCANS_AT_A_TIME: Final = 4
_AFTER_ROWS: Final = ROWS[:-1] + bytes([ROWS[-1] + 1])
_AFTER: Final = bytes([PREFIX[0] + 1])


class Table(StateStore, Protocol):
    """The worker's table, which tells when a partition has changed hands."""

    def revision(self, partition: int) -> int:
        """Return a number that changes whenever a partition was given away or taken over."""
        ...


class AggregateCounts(Protocol):
    """Counts for metrics."""

    def aggregate_told(self, told: Told) -> None:
        """Count one step in the life of a group's drift."""
        ...


class Aggregating:
    """The aggregates of one worker: of the entities whose partition of `observations` it holds.

    `publish` turns what is told into its record.
    """

    def __init__(
        self,
        *,
        contracts: Sequence[EntityContract],
        partitions: int,
        table: Table,
        sink: Sink,
        drifts: str,
        publish: Callable[[Told], bytes],
        counts: AggregateCounts,
        late_after_ms: int,
        held_states_max: int,
    ) -> None:
        self._contracts: dict[int, list[EntityContract]] = {}
        for contract in contracts:
            if contract.aggregates:
                partition = partition_of_aggregates(contract.number, partitions)
                self._contracts.setdefault(partition, []).append(contract)
        self._table = table
        self._sink = sink
        self._drifts = drifts
        self._publish = publish
        self._counts = counts
        self._late_after_ms = late_after_ms
        self._held_states_max = held_states_max
        self._shards: dict[int, tuple[int, AggregateShard]] = {}
        self._found: dict[int, list[Told]] = {}
        self._safe: dict[int, list[Told]] = {}
        self._newest_beacon_ms: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether any contract has aggregates."""
        return bool(self._contracts)

    def take(self, partition: int, observation: Observation) -> None:
        """Fold one observation."""
        shard = self._shard(partition)
        if shard is None:
            return
        if isinstance(observation, Barrier) and observation.beacon.streamed:
            self._newest_beacon_ms = max(self._newest_beacon_ms or 0, observation.beacon.issued_at_ms)
        needed = shard.needed_keys(observation)
        states = dict(zip(needed, self._table.multi_get(partition, needed), strict=True)) if needed else {}
        self._found.setdefault(partition, []).extend(shard.fold(observation, states))
        if shard.is_full:
            self._table.write_many(partition, shard.flush())

    def read_rows(self, partition: int) -> None:
        """Read some of the rows that figures are made of, if any are to be read."""
        shard = self._shard(partition)
        if shard is None:
            return
        for _ in range(_SCANS_AT_A_TIME):
            wanted = shard.scan_range()
            if wanted is None:
                return
            self._table.write_many(partition, shard.flush())
            shard.scanned(self._table.scan(partition, *wanted))

    def statuses(self, wall_ms: int) -> list[AggregateStatus]:
        """Return how every aggregate of this worker's partitions stands."""
        return [
            replace(status, reported_at_wall_ms=wall_ms)
            for _, shard in self._held()
            for status in shard.statuses(self._newest_beacon_ms, self._late_after_ms)
        ]

    async def write(self) -> None:
        """Write the state, with what is to be told: a step before each commit."""
        self._safe, self._found = self._found, {}
        for partition, shard in self._held():
            self._table.write_many(partition, shard.flush())

    async def tell(self) -> None:
        """Tell what was found before `write`, and wait until the broker has it: a step after the table's own."""
        told = [(shard, self._safe[partition]) for partition, shard in self._held() if self._safe.get(partition)]
        self._safe = {}
        if not told:
            return
        for _, findings in told:
            for each in findings:
                finding = each.finding
                partition = finding.observations_partition
                self._sink.send(self._drifts, partition, finding.finding_id, self._publish(each))
                self._counts.aggregate_told(each)
        await asyncio.to_thread(self._sink.flush)
        for shard, findings in told:
            shard.acknowledged(findings)

    def _held(self) -> list[tuple[int, AggregateShard]]:
        mine = set(self._table.partitions())
        return [
            (partition, shard)
            for partition, (revision, shard) in sorted(self._shards.items())
            if partition in mine and revision == self._table.revision(partition)
        ]

    def _shard(self, partition: int) -> AggregateShard | None:
        contracts = self._contracts.get(partition)
        if contracts is None:
            return None
        revision = self._table.revision(partition)
        held = self._shards.get(partition)
        if held is not None and held[0] == revision:
            return held[1]
        shard = AggregateShard(contracts, partition, self._held_states_max)
        shard.restore([*self._items(partition, PREFIX, ROWS), *self._items(partition, _AFTER_ROWS, _AFTER)])
        self._shards[partition] = (revision, shard)
        self._found.pop(partition, None)
        self._safe.pop(partition, None)
        return shard

    def _items(self, partition: int, start: bytes, end: bytes) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        while True:
            page = self._table.scan(partition, start, end, _SCAN_ITEMS)
            found += page
            if len(page) < _SCAN_ITEMS:
                return found
            start = page[-1][0] + b"\x00"
