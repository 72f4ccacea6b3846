"""The fold: what a block of observations does to one partition's state. Worker, replay and simulation call it.

`Shard.needed_keys` names the states that an observation touches, `Shard.fold` takes them in and returns what is to be
written and told, in that order: state first, findings second, the offset last. Whatever is killed in between, doing it
again comes to the same: rows below a chain's reach are redeliveries, and a drift whose record was not acknowledged is
told again with the same id.

Keys whose stores do not agree for good are held in memory (`live`) and judged whenever the common time moves. Which
these are is noted in packed records, so that a restart finds them without a scan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.contract import EntityContract
from app.core.digest import row_digest
from app.core.finding import Evidence, Finding, Shown, Stage, UnknownReason, Verdict
from app.core.judging import judge_row, kind_named, note_repair, place_in_time, verify
from app.core.keystate import KeyState, Side, decode, encode
from app.core.limits import KEYS_PER_NOTE_MAX, STAYS_MAX, SWEEP_KEYS, UNCOVERED_STAYS_MAX
from app.core.observation import (
    INCREMENTAL_READ,
    PRESENT,
    QUARANTINED,
    SNAPSHOT_READ,
    UNMAPPABLE,
    Barrier,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    Truncated,
)
from app.core.position import BEFORE_ALL, PLACE_BYTES, SNAPSHOT, epoch_of, place_of, position
from app.core.progress import Chain, EntityProgress, Progress
from app.core.timeline import Timeline
from app.core.verdict import ABSENT, EVER, OPEN, Stay, unknown_state

META = b"\x00"
ROW = b"\x01"
_NOTHING = bytes(16)


def row_key(entity: int, canonical_key: bytes) -> bytes:
    """Return the table key of a row; rows of an entity are together and in the order of their keys."""
    return ROW + entity.to_bytes(4, "big") + canonical_key


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


@dataclass(slots=True)
class Shard:
    """The fold of one partition of `observations`."""

    contracts: Sequence[EntityContract]
    partition: int
    progress: Progress = field(init=False)
    live: dict[int, dict[bytes, KeyState]] = field(init=False)
    unknown: dict[int, dict[bytes, UnknownReason]] = field(init=False)
    pipeline: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _sweeps: list[_Sweep] = field(default_factory=list)
    _swept: set[int] = field(default_factory=set)
    _dirty: set[bytes] = field(default_factory=set)
    _commands: dict[bytes, bytes] = field(default_factory=dict)
    _noted: dict[bytes, int] = field(default_factory=dict)
    _note_left: dict[int, int] = field(default_factory=dict)
    _note_number: int = 0

    def __post_init__(self) -> None:
        self.progress = Progress.of(self.contracts)
        self.live = {c.number: {} for c in self.contracts}
        self.unknown = {c.number: {} for c in self.contracts}

    # -- what the shell calls ------------------------------------------------------------------------------------

    def restore(self, items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Take in all records under `META`, and return the row keys whose states `revive` wants."""
        noted: list[bytes] = []
        for key, value in items:
            kind, rest = key[1:2], key[2:]
            if kind == b"c":
                topic, _, number = rest.rpartition(b"\x00")
                reached, newest, epoch, streaming = json.loads(value)
                chain = Chain(reached, bytes.fromhex(newest), epoch, streaming)
                self.progress.chains[topic.decode(), int(number)] = chain
            elif kind == b"b":
                name, _, at = rest.partition(b"\x00")
                issued_ms, acknowledged_ms, writer_epoch, sequence = json.loads(value)
                store = self.progress.stores.get(name.decode())
                if store is not None:
                    store.timeline.add(at, (writer_epoch, sequence), issued_ms, acknowledged_ms)
            elif kind == b"s":
                self._restore_store(rest.decode(), json.loads(value))
            elif kind == b"e":
                self._restore_entity(int.from_bytes(rest, "big"), json.loads(value))
            elif kind == b"n":
                note = int.from_bytes(rest, "big")
                self._note_number = max(self._note_number, note)
                for row in _unpack_keys(value):
                    noted.append(row)
                    self._noted[row] = note
        for note in self._noted.values():
            self._note_left[note] = self._note_left.get(note, 0) + 1
        return list(dict.fromkeys(noted))

    def revive(self, states: Mapping[bytes, bytes | None]) -> Effects:
        """Make the noted rows live again; a drift whose record was not acknowledged is told again."""
        effects = Effects()
        for row, value in states.items():
            entity = self._entity_of(row)
            if value is None or entity is None:
                self._forget_note(row, effects)
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
        self._advance(effects, force=isinstance(observation, PipelineReached))
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
        covered = all(base is not None for base in entity.base_ms)
        for row, value in items:
            state = live.get(row)
            if state is None:
                state = decode(value)
            changed = self._apply_floors(entity, state) | self._drop_unseen(entity, state)
            if changed:
                self._dirty.add(row)
            if row not in live and covered and not (_agrees(state) and _settled(state)):
                self._make_live(entity, row, state)
            elif row not in live and changed:
                effects.writes.append((row, encode(state)))
                self._dirty.discard(row)
            if row in live:
                self._judge(entity, row, state, effects)
        if len(items) < SWEEP_KEYS:
            self._sweeps.pop(0)
            if covered:
                self._swept.add(sweep.entity)
            self._write_entity(entity, effects)
        else:
            sweep.resume_at = items[-1][0] + b"\x00"
        self._flush(effects)
        return effects

    def verified_through_ms(self, entity: int) -> int | None:
        """Return the common time up to which every row of an entity has `agree` or `drift`; None before coverage."""
        progress = self.progress.entities[entity]
        through: int | None = None
        if entity not in self._swept or any(s.entity == entity for s in self._sweeps):
            return None
        for i in range(len(progress.base_ms)):
            common = progress.common_ms(i)
            if common is None:
                return None
            for state in self.live[entity].values():
                replica = state.replicas[i]
                if replica.drift is None:
                    common = min(common, max(replica.vouched_until_ms, progress.base_ms[i] or 0))
            through = common if through is None else min(through, common)
        return through

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
            self._write_chain(block.link, chain, effects)
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
                self._settle(entity, state)
            touched[row] = state
            effects.rows += 1
            if self._fold_row(entity, state, block, n, at) and block.store:
                for step in verify(state, block.store - 1):
                    effects.findings.append(self._finding(entity, row, state, step.replica, step.stage))
        covered = any(base is not None for base in entity.base_ms)
        for row, state in touched.items():
            if row in live:
                self._dirty.add(row)
            elif covered and not (_agrees(state) and _settled(state)):
                self._make_live(entity, row, state)
            else:
                effects.writes.append((row, None if _gone(state) else encode(state)))
        self._write_chain(block.link, chain, effects)

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

    def _fold_row(self, entity: EntityProgress, state: KeyState, block: RowBlock, n: int, at: bytes) -> bool:
        """Put one change into its row's state; False if the row is as it was."""
        side = state.sides[block.store]
        self._apply_floors(entity, state)
        if at <= side.position:
            return self._fold_behind_floor(entity, state, block, n, at)
        digest = self._row_state(side, block, n)
        side.position = at
        side.raw_key = block.raw_keys[n * 8 : n * 8 + 8]
        if digest == side.stays[-1].digest:
            return False
        side.stays.append(self._stay(entity, block, n, at, digest))
        self._apply_floors(entity, state)
        self._bound(entity, side)
        return True

    def _stay(self, entity: EntityProgress, block: RowBlock, n: int, at: bytes, digest: bytes) -> Stay:
        earliest_ms, latest_ms = self._timeline(entity, block.store).bracket(at)
        if block.flags[n] & SNAPSHOT_READ:
            earliest_ms = EVER
        return Stay(digest, at, earliest_ms, latest_ms, block.link.partition, block.offsets[n], block.transactions[n])

    def _fold_behind_floor(self, entity: EntityProgress, state: KeyState, block: RowBlock, n: int, at: bytes) -> bool:
        """Put in a change that came after the truncate that ended it.

        The truncate travels in one CDC partition and overtakes rows of the others. What a row showed before it was
        cut still counts: without it the replica would seem to have left its last good state too early.
        """
        side = state.sides[block.store]
        last = side.stays[-1]
        if last.position != entity.floor[block.store] or last.position != side.position or len(side.stays) < 2:  # noqa: PLR2004
            return False
        before = side.stays[-2]
        digest = self._row_state(side, block, n)
        side.groups = b""
        if at <= before.position or digest == before.digest:
            return False
        side.stays.insert(-1, self._stay(entity, block, n, at, digest))
        return True

    @staticmethod
    def _row_state(side: Side, block: RowBlock, n: int) -> bytes:
        """Return the state that a change leaves: a digest, absence, or why it is not known."""
        flags, width = block.flags[n], block.groups * 16
        if flags & QUARANTINED:
            return unknown_state(UnknownReason.QUARANTINED)
        if flags & UNMAPPABLE:
            return unknown_state(UnknownReason.SCHEMA)
        if not flags & PRESENT:
            side.groups = b""
            return ABSENT
        raw_key = block.raw_keys[n * 8 : n * 8 + 8]
        if side.stays[-1].digest != ABSENT and side.raw_key not in {bytes(8), raw_key}:
            return unknown_state(UnknownReason.KEY_COLLISION)
        groups = block.digests[n * width : (n + 1) * width]
        if block.groups == 1:
            return groups
        parts = [groups[g : g + 16] for g in range(0, width, 16)]
        known = [side.groups[g : g + 16] for g in range(0, len(side.groups), 16)] or [_NOTHING] * block.groups
        parts = [was if new == _NOTHING else new for new, was in zip(parts, known, strict=True)]
        side.groups = b"".join(parts)
        return unknown_state(UnknownReason.PARTIAL) if _NOTHING in parts else row_digest(side.groups)

    def _settle(self, entity: EntityProgress, state: KeyState) -> None:
        """Forget the history of a row that was not live: it agreed for good, up to this common time at least."""
        if entity.contract.number not in self._swept or any(r.drift is not None for r in state.replicas):
            return
        for side in state.sides:
            side.stays = [side.stays[-1]._replace(earliest_ms=EVER, latest_ms=EVER)]
        for i, replica in enumerate(state.replicas):
            common_ms = entity.common_ms(i)
            if common_ms is not None:
                replica.vouched_until_ms = max(replica.vouched_until_ms, common_ms)

    def _bound(self, entity: EntityProgress, side: Side) -> None:
        if len(side.stays) > UNCOVERED_STAYS_MAX and all(base is None for base in entity.base_ms):
            del side.stays[:-UNCOVERED_STAYS_MAX]
        if len(side.stays) > STAYS_MAX:
            # What is cut off cannot be judged; it vouches for anything, and the row is unknown until it calms down.
            cut = side.stays[-STAYS_MAX // 2 - 1]
            side.stays[: -STAYS_MAX // 2] = [cut._replace(digest=unknown_state(UnknownReason.HOT), earliest_ms=EVER)]

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
                    if self._apply_floors(entity, state):
                        self._dirty.add(row)
                self._sweeps.append(_Sweep(cut.entity, row_key(cut.entity, b"")))
                self._write_entity(entity, effects)
        self._write_chain(cut.link, chain, effects)

    def _apply_floors(self, entity: EntityProgress, state: KeyState) -> bool:
        """Make a row absent where a truncate stands behind its newest change."""
        changed = False
        for number, floor in enumerate(entity.floor):
            side = state.sides[number]
            if floor == BEFORE_ALL:
                continue
            # Usually the truncate is the newest; but it may come after rows of other partitions that stand behind it.
            at = len(side.stays)
            while at and side.stays[at - 1].position > floor:
                at -= 1
            if not at or side.stays[at - 1].digest == ABSENT or (at == len(side.stays) and side.position > floor):
                continue
            timeline = self._timeline(entity, number)
            side.stays.insert(at, Stay(ABSENT, floor, *timeline.bracket(floor), -1, -1, 1))
            if side.position < floor:
                side.position = floor
                side.groups = b""
            changed = True
        return changed

    def _drop_unseen(self, entity: EntityProgress, state: KeyState) -> bool:
        """Make a row absent that the snapshot of its store's newest epoch did not show."""
        changed = False
        for number, table in enumerate(entity.contract.stores):
            store = self.progress.stores[table.store]
            side = state.sides[number]
            if not store.epoch or epoch_of(side.position) >= store.epoch or side.stays[-1].digest == ABSENT:
                continue
            if not store.log_restarted and place_of(side.position) > store.break_place:
                continue
            at = position(store.epoch, SNAPSHOT, store.break_place)
            side.stays.append(Stay(ABSENT, at, EVER, OPEN))
            side.position = at
            side.groups = b""
            changed = True
        return changed

    def _fold_barrier(self, barrier: Barrier, effects: Effects) -> None:
        link = barrier.link
        known = self.progress.chains.get((link.topic, link.partition))
        redelivered = known is not None and link.end <= known.reached
        chain = self.progress.extend(link)
        if not redelivered:
            if self.progress.take_beacon(barrier, chain):
                self._epoch_broken(barrier.beacon.store, effects)
            store = self.progress.stores[barrier.beacon.store]
            timeline = store.timeline
            if timeline.positions and timeline.positions[-1] == store.last_beacon:
                key = META + b"b" + barrier.beacon.store.encode() + b"\x00" + store.last_beacon
                value = [timeline.issued_ms[-1], barrier.beacon.previous_acknowledged_ms, *timeline.sequence]
                effects.writes.append((key, json.dumps(value).encode()))
                forgotten = timeline.forget_oldest()
                if forgotten is not None:
                    effects.writes.append((META + b"b" + barrier.beacon.store.encode() + b"\x00" + forgotten, None))
            self._write_store(barrier.beacon.store, effects)
        self._write_chain(link, chain, effects)

    def _epoch_broken(self, store: str, effects: Effects) -> None:
        effects.broken_epochs.append(store)
        for number, entity in self.progress.entities.items():
            if any(table.store == store for table in entity.contract.stores):
                self._swept.discard(number)
                self._sweeps = [s for s in self._sweeps if s.entity != number]
                self._write_entity(entity, effects)
        self._write_store(store, effects)

    def _fold_echo(self, echo: LedgerEcho, states: Mapping[bytes, bytes | None], effects: Effects) -> None:
        self._write_chain(echo.link, self.progress.extend(echo.link), effects)
        row = self._commands.get(echo.command_id)
        entity = self.progress.entities.get(echo.entity)
        if row is None or entity is None or echo.outcome != "applied":
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
                for step in note_repair(state, i, echo.transaction):
                    effects.findings.append(self._finding(entity, row, state, step.replica, step.stage))
                self._dirty.add(row)

    def _fold_mark(self, mark: Mark, effects: Effects) -> None:
        for link in mark.links:
            if self.progress.extends(link):
                self._write_chain(link, self.progress.extend(link), effects)

    def _fold_pipeline(self, reached: PipelineReached) -> None:
        held = self.pipeline.get((reached.entity, reached.replica), b"")
        self.pipeline[reached.entity, reached.replica] = max(held, reached.place)

    # -- judging -------------------------------------------------------------------------------------------------

    def _advance(self, effects: Effects, *, force: bool) -> None:
        moved = self.progress.advance()
        for entity in moved:
            number = entity.contract.number
            covered = all(base is not None for base in entity.base_ms)
            if covered and number not in self._swept and not any(s.entity == number for s in self._sweeps):
                self._sweeps.append(_Sweep(number, row_key(number, b"")))
                self._write_entity(entity, effects)
        for entity in self.progress.entities.values() if force else moved:
            for row, state in list(self.live[entity.contract.number].items()):
                self._judge(entity, row, state, effects)
        self._tell_incidents(effects)

    @staticmethod
    def _tell_incidents(effects: Effects) -> None:
        """Add one record for each event that made many of these drifts, with the count of this partition's rows."""
        rows: dict[bytes, list[Finding]] = {}
        for finding in effects.findings:
            if finding.stage is Stage.CONFIRMED and finding.incident_id:
                rows.setdefault(finding.incident_id, []).append(finding)
        for incident_id, drifts in rows.items():
            effects.findings.append(
                replace(drifts[0], finding_id=incident_id, canonical_key=b"", incident_rows=len(drifts))
            )

    def _judge(self, entity: EntityProgress, row: bytes, state: KeyState, effects: Effects) -> None:
        number = entity.contract.number
        for i, side in enumerate(state.sides):
            if place_in_time(side, self._timeline(entity, i)):
                self._dirty.add(row)
        common_ms = [entity.common_ms(i) for i in range(len(state.replicas))]
        reached = [self.pipeline.get((number, i), b"") for i in range(len(state.replicas))]
        told = judge_row(state, row[5:], entity.contract, common_ms, entity.base_ms, reached)
        if told.changed:
            self._dirty.add(row)
        for step in told.steps:
            effects.findings.append(self._finding(entity, row, state, step.replica, step.stage))
            drift = state.replicas[step.replica].drift
            if drift is not None and drift.command_id:
                self._commands[drift.command_id] = row
        if told.unknown is not None:
            self.unknown[number][row] = told.unknown
        else:
            self.unknown[number].pop(row, None)
        if told.settled:
            del self.live[number][row]
            self._dirty.discard(row)
            effects.writes.append((row, None if _gone(state) else encode(state)))
            self._forget_note(row, effects)

    def _timeline(self, entity: EntityProgress, i: int) -> Timeline:
        return self.progress.stores[entity.contract.stores[i].store].timeline

    def _finding(self, entity: EntityProgress, row: bytes, state: KeyState, i: int, stage: Stage) -> Finding:
        contract = entity.contract
        terms = contract.replicas[i]
        replica, truth, shown = state.replicas[i], state.sides[0], state.sides[i + 1]
        drift = replica.drift
        if drift is None:
            raise ValueError(f"a finding without a drift, stage {stage.value}")
        evidence = Evidence(
            tuple(_shown(s, contract.stores[0].topic) for s in truth.stays[-64:]),
            tuple(_shown(s, contract.stores[i + 1].topic) for s in shown.stays[-64:]),
            entity.watermark_ms[0] or 0,
            entity.watermark_ms[i + 1] or 0,
            replica.vouched_until_ms,
            drift.confirmed_at_ms,
            terms.window_ms,
        )
        over = stage in {Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED}
        return Finding(
            finding_id=drift.drift_id,
            stage=stage,
            verdict=Verdict.AGREE if over else Verdict.DRIFT,
            kind=kind_named(drift),
            checker="key/1",
            contract_version=contract.version,
            entity=contract.entity,
            authority=contract.authority,
            replica=terms.store,
            canonical_key=row[5:],
            shard=self.partition,
            observations_partition=self.partition,
            evidence=evidence,
            expected_digest=drift.expected_digest if stage is Stage.OVERTAKEN else shown.stays[-1].digest,
            intended_digest=drift.intended_digest if stage is Stage.OVERTAKEN else truth.stays[-1].digest,
            authority_position=truth.stays[-1].position,
            replica_position=shown.stays[-1].position,
            transaction=shown.stays[-1].transaction,
            incident_id=drift.incident_id,
            incident_rows=0,
            command_id=drift.command_id if stage is Stage.VERIFIED else b"",
            trace_id=hashlib.blake2b(drift.drift_id, digest_size=16, person=b"driftline-trace").digest(),
        )

    # -- memory and notes ----------------------------------------------------------------------------------------

    def _entity_of(self, row: bytes) -> EntityProgress | None:
        return self.progress.entities.get(int.from_bytes(row[1:5], "big"))

    def _make_live(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        self.live[entity.contract.number][row] = state
        self._dirty.add(row)

    def _forget_note(self, row: bytes, effects: Effects) -> None:
        number = self._noted.pop(row, None)
        if number is None:
            return
        self._note_left[number] -= 1
        if not self._note_left[number]:
            del self._note_left[number]
            effects.writes.append((META + b"n" + number.to_bytes(8, "big"), None))

    def _flush(self, effects: Effects) -> None:
        """Write the live rows that changed, and note those that were not noted yet."""
        fresh: list[bytes] = []
        for row in self._dirty:
            entity = self._entity_of(row)
            state = self.live[entity.contract.number].get(row) if entity is not None else None
            if state is None:
                continue
            effects.writes.append((row, encode(state)))
            if row not in self._noted:
                fresh.append(row)
        self._dirty.clear()
        fresh.sort()
        for start in range(0, len(fresh), KEYS_PER_NOTE_MAX):
            chunk = fresh[start : start + KEYS_PER_NOTE_MAX]
            self._note_number += 1
            self._note_left[self._note_number] = len(chunk)
            for row in chunk:
                self._noted[row] = self._note_number
            effects.writes.append((META + b"n" + self._note_number.to_bytes(8, "big"), _pack_keys(chunk)))

    def _write_chain(self, link: Link, chain: Chain, effects: Effects) -> None:
        key = META + b"c" + link.topic.encode() + b"\x00" + str(link.partition).encode()
        value = [chain.reached, chain.newest.hex(), chain.epoch, chain.streaming]
        effects.writes.append((key, json.dumps(value).encode()))

    def _write_store(self, name: str, effects: Effects) -> None:
        store = self.progress.stores[name]
        value = [
            store.epoch,
            store.break_place.hex(),
            store.log_restarted,
            store.snapshot_seen,
            store.server,
            store.last_beacon.hex(),
            sorted(self.progress.writers_began_ms.items())[-8:],
        ]
        effects.writes.append((META + b"s" + name.encode(), json.dumps(value).encode()))

    def _restore_store(self, name: str, value: list[Any]) -> None:
        store = self.progress.stores.get(name)
        if store is None:
            return
        epoch, break_place, log_restarted, snapshot_seen, server, last_beacon, writers = value
        store.epoch = int(epoch)
        store.break_place = bytes.fromhex(str(break_place))
        store.log_restarted = bool(log_restarted)
        store.snapshot_seen = bool(snapshot_seen)
        store.server = str(server)
        store.last_beacon = bytes.fromhex(str(last_beacon))
        self.progress.writers_began_ms.update(dict(writers))

    def _write_entity(self, entity: EntityProgress, effects: Effects) -> None:
        number = entity.contract.number
        value = [
            entity.contract.version,
            entity.covered_at_ms,
            entity.base_ms,
            [f.hex() for f in entity.floor],
            number in self._swept,
        ]
        effects.writes.append((META + b"e" + number.to_bytes(4, "big"), json.dumps(value).encode()))

    def _restore_entity(self, number: int, value: list[object]) -> None:
        entity = self.progress.entities.get(number)
        if entity is None:
            return
        version, covered, base, floors, swept = value
        if version != entity.contract.version or not isinstance(covered, list) or not isinstance(base, list):
            return
        if not isinstance(floors, list):
            return
        entity.covered_at_ms = list(covered)
        entity.base_ms = list(base)
        entity.floor = [bytes.fromhex(f) for f in floors]
        if swept:
            self._swept.add(number)
        # A sweep that was under way begins again: it is idempotent.
        if all(b is not None for b in base) and (not swept or any(f != BEFORE_ALL for f in entity.floor)):
            self._sweeps.append(_Sweep(number, row_key(number, b"")))


def _links(observation: Observation) -> Sequence[Link]:
    if isinstance(observation, Mark):
        return observation.links
    if isinstance(observation, PipelineReached):
        return ()
    return (observation.link,)


def _agrees(state: KeyState) -> bool:
    newest = state.sides[0].stays[-1].digest
    return len(newest) != 1 and all(side.stays[-1].digest == newest for side in state.sides[1:])


def _settled(state: KeyState) -> bool:
    return all(len(side.stays) == 1 for side in state.sides) and all(r.drift is None for r in state.replicas)


def _gone(state: KeyState) -> bool:
    return all(side.stays[-1].digest == ABSENT for side in state.sides) and _settled(state)


def _shown(stay: Stay, topic: str) -> Shown:
    return Shown(
        stay.digest,
        stay.position,
        None if stay.earliest_ms == EVER else stay.earliest_ms,
        None if stay.latest_ms == OPEN else stay.latest_ms,
        topic,
        stay.partition,
        stay.offset,
        stay.transaction,
    )


def _pack_keys(keys: Sequence[bytes]) -> bytes:
    return b"".join(len(key).to_bytes(2, "big") + key for key in keys)


def _unpack_keys(value: bytes) -> list[bytes]:
    keys = []
    at = 0
    while at < len(value):
        n = int.from_bytes(value[at : at + 2], "big")
        keys.append(value[at + 2 : at + 2 + n])
        at += 2 + n
    return keys
