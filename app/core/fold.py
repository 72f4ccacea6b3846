"""The fold: what a block of observations does to one partition's state. Worker, replay and simulation call it.

`Shard.needed_keys` names the states that an observation touches, `Shard.fold` takes them in and returns what is to be
told. States change in memory; `Shard.flush` returns what has to be written before the offset is committed: rows first,
then what is known of the logs. Whatever is killed in between, doing it again comes to the same: rows below a chain's
reach are redeliveries, and a drift whose record was not acknowledged is told again with the same id.

A row is live, that is held in memory, while its verdict may change by itself: it differs within its window, its drift
is not told yet, or its way to agreement has not been bracketed by beacons. `Deadlines` say when each is judged; what
waits for a touch alone is in the table only. Of many live rows those that wait for a deadline sleep: their states are
in the table only, too, and `due_keys` asks for them in time. Which rows are live or drifted is noted in packed records,
so that a restart finds them without a scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from app.core.command import Outcome, RefusalReason
from app.core.contract import EntityContract
from app.core.deadlines import NEVER, NOW, SOON, awaited_place, next_look_ms
from app.core.evidence import finding_of, gap_finding_of, incidents_of
from app.core.finding import Finding, Stage
from app.core.gone import GoneRows
from app.core.journal import (
    META,
    Notes,
    Write,
    beacon_records,
    chain_record,
    commit_rank,
    entity_record,
    forgotten_record,
    precedes_rows,
    restore,
    row_key,
    store_record,
)
from app.core.judging import (
    Step,
    begin,
    collapse,
    dispute,
    judge_row,
    note_refusal,
    note_repair,
    place_in_time,
    trim,
    verify,
)
from app.core.keystate import KeyState, ReplicaState
from app.core.limits import AWAKE_ROWS_MAX, HELD_STATES_MAX, STAYS_WORTH_KEEPING, SWEEP_KEYS
from app.core.live import LiveRows, drifts_of
from app.core.observation import (
    INCREMENTAL_READ,
    PRESENT,
    SNAPSHOT_READ,
    Barrier,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    SliceRead,
    Truncated,
)
from app.core.passage import Passage, begin_passage
from app.core.pipeline_reach import PipelineReach
from app.core.position import BEFORE_ALL, PLACE_BYTES, STREAM, epoch_of, place_of, position
from app.core.progress import Chain, EntityProgress, Progress
from app.core.reread import Gap, PendingSlice, Rereads, end_missed, fold_read, is_missed, is_valid
from app.core.rows import (
    BlockOfStore,
    apply_floors,
    drop_unseen,
    fold_change,
    has_drift,
    is_gone,
    is_settled,
    settle,
    stay_left,
    vouch_at_rest,
)
from app.core.state_forms import decode, encode
from app.core.sweeps import Sweeps
from app.core.timeline import Timeline
from app.core.verdict import ABSENT, EVER, followed_by, shared_until, surely_followed

__all__ = ["META", "Effects", "Shard", "row_key"]

_PAIR: Final = 2
_ONE_REPLICA: Final = [0]
_STREAMED = bytes(flags for flags in range(256) if not flags & (SNAPSHOT_READ | INCREMENTAL_READ))


@dataclass(slots=True)
class Effects:
    """What a step asks of the shell: to tell these findings. Counts are for metrics."""

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    redelivered: int = 0
    dropped_links: int = 0
    broken_epochs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Shard:
    """The fold of one partition of `observations`."""

    contracts: Sequence[EntityContract]
    partition: int
    awake_rows_max: int = AWAKE_ROWS_MAX
    held_states_max: int = HELD_STATES_MAX
    progress: Progress = field(init=False)
    live: dict[int, LiveRows] = field(init=False)
    pipelines: PipelineReach = field(default_factory=PipelineReach)
    _sweeps: Sweeps = field(default_factory=Sweeps)
    _commands: dict[bytes, bytes] = field(default_factory=dict)
    _due: dict[bytes, None] = field(default_factory=dict)  # rows that sleep and are to be judged
    _incidents: dict[bytes, Finding] = field(default_factory=dict)  # of which some rows are judged, and others due
    _restored_gaps: list[Gap] = field(default_factory=list)  # that were not acknowledged
    notes: Notes = field(default_factory=Notes)
    rereads: Rereads = field(default_factory=Rereads)
    # Rows in memory that are not live: `_fresh` since the last flush, `_recent` of the time before.
    _fresh: dict[bytes, KeyState | bytes] = field(default_factory=dict)
    _recent: dict[bytes, KeyState | bytes] = field(default_factory=dict)
    # What is to be written: rows, chains, and records that are ready.
    _dirty: dict[bytes, None] = field(default_factory=dict)  # in the order of what happened
    _gone: GoneRows = field(default_factory=GoneRows)  # written as absent, and deleted later
    _extended: dict[tuple[str, int], Link] = field(default_factory=dict)
    _records: dict[bytes, bytes | None] = field(default_factory=dict)
    # What was to be written at the last flush and waits for the next one: rows, and records with those of chains.
    _aged: dict[bytes, None] = field(default_factory=dict)
    _aged_records: dict[bytes, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress = Progress.of(self.contracts)
        self.live = {c.number: LiveRows(c) for c in self.contracts}

    # -- what the shell calls ------------------------------------------------------------------------------------

    def restore(self, items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Take in all records under `META`, and return the row keys whose states `revive` wants."""
        records = list(items)
        restore(self.progress, self.notes, records)
        self.rereads.restore(records)
        for pending in list(self.rereads.slices.values()):
            if self._entity_in(pending.entity, pending.store) is None:
                self._record(self.rereads.forget_slice(pending.slice_id))
        self._restored_gaps = list(self.rereads.gaps.values())
        for number, entity in self.progress.entities.items():
            self._record(entity_record(entity))  # so that no row is held without what its digest means
            # A sweep that was under way begins again: it is idempotent.
            was_cut = any(at != BEFORE_ALL for at in entity.floor)
            unfinished = entity.judged if was_cut else entity.unswept
            if unfinished:
                self._sweeps.ask(number, unfinished)
        return list(self.notes.noted)

    def revive(self, states: Mapping[bytes, bytes | None]) -> Effects:
        """Make noted rows live again, some or all; a drift or gap whose record was not acknowledged is told again."""
        effects = Effects()
        gaps, self._restored_gaps = self._restored_gaps, []
        for gap in gaps:
            entity = self._entity_in(int.from_bytes(gap.row[1:5], "big"), gap.store)
            if entity is not None:
                effects.findings.append(gap_finding_of(self.partition, entity, gap.row[5:], gap))
        for row, value in states.items():
            entity = self._entity_of(row)
            if value is None or entity is None:
                self._records.update(self.notes.forget(row))
                continue
            state = decode(value)
            if len(state.sides) == len(entity.contract.stores):
                effects.findings += self._revive_row(entity, row, state)
        self._let_sleep()
        return effects

    def _revive_row(self, entity: EntityProgress, row: bytes, state: KeyState) -> Iterable[Finding]:
        """Make a row live again; yield what was told of it and not acknowledged."""
        if apply_floors(self.progress, entity, state):
            self._dirty[row] = None  # it is judged before the sweep comes to it
        live = self.live[entity.contract.number]
        live.schedule(row, state, [SOON] * len(state.replicas))
        live.recount(row, state)
        for i, replica in enumerate(state.replicas):
            if replica.drift is not None:
                if replica.drift.command_id:
                    self._commands[replica.drift.command_id] = row
                if not replica.drift.acknowledged:
                    yield self._finding(entity, row, state, i, replica.drift.stage)

    def needed_keys(self, observation: Observation) -> list[bytes]:
        """Return the table keys whose states `fold` needs for this observation, without those in memory."""
        if isinstance(observation, RowBlock):
            live = self.live.get(observation.entity)
            if live is None or not self.progress.extends(observation.link):
                return []
            prefix = row_key(observation.entity, b"")
            rows = {prefix + key for key in observation.keys}
            # A difference from a dict looks up these rows; one from its keys would walk over all that it holds.
            return sorted(rows.difference(live.states).difference(self._fresh).difference(self._recent))
        if isinstance(observation, LedgerEcho):
            row = self._commands.get(observation.command_id)
            return [row] if row is not None and self._held(row) is None else []
        return []

    def fold(self, observation: Observation, states: Mapping[bytes, bytes | None]) -> Effects:
        """Take one observation in; `states` holds the values of `needed_keys`, None for absent ones.

        What is of a store that the entity's contract has no more extends its chain, and says nothing.
        """
        effects = Effects()
        effects.dropped_links = sum(not self.progress.extends(link) for link in _links(observation))
        if effects.dropped_links and not isinstance(observation, Mark):
            return effects
        match observation:
            case RowBlock():
                self._fold_rows(observation, states, effects)
            case Truncated():
                self._fold_truncate(observation)
            case Mark():
                self._fold_mark(observation)
            case Barrier():
                self._fold_barrier(observation, effects)
            case LedgerEcho():
                self._fold_echo(observation, states, effects)
            case PipelineReached():
                self.pipelines.see(observation)
            case SliceRead():
                self._fold_slice(observation)
        self._advance(effects)
        return effects

    def acknowledged(self, findings: Iterable[Finding]) -> Effects:
        """Take in that the broker has these findings."""
        effects = Effects()
        for finding in findings:
            if finding.stage is Stage.NOTED:
                self.rereads.forget_gap(finding.finding_id)
                continue
            entity = next((e for e in self.progress.entities.values() if e.contract.entity == finding.entity), None)
            if entity is None:
                continue
            row = row_key(entity.contract.number, finding.canonical_key)
            state = self.live[entity.contract.number].state(row)
            if state is None:
                continue
            for replica in state.replicas:
                drift = replica.drift
                if drift is not None and (drift.drift_id, drift.stage) == (finding.finding_id, finding.stage):
                    drift.acknowledged = True
                    self._dirty[row] = None
            self._judge(entity, row, state, effects)
        return effects

    @property
    def is_full(self) -> bool:
        """Whether a flush is wanted, for there are many states in memory."""
        return len(self._dirty) + len(self._aged) > self.held_states_max

    def flush(self) -> list[Write]:
        """Return all that changed and was not returned yet, to be written together; None deletes.

        Rows come before chains: a beginning of this list never claims rows that are not there. Before the rows come
        gaps, which they no longer show, and notes, without which nobody would find what they have to tell. A row that
        is gone is deleted by a later flush: until its chains are written, what they bring again must be known for a
        redelivery, and a read that is as old as the row must be known to say nothing.
        """
        self._age()
        return self._written()

    def flush_aged(self) -> list[Write]:
        """Return what had changed when this was called last, to be written as what `flush` returns.

        Rows are written as they are now, and chains as they were then: as if a commit had been torn between the two.
        What was folded since is in some of the rows, and is to be read again after a restart. A row that changed in one
        store and follows in the other meanwhile is so written once, where each commit would write what it comes upon.
        """
        written = self._written()
        self._age()
        return written

    def _age(self) -> None:
        """Let the next `_written` return what changed until now."""
        self._aged.update(self._dirty)
        self._dirty.clear()
        self._aged_records.update(self._records)
        self._records = {}
        self._aged_records.update(chain_record(link, self.progress.chains[at]) for at, link in self._extended.items())
        self._extended = {}

    def _written(self) -> list[Write]:
        noted: list[bytes] = []
        left = self._gone.let_go(self.progress.entities, self.pipelines)
        rows: list[Write] = [(row, None) for row in left if row not in self._dirty and row not in self._aged]
        for row in self._aged:
            self._dirty.pop(row, None)
            number = int.from_bytes(row[1:5], "big")
            live = self.live.get(number)
            state = live.states.get(row) if live is not None else None
            is_live = state is not None
            kept = state or self._fresh.get(row) or self._recent.get(row)
            if kept is None:
                continue
            self._gone.discard(number, row)
            if isinstance(kept, bytes):
                rows.append((row, kept))
                continue
            if isinstance(kept, Passage):
                rows.append((row, kept.packed()))
                noted.append(row)
                continue
            rows.append((row, encode(kept)))
            if is_gone(kept):
                self._gone.add(self.progress.entities[number], row, kept)
            elif is_live or self._is_noted(row, kept):
                noted.append(row)
        # Rows are written as they are now, and so is what must be there before them.
        before = [*filter(precedes_rows, self._aged_records.items()), *filter(precedes_rows, self._records.items())]
        behind = sorted((w for w in self._aged_records.items() if not precedes_rows(w)), key=commit_rank)
        written = [*self.rereads.writes.items(), *self.notes.add(noted), *before, *rows, *behind]
        self.rereads.writes = {}
        self._aged.clear()
        self._aged_records = {}
        self._recent, self._fresh = self._fresh, {}
        self._let_sleep()
        return written

    def due_keys(self) -> list[bytes]:
        """Return the table keys of rows that sleep and are to be judged, some at a time: `wake` takes their states.

        What `flush` returned must have been written before they are read.
        """
        return sorted(islice(self._due, SWEEP_KEYS))

    def wake(self, states: Mapping[bytes, bytes | None]) -> Effects:
        """Take in what `due_keys` asked for, and judge those rows."""
        effects = Effects()
        for row, value in states.items():
            self._due.pop(row, None)
            entity = self._entity_of(row)
            if entity is None or row not in self.live[entity.contract.number].asleep:
                continue  # a change of it came first
            state = self._read(entity, row, value)
            self._find_at_rest(entity, row, state)
            self._judge(entity, row, state, effects)
        self._tell_incidents(effects)
        self._let_sleep()
        return effects

    def sweep_range(self) -> tuple[bytes, bytes, int] | None:
        """Return the next range that a sweep wants to read: first key, end (excluded), how many; None if none.

        What `flush` returns must be written before it is read, since a sweep judges what the table holds.
        """
        if not self._sweeps.waiting:
            return None
        sweep = self._sweeps.waiting[0]
        return sweep.resume_at, sweep.end, SWEEP_KEYS

    def sweep(self, items: Sequence[tuple[bytes, bytes]]) -> Effects:
        """Take in what `sweep_range` asked for: rows that do not agree become live and are judged."""
        effects = Effects()
        sweep = self._sweeps.waiting[0]
        entity = self.progress.entities[sweep.entity]
        live = self.live[sweep.entity]
        if sweep.reread is None and not sweep.floor:
            sweep.floor = [*entity.floor]
        for row, value in items:
            state = self._held(row)
            if state is None:
                state = self._read(entity, row, value)
            self._end_in_table(entity, row, state)
            if sweep.reread is not None:
                self._hold_against(entity, row, state, sweep.reread, effects)
            if row in live.states or (entity.judged and not is_settled(state, entity.judged)):
                self._make_live(entity, row, state)
                self._judge(entity, row, state, effects)
        if not sweep.goes_on_behind(items):
            self._sweeps.waiting.pop(0)
            if sweep.reread is not None:
                self._record(self.rereads.forget_slice(sweep.reread.slice_id))
            for i in sweep.judges:
                entity.swept[i] = True
            entity.forget_cuts(sweep.floor)
            self._record(entity_record(entity))
        return effects

    def _end_in_table(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Make a row absent that was cut or that a snapshot did not show, and let it be deleted if it is gone."""
        if apply_floors(self.progress, entity, state) | drop_unseen(self.progress, entity, state):
            self._dirty[row] = None
            if row not in self.live[entity.contract.number].states:
                self._fresh[row] = state
        if is_gone(state):  # a worker that was killed knows of it no more
            self._gone.add(entity, row, state)

    def verified_through_ms(self, entity: int, i: int) -> int | None:
        """Return the common time up to which every row has `agree` or `drift` in a replica; None before coverage."""
        progress = self.progress.entities[entity]
        common_ms = progress.common_ms(i)
        swept = progress.swept[i] and i not in self._sweeps.judges_of(entity)
        if common_ms is None or not swept:
            return None
        return max(progress.base_ms[i] or 0, self.live[entity].vouched_ms(i, common_ms))

    # -- rows ----------------------------------------------------------------------------------------------------

    def _held(self, row: bytes) -> KeyState | None:
        """Return a row's state if it is in memory."""
        live = self.live.get(int.from_bytes(row[1:5], "big"))
        state = live.state(row) if live is not None else None
        kept = state or self._fresh.get(row) or self._recent.get(row)
        return decode(kept) if isinstance(kept, bytes) else kept

    def _fold_rows(self, block: RowBlock, states: Mapping[bytes, bytes | None], effects: Effects) -> None:
        entity = self._entity_in(block.entity, block.store)
        chain = self.progress.chains.get((block.link.topic, block.link.partition))
        reached = chain.reached if chain is not None else block.link.begin
        chain = self._extend(block.link)
        if entity is None:
            return
        live = self.live[block.entity].states
        # With one replica, a row is live only as long as that is not at rest.
        agreeing, has_more = self.live[block.entity].agreeing, len(entity.contract.replicas) > 1
        forgotten_to = [*entity.forgotten_to]
        source = BlockOfStore.of(self.progress, entity, block)
        may_pass = source.settles == _ONE_REPLICA and not has_more and block.groups == 1
        places = self._places(entity, block, reached, chain, effects)
        prefix = row_key(block.entity, b"")
        touched: dict[bytes, KeyState | Passage] = {}
        for n, at in places:
            row = prefix + block.keys[n]
            held = touched.get(row) or live.get(row)
            if may_pass and self._passes(source, touched, row, n, at, held, states.get(row)):
                continue
            state = self._opened(source, row, held, states.get(row))
            if has_more and held is not None and row not in touched and row not in agreeing:
                vouch_at_rest(state, source.common_ms, source.swept)
            touched[row] = state
            if block.flags[n] & INCREMENTAL_READ:
                told = fold_read(source, state, n, at)
                if told is not None:
                    gap = Gap(row, block.store, told, state.sides[block.store].stays[-1])
                    self._tell_gap(entity, gap, effects)
            elif (
                fold_change(source, state, n, at) and block.store and state.replicas[block.store - 1].drift is not None
            ):
                self._tell(entity, row, state, verify(state, block.store - 1), effects)
        self._note_forgotten(entity, forgotten_to)
        effects.rows += len(places)
        effects.redelivered += len(block.keys) - len(places)
        self._dirty.update(dict.fromkeys(touched))
        self._settle_touched(entity, touched)

    def _at_rest(self, source: BlockOfStore, row: bytes, value: bytes | None) -> KeyState:
        """Return the state of a row that is not awake; one that was asleep is live again, another one is settled."""
        state = self._fresh.get(row) or self._recent.get(row) or value
        if not isinstance(state, KeyState):
            state = self._read(source.entity, row, state)
        if row in self.live[source.block.entity].states:
            self._find_at_rest(source.entity, row, state)
        else:
            settle(source, state)
        return state

    def _opened(
        self, source: BlockOfStore, row: bytes, held: KeyState | Passage | None, value: bytes | None
    ) -> KeyState:
        """Return the state of a row of a block, into which anything may be folded."""
        if held is None:
            return self._at_rest(source, row, value)
        if isinstance(held, Passage):
            return self.live[source.block.entity].state(row) or held.opened()
        return held

    def _passes(
        self,
        source: BlockOfStore,
        touched: dict[bytes, KeyState | Passage],
        row: bytes,
        n: int,
        at: bytes,
        held: KeyState | Passage | None,
        value: bytes | None,
    ) -> bool:
        """Put the n-th change of a block into a row that is on its way, or begins to be; False for one that is not."""
        block, digest = source.block, source.images[n]
        if block.flags[n] != PRESENT or digest is None or isinstance(held, KeyState):
            return False
        passage = self._begin_passage(source, row, value) if held is None else held
        if passage is None or not passage.takes(block.store, at, source.raw_keys[n], digest):
            return False
        passage.take(block.store, stay_left(source, n, at, digest))
        touched[row] = passage
        return True

    def _begin_passage(self, source: BlockOfStore, row: bytes, value: bytes | None) -> Passage | None:
        """Return a row that is not live and agrees, as no change has touched it yet; None for one that is not usual."""
        live = self.live[source.block.entity]
        kept = self._fresh.get(row) or self._recent.get(row) or value
        if not isinstance(kept, bytes) or row in live.asleep or row in live.unknown:
            return None
        passage = begin_passage(kept, source.known_ms)
        if passage is None or not source.is_floored:
            return passage
        floors = zip(passage.positions, source.entity.floor, strict=True)
        return None if any(at <= floor for at, floor in floors) else passage

    def _note_forgotten(self, entity: EntityProgress, before: Sequence[bytes]) -> None:
        """Write how far rows have forgotten what they showed, where that has changed."""
        if entity.forgotten_to != before:
            self._record(forgotten_record(entity))

    def _read(self, entity: EntityProgress, row: bytes, value: bytes | None) -> KeyState:
        """Return a row's state as the table has it; a row that was asleep is held in memory again."""
        stores = len(entity.contract.stores)
        state = KeyState.new(stores) if value is None else decode(value)
        if len(state.sides) != stores:
            return KeyState.new(stores)  # it was kept under another contract: nothing of it is known
        if state.replicas[0].drift is not None or stores > _PAIR:
            state.counted = drifts_of(state)
        self.live[entity.contract.number].wake(row, state)
        return state

    def _find_at_rest(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Let what a row's replicas were at rest in count up to now, unless a truncate has cut it meanwhile."""
        if apply_floors(self.progress, entity, state):
            self._dirty[row] = None
        else:
            self._vouch_at_rest(entity, row, state)

    def _vouch_at_rest(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Let what a live row's replicas were at rest in count up to now, before anything else is learned of them."""
        if row not in self.live[entity.contract.number].agreeing:
            common_ms = [entity.common_ms(i) for i in range(len(state.replicas))]
            vouch_at_rest(state, common_ms, entity.judged - entity.unswept)

    def _let_sleep(self) -> None:
        """Hold no states of written rows that wait for a deadline, where there are too many in memory."""
        if sum(len(live.states) for live in self.live.values()) <= self.awake_rows_max:
            return
        for live in self.live.values():
            for row, state in list(live.states.items()):
                if row not in self._dirty and row not in self._aged and live.may_sleep(row, state):
                    live.sleep(row, state)
                    for held in (self._fresh, self._recent):
                        held.pop(row, None)  # where it got while its store was not covered

    def _places(
        self, entity: EntityProgress, block: RowBlock, reached: int, chain: Chain, effects: Effects
    ) -> list[tuple[int, bytes]]:
        """Return number and position of a block's rows, without those that its chain has shown before."""
        store = entity.contract.stores[block.store].store
        if not block.flags.translate(None, _STREAMED) and chain.epoch >= self.progress.stores[store].epoch:
            return _streamed_places(block, reached, chain)
        found: list[tuple[int, bytes]] = []
        offsets, flags, places = block.offsets, block.flags, block.places
        is_first = not self.progress.stores[store].snapshots
        for n in range(len(block.keys)):
            if offsets[n] < reached:
                continue
            flag = flags[n]
            place = places[n * PLACE_BYTES : (n + 1) * PLACE_BYTES]
            at, broken = self.progress.place_row(store, chain, place, snapshot=bool(flag & SNAPSHOT_READ))
            if broken:
                self._epoch_broken(store, effects)
            if not flag & SNAPSHOT_READ:
                # All rows that one COPY wrote at once share one place; which of them came before, their states tell.
                # What an incremental snapshot read stands before a change that its chain has shown: it is sent again.
                if at < chain.newest:
                    continue
                if not flag & INCREMENTAL_READ:
                    chain.newest = at
            found.append((n, at))
        if is_first:
            # Where its first snapshot stands: after a restart another one's rows would be taken for its.
            self._record(store_record(self.progress, store))
        return found

    def _settle_touched(self, entity: EntityProgress, touched: Mapping[bytes, KeyState | Passage]) -> None:
        """Let rows that were touched wait for their judgement: until their window is over, or for their beacons."""
        live = self.live[entity.contract.number]
        judged = entity.judged
        if not judged:
            self._fresh.update((row, state) for row, state in touched.items() if isinstance(state, KeyState))
            return
        numbers = [0, *(i + 1 for i in judged)]
        terms = [
            (i, replica.window_ms, base_ms)
            for i, (replica, base_ms) in enumerate(zip(entity.contract.replicas, entity.base_ms, strict=True))
        ]
        windows_ms = [(i, window_ms) for i, window_ms, base_ms in terms if base_ms is not None]
        for row, state in touched.items():
            if isinstance(state, Passage):
                live.settle_passage(row, state, terms[0][1])
                continue
            looks_ms = [
                _look_uncovered(state.replicas[i])
                if base_ms is None
                else _look_after_touch(state, i, window_ms, base_ms)
                for i, window_ms, base_ms in terms
            ]
            # What was unknown is judged: a row that is never at rest would wait long for its conclusion or deadline.
            is_unknown = row in live.unknown
            followed = min(looks_ms) == NEVER and not is_unknown
            if not followed:
                # What agrees is concluded for all replicas together, or judged with those that do not.
                looks_ms = [NOW if i in judged and (is_unknown or ms == NEVER) else ms for i, ms in enumerate(looks_ms)]
            live.schedule(row, state, looks_ms)
            if followed:
                live.agree(row, state, numbers, windows_ms)
            else:
                live.disagree(row)
            for side in state.sides:
                if len(side.stays) > STAYS_WORTH_KEEPING:
                    live.busy[row] = state

    def _conclude(self, entity: EntityProgress) -> None:
        """Let go of rows whose stores agree again, once both logs are known beyond what changed.

        That is what judging them comes to, where no window can have run out on the way.
        """
        live = self.live[entity.contract.number]
        judged = sorted(entity.judged)
        pairs = [(i, entity.contract.replicas[i].window_ms, entity.common_ms(i) or EVER) for i in judged]
        known_ms = min((at_ms for _, _, at_ms in pairs), default=EVER)
        if known_ms == live.concluded_ms:
            return
        live.concluded_ms = known_ms
        numbers = [0, *(i + 1 for i in judged)]
        timelines = [(number, self.progress.timeline_of(entity, number)) for number in numbers]
        windows_ms = [(i, window_ms) for i, window_ms, _ in pairs]
        self._doubt(entity, max((at_ms for _, _, at_ms in pairs), default=EVER))
        places = [timeline for _, timeline in timelines]
        for row in live.bracketed(known_ms, [(number, timeline.untold_from) for number, timeline in timelines]):
            held = live.states[row]
            # A copy that lost its coverage is not judged: what it was seen to follow waits as a full state.
            if isinstance(held, Passage) and windows_ms:
                window_ms = windows_ms[0][1]
                if self._conclude_passage(live, row, held, places, window_ms, known_ms):
                    continue
            state = live.opened(row)
            began_ms = EVER
            for number, timeline in timelines:
                side = state.sides[number]
                place_in_time(side, timeline)
                began_ms = max(began_ms, side.stays[-1].latest_ms)
            if began_ms > known_ms:
                live.agree(row, state, numbers, windows_ms)
                continue
            if _followed(state, pairs):
                collapse(state, judged)
                for i, _, at_ms in pairs:
                    state.replicas[i].vouched_until_ms = max(state.replicas[i].vouched_until_ms, at_ms)
                self._let_go(entity, row, state)
                if state.sides[0].stays[-1].digest == ABSENT:
                    self._dirty[row] = None
            else:
                live.disagree(row)
                live.schedule(row, state, [NOW] * len(state.replicas))

    def _conclude_passage(
        self,
        live: LiveRows,
        row: bytes,
        passage: Passage,
        timelines: Sequence[Timeline],
        window_ms: int,
        known_ms: int,
    ) -> bool:
        """Conclude a row that is on its way, or let it wait for more of the logs; False if it is to be judged."""
        passage.place(timelines)
        if passage.newest(0).latest_ms > known_ms or passage.newest(1).latest_ms > known_ms:
            live.agree_on_its_way(row, passage, window_ms)
            return True
        rest = passage.ended(window_ms, known_ms)
        if rest is None:
            return False
        live.end_passage(row)
        self._fresh[row] = rest
        if row in self.notes.noted and row not in live.unknown:
            self._records.update(self.notes.forget(row))
        return True

    def _doubt(self, entity: EntityProgress, known_ms: int) -> None:
        """Look again at rows that agree by what was read, once their window is over and no beacon has told since when.

        Rows may be read long before the beacons around them, and until then each counts as of the newest beacon known.
        """
        timelines = [self.progress.timeline_of(entity, i) for i in range(len(entity.contract.stores))]
        for row in self.live[entity.contract.number].overdue(known_ms):
            state = self.live[entity.contract.number].states[row]
            if isinstance(state, Passage):
                state.place(timelines)
            else:
                for side, timeline in zip(state.sides, timelines, strict=True):
                    place_in_time(side, timeline)
            self._dirty[row] = None
            self._settle_touched(entity, {row: state})

    def _trim(self, entity: EntityProgress) -> None:
        """Forget what busy rows went through together, before the newest state that both stores have shown.

        Without it a row that is never at rest would be judged on everything since it was.
        """
        live, common_ms = self.live[entity.contract.number], entity.common_ms(0)
        busy, live.busy = live.busy, {}
        if common_ms is None or len(entity.base_ms) > 1:
            return
        for row, state in busy.items():
            if live.states.get(row) is state and state.replicas[0].drift is None:
                for i, side in enumerate(state.sides):
                    place_in_time(side, self.progress.timeline_of(entity, i))
                if trim(state, entity.contract.replicas[0].window_ms, common_ms):
                    self._dirty[row] = None

    # -- the other observations ----------------------------------------------------------------------------------

    def _extend(self, link: Link) -> Chain:
        self._extended[link.topic, link.partition] = link
        return self.progress.extend(link)

    def _record(self, *writes: Write) -> None:
        self._records.update(writes)

    def _fold_truncate(self, cut: Truncated) -> None:
        entity = self._entity_in(cut.entity, cut.store)
        chain = self.progress.chains.get((cut.link.topic, cut.link.partition))
        seen = chain is not None and cut.offset < chain.reached
        chain = self._extend(cut.link)
        if entity is None or seen:
            return
        if self.progress.take_truncate(entity, cut, chain) is None:
            return
        live = self.live[cut.entity]
        states = {row: state for row in live.states if (state := live.state(row)) is not None}
        cut_rows = {row: state for row, state in states.items() if apply_floors(self.progress, entity, state)}
        self._dirty.update(dict.fromkeys(cut_rows))
        self._settle_touched(entity, cut_rows)
        self._sweeps.ask(cut.entity, entity.judged & {cut.store - 1} if cut.store else entity.judged)
        self._record(entity_record(entity))

    def _fold_barrier(self, barrier: Barrier, effects: Effects) -> None:
        link = barrier.link
        known = self.progress.chains.get((link.topic, link.partition))
        redelivered = known is not None and link.end <= known.reached
        chain = self._extend(link)
        if redelivered:
            return
        name = barrier.beacon.store
        if self.progress.take_beacon(barrier, chain):
            self._epoch_broken(name, effects)
        store = self.progress.stores[name]
        if store.is_newest(barrier.beacon):
            self._record(*beacon_records(self.progress, name, barrier.beacon.previous_acknowledged_ms))
        self._record(store_record(self.progress, name))

    def _epoch_broken(self, store: str, effects: Effects) -> None:
        effects.broken_epochs.append(store)
        for number, entity in self.progress.entities.items():
            if entity.contract.authority == store:
                self.pipelines.forget(number)
            if any(table.store == store for table in entity.contract.stores):
                self._sweeps.keep(number, entity.judged)
                self.live[number].keep_unknown(entity.judged)
                self._record(entity_record(entity))
        self._record(store_record(self.progress, store))

    def _fold_echo(self, echo: LedgerEcho, states: Mapping[bytes, bytes | None], effects: Effects) -> None:
        chain = self._extend(echo.link)
        row = self._commands.get(echo.command_id)
        entity = self._entity_in(echo.entity, echo.store)
        is_refusal = (echo.outcome, echo.reason) == (Outcome.REFUSED.value, RefusalReason.ROW_MOVED.value)
        at = BEFORE_ALL
        if is_refusal and entity is not None:
            at, _ = self.progress.place_row(entity.contract.stores[echo.store].store, chain, echo.place, snapshot=False)
        if row is None or entity is None or not (is_refusal or echo.outcome == Outcome.APPLIED.value):
            return
        state = self._held(row)
        if state is None:
            value = states.get(row)
            if value is None:
                return
            state = self._read(entity, row, value)
        # Where no sweep has come to it, the applier has found it cut, which no log denies.
        self._find_at_rest(entity, row, state)
        self._make_live(entity, row, state)
        for i, replica in enumerate(state.replicas):
            if replica.drift is not None and replica.drift.command_id == echo.command_id:
                if is_refusal:
                    note_refusal(state, i, at)
                else:
                    self._tell(entity, row, state, note_repair(state, i, echo.transaction), effects)
        self.live[echo.entity].recount(row, state)
        if is_refusal:
            self._judge(entity, row, state, effects)

    def _fold_mark(self, mark: Mark) -> None:
        for link in mark.links:
            if self.progress.extends(link):
                self._extend(link)

    def _heed_pipelines(self, entity: EntityProgress) -> list[bytes]:
        """Take what was seen of pipelines at a moment up to which both logs are known by now."""
        rows: list[bytes] = []
        for i in range(len(entity.base_ms)):
            known_ms = entity.common_ms(i)
            if known_ms is None:
                continue
            reached = self.pipelines.heed(entity.contract.number, i, known_ms, place_of(entity.known_to[0]))
            if reached is not None:
                rows += self.live[entity.contract.number].passed_by_pipeline(i, reached)
        return rows

    # -- what was read again -------------------------------------------------------------------------------------

    def _fold_slice(self, read: SliceRead) -> None:
        known = self.progress.chains.get((read.link.topic, read.link.partition))
        redelivered = known is not None and read.link.end <= known.reached
        chain = self._extend(read.link)
        entity = self._entity_in(read.entity, read.store)
        if redelivered or entity is None:
            return
        store = entity.contract.stores[read.store].store
        told_at, _ = self.progress.place_row(store, chain, read.place, snapshot=False)
        chain.newest = max(chain.newest, told_at)
        if not read.low and not read.high and self.progress.take_pass(entity, read.store, read.begun, told_at):
            self._record(entity_record(entity))
        begun = position(epoch_of(told_at), STREAM, read.begun)
        pending = PendingSlice(read.slice_id, read.entity, read.store, read.low, read.high, begun, told_at)
        for write in self.rereads.add_slice(pending):
            self._record(write)

    def _heed_slices(self, entity: EntityProgress) -> None:
        """Let the slices beyond which their store's log is known be held against the rows."""
        for pending in self.rereads.known(entity):
            if is_valid(self.progress, entity, pending):
                self._sweeps.ask_again(pending)
            else:
                self._record(self.rereads.forget_slice(pending.slice_id))

    def _hold_against(
        self, entity: EntityProgress, row: bytes, state: KeyState, pending: PendingSlice, effects: Effects
    ) -> None:
        timeline = self.progress.timeline_of(entity, pending.store)
        if not is_missed(timeline, state.sides[pending.store], pending):
            return
        self._tell_gap(entity, end_missed(timeline, state, row, pending), effects)
        self._dirty[row] = None
        if row not in self.live[entity.contract.number].states:
            self._fresh[row] = state

    def _tell_gap(self, entity: EntityProgress, gap: Gap, effects: Effects) -> None:
        finding = gap_finding_of(self.partition, entity, gap.row[5:], gap)
        self.rereads.add_gap(finding.finding_id, gap)
        effects.findings.append(finding)

    # -- judging -------------------------------------------------------------------------------------------------

    def _advance(self, effects: Effects) -> None:
        moved = self.progress.advance()
        for name in self.progress.joined_late():
            self._epoch_broken(name, effects)
        for entity in moved:
            number = entity.contract.number
            awaited = entity.unswept - self._sweeps.judges_of(number)
            if awaited:
                self._sweeps.ask(number, awaited)
                self._record(entity_record(entity))
        for entity in moved:
            live = self.live[entity.contract.number]
            self._heed_slices(entity)
            self._conclude(entity)
            self._trim(entity)
            passed = self._heed_pipelines(entity)
            due = live.due([entity.common_ms(i) for i in range(len(entity.base_ms))])
            for row in dict.fromkeys((*passed, *due)):
                state = live.state(row)
                if state is not None and not self._put_off(entity, row, state):
                    self._judge(entity, row, state, effects)
                elif row in live.asleep:
                    self._due[row] = None
        self._tell_incidents(effects)

    def _tell_incidents(self, effects: Effects) -> None:
        """Add a record for each event that made many of these drifts, once all rows that are due have been judged."""
        for found in incidents_of(effects.findings):
            known = self._incidents.get(found.finding_id)
            rows = found.incident_rows + (known.incident_rows if known is not None else 0)
            self._incidents[found.finding_id] = replace(found, incident_rows=rows)
        if not self._due:
            effects.findings += self._incidents.values()
            self._incidents.clear()

    def _put_off(self, entity: EntityProgress, row: bytes, state: KeyState) -> bool:
        """Whether a row whose deadline has come has a later one, or agrees, by what is known of its changes now.

        A change may be read before the beacons around it are: until then it counts as of the newest one known.
        """
        if not entity.judged or has_drift(state) or any(replica.look_ms == NOW for replica in state.replicas):
            return False
        placed = [place_in_time(side, self.progress.timeline_of(entity, i)) for i, side in enumerate(state.sides)]
        if not any(placed):
            return False
        self._vouch_at_rest(entity, row, state)
        self._dirty[row] = None
        self._settle_touched(entity, {row: state})
        agreed_ms = self.live[entity.contract.number].agreeing.get(row, NEVER)
        times_ms = [entity.common_ms(i) for i in range(len(state.replicas))]
        # Both logs may be known already beyond what it agrees since: no further beacon has to come for that.
        return all(
            at_ms is None or min(replica.look_ms, agreed_ms) >= at_ms
            for replica, at_ms in zip(state.replicas, times_ms, strict=True)
        )

    def _judge(self, entity: EntityProgress, row: bytes, state: KeyState, effects: Effects) -> None:
        number = entity.contract.number
        live = self.live[number]
        if not all(entity.swept) and drop_unseen(self.progress, entity, state):
            self._dirty[row] = None  # the sweep has not come to it, and it must not be judged by what it was before
        for i, side in enumerate(state.sides):
            if place_in_time(side, self.progress.timeline_of(entity, i)):
                self._dirty[row] = None
        common_ms = [entity.common_ms(i) for i in range(len(state.replicas))]
        reached = [self.pipelines.place(number, i) for i in range(len(state.replicas))]
        commands = [r.drift.command_id for r in state.replicas if r.drift is not None]
        for i in self._settled_refusals(entity, state):
            self._tell(entity, row, state, dispute(state, i), effects)
            self._dirty[row] = None
        told = judge_row(state, row[5:], entity.contract, common_ms, entity.base_ms, reached)
        if told.changed:
            self._dirty[row] = None
        self._forget_commands(commands, state)
        self._tell(entity, row, state, told.steps, effects)
        for step in told.steps:
            drift = state.replicas[step.replica].drift
            if drift is not None and drift.command_id:
                self._commands[drift.command_id] = row
        live.recount(row, state)
        if any(told.unknown):
            live.unknown[row] = told.unknown
        else:
            live.unknown.pop(row, None)
        if told.settled:
            self._dirty[row] = None
            self._let_go(entity, row, state)
        else:
            self._look_again(entity, row, state, common_ms)

    def _look_again(self, entity: EntityProgress, row: bytes, state: KeyState, common_ms: Sequence[int | None]) -> None:
        """Hold a judged row until its next deadline; let it go if nothing but a touch can change its verdict."""
        live = self.live[entity.contract.number]
        live.disagree(row)
        looks_ms, awaits = [], False
        for i, terms in enumerate(entity.contract.replicas):
            at_ms = common_ms[i]
            if at_ms is None:
                # Coverage ends in a sweep; a watermark is earned again by the first barrier after a restart.
                looks_ms.append(_look_uncovered(state.replicas[i]) if entity.base_ms[i] is None else NOW)
                continue
            look_ms = next_look_ms(state, i, terms, at_ms)
            if look_ms == NEVER:
                place = awaited_place(state, i, terms)
                if place is not None:
                    live.await_pipeline(i, place, row)
                    awaits = True
            looks_ms.append(look_ms)
        if awaits or min(looks_ms) != NEVER:
            live.schedule(row, state, looks_ms)
        else:
            self._let_go(entity, row, state)

    def _let_go(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        """Hold a row no longer as live; it stays noted while there is something to say of it."""
        live = self.live[entity.contract.number]
        live.drop(row, state)
        self._fresh[row] = state
        if row in self.notes.noted and row not in live.unknown and not has_drift(state):
            self._records.update(self.notes.forget(row))

    def _is_noted(self, row: bytes, state: KeyState) -> bool:
        """Whether a restart must find this row without anybody touching it."""
        live = self.live.get(int.from_bytes(row[1:5], "big"))
        if live is None:
            return False
        return row in live.states or row in live.unknown or has_drift(state)

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

    def _entity_in(self, number: int, store: int) -> EntityProgress | None:
        """Return an entity, None where there is none or its contract has no such store any more."""
        entity = self.progress.entities.get(number)
        return entity if entity is not None and store < len(entity.contract.stores) else None

    def _entity_of(self, row: bytes) -> EntityProgress | None:
        return self.progress.entities.get(int.from_bytes(row[1:5], "big"))

    def _make_live(self, entity: EntityProgress, row: bytes, state: KeyState) -> None:
        live = self.live[entity.contract.number]
        live.disagree(row)
        live.schedule(row, state, [NOW] * len(state.replicas))
        self._dirty[row] = None


def _streamed_places(block: RowBlock, reached: int, chain: Chain) -> list[tuple[int, bytes]]:
    """Do what `_places` does for a block of streamed changes, none of which can be in another epoch than its chain."""
    found: list[tuple[int, bytes]] = []
    head, newest, places = position(chain.epoch, STREAM, b""), chain.newest, block.places
    for n, offset in enumerate(block.offsets):
        if offset >= reached:
            chain.streaming = True
            at = head + places[n * PLACE_BYTES : (n + 1) * PLACE_BYTES]
            if at >= newest:
                newest = at
                found.append((n, at))
    chain.newest = newest
    return found


def _links(observation: Observation) -> Sequence[Link]:
    if isinstance(observation, Mark):
        return observation.links
    if isinstance(observation, PipelineReached):
        return ()
    return (observation.link,)


def _look_after_touch(state: KeyState, i: int, window_ms: int, base_ms: int) -> int:
    """Return when a replica of a row that was just touched is to be judged; `NEVER` where it has shown what it should.

    What is not known to have followed within the window may have been a drift that is over. It has its deadline all the
    same: coverage may end, or the row change again, before the beacons behind it are read.
    """
    replica, truth, shown = state.replicas[i], state.sides[0].stays, state.sides[i + 1].stays
    if replica.vouched_until_ms < base_ms:
        begin(replica, base_ms)
    if replica.drift is not None or len(truth[-1].digest) == 1 or len(shown[-1].digest) == 1:
        return NOW
    deadline_ms = shared_until(shown, truth, replica.vouched_until_ms) + window_ms
    return NEVER if followed_by(shown, truth, deadline_ms) else deadline_ms


def _look_uncovered(replica: ReplicaState) -> int:
    """Return when a replica that is not covered is to be judged: not at all, once all that was told is acknowledged.

    A drift whose record is not would keep the next one of its row from being told.
    """
    return NEVER if replica.drift is None or replica.drift.acknowledged else NOW


def _followed(state: KeyState, pairs: Iterable[tuple[int, int, int]]) -> bool:
    truth = state.sides[0].stays
    for i, window_ms, _ in pairs:
        if not surely_followed(state.sides[i + 1].stays, truth, window_ms, state.replicas[i].vouched_until_ms):
            return False
    return True
