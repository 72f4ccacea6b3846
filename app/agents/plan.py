"""`drifts`, `outcomes` and `approvals` -> `repairs`: the shell around the pure planner (`app.core.planner`).

The planner's table lives in the worker's own, under a prefix, in the partition of the findings. Commands go to the
producer before the offset of what led to them is committed; one that is sent twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from app.agents.block_consumer import Block, RawRecord
from app.core import planner
from app.core.command import Approval, CommandOutcome, RepairCommand
from app.core.contract import EntityContract
from app.core.errors import Undecodable
from app.core.plan import Refusal
from app.core.planner import Step
from app.core.published import PublishedFinding
from app.core.shard import UNFENCED, FenceTokens
from app.ports import Sink, StateStore

PREFIX: Final = b"p"
"""The first byte of the planner's keys; the fold's are 0 and 1."""

_DUE_AT_A_TIME: Final = 500


@dataclass(frozen=True, slots=True)
class PlanTopics:
    """The names of the topics that the planner reads and writes."""

    drifts: str
    outcomes: str
    approvals: str
    repairs: str


class PlanRecords(Protocol):
    """Reads and writes the planner's records."""

    def read_finding(self, value: bytes | None) -> PublishedFinding:
        """Decode a finding."""
        ...

    def read_outcome(self, value: bytes | None) -> CommandOutcome:
        """Decode an outcome."""
        ...

    def read_approval(self, value: bytes | None) -> Approval:
        """Decode a person's word."""
        ...

    def command(self, command: RepairCommand) -> bytes:
        """Encode a command."""
        ...


class PlanCounts(Protocol):
    """Counts for metrics."""

    def planned(self, command: RepairCommand) -> None:
        """Count one command that was sent."""
        ...

    def not_planned(self, entity: str, refusal: Refusal) -> None:
        """Count one stated refusal to plan."""
        ...


class PlanTrust(Protocol):
    """Signs commands, and knows whose words count."""

    @property
    def deployment(self) -> str:
        """The deployment that signatures are for."""
        ...

    def signed(self, command: RepairCommand) -> RepairCommand:
        """Return a command with the planner's signature; `Unready` while its key cannot be read."""
        ...

    def hears(self, word: Approval) -> bool:
        """Tell whether a word is an approver's, and is said in time."""
        ...


class Plan:
    """The plan agent of one worker."""

    def __init__(
        self,
        *,
        contracts: Mapping[str, EntityContract],
        table: StateStore,
        sink: Sink,
        topics: PlanTopics,
        records: PlanRecords,
        partitions: int,
        counts: PlanCounts,
        trust: PlanTrust,
        wall_ms: Callable[[], int],
        log_undecodable: Callable[[Block, int, Undecodable], None],
        fences: FenceTokens = UNFENCED,
    ) -> None:
        self._fences = fences
        self._contracts = contracts
        self._table = table
        self._sink = sink
        self._topics = topics
        self._records = records
        self._partitions = partitions
        self._counts = counts
        self._trust = trust
        self._wall_ms = wall_ms
        self._log_undecodable = log_undecodable

    async def run(self, stream: AsyncIterator[Block]) -> None:
        """Plan on blocks of findings, outcomes and approvals for as long as the stream lasts."""
        async for block in stream:
            if not block.live:
                continue
            for record in block.records:
                try:
                    self._take(block, record)
                except Undecodable as fault:
                    self._log_undecodable(block, record.offset, fault)
            block.done()
            await asyncio.sleep(0)

    def _take(self, block: Block, record: RawRecord) -> None:
        partition, get = block.partition, self._getter(block.partition)
        if block.topic == self._topics.outcomes:
            step = planner.on_outcome(get, self._records.read_outcome(record.value), self._wall_ms())
        elif block.topic == self._topics.approvals:
            word = self._records.read_approval(record.value)
            if not self._trust.hears(word):
                # The applier says so, and why.
                return
            step = planner.on_approval(get, word, self._trust.deployment)
        else:
            published = self._records.read_finding(record.value)
            finding = published.finding
            contract = self._contracts.get(finding.entity)
            if contract is None:
                return
            step = planner.on_finding(
                get,
                finding,
                contract,
                published.key_hash,
                published.sealed_key,
                self._wall_ms(),
                partitions=self._partitions,
                fence_token=self._fences.of(finding.entity, finding.replica, finding.observations_partition),
            )
            if step.refusal is not None:
                self._counts.not_planned(finding.entity, step.refusal)
        self._do(partition, step)

    def resend_due(self) -> None:
        """Send again what waited for time and is due, in every partition of this worker."""
        now_ms = self._wall_ms()
        start, end = planner.due_range(now_ms)
        for partition in list(self._table.partitions()):
            due = [
                key.removeprefix(PREFIX)
                for key, _ in self._table.scan(partition, PREFIX + start, PREFIX + end, _DUE_AT_A_TIME)
            ]
            if due:
                get = self._getter(partition)
                self._do(partition, planner.on_time(get, due, self._contracts, now_ms, self._fences))

    def _getter(self, partition: int) -> planner.Get:
        def get(key: bytes) -> bytes | None:
            return self._table.multi_get(partition, [PREFIX + key])[0]

        return get

    def _do(self, partition: int, step: Step) -> None:
        if step.writes:
            self._table.write_many(partition, [(PREFIX + key, value) for key, value in step.writes.items()])
        for command in step.commands:
            value = self._records.command(self._trust.signed(command))
            self._sink.send(self._topics.repairs, command.partition, command.command_id, value)
            self._counts.planned(command)
