"""Which slice of which table is read again next, when its reading counts as whole, and what is remembered of it.

A pass goes over a table in the order of its store's key, slice by slice, each as many rows as the store counts off. A
first pass samples: it reads slices chosen by a hash, and lets a bound be stated early. The passes after it read all.
Within a store, tables share the budget by their weight: what the contract says, and what drifts now. A replica is read
before its authority, for what is read of the authority goes on through the pipeline and may mend the replica unseen.

Where no snapshot tells which rows there are, a pass over the whole table is what covers it: it comes before any other,
has no sample before it, and begins anew where the log turns out to have a gap.

A slice counts as whole when the reading of its signal's own row has been seen, which comes behind it, and rows of it
have been seen too, at least half of those that the store counted: a connector that cannot read a table goes on without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from app.core.canonical_key import key_writer
from app.core.contract import EntityContract, FieldKind, Hours
from app.core.hours import within
from app.core.pace import BackOff, Budget
from app.core.sampling import is_sampled
from app.core.status import Coverage, StatusReport
from app.core.types.numbers import INTEGER_RANGES

SLICE_PATIENCE_MS: Final = 60_000
"""How long the reading of a slice may take; then it is begun again, under another name."""

ROWS_PATIENCE_MS: Final = 10_000
"""How long rows of a slice may be on their way when its end was seen already: they travel in other partitions."""

COVER_PAUSE_MS: Final = 30_000
"""How long a pass that ought to have covered its table is given until it shows, before another one is begun."""

TRIES: Final = 3
"""How often a slice is begun before the pass goes on without it: it stays unproven."""

_ANSWERS_COUNTED: Final = 3
_WEIGHT_MAX: Final = 1_000
_DRIFTS_COUNTED_MAX: Final = 100
_TEXTS: Final = frozenset({FieldKind.STRING, FieldKind.UUID})

Key = tuple[str, ...]
"""The parts of a key as the store writes them as text; empty: before the first, or behind the last."""


class Walk(Enum):
    """What a pass reads."""

    SAMPLE = "sample"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Part:
    """One entity's table in one store."""

    contract: EntityContract
    store: str

    @property
    def is_covered_by_pass(self) -> bool:
        """Whether nothing but a whole pass shows which rows there are."""
        return not self.contract.table_of(self.store).has_snapshot

    @property
    def has_ranges(self) -> bool:
        """Whether the store's order of keys is that of canonical keys, so that each slice can be held against it."""
        key = self.contract.key
        return len(key) == 1 and key[0].type.kind in INTEGER_RANGES and not self.is_covered_by_pass

    @property
    def is_supported(self) -> bool:
        """Whether keys of this kind can be written into a condition of a signal."""
        return all(part.type.kind in INTEGER_RANGES or part.type.kind in _TEXTS for part in self.contract.key)

    def range_of(self, after: Key, end: Key) -> tuple[bytes, bytes]:
        """Return the canonical keys of the rows behind one key up to another, as [low, high)."""
        write = key_writer(self.contract.key[0].type)
        return write(int(after[0]) + 1) if after else b"", write(int(end[0]) + 1) if end else b""


@dataclass(frozen=True, slots=True)
class Done:
    """How far a table has been read again. `after` is where the pass stands; `begun` where it began in the log.

    `rows`, `slices` and `unproven` are of this pass; `whole_rows`, `whole_unproven` and `whole_wall_ms` of the newest
    pass over everything that has ended (0: none), and `sampled_rows` those of the sample. `gaps` counts all that have
    been found since it began. `begun_wall_ms` and `whole_begun_wall_ms` tell when those two passes began.
    """

    entity: str
    store: str
    finished: int = 0
    after: Key = ()
    begun: bytes = b""
    rows: int = 0
    slices: int = 0
    unproven: int = 0
    gaps: int = 0
    finished_wall_ms: int = 0
    sampled_rows: int = 0
    whole_rows: int = 0
    whole_unproven: int = 0
    whole_wall_ms: int = 0
    begun_wall_ms: int = 0
    whole_begun_wall_ms: int = 0

    @property
    def is_between(self) -> bool:
        """Whether the next slice is the first of a pass."""
        return not self.after and not self.slices and not self.unproven

    @property
    def walk(self) -> Walk:
        """What the present pass reads."""
        return Walk.WHOLE if self.finished else Walk.SAMPLE


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the store for the key that ends the next slice: behind `after`, after so many rows."""

    part: Part
    after: Key
    rows: int


@dataclass(frozen=True, slots=True)
class Bound:
    """The store's answer: the slice's last key (empty: it goes to the end), its rows, and how long the answer took."""

    end: Key
    rows: int
    answered_ms: float


@dataclass(slots=True)
class Slice:
    """A slice that is being read."""

    slice_id: str
    part: Part
    after: Key
    end: Key
    rows: int
    sent_ms: int
    tries: int
    begun: bytes = b""
    ended_ms: int | None = None
    seen_rows: int = 0


class Outcome(Enum):
    """What became of a slice."""

    WHOLE = "whole"
    UNPROVEN = "unproven"  # the pass goes on without it
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Concluded:
    """A slice that is over: what became of it, which keys it stands for (None: no word is due), and from where on."""

    slice: Slice
    outcome: Outcome
    word: tuple[bytes, bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a deployment says of the conductor."""

    rows_per_second: float
    slice_rows: int
    hours: tuple[Hours, ...]
    pass_interval_ms: int
    lag_ms_max: int


@dataclass(slots=True)
class Desk:
    """The conductor's part for one store: at most one slice is being read at a time."""

    parts: Sequence[Part]
    terms: Terms
    partitions: int
    budget: Budget
    back_off: BackOff
    done: dict[str, Done] = field(default_factory=dict)  # by entity
    slice: Slice | None = None
    _asked: dict[str, int] = field(default_factory=dict)  # by entity: when somebody wanted it to be read whole
    _tries: int = 0
    _spent: dict[str, float] = field(default_factory=dict)
    _statuses: dict[tuple[str, str], dict[int, StatusReport]] = field(default_factory=dict)

    @classmethod
    def of(cls, store: str, contracts: Iterable[EntityContract], terms: Terms, partitions: int, now_ms: int) -> Desk:
        """Return the desk of a store that has read nothing."""
        parts = [Part(c, store) for c in contracts if any(table.store == store for table in c.stores)]
        return cls(
            parts,
            terms,
            partitions,
            Budget(terms.rows_per_second, now_ms),
            BackOff(terms.lag_ms_max, among=_ANSWERS_COUNTED),
        )

    # -- what is seen --------------------------------------------------------------------------------------------

    def resume(self, done: Iterable[Done]) -> None:
        """Go on where an earlier conductor was."""
        for each in done:
            if any(part.contract.entity == each.entity and part.store == each.store for part in self.parts):
                self.done[each.entity] = each

    def seen_status(self, report: StatusReport) -> None:
        """Take in how far a worker has an entity in a store, this one or its others."""
        reports = self._statuses.setdefault((report.entity, report.store), {})
        before, reports[report.partition] = reports.get(report.partition), report
        part = next((p for p in self.parts if (p.contract.entity, p.store) == (report.entity, report.store)), None)
        if part is None or not part.is_covered_by_pass or before is None:
            return
        if before.coverage is Coverage.COVERED and report.coverage is not Coverage.COVERED:
            self._begin_anew(part)

    def _begin_anew(self, part: Part) -> None:
        """Give up a pass: what it has read stands before a gap in the log."""
        done = self.done_of(part)
        self.done[done.entity] = replace(done, after=(), begun=b"", rows=0, slices=0, unproven=0)
        if self.slice is not None and self.slice.part == part:
            self.slice, self._tries = None, 0

    def seen_begin(self, slice_id: str, place: bytes) -> None:
        """Take in where in the log a slice's signal stands."""
        if self.slice is not None and self.slice.slice_id == slice_id:
            self.slice.begun = place

    def seen_end(self, slice_id: str, now_ms: int) -> None:
        """Take in that the signal's own row was read, behind the rows of its slice."""
        if self.slice is not None and self.slice.slice_id == slice_id and self.slice.ended_ms is None:
            self.slice.ended_ms = now_ms

    def seen_row(self, topic: str) -> None:
        """Take in that a row was read again, in the change topic of its table."""
        if self.slice is not None and self.slice.part.contract.table_of(self.slice.part.store).topic == topic:
            self.slice.seen_rows += 1

    def seen_gap(self, entity: str) -> bool:
        """Take in that a row of this store was not as its log said; False if its table is not read here."""
        done = self.done.get(entity)
        if done is not None:
            self.done[entity] = replace(done, gaps=done.gaps + 1)
        return done is not None

    def ask(self, entity: str, wall_ms: int) -> None:
        """Take in that a table is wanted to be read whole by a pass that begins after this time, without a rest."""
        self._asked[entity] = max(wall_ms, self._asked.get(entity, 0))

    # -- what is done --------------------------------------------------------------------------------------------

    def look(self, now_ms: int, wall_ms: int, finished_elsewhere: Mapping[tuple[str, str], int]) -> Look | None:
        """Return what to ask the store next, None while nothing is due.

        `finished_elsewhere` tells by entity and store how many passes other stores' tables have ended.
        """
        if self.slice is not None or (self.terms.hours and not within(self.terms.hours, wall_ms)):
            return None
        if self.budget.waits_ms(now_ms, self.back_off.share):
            return None
        due = [part for part in self.parts if self._is_due(part, wall_ms, finished_elsewhere)]
        if not due:
            return None
        part = min(due, key=lambda part: (self._spent.get(part.contract.entity, 0.0), -self.weight(part)))
        return Look(part, self.done_of(part).after, self.terms.slice_rows)

    def begin(self, look: Look, bound: Bound, slice_id: str, now_ms: int, wall_ms: int) -> Slice | None:
        """Begin the slice that a store's answer bounds; None where the pass goes on without reading it."""
        self.back_off.look(bound.answered_ms, self.lag_ms(look.part) or 0)
        done = self.done_of(look.part)
        if done.is_between:
            done = self.done[done.entity] = replace(done, begun_wall_ms=wall_ms)
        if done.walk is Walk.SAMPLE and not is_sampled(done.finished, "\0".join(look.after).encode()):
            self._go_on(look.part, replace(done, after=bound.end), bound.end, wall_ms)
            return None
        self.slice = Slice(slice_id, look.part, look.after, bound.end, bound.rows, now_ms, self._tries)
        # Paid for when it is begun: however long its reading takes, the budget fills up meanwhile.
        self._pay(look.part, max(1, bound.rows), now_ms)
        return self.slice

    def conclude(self, now_ms: int, wall_ms: int) -> Concluded | None:
        """Return what became of the slice that is being read, None while nobody knows."""
        current = self.slice
        if current is None:
            return None
        is_seen = current.seen_rows * 2 >= current.rows
        if current.ended_ms is not None and current.begun and is_seen:
            return self._whole(current, now_ms, wall_ms)
        waited_for_rows = current.ended_ms is not None and now_ms - current.ended_ms > ROWS_PATIENCE_MS
        if not waited_for_rows and now_ms - current.sent_ms <= SLICE_PATIENCE_MS:
            return None
        self._end(current, now_ms)
        if current.tries + 1 < TRIES:
            self._tries = current.tries + 1
            return Concluded(current, Outcome.AGAIN)
        done = self.done_of(current.part)
        self._go_on(current.part, replace(done, unproven=done.unproven + 1, after=current.end), current.end, wall_ms)
        return Concluded(current, Outcome.UNPROVEN)

    def _whole(self, current: Slice, now_ms: int, wall_ms: int) -> Concluded:
        part, done = current.part, self.done_of(current.part)
        self._end(current, now_ms)
        begun = current.begun if not done.slices and not done.unproven else done.begun
        word = None
        if part.has_ranges:
            word = (*part.range_of(current.after, current.end), current.begun)
        elif done.walk is Walk.WHOLE and not current.end and not done.unproven:
            # Only the whole pass says which keys are nowhere, where nobody knows between which keys they would stand.
            word = (b"", b"", begun)
        rows = max(current.rows, current.seen_rows)
        moved = replace(done, after=current.end, begun=begun, rows=done.rows + rows, slices=done.slices + 1)
        self._go_on(part, moved, current.end, wall_ms)
        return Concluded(current, Outcome.WHOLE, word)

    def _end(self, current: Slice, now_ms: int) -> None:
        self.slice = None
        self._pay(current.part, max(0, current.seen_rows - max(1, current.rows)), now_ms)

    def _pay(self, part: Part, rows: int, now_ms: int) -> None:
        self.budget.spend(rows, now_ms, self.back_off.share)
        entity = part.contract.entity
        self._spent[entity] = self._spent.get(entity, 0.0) + rows / self.weight(part)

    def _go_on(self, part: Part, done: Done, end: Key, wall_ms: int) -> None:
        self._tries = 0
        if not end:
            if done.walk is Walk.WHOLE:
                done = replace(
                    done,
                    whole_rows=done.rows,
                    whole_unproven=done.unproven,
                    whole_wall_ms=wall_ms,
                    whole_begun_wall_ms=done.begun_wall_ms,
                )
            else:
                done = replace(done, sampled_rows=done.rows)
            done = replace(
                done, finished=done.finished + 1, finished_wall_ms=wall_ms, begun=b"", rows=0, slices=0, unproven=0
            )
        self.done[part.contract.entity] = done

    # -- what is due ---------------------------------------------------------------------------------------------

    def done_of(self, part: Part) -> Done:
        """Return how far a table has been read again; one that only a pass covers is not sampled first."""
        entity = part.contract.entity
        return self.done.get(entity) or Done(entity, part.store, finished=1 if part.is_covered_by_pass else 0)

    def weight(self, part: Part) -> float:
        """Return a table's share of the budget among the store's others: its contract's word, and its open drifts."""
        drifts = 0
        for table in part.contract.stores:
            for report in self._statuses.get((part.contract.entity, table.store), {}).values():
                drifts += sum(report.open_drifts.values())
        return min(_WEIGHT_MAX, 1 + part.contract.priority + min(drifts, _DRIFTS_COUNTED_MAX))

    def lag_ms(self, part: Part) -> int | None:
        """Return how far the log of a table is behind the newest beacon; None where it is not covered."""
        reports = self._statuses.get((part.contract.entity, part.store), {})
        if len(reports) < self.partitions:
            return None
        behind_ms = 0
        for report in reports.values():
            if (
                report.coverage is not Coverage.COVERED
                or report.watermark_ms is None
                or report.newest_beacon_ms is None
            ):
                return None
            behind_ms = max(behind_ms, report.newest_beacon_ms - report.watermark_ms)
        return behind_ms

    def _awaits_pass(self, part: Part) -> bool:
        """Whether a table is not covered but for a pass: its store's stream is being read, up to a beacon at least."""
        reports = self._statuses.get((part.contract.entity, part.store), {})
        is_read = len(reports) >= self.partitions and all(r.watermark_ms is not None for r in reports.values())
        return part.is_covered_by_pass and is_read

    def _is_due(self, part: Part, wall_ms: int, finished_elsewhere: Mapping[tuple[str, str], int]) -> bool:
        done, lag_ms = self.done_of(part), self.lag_ms(part)
        if not part.is_supported:
            return False
        if lag_ms is None:
            has_paused = wall_ms - done.finished_wall_ms >= COVER_PAUSE_MS
            return self._awaits_pass(part) and (has_paused or not done.is_between)
        rested = done.finished < 2 or wall_ms - done.finished_wall_ms >= self.terms.pass_interval_ms  # noqa: PLR2004 - a sample, then all
        is_asked_for = done.whole_begun_wall_ms <= self._asked.get(part.contract.entity, -1)
        if done.is_between and not rested and not is_asked_for:
            return False
        if part.store == part.contract.authority:
            entity = part.contract.entity
            passes = [n for (of, store), n in finished_elsewhere.items() if of == entity and store != part.store]
            return not passes or min(passes) > done.finished
        return True
