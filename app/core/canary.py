"""Decide which drifts Driftline plants in a table of its own, and what comes of each: the canary.

The argument, step by step:

1. Every planting has a row of its own, and rows are numbered upwards over all lives of the process: the newest row is
   never deleted before one above it is there. So what is told of a row names its planting, however late it comes, and
   rows below those of this life are an earlier life's. Whatever a crash leaves, the next life deletes, and passes over
   what is told of it.
2. A row stands in agreement before it is damaged: one deed writes it to every store, in two states, so that it has a
   past to go back to. A deed that takes longer than the shortest window, or that a store refuses, may have made a drift
   by itself: what it was about proves nothing, and all begins again with a new row.
3. Nothing is planted while the system says that it cannot know. A planting that is not told in time was missed, unless
   the system has said so meanwhile: then it is neither, with that reason.
4. What is told and was not planted is a false alarm.
5. The canary mends what it has planted itself, and awaits that the drift is told to be over.

Rows' states are numbers: the one that was before, the true one, and one that the authority never shows. All times are
milliseconds of the process's monotonic clock. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.canary_proof import Doubt, Why
from app.core.errors import ContractViolation
from app.core.finding import DriftKind, Stage
from app.core.limits import CANARY_ROWS_KEPT

ENTITY: Final = "driftline_canary"
"""The canary's entity, and its table in every store."""

KINDS: Final = (DriftKind.DIFFERENT, DriftKind.MISSING, DriftKind.EXTRA, DriftKind.STALE)
"""What is planted, in turn."""

_PAST, _TRUE, _FOREIGN = 1, 2, 3
_PLANTED: Final[Mapping[DriftKind, int | None]] = {
    DriftKind.DIFFERENT: _FOREIGN,
    DriftKind.MISSING: None,
    DriftKind.EXTRA: _TRUE,
    DriftKind.STALE: _PAST,
}


class Result(Enum):
    """What came of a planting. A closed list."""

    DETECTED = "detected"
    MISNAMED = "misnamed"  # told, as another kind
    MISSED = "missed"  # not told in time, and the system thought that it knew
    INCONCLUSIVE = "inconclusive"  # not told in time, and the system said that it could not know


class Ending(Enum):
    """Whether a drift that was told and mended was told to be over. A closed list."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Terms:
    """How the canary works. `windows_ms` are the replicas' windows by store, `stores` all stores, the authority first.

    `interval_ms` is how long a row stands in agreement before it is damaged; `patience_ms` how long a drift may take
    to be told, past its window, and to be told to be over.
    """

    stores: Sequence[str]
    windows_ms: Mapping[str, int]
    interval_ms: int
    patience_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """One row of one store is to have a state; None: it is not to be there."""

    store: str
    row: int
    state: int | None


class Deed(Enum):
    """What is done to the stores next."""

    PREPARE = "prepare"  # a new row everywhere, and none below it
    PLANT = "plant"
    MEND = "mend"


@dataclass(frozen=True, slots=True)
class Task:
    """A deed: changes in this order, then in every store all rows below a number are deleted."""

    deed: Deed
    changes: tuple[Change, ...]
    clears_below: int = 0


@dataclass(slots=True)
class Planting:
    """One drift that was planted; `finding_id` is empty until it was told."""

    row: int
    store: str
    kind: DriftKind
    window_ms: int
    since_ms: int = 0  # of what is awaited: that it is told, then that it is over
    doubt: Why | None = None  # why the system could not know, at any time since then
    finding_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a planting; `latency_ms` from the end of its window to its telling, where it was told."""

    store: str
    kind: DriftKind
    result: Result
    why: Why | None = None
    latency_ms: int | None = None
    finding_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of the mending of a drift that was told."""

    store: str
    kind: DriftKind
    ending: Ending
    why: Why | None = None
    finding_id: bytes = b""


@dataclass(frozen=True, slots=True)
class ToldLate:
    """A planting was told after it had been given up: no false alarm."""

    store: str
    kind: DriftKind
    finding_id: bytes


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """Something was told that was not planted."""

    store: str
    kind: DriftKind
    finding_id: bytes


News = Judged | Ended | ToldLate | FalseAlarm


@dataclass(frozen=True, slots=True)
class Word:
    """What a finding on the canary's table says; `row` is None where it names no row that can be read."""

    finding_id: bytes
    row: int | None
    store: str
    kind: DriftKind
    stage: Stage


class _Phase(Enum):
    UNPREPARED = "unprepared"
    RESTING = "resting"  # a row stands in agreement
    PLANTED = "planted"  # and is not told yet
    JUDGED = "judged"  # and must be mended
    MENDED = "mended"  # and is not told to be over yet


class Canary:
    """What one life of the canary has planted and heard. Not thread-safe."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._phase = _Phase.UNPREPARED
        self._highest: int | None = None  # the newest row; None: the stores must be asked
        self._tried = 0  # the newest row that was ever to be written: a write that was given up may still come
        self._judged_from: int | None = None  # the first row whose telling counts
        self._plant_at_ms = 0
        self._turn = 0
        self._begun_ms = 0
        self._task: Task | None = None
        self._now: Planting | None = None
        self._plantings: dict[int, Planting] = {}
        self._false: dict[bytes, None] = {}  # findings that were counted: a record may come twice

    def look(self, now_ms: int, doubt: Why | None) -> list[News]:
        """Take in whether the system can know now, and judge what was awaited for too long."""
        planting = self._now
        if planting is None or self._phase not in {_Phase.PLANTED, _Phase.MENDED}:
            return []
        planting.doubt = planting.doubt or doubt
        waited_ms = now_ms - planting.since_ms
        if self._phase is _Phase.PLANTED and waited_ms > planting.window_ms + self._terms.patience_ms:
            self._phase = _Phase.JUDGED
            return [self._untold(planting)]
        if self._phase is _Phase.MENDED and waited_ms > self._terms.patience_ms:
            self._begin_anew()
            return [self._unended(planting)]
        return []

    def deed(self, now_ms: int, doubt: Why | None) -> Deed | None:
        """Return what is due, None where something is awaited."""
        match self._phase:
            case _Phase.UNPREPARED:
                return Deed.PREPARE
            case _Phase.RESTING if now_ms >= self._plant_at_ms and doubt is None:
                return Deed.PLANT
            case _Phase.JUDGED:
                return Deed.MEND
            case _:
                return None

    def begin(self, deed: Deed, highest: int, now_ms: int) -> Task:
        """Return how a deed is done, where the newest row of all stores is `highest`, 0 without any.

        `ContractViolation` where it is not the one that this life has left: somebody else writes.
        """
        if self._highest not in {None, highest}:
            raise ContractViolation(
                f"the newest row of {ENTITY} is not the one that this canary wrote last",
                hint="run one canary; the one that was started last goes on",
            )
        self._begun_ms = now_ms
        self._task = self._task_of(deed, highest)
        return self._task

    def _task_of(self, deed: Deed, highest: int) -> Task:
        if deed is Deed.PREPARE:
            row = self._tried = max(highest, self._tried) + 1
            states = [*self._everywhere(row, _PAST), *self._everywhere(row, _TRUE)]
            return Task(deed, tuple(states), clears_below=row)
        if deed is Deed.PLANT:
            kind = KINDS[self._turn % len(KINDS)]
            store = list(self._terms.windows_ms)[self._turn // len(KINDS) % len(self._terms.windows_ms)]
            row = highest + 1 if kind is DriftKind.EXTRA else highest
            self._now = Planting(row, store, kind, self._terms.windows_ms[store])
            self._tried = max(self._tried, row)
            self._plantings[row] = self._now
            return Task(deed, (Change(store, row, _PLANTED[kind]),))
        if self._now is None:
            raise RuntimeError("nothing was planted")
        return Task(deed, tuple(self._everywhere(self._now.row, _TRUE)))

    def _everywhere(self, row: int, state: int) -> list[Change]:
        return [Change(store, row, state) for store in self._terms.stores]

    def done(self, now_ms: int) -> list[News]:
        """Take in that all of the deed that was begun last is committed."""
        task = self._task
        if task is None:
            raise RuntimeError("no deed was begun")
        if now_ms - self._begun_ms > min(self._terms.windows_ms.values()):
            return self.failed()
        self._task = None
        if task.deed is Deed.PREPARE:
            self._highest = task.clears_below
            if self._judged_from is None:
                self._judged_from = self._highest
            self._plant_at_ms = now_ms + self._terms.interval_ms
            self._phase, self._now = _Phase.RESTING, None
        elif self._now is not None:
            self._highest = max(self._highest or 0, self._now.row)
            self._now.since_ms, self._now.doubt = now_ms, None
            if task.deed is Deed.PLANT:
                self._turn += 1
                self._phase = _Phase.PLANTED
            elif self._now.finding_id:
                self._phase = _Phase.MENDED
            else:
                self._begin_anew()
        return []

    def failed(self) -> list[News]:
        """Take in that a deed may have been done in part: nothing that stands there now proves anything."""
        planting, phase = self._now, self._phase
        self._begin_anew()
        self._highest = self._judged_from = self._task = None
        if planting is None:
            return []
        planting.doubt = Doubt.UNWRITTEN
        if planting.finding_id:
            return [self._unended(planting)]
        return [] if phase is _Phase.JUDGED else [self._untold(planting)]

    def give_up(self) -> None:
        """Await nothing any more: what was planted is to be mended, and nothing is to be said of it."""
        if self._phase is _Phase.PLANTED:
            self._phase = _Phase.JUDGED

    def heard(self, word: Word, now_ms: int) -> list[News]:
        """Take in a finding on the canary's table."""
        if word.stage is Stage.RESOLVED:
            return self._heard_end(word)
        if word.stage not in {Stage.CONFIRMED, Stage.NOTED} or self._judged_from is None:
            return []
        if word.row is not None and word.row < self._judged_from:
            return []
        planting = None if word.row is None else self._plantings.get(word.row)
        if planting is not None and planting.finding_id == word.finding_id:
            return []
        if planting is None or planting.store != word.store or planting.finding_id or word.stage is Stage.NOTED:
            return self._unplanted(word)
        planting.finding_id = word.finding_id
        if planting is not self._now or self._phase is not _Phase.PLANTED:
            return [ToldLate(planting.store, planting.kind, word.finding_id)]
        self._phase = _Phase.JUDGED
        result = Result.DETECTED if word.kind is planting.kind else Result.MISNAMED
        latency_ms = max(0, now_ms - planting.since_ms - planting.window_ms)
        return [Judged(planting.store, planting.kind, result, None, latency_ms, word.finding_id)]

    def _heard_end(self, word: Word) -> list[News]:
        planting = self._now
        if planting is None or self._phase is not _Phase.MENDED or planting.finding_id != word.finding_id:
            return []
        self._begin_anew()
        return [Ended(planting.store, planting.kind, Ending.RESOLVED, None, word.finding_id)]

    def _unplanted(self, word: Word) -> list[News]:
        if word.finding_id in self._false:
            return []
        self._false[word.finding_id] = None
        if len(self._false) > CANARY_ROWS_KEPT:
            del self._false[next(iter(self._false))]
        return [FalseAlarm(word.store, word.kind, word.finding_id)]

    def _begin_anew(self) -> None:
        """Let a new row be prepared, and forget the oldest planting where there are too many."""
        self._phase, self._now = _Phase.UNPREPARED, None
        if len(self._plantings) > CANARY_ROWS_KEPT:
            oldest = next(iter(self._plantings))
            del self._plantings[oldest]
            self._judged_from = None if self._judged_from is None else max(self._judged_from, oldest + 1)

    @staticmethod
    def _untold(planting: Planting) -> Judged:
        result = Result.MISSED if planting.doubt is None else Result.INCONCLUSIVE
        return Judged(planting.store, planting.kind, result, planting.doubt)

    @staticmethod
    def _unended(planting: Planting) -> Ended:
        ending = Ending.UNRESOLVED if planting.doubt is None else Ending.INCONCLUSIVE
        return Ended(planting.store, planting.kind, ending, planting.doubt, planting.finding_id)
