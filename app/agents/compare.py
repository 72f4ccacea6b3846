"""`observations` -> verdicts: the shell around the one fold (`app.core.fold`).

Order of effects: state into the table, findings to the producer, both safe before the offset is committed (`persist`).
The table sends what it was given to its changelog in the order of `changelog_rank`: gaps, rows, everything else, the
chains last. What a kill leaves behind is then never a chain that claims rows which are not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from app.agents.beacon_clock import BeaconClock
from app.agents.block_consumer import Block
from app.codec.blocks import unpack
from app.core import aggregate_fold
from app.core.contract import EntityContract
from app.core.errors import Undecodable
from app.core.finding import DriftKind, Finding, Stage
from app.core.fold import META, Effects, Shard
from app.core.journal import Write, commit_rank
from app.core.observation import Barrier, Contributions, Observation
from app.core.status import Coverage, StatusReport
from app.ports import Sink, StateStore

_SCAN_ITEMS: Final = 5_000
_REVIVED_ROWS: Final = 5_000
_SWEEPS_AT_A_TIME: Final = 1
_EXPLAINED: Final = frozenset({Stage.CONFIRMED, Stage.OVERTAKEN})
_AFTER_META: Final = bytes([META[0] + 1])


def changelog_rank(write: Write) -> int:
    """Return in which order a commit reaches the changelog: that of the fold whose record it is."""
    is_aggregates = write[0][:1] == aggregate_fold.PREFIX
    return aggregate_fold.changelog_rank(write[0]) if is_aggregates else commit_rank(write)


class Table(StateStore, Protocol):
    """The table of this agent: a `StateStore` that tells when a partition has changed hands."""

    def revision(self, partition: int) -> int:
        """Return a number that changes whenever a partition was given away or taken over."""
        ...

    async def room(self) -> None:
        """Wait until a commit has taken what was written, where that is much."""
        ...


class Aggregates(Protocol):
    """Folds what the same observations say of aggregates."""

    def take(self, partition: int, observation: Observation) -> None:
        """Fold one observation."""
        ...

    def read_rows(self, partition: int) -> None:
        """Read some of the rows that figures are made of, if any are to be read."""
        ...


class CompareCounts(Protocol):
    """Counts for metrics."""

    def found(self, finding: Finding, detected_after_ms: int | None) -> None:
        """Count one step in the life of a drift."""
        ...

    def folded(self, rows: int, redelivered: int, dropped_links: int) -> None:
        """Count rows taken in, rows seen before, and links that did not fit."""
        ...


class Compare:
    """The compare agent of one worker, over all partitions of `observations` that it holds.

    `publish` turns a finding into its record; `explain` names the columns that differ, as far as they can still be
    read. Findings wait in `_told` until the broker has them. `awake_rows_max` bounds the live rows of one partition
    whose states are in memory, `held_states_max` the changed states that no commit has taken yet. `aggregates` is there
    if any contract has some.
    """

    def __init__(
        self,
        *,
        contracts: Sequence[EntityContract],
        table: Table,
        sink: Sink,
        drifts: str,
        publish: Callable[[Finding], bytes],
        explain: Callable[[Finding], tuple[str, ...]],
        counts: CompareCounts,
        log_undecodable: Callable[[Block, int, Undecodable], None],
        clock_ms: Callable[[], int],
        awake_rows_max: int,
        held_states_max: int,
        aggregates: Aggregates | None = None,
    ) -> None:
        self._contracts = contracts
        self._table = table
        self._sink = sink
        self._drifts = drifts
        self._publish = publish
        self._explain = explain
        self._counts = counts
        self._log_undecodable = log_undecodable
        self._clock_ms = clock_ms
        self._awake_rows_max = awake_rows_max
        self._held_states_max = held_states_max
        self._aggregates = aggregates
        self._shards: dict[int, tuple[int, Shard]] = {}
        self._told: dict[int, list[Finding]] = {}
        self._newest_beacon_ms: int | None = None
        self._beacon_clock = BeaconClock()

    async def run(self, stream: AsyncIterator[Block]) -> None:
        """Fold blocks of observations for as long as the stream lasts."""
        async for block in stream:
            await self._table.room()
            if block.live:
                await self.take(block)

    async def take(self, block: Block) -> None:
        """Fold one block."""
        for record in block.records:
            try:
                observation = unpack(record.value or b"")
            except Undecodable as fault:
                # Only a fault of ours or a forged record comes here. The chain that it would have extended stands still
                # and its store stalls, since what it said is not known.
                self._log_undecodable(block, record.offset, fault)
                continue
            self._take_observation(block.partition, observation)
        shard = self._shard(block.partition)
        for _ in range(_SWEEPS_AT_A_TIME):
            wanted = shard.sweep_range()
            if wanted is None:
                break
            self._flush(shard)
            self._take_effects(shard, shard.sweep(self._table.scan(block.partition, *wanted)))
        if self._aggregates is not None:
            self._aggregates.read_rows(block.partition)
        block.done()

    def _take_observation(self, partition: int, observation: Observation) -> None:
        if self._aggregates is not None:
            self._aggregates.take(partition, observation)
        if not isinstance(observation, Contributions):
            shard = self._shard(partition)
            self._fold(shard, observation)
            if shard.is_full:
                self._flush(shard)

    def _fold(self, shard: Shard, observation: Observation) -> None:
        if isinstance(observation, Barrier) and observation.beacon.streamed:
            self._newest_beacon_ms = max(self._newest_beacon_ms or 0, observation.beacon.issued_at_ms)
            self._beacon_clock.seen(observation.beacon.issued_at_ms, self._clock_ms())
        states = self._states(shard, shard.needed_keys(observation))
        self._take_effects(shard, shard.fold(observation, states))
        due = shard.due_keys()
        if due:  # some at a time: there is no hurry, and others want their turn
            self._take_effects(shard, shard.wake(self._states(shard, due)))

    def _states(self, shard: Shard, rows: Sequence[bytes]) -> dict[bytes, bytes | None]:
        return dict(zip(rows, self._table.multi_get(shard.partition, rows), strict=True)) if rows else {}

    def _take_effects(self, shard: Shard, effects: Effects) -> None:
        for finding in effects.findings:
            self._tell(shard, finding)
        self._counts.folded(effects.rows, effects.redelivered, effects.dropped_links)

    def _flush(self, shard: Shard) -> None:
        self._table.write_many(shard.partition, shard.flush())

    def _tell(self, shard: Shard, finding: Finding) -> None:
        columns = self._explain(finding) if finding.stage in _EXPLAINED and not finding.incident_rows else ()
        told = replace(finding, differing_columns=columns) if columns else finding
        self._sink.send(self._drifts, finding.observations_partition, finding.finding_id, self._publish(told))
        self._told.setdefault(shard.partition, []).append(finding)
        deadline_ms = finding.evidence.judged_at_ms
        late = None if self._newest_beacon_ms is None else self._newest_beacon_ms - deadline_ms
        self._counts.found(finding, late if finding.stage is Stage.CONFIRMED else None)

    def beacon_now_ms(self) -> int | None:
        """Return about what the beacons' clock shows now, never much less; None before the first beacon."""
        return self._beacon_clock.now_ms(self._clock_ms())

    # -- before a commit -----------------------------------------------------------------------------------------

    async def acknowledge(self) -> None:
        """Wait until the broker has every finding so far, note that, and write the state: a step before each commit.

        What is written covers what had been folded at this step of the commit before, and no more: see `flush_aged`.
        The table's own step must follow without a pause, so that nothing is folded between the two.
        """
        told, self._told = self._told, {}
        await asyncio.to_thread(self._sink.flush)
        for partition, findings in told.items():
            held = self._shards.get(partition)
            if held is not None and held[0] == self._table.revision(partition):
                self._take_effects(held[1], held[1].acknowledged(findings))
        for partition, (revision, shard) in self._shards.items():
            if revision == self._table.revision(partition):
                self._table.write_many(partition, shard.flush_aged())

    # -- shards --------------------------------------------------------------------------------------------------

    def _shard(self, partition: int) -> Shard:
        revision = self._table.revision(partition)
        held = self._shards.get(partition)
        if held is not None and held[0] == revision:
            return held[1]
        shard = Shard(self._contracts, partition, self._awake_rows_max, self._held_states_max)
        self._shards[partition] = (revision, shard)
        self._told.pop(partition, None)
        noted = sorted(shard.restore(self._meta(partition)))
        for start in range(0, max(len(noted), 1), _REVIVED_ROWS):
            states = self._states(shard, noted[start : start + _REVIVED_ROWS])
            self._take_effects(shard, shard.revive(states))
        return shard

    def _meta(self, partition: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        start = META
        while True:
            page = self._table.scan(partition, start, _AFTER_META, _SCAN_ITEMS)
            found += page
            if len(page) < _SCAN_ITEMS:
                return found
            start = page[-1][0] + b"\x00"

    # -- what is said of it --------------------------------------------------------------------------------------

    def reports(self, wall_ms: int, instance: str) -> list[StatusReport]:
        """Return how far each entity is proven in each store, per partition of this worker."""
        held = set(self._table.partitions())
        return [
            report
            for partition, (revision, shard) in sorted(self._shards.items())
            if partition in held and revision == self._table.revision(partition)
            for contract in self._contracts
            for report in self._entity_reports(shard, contract, wall_ms, instance)
        ]

    def _entity_reports(
        self, shard: Shard, contract: EntityContract, wall_ms: int, instance: str
    ) -> list[StatusReport]:
        progress = shard.progress.entities[contract.number]
        number = contract.number
        live = shard.live[number]
        found = []
        for i, table in enumerate(contract.stores):
            store = shard.progress.stores[table.store]
            coverage = Coverage.COVERED if progress.covered_at_ms[i] is not None else Coverage.UNCOVERED
            outdated = progress.outdated[i]
            if outdated is not None and store.epoch <= outdated:
                coverage = Coverage.OUTDATED
            elif coverage is Coverage.UNCOVERED and store.snapshot_seen:
                coverage = Coverage.SNAPSHOT
            is_authority = i == 0
            kinds = {DriftKind(kind): n for (replica, kind), n in live.open_drifts.items() if replica == i - 1 and n}
            found.append(
                StatusReport(
                    entity=contract.entity,
                    store=table.store,
                    is_authority=is_authority,
                    partition=shard.partition,
                    coverage=coverage,
                    watermark_ms=progress.watermark_ms[i],
                    verified_through_ms=None if is_authority else shard.verified_through_ms(number, i - 1),
                    newest_beacon_ms=self._newest_beacon_ms,
                    reported_at_wall_ms=wall_ms,
                    waiting_keys=0 if is_authority else live.waiting_keys(i - 1),
                    open_drifts=kinds,
                    unknown_keys={} if is_authority else dict(live.unknown_keys(i - 1)),
                    records_read=shard.progress.records_read(table.store),
                    instance=instance,
                    contract_version=contract.version,
                )
            )
        return found
