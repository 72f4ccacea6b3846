"""The fold: what a block of observations does to one partition's state. Worker, replay and simulation call it.

`Shard.needed_keys` names the states that an observation touches, `Shard.fold` takes them in and returns what is to be
written and told, in that order: state first, findings second, the offset last. Whatever is killed in between, doing it
again comes to the same: rows below a chain's reach are redeliveries, and a drift whose record was not acknowledged is
told again with the same id.

Keys whose stores do not agree for good are held in memory (`live`) and judged whenever the common time moves. Which
these are is noted in packed records, so that a restart finds them without a scan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.core.command import Outcome, RefusalReason
from app.core.contract import EntityContract
from app.core.evidence import finding_of, incidents_of
from app.core.finding import Finding, Stage, UnknownReason
from app.core.journal import META, Notes, beacon_records, chain_record, entity_record, restore, row_key, store_record
from app.core.judging import Step, dispute, judge_row, note_refusal, note_repair, place_in_time, verify
from app.core.keystate import KeyState, decode, encode
from app.core.limits import PIPELINE_REPORTS_KEPT, SWEEP_KEYS
from app.core.observation import (
    INCREMENTAL_READ,
    SNAPSHOT_READ,
    Barrier,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    Truncated,
)
from app.core.position import BEFORE_ALL, PLACE_BYTES
from app.core.progress import Chain, EntityProgress, Progress
from app.core.rows import agrees_for_good, apply_floors, drop_unseen, fold_change, is_gone, is_settled, settle

__all__ = ["META", "Effects", "Shard", "row_key"]


@dataclass(slots=True)
class Effects:
    """What a step asks of the shell: writes (None deletes), then findings. Counts are for metrics."""

    writes: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    redelivered: int = 0
    dropped_links: int = 0
    broken_epochs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Sweep:
    """A pass over an entity's rows: `resume_at` is the next table key, judged rows become live."""

    entity: int
    resume_at: bytes
    judges: frozenset[int]  # replicas judged since it began: when it ends, every row of theirs has been judged


@dataclass(slots=True)
class Shard:
    """The fold of one partition of `observations`."""

    contracts: Sequence[EntityContract]
    partition: int
    progress: Progress = field(init=False)
    live: dict[int, dict[bytes, KeyState]] = field(init=False)
    unknown: dict[int, dict[bytes, tuple[UnknownReason | None, ...]]] = field(init=False)  # per replica
    pipeline: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _pipeline_seen: dict[tuple[int, int], list[tuple[int, bytes]]] = field(default_factory=dict)
    _sweeps: list[_Sweep] = field(default_factory=list)
    _dirty: set[bytes] = field(default_factory=set)
    _commands: dict[bytes, bytes] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        self.progress = Progress.of(self.contracts)
        self.live = {c.number: {} for c in self.contracts}
        self.unknown = {c.number: {} for c in self.contracts}

    # -- what the shell calls ------------------------------------------------------------------------------------

    def restore(self, items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Take in all records under `META`, and return the row keys whose states `revive` wants."""
        restore(self.progress, self.notes, items)
        for number, entity in self.progress.entities.items():
            # A sweep that was under way begins again: it is idempotent.
            was_cut = any(at != BEFORE_ALL for at in entity.floor)
            unfinished = entity.judged if was_cut else entity.unswept
            if unfinished:
                self._begin_sweep(number, unfinished)
        return list(self.notes.noted)

    def revive(self, states: Mapping[bytes, bytes | None]) -> Effects:
        """Make the noted rows live again; a drift whose record was not acknowledged is told again."""
        effects = Effects()
        for row, value in states.items():
            entity = self._entity_of(row)
            if value is None or entity is None:
                effects.writes += self.notes.forget(row)
                continue
            state = decode(value)
            self.live[entity.contract.number][row] = state
            for i, replica in enumerate(state.replicas):
                if replica.drift is not None:
                    if replica.drift.command_id:
                        self._commands[replica.drift.command_id] = row
                    if not replica.drift.acknowledged:
                        effects.findings.append(self._finding(entity, row, state, i, replica.drift.stage))
        return effects

    def needed_keys(self, observation: Observation) -> list[bytes]:
        """Return the table keys whose states `fold` needs for this observation, without those in memory."""
        if isinstance(observation, RowBlock):
            live = self.live.get(observation.entity)
            if live is None or not self.progress.extends(observation.link):
                return []
            rows = {row_key(observation.entity, key) for key in observation.keys}
            return sorted(rows - live.keys())
        if isinstance(observation, LedgerEcho):
            row = self._commands.get(observation.command_id)
            return [row] if row is not None and row not in self.live.get(observation.entity, {}) else []
        return []

    def fold(self, observation: Observation, states: Mapping[bytes, bytes | None]) -> Effects:
        """Take one observation in; `states` holds the values of `needed_keys`, None for absent ones."""
        effects = Effects()
        for link in _links(observation):
            if not self.progress.extends(link):
                effects.dropped_links += 1
                if not isinstance(observation, Mark):
                    return effects
        match observation:
            case RowBlock():
                self._fold_rows(observation, states, effects)
            case Truncated():
                self._fold_truncate(observation, effects)
            case Mark():
                self._fold_mark(observation, effects)
            case Barrier():
                self._fold_barrier(observation, effects)
            case LedgerEcho():
                self._fold_echo(observation, states, effects)
            case PipelineReached():
                self._fold_pipeline(observation)
        self._advance(effects)
        self._flush(effects)
        return effects

    def acknowledged(self, findings: Iterable[Finding]) -> Effects:
        """Take in that the broker has these findings."""
        effects = Effects()
        for finding in findings:
            entity = next((e for e in self.progress.entities.values() if e.contract.entity == finding.entity), None)
            if entity is None:
                continue
            row = row_key(entity.contract.number, finding.canonical_key)
            state = self.live[entity.contract.number].get(row)
            if state is None:
                continue
            for replica in state.replicas:
                drift = replica.drift
                if drift is not None and (drift.drift_id, drift.stage) == (finding.finding_id, finding.stage):
                    drift.acknowledged = True
                    self._dirty.add(row)
            self._judge(entity, row, state, effects)
        self._flush(effects)
        return effects

    def sweep_range(self) -> tuple[bytes, bytes, int] | None:
        """Return the next range that a sweep wants to read: first key, end (excluded), how many; None if none."""
        if not self._sweeps:
            return None
        sweep = self._sweeps[0]
        return sweep.resume_at, row_key(sweep.entity + 1, b"") if sweep.entity < 2**32 - 1 else b"\x02", SWEEP_KEYS

    def sweep(self, items: Sequence[tuple[bytes, bytes]]) -> Effects:
        """Take in what `sweep_range` asked for: rows that do not agree become live and are judged."""
        effects = Effects()
        sweep = self._sweeps[0]
        entity = self.progress.entities[sweep.entity]
        live = self.live[sweep.entity]
        for row, value in items:
            state = live.get(row)
            if state is None:
                state = decode(value)
            changed = apply_floors(self.progress, entity, state) | drop_unseen(self.progress, entity, state)
            if changed:
                self._dirty.add(row)
            if row not in live and entity.judged and not is_settled(state, entity.judged):
                self._make_live(entity, row, state)
            elif row not in live and changed:
                effects.writes.append((row, encode(state)))
                self._dirty.discard(row)
            if row in live:
                self._judge(entity, row, state, effects)
        if len(items) < SWEEP_KEYS:
            self._sweeps.pop(0)
            for i in sweep.judges:
                entity.swept[i] = True
            effects.writes.append(entity_record(entity))
        else:
            sweep.resume_at = items[-1][0] + b"\x00"
        self._flush(effects)
        return effects

    def verified_through_ms(self, entity: int, i: int) -> int | None:
        """Return the common time up to which every row has `agree` or `drift` in a replica; None before coverage."""
        progress = self.progress.entities[entity]
        through = progress.common_ms(i)
        if through is None or not progress.swept[i] or any(s.entity == entity and i in s.judges for s in self._sweeps):
            return None
        for state in self.live[entity].values():
            replica = state.replicas[i]
            if replica.drift is None or replica.drift.stage is Stage.DISPUTED:
                through = min(through, max(replica.vouched_until_ms, progress.base_ms[i] or 0))
        return through

    def unknown_keys(self, entity: int, i: int) -> Counter[UnknownReason]:
        """Return how many rows of a replica are unknown, by reason."""
        return Counter(reason for reasons in self.unknown[entity].values() if (reason := reasons[i]) is not None)

    def waiting_keys(self, entity: int, i: int) -> int:
        """Return how many rows of a replica are within their window: neither settled, nor drifted, nor unknown."""
        progress = self.progress.entities[entity]
        if i not in progress.judged:
            return 0
        unknown = self.unknown[entity]
        return sum(
            1
            for row, state in self.live[entity].items()
            if state.replicas[i].drift is None
            and (row not in unknown or unknown[row][i] is None)
            and not agrees_for_good(state, i)
        )

    def open_drifts(self, entity: int) -> list[tuple[str, str, str, bool]]:
        """Return replica, kind, stage and whether it waits for the pipeline, of every drift that is not over."""
        found = []
        contract = self.progress.entities[entity].contract
        for state in self.live[entity].values():
            for i, replica in enumerate(state.replicas):
                drift = replica.drift
                if drift is not None and drift.stage in {Stage.CONFIRMED, Stage.OVERTAKEN}:
                    waits = drift.stage is Stage.CONFIRMED
                    found.append((contract.replicas[i].store, drift.kind, drift.stage.value, waits))
        return found

    # -- rows ----------------------------------------------------------------------------------------------------

    def _fold_rows(self, block: RowBlock, states: Mapping[bytes, bytes | None], effects: Effects) -> None:
        entity = self.progress.entities.get(block.entity)
        chain = self.progress.chains.get((block.link.topic, block.link.partition))
        reached = chain.reached if chain is not None else block.link.begin
        chain = self.progress.extend(block.link)
        if entity is None:
            effects.writes.append(chain_record(block.link, chain))
            return
        live = self.live[block.entity]
        touched: dict[bytes, KeyState] = {}
        for n, key in enumerate(block.keys):
            at = None if block.offsets[n] < reached else self._place(entity, block, n, chain, effects)
            if at is None:
                effects.redelivered += 1
                continue
            row = row_key(block.entity, key)
            state = touched.get(row) or live.get(row)
            if state is None:
                value = states.get(row)
                state = decode(value) if value is not None else KeyState.new(len(entity.contract.stores))
                settle(self.progress, entity, state)
            touched[row] = state
            effects.rows += 1
            if fold_change(self.progress, entity, state, block, n, at) and block.store:
                self._tell(entity, row, state, verify(state, block.store - 1), effects)
        judged = entity.judged
        for row, state in touched.items():
            if row in live:
                self._dirty.add(row)
            elif judged and not is_settled(state, judged):
                self._make_live(entity, row, state)
            else:
                effects.writes.append((row, None if is_gone(state) else encode(state)))
        effects.writes.append(chain_record(block.link, chain))

    def _place(self, entity: EntityProgress, block: RowBlock, n: int, chain: Chain, effects: Effects) -> bytes | None:
        """Return the position of a row of a block; None for one that its chain has shown before."""
        store = entity.contract.stores[block.store].store
        flags = block.flags[n]
        place = block.places[n * PLACE_BYTES : (n + 1) * PLACE_BYTES]
        at, broken = self.progress.place_row(store, chain, place, snapshot=bool(flags & SNAPSHOT_READ))
        if broken:
            self._epoch_broken(store, effects)
        if not flags & (SNAPSHOT_READ | INCREMENTAL_READ):
            if at <= chain.newest:
                return None
            chain.newest = at
        return at

    # -- the other observations ----------------------------------------------------------------------------------

    def _fold_truncate(self, cut: Truncated, effects: Effects) -> None:
        entity = self.progress.entities.get(cut.entity)
        chain = self.progress.chains.get((cut.link.topic, cut.link.partition))
        seen = chain is not None and cut.offset < chain.reached
        chain = self.progress.extend(cut.link)
        if entity is not None and not seen:
            store = entity.contract.stores[cut.store].store
            at, _ = self.progress.place_row(store, chain, cut.place, snapshot=False)
            if at > chain.newest:
                chain.newest = at
                entity.floor[cut.store] = max(entity.floor[cut.store], at)
                for row, state in list(self.live[cut.entity].items()):
                    if apply_floors(self.progress, entity, state):
                        self._dirty.add(row)
                self._begin_sweep(cut.entity, entity.judged & {cut.store - 1} if cut.store else entity.judged)
                effects.writes.append(entity_record(entity))
        effects.writes.append(chain_record(cut.link, chain))

    def _begin_sweep(self, number: int, judges: frozenset[int]) -> None:
        """Ask for a pass over an entity's rows, if none like it has been asked for and has not begun."""
        start = row_key(number, b"")
        if not any(s.entity == number and s.resume_at == start and s.judges == judges for s in self._sweeps):
            self._sweeps.append(_Sweep(number, start, judges))

    def _fold_barrier(self, barrier: Barrier, effects: Effects) -> None:
        link = barrier.link
        known = self.progress.chains.get((link.topic, link.partition))
        redelivered = known is not None and link.end <= known.reached
        chain = self.progress.extend(link)
        if not redelivered:
            if self.progress.take_beacon(barrier, chain):
                self._epoch_broken(barrier.beacon.store, effects)
            store = self.progress.stores[barrier.beacon.store]
            if store.timeline.positions and store.timeline.positions[-1] == store.last_beacon:
                acknowledged_ms = barrier.beacon.previous_acknowledged_ms
                effects.writes += beacon_records(self.progress, barrier.beacon.store, acknowledged_ms)
            effects.writes.append(store_record(self.progress, barrier.beacon.store))
        effects.writes.append(chain_record(link, chain))

    def _epoch_broken(self, store: str, effects: Effects) -> None:
        effects.broken_epochs.append(store)
        for number, entity in self.progress.entities.items():
            if any(table.store == store for table in entity.contract.stores):
                for sweep in self._sweeps:
                    if sweep.entity == number:
                        sweep.judges &= entity.judged
                self._sweeps = [s for s in self._sweeps if s.entity != number or s.judges]
                effects.writes.append(entity_record(entity))
        effects.writes.append(store_record(self.progress, store))

    def _fold_echo(self, echo: LedgerEcho, states: Mapping[bytes, bytes | None], effects: Effects) -> None:
        chain = self.progress.extend(echo.link)
        row = self._commands.get(echo.command_id)
        entity = self.progress.entities.get(echo.entity)
        is_refusal = (echo.outcome, echo.reason) == (Outcome.REFUSED.value, RefusalReason.ROW_MOVED.value)
        at = BEFORE_ALL
        if is_refusal and entity is not None:
            at, _ = self.progress.place_row(entity.contract.stores[echo.store].store, chain, echo.place, snapshot=False)
        effects.writes.append(chain_record(echo.link, chain))
        if row is None or entity is None or not (is_refusal or echo.outcome == Outcome.APPLIED.value):
            return
        state = self.live[echo.entity].get(row)
        if state is None:
            value = states.get(row)
            if value is None:
                return
            state = decode(value)
            self._make_live(entity, row, state)
        for i, replica in enumerate(state.replicas):
            if replica.drift is not None and replica.drift.command_id == echo.command_id:
                self._dirty.add(row)
                if is_refusal:
                    note_refusal(state, i, at)
                else:
                    self._tell(entity, row, state, note_repair(state, i, echo.transaction), effects)
        if is_refusal:
            self._judge(entity, row, state, effects)

    def _fold_mark(self, mark: Mark, effects: Effects) -> None:
        for link in mark.links:
            if self.progress.extends(link):
                effects.writes.append(chain_record(link, self.progress.extend(link)))

    def _fold_pipeline(self, reached: PipelineReached) -> None:
        seen = self._pipeline_seen.setdefault((reached.entity, reached.replica), [])
        seen.append((reached.seen_at_ms, reached.place))
        del seen[:-PIPELINE_REPORTS_KEPT]

    def _heed_pipelines(self, entity: EntityProgress) -> None:
        """Take what was seen of pipelines at a moment up to which their replica's log is known by now."""
        for i in range(len(entity.base_ms)):
            at = (entity.contract.number, i)
            watermark_ms = entity.watermark_ms[i + 1]
            while (seen := self._pipeline_seen.get(at)) and watermark_ms is not None and seen[0][0] < watermark_ms:
                self.pipeline[at] = max(self.pipeline.get(at, b""), seen.pop(0)[1])

    # -- judging -------------------------------------------------------------------------------------------------

    def _advance(self, effects: Effects) -> None:
        moved = self.progress.advance()
        for entity in moved:
            number = entity.contract.number
            awaited = entity.unswept.difference(*(s.judges for s in self._sweeps if s.entity == number))
            if awaited:
                self._begin_sweep(number, awaited)
                effects.writes.append(entity_record(entity))
        for entity in moved:
            self._heed_pipelines(entity)
            for row, state in list(self.live[entity.contract.number].items()):
                self._judge(entity, row, state, effects)
        effects.findings += incidents_of(effects.findings)

    def _judge(self, entity: EntityProgress, row: bytes, state: KeyState, effects: Effects) -> None:
        number = entity.contract.number
        for i, side in enumerate(state.sides):
            if place_in_time(side, self.progress.timeline_of(entity, i)):
                self._dirty.add(row)
        if not all(entity.swept) and drop_unseen(self.progress, entity, state):
            self._dirty.add(row)  # the sweep has not come to it, and it must not be judged by what it was before
        common_ms = [entity.common_ms(i) for i in range(len(state.replicas))]
        reached = [self.pipeline.get((number, i), b"") for i in range(len(state.replicas))]
        commands = [r.drift.command_id for r in state.replicas if r.drift is not None]
        for i in self._settled_refusals(entity, state):
            self._tell(entity, row, state, dispute(state, i), effects)
            self._dirty.add(row)
        told = judge_row(state, row[5:], entity.contract, common_ms, entity.base_ms, reached)
        if told.changed:
            self._dirty.add(row)
        self._forget_commands(commands, state)
        self._tell(entity, row, state, told.steps, effects)
        for step in told.steps:
            drift = state.replicas[step.replica].drift
            if drift is not None and drift.command_id:
                self._commands[drift.command_id] = row
        if any(told.unknown):
            self.unknown[number][row] = told.unknown
        else:
            self.unknown[number].pop(row, None)
        if told.settled:
            del self.live[number][row]
            self._dirty.discard(row)
            effects.writes.append((row, None if is_gone(state) else encode(state)))
            effects.writes += self.notes.forget(row)

    def _forget_commands(self, commands: Iterable[bytes], state: KeyState) -> None:
        """Forget those of a row's commands that no drift of it waits for any more."""
        waited_for = {r.drift.command_id for r in state.replicas if r.drift is not None}
        for command_id in commands:
            if command_id not in waited_for:
                self._commands.pop(command_id, None)

    def _settled_refusals(self, entity: EntityProgress, state: KeyState) -> list[int]:
        """Return the replicas of whose drifts a repair was refused at a place up to which their log is known by now."""
        found = []
        for i, replica in enumerate(state.replicas):
            watermark_ms = entity.watermark_ms[i + 1]
            if replica.drift is not None and replica.drift.refused_at and watermark_ms is not None:
                _, latest_ms = self.progress.timeline_of(entity, i + 1).bracket(replica.drift.refused_at)
                if latest_ms <= watermark_ms:
                    found.append(i)
        return found

    # -- memory --------------------------------------------------------------------------------------------------

    def _tell(
        self, entity: EntityProgress, row: bytes, state: KeyState, steps: Iterable[Step], effects: Effects
    ) -> None:
        for step in steps:
            effects.findings.append(self._finding(entity, row, state, step.replica, step.stage))

    def _finding(self, entity: EntityProgress, row: bytes, state: KeyState, i: int, stage: Stage) -> Finding:
        return finding_of(self.partition, entity, row[5:], state, i, stage)

    def _entity_of(self, row: bytes) -> EntityProgress | None:
        return self.progress.entities.get(int.from_bytes(row[1:5], "big"))

    def _make_live(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        self.live[entity.contract.number][row] = state
        self._dirty.add(row)

    def _flush(self, effects: Effects) -> None:
        """Write the live rows that changed, and note those that were not noted yet."""
        written = []
        for row in self._dirty:
            entity = self._entity_of(row)
            state = self.live[entity.contract.number].get(row) if entity is not None else None
            if state is not None:
                effects.writes.append((row, encode(state)))
                written.append(row)
        self._dirty.clear()
        effects.writes += self.notes.add(written)


def _links(observation: Observation) -> Sequence[Link]:
    if isinstance(observation, Mark):
        return observation.links
    if isinstance(observation, PipelineReached):
        return ()
    return (observation.link,)
