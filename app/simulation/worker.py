"""The worker: the product's own fold over one partition of `observations`, with a table behind it, killed any time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from app.core.contract import EntityContract
from app.core.finding import Finding, Stage, UnknownReason
from app.core.fold import META, Effects, Shard, row_key
from app.core.observation import Observation
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.setting import Setting
from app.simulation.stores import NUMBER

_STALL_MS: Final = (4_000, 12_000)
_CRASHES_EVERY_MS: Final = 50_000
_STALLS_EVERY_MS: Final = 10_000
_SWEEPS_LATER: Final = (0.5, 0.8, 0.97)
"""How often a pass over the table goes on later: one over many rows takes long, and changes come in between."""
_UNHEARD_MOST_MS: Final = 3_000
_NEVER_MS: Final = 2**62
_HEARD_EVERY: Final = 20
"""Observations of a backlog after which the broker's answers have come, unless it gives none."""
_TORN_EVERY_MS: Final = 10_000
_TORN_LATE: Final = 8
"""Writes at the end of a commit before one of which it is torn, half of the time: they tell what was reached."""
_ROW_PREFIX_BYTES: Final = len(row_key(NUMBER, b""))

_TAKES_BACK: Final = frozenset({Stage.RESOLVED, Stage.VERIFIED, Stage.NOTED})


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, when it was sent and when the broker's answer came, on the world's clock."""

    at_ms: int
    finding: Finding
    heard_ms: int = 0


@dataclass(slots=True)
class Period:
    """A time in which a replica was judged, on the common clock: from its coverage on, until `ended_ms`.

    A worker that dies before it `is_kept` has never earned that coverage. `lost_at_ms` is when it was lost, on the
    world's clock.
    """

    base_ms: int
    ended_ms: int
    is_kept: bool = False
    lost_at_ms: int = _NEVER_MS


@dataclass(frozen=True, slots=True)
class UnknownSeen:
    """A row that was not proven when somebody looked, at `at_ms` of the world.

    Its replicas are concluded together: they are known up to `common_ms` of common time, all of them.
    """

    at_ms: int
    common_ms: int
    replica: int
    key: bytes
    reason: UnknownReason


@dataclass(frozen=True, slots=True)
class VerifiedSeen:
    """What a worker called verified when somebody looked, at `at_ms` of the world: up to `through_ms`.

    It was covered since `base_ms`, and knew the logs up to `common_ms`.
    """

    at_ms: int
    replica: int
    base_ms: int
    through_ms: int
    common_ms: int


@dataclass(slots=True)
class _Aged:
    """What had been reached at a commit, and is what the next one covers."""

    read: int = 0
    found: set[bytes] = field(default_factory=set)
    periods: list[Period] = field(default_factory=list)


@dataclass(slots=True)
class Worker:
    """One partition's worker; `holds` says whether a row's changes come here."""

    setting: Setting
    contract: EntityContract
    partition: int
    topic: list[Observation]
    holds: Callable[[bytes], bool]
    diary: Diary
    unknowns: list[UnknownSeen] = field(default_factory=list)
    verified: list[VerifiedSeen] = field(default_factory=list)
    steps: list[tuple[int, Finding]] = field(default_factory=list)  # when it told which, whoever heard of it
    told: list[Told] = field(default_factory=list)
    periods: list[list[Period]] = field(init=False)  # per replica
    went_back: list[tuple[int, int]] = field(default_factory=list)  # replica, and the common time that it was at
    taken_back: list[tuple[int, int]] = field(default_factory=list)  # likewise, up to which it had been verified
    kept: set[bytes] = field(default_factory=set)  # the drifts that were told, and whose rows were committed
    shard: Shard = field(init=False)
    _dice: Random = field(init=False)
    _sweeps_later: float = field(init=False)
    _table: dict[bytes, bytes] = field(default_factory=dict)
    _read: int = 0
    _committed: int = 0
    _sent: list[Told] = field(default_factory=list)  # and not acknowledged
    _found: set[bytes] = field(default_factory=set)  # drifts since the last commit
    _aged: _Aged = field(default_factory=_Aged)
    _told_of: set[str] = field(default_factory=set)  # since the last look, stores of which a drift ended, or a row
    restarted_ms: int = 0  # when it began anew last
    _commits_ms: int = 0
    _stalled_until_ms: int = 0
    _unheard_until_ms: int = 0
    _now_ms: int = 0
    _common_ms: list[int | None] = field(init=False)  # per replica, of this process
    _verified: list[tuple[int | None, int]] = field(init=False)  # likewise: since when covered, up to when verified

    def __post_init__(self) -> None:
        self._dice = self.setting.dice(f"worker {self.partition}")
        self._sweeps_later = self._dice.choice(_SWEEPS_LATER)
        self.shard = Shard((self.contract,), self.partition, self.setting.awake_rows_max)
        self.periods = [[] for _ in self.contract.replicas]
        self._common_ms = [None] * len(self.contract.replicas)
        self._verified = [(None, 0)] * len(self.contract.replicas)

    @property
    def is_idle(self) -> bool:
        """Whether everything was read, told, swept and judged."""
        is_read = self._read == len(self.topic) and not self._sent
        return is_read and self.shard.sweep_range() is None and not self.shard.due_keys()

    def step(self, now_ms: int, *, calm: bool) -> None:
        """Fold some more of the topic, tell what is to be told, and commit."""
        self._now_ms = now_ms
        dice = self._dice
        if not calm and self._is_stopped(now_ms):
            return
        limit = len(self.topic) if calm else dice.choice([1, 5, 100, 10_000])
        is_heard = calm or not self._is_unheard(now_ms)
        for _ in range(limit):
            if self._read >= len(self.topic):
                break
            self._fold(self.topic[self._read])
            self._read += 1
            if is_heard and self._read % _HEARD_EVERY == 0:
                self._hear()
        if is_heard:
            self._hear()
        self._sweep(calm=calm)
        if not calm and now_ms < self._commits_ms:
            return
        self._commits_ms = now_ms + self.setting.commit_ms
        if not calm and self._happens(Fault.COMMITS_TORN, self._torn_share):
            writes = self.shard.flush_aged()
            first = dice.choice([0, max(0, len(writes) - _TORN_LATE)])
            self._write(writes[: dice.randint(first, len(writes))])
            self._restart()
            return
        self._write(self.shard.flush_aged())
        self._committed = self._aged.read
        self._keep(self._aged.found, self._aged.periods)
        self._aged = _Aged(self._read, self._found, [period for periods in self.periods for period in periods])
        self._found = set()

    def _hear(self) -> None:
        """Take in that the broker has what was sent."""
        sent, self._sent = self._sent, []
        self.told += [replace(told, heard_ms=self._now_ms) for told in sent]
        self._take(self.shard.acknowledged([told.finding for told in sent]))

    @property
    def _torn_share(self) -> float:
        """How many commits are torn: of many a few, of few the half."""
        return max(self.setting.commit_ms, self.setting.tick_ms) / _TORN_EVERY_MS

    def _is_unheard(self, now_ms: int) -> bool:
        """Whether the broker acknowledges nothing now."""
        if now_ms >= self._unheard_until_ms and self._happens(Fault.FINDINGS_UNACKNOWLEDGED, 0.2):
            self._unheard_until_ms = now_ms + self._dice.randint(1, _UNHEARD_MOST_MS)
        return now_ms < self._unheard_until_ms

    def _is_stopped(self, now_ms: int) -> bool:
        if self._happens(Fault.WORKER_CRASHES, 0.01 + self.setting.tick_ms / _CRASHES_EVERY_MS):
            self._restart()
        stalls = self.setting.tick_ms / _STALLS_EVERY_MS
        if now_ms >= self._stalled_until_ms and self._happens(Fault.WORKER_STALLS, stalls):
            self._stalled_until_ms = now_ms + self._dice.randint(500, self._dice.choice(_STALL_MS))
        return now_ms < self._stalled_until_ms

    def _happens(self, fault: Fault, chance: float) -> bool:
        if not self.setting.has(fault) or self._dice.random() >= chance:
            return False
        self.diary.note(fault, self._now_ms)
        return True

    def _fold(self, observation: Observation) -> None:
        shard, table = self.shard, self._table
        states = {key: table.get(key) for key in shard.needed_keys(observation)}
        self._take(shard.fold(observation, states))
        due = shard.due_keys()
        if due:
            self._take(shard.wake({key: table.get(key) for key in due}))
        self._note_coverage()

    def _sweep(self, *, calm: bool) -> None:
        """Make the passes over the table that are asked for, or some of them, and the others later."""
        shard, table = self.shard, self._table
        while (wanted := shard.sweep_range()) is not None:
            if not calm and self._dice.random() < self._sweeps_later:
                return
            self._commit()
            start, end, limit = wanted
            keys = sorted(table)
            found = keys[bisect_left(keys, start) : bisect_left(keys, end)][:limit]
            self._take(shard.sweep([(key, table[key]) for key in found]))

    def _note_coverage(self) -> None:
        entity = self.shard.progress.entities[NUMBER]
        for i, base_ms in enumerate(entity.base_ms):
            periods = self.periods[i]
            if periods:  # one that is there again was lost in a commit that was torn
                lost = periods[-1].base_ms != base_ms
                periods[-1].lost_at_ms = min(periods[-1].lost_at_ms, self._now_ms) if lost else _NEVER_MS
            if base_ms is None:
                continue
            if not periods or periods[-1].base_ms != base_ms:
                periods.append(Period(base_ms, base_ms))
            common_ms, before_ms = entity.common_ms(i), self._common_ms[i]
            self._common_ms[i] = common_ms
            if common_ms is None:
                continue
            if before_ms is not None and common_ms < before_ms:
                self.went_back.append((i, before_ms))
            if self.shard.sweep_range() is None:  # else rows that nobody touched may not have been judged yet
                periods[-1].ended_ms = max(periods[-1].ended_ms, common_ms)

    def look(self, now_ms: int) -> None:
        """Note all rows that are unknown now, and how far all are verified, once a pass over the table is done."""
        if self.shard.sweep_range() is not None:
            return  # it may find that they are so no more
        entity, live = self.shard.progress.entities[NUMBER], self.shard.live[NUMBER]
        for i, base_ms in enumerate(entity.base_ms):
            self._note_verified(i, base_ms)
        self._told_of.clear()
        known_ms = [entity.common_ms(i) for i in range(len(entity.base_ms))]
        common_ms = min((at_ms for at_ms in known_ms if at_ms is not None), default=0)
        for row, reasons in live.unknown.items():
            for i, reason in enumerate(reasons):
                if reason is not None and known_ms[i] is not None:
                    self.unknowns.append(UnknownSeen(now_ms, common_ms, i, row[_ROW_PREFIX_BYTES:], reason))

    def _note_verified(self, i: int, base_ms: int | None) -> None:
        """Hold what is verified against what was, under one coverage.

        A disputed row may take it back, one whose drift has ended, for it is within its window again since before, and
        one that was found to be gone, by a slice that did not show it.
        """
        through_ms = self.shard.verified_through_ms(NUMBER, i)
        since_ms, before_ms = self._verified[i]
        if through_ms is None or self.shard.live[NUMBER].unknown_keys(i)[UnknownReason.DIGEST_MISMATCH]:
            return
        is_told = self._told_of & {self.contract.authority, self.contract.replicas[i].store}
        if since_ms == base_ms and through_ms < before_ms and not is_told:
            self.taken_back.append((i, before_ms))
        self._verified[i] = (base_ms, through_ms)
        common_ms = self.shard.progress.entities[NUMBER].common_ms(i)
        if base_ms is not None and common_ms is not None:
            self.verified.append(VerifiedSeen(self._now_ms, i, base_ms, through_ms, common_ms))

    def _restart(self) -> None:
        """Begin again from the table, as a new process does; what was sent last may never have come to the broker."""
        self.told += self._sent[: self._dice.randint(0, len(self._sent))]
        self._sent = []
        self._found.clear()
        self._aged = _Aged(self._committed)
        self.restarted_ms = self._now_ms
        shard = self.shard = Shard((self.contract,), self.partition, self.setting.awake_rows_max)
        rows = shard.restore(sorted((k, v) for k, v in self._table.items() if k[:1] == META))
        self._read = self._committed
        self._common_ms = [None] * len(self.contract.replicas)
        self._verified = [(None, 0)] * len(self.contract.replicas)
        self.periods = [[period for period in periods if period.is_kept] for periods in self.periods]
        self._take(shard.revive({row: self._table.get(row) for row in rows}))

    def _take(self, effects: Effects) -> None:
        self._sent += [Told(self._now_ms, finding) for finding in effects.findings]
        self._told_of.update(finding.replica for finding in effects.findings if finding.stage in _TAKES_BACK)
        self._found.update(finding.finding_id for finding in effects.findings)
        self.steps += [(self._now_ms, finding) for finding in effects.findings if finding.stage is not Stage.NOTED]

    def _commit(self) -> None:
        """Write everything, without committing that it was read."""
        self._write(self.shard.flush())
        self._keep(self._aged.found | self._found, [period for periods in self.periods for period in periods])
        self._found.clear()

    def _keep(self, found: set[bytes], earned: Iterable[Period]) -> None:
        self.kept |= found
        for period in earned:
            period.is_kept = True

    def _write(self, writes: list[tuple[bytes, bytes | None]]) -> None:
        for key, value in writes:
            if value is None:
                self._table.pop(key, None)
            else:
                self._table[key] = value
