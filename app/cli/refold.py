"""Folds the topic of observations again, with the worker's own fold and a memory in place of its table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.adapters.memory_state import MemoryState
from app.core.contract import EntityContract
from app.core.finding import DriftKind, Finding, Stage
from app.core.fold import Effects, Shard
from app.core.observation import Observation


class Refold:
    """One partition of `observations`, from its first record on. Every finding counts as acknowledged at once."""

    def __init__(self, contracts: Sequence[EntityContract], partition: int) -> None:
        self._shard = Shard(contracts, partition)
        self._partition = partition
        self._state = MemoryState([partition])
        self.dropped_links = 0

    def take(self, observation: Observation) -> Iterator[Finding]:
        """Take the next observation and yield what it makes the fold say."""
        states = self._states(self._shard.needed_keys(observation))
        yield from self._settle(self._shard.fold(observation, states))
        while due := self._shard.due_keys():
            yield from self._settle(self._shard.wake(self._states(due)))
        while (wanted := self._shard.sweep_range()) is not None:
            self._flush()
            yield from self._settle(self._shard.sweep(self._state.scan(self._partition, *wanted)))
        if self._shard.is_full:
            self._flush()

    def _states(self, rows: Sequence[bytes]) -> dict[bytes, bytes | None]:
        return dict(zip(rows, self._state.multi_get(self._partition, rows), strict=True))

    def _flush(self) -> None:
        self._state.write_many(self._partition, self._shard.flush())
        self._state.batches.clear()

    def _settle(self, effects: Effects) -> Iterator[Finding]:
        while True:
            self.dropped_links += effects.dropped_links
            yield from effects.findings
            if not effects.findings:
                return
            effects = self._shard.acknowledged(effects.findings)


def differences(told: Iterable[Finding], again: Iterable[Finding]) -> dict[bytes, str]:
    """Return, by finding id, what the records and the fold do not both say of confirmed drifts of rows."""
    before, after = _confirmed(told), _confirmed(again)
    found = {}
    for finding_id in before.keys() | after.keys():
        recorded, folded = before.get(finding_id), after.get(finding_id)
        if folded is None:
            found[finding_id] = "the observations do not lead to it"
        elif recorded is None:
            found[finding_id] = "the observations lead to it, and it has no record"
        elif recorded.kind is not folded.kind:
            found[finding_id] = (
                f"from the observations its kind comes out as {folded.kind.value if folded.kind else '-'}"
            )
        elif recorded.evidence.judged_at_ms != folded.evidence.judged_at_ms:
            found[finding_id] = "from the observations its deadline comes out otherwise"
    return found


def _confirmed(findings: Iterable[Finding]) -> dict[bytes, Finding]:
    of_rows = (f for f in findings if f.kind is not DriftKind.AGGREGATE and not f.incident_rows)
    return {f.finding_id: f for f in of_rows if f.stage is Stage.CONFIRMED}
