"""A pipeline that fills a replica from the authority's changes, and everything that such pipelines get wrong."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.schedule import Schedule
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import Store

_ALTERED: Final = 1 << 61
_LAG_MOST_MS: Final = 800
_SHARE_MOST: Final = 0.05
_PER_KEY: Final = 0.3
_STALLS: Final = 3
_CATCHES_UP: Final = (0, 0, 3)
"""For how many times as long as it stood still a pipeline is faster than its authority until it has caught up."""
_TRUNCATES_BY_ROW: Final = 0.5
_LATE_SHARE: Final = 0.3
_LATE_REPORTS: Final = 4


@dataclass(slots=True)
class Carried:
    """A change that the authority committed at a place of its log, and when the replica had it; None: not yet."""

    at_ms: int
    place: bytes
    done_ms: int | None = None


@dataclass(slots=True)
class Pipeline:
    """Carries each change of the authority into one replica, some time later, in the order of each row's changes."""

    setting: Setting
    authority: Store
    replica: Store
    schedule: Schedule
    diary: Diary
    carried: defaultdict[bytes, list[Carried]] = field(default_factory=lambda: defaultdict(list))  # by row
    _under_way: deque[Carried] = field(default_factory=deque)
    _through: bytes = b""
    _reports: list[tuple[bytes, int]] = field(default_factory=list)
    _dice: dict[str, Random] = field(default_factory=dict)
    _arrived_ms: dict[bytes, int] = field(default_factory=dict)
    _held: dict[bytes, tuple[int | None, list[Carried]]] = field(default_factory=dict)
    _stalls: list[tuple[int, int, int]] = field(default_factory=list)  # begin, end, and when it has caught up
    _share: float = field(init=False)
    _lag_ms: int = field(init=False)

    def __post_init__(self) -> None:
        setting = self.setting
        # Some rows are damaged, but most changes arrive.
        self._share = min(_SHARE_MOST, _PER_KEY * setting.keys / setting.changes)
        self._lag_ms = max(6, min(_LAG_MOST_MS, setting.window_ms // 2))
        if setting.has(Fault.PIPELINE_STALLS):
            dice = self._dice_of("stalls")
            longest_ms = setting.window_ms + 4_000
            for begin in sorted(dice.sample(range(START_MS, setting.end_ms), _STALLS)):
                length_ms = dice.choice([300, setting.window_ms // 2, longest_ms])
                end = begin + length_ms
                # It comes to rest as soon after the application as one that makes up at once.
                caught_up_ms = min(end + dice.choice(_CATCHES_UP) * length_ms, setting.end_ms + longest_ms)
                self._stalls.append((begin, end, max(end, caught_up_ms)))

    def _dice_of(self, name: str) -> Random:
        dice = self._dice.get(name)
        if dice is None:
            dice = self._dice[name] = self.setting.dice(f"pipeline {self.replica.name} {name}")
        return dice

    def _happens(self, fault: Fault, at_ms: int, key: bytes) -> bool:
        if not self.setting.has(fault) or self._dice_of(fault.value).random() >= self._share:
            return False
        self.diary.note(fault, at_ms, self.replica.name, key)
        return True

    def carry(self, at_ms: int, key: bytes, value: int | None) -> None:
        """Take a change that the authority has committed."""
        if not at_ms:
            self.replica.write(0, key, value)
            return
        change = Carried(at_ms, self.authority.log[-1].place)
        self.carried[key].append(change)
        self._under_way.append(change)
        is_lost = self._happens(Fault.PIPELINE_LOSES, at_ms, key)
        if is_lost or (value is None and self._happens(Fault.PIPELINE_KEEPS_DELETED, at_ms, key)):
            change.done_ms = at_ms
            return
        if value is not None and self._happens(Fault.PIPELINE_ALTERS, at_ms, key):
            value |= _ALTERED
        arrives_ms = self._arrives_ms(key, at_ms)
        if self._happens(Fault.PIPELINE_REORDERS, at_ms, key):
            late_ms = self._dice_of("late").randint(self._lag_ms, self.setting.window_ms + 3_000)
            self.schedule.put(arrives_ms + late_ms, partial(self._write, key, value, [change]))
            return
        self._arrived_ms[key] = arrives_ms
        if self.setting.has(Fault.PIPELINE_SKIPS):
            self._collect(key, value, change, arrives_ms)
        else:
            self.schedule.put(arrives_ms, partial(self._write, key, value, [change]))
        if self._happens(Fault.PIPELINE_DOUBLES, at_ms, key):
            again_ms = self._dice_of("again").choice([200, 2_000, self.setting.window_ms + 2_000])
            self.schedule.put(arrives_ms + again_ms, partial(self._write, key, value, []))

    def _arrives_ms(self, key: bytes, at_ms: int) -> int:
        lag_ms = self._dice_of("lag").randint(5, self._lag_ms)
        arrives_ms = max(self._arrived_ms.get(key, 0), at_ms + lag_ms)
        for begin_ms, end_ms, caught_up_ms in self._stalls:
            if begin_ms <= arrives_ms < caught_up_ms:
                behind = (arrives_ms - begin_ms) / (caught_up_ms - begin_ms)
                arrives_ms = end_ms + round(behind * (caught_up_ms - end_ms))
                self.diary.note(Fault.PIPELINE_STALLS, at_ms, self.replica.name, key)
        return arrives_ms

    def carry_truncate(self, at_ms: int, keys: list[bytes]) -> None:
        """Take a truncate that cut these rows in the authority: row by row, or as one, which may be late."""
        dice = self._dice_of(Fault.AUTHORITY_TRUNCATED.value)
        if dice.random() < _TRUNCATES_BY_ROW:
            for key in keys:
                self.carry(at_ms, key, None)
            return
        cut = Carried(at_ms, self.authority.log[-1].place)
        for key in keys:
            self.carried[key].append(cut)
        self._under_way.append(cut)
        late_ms = dice.choice([0, self.setting.window_ms + 2_000])
        self.schedule.put(self._arrives_ms(b"", at_ms) + late_ms, partial(self._truncate, cut))

    def _truncate(self, cut: Carried, at_ms: int) -> None:
        if self.replica.rows.locks:
            self.schedule.put(at_ms + 1, partial(self._truncate, cut))
            return
        self.replica.truncate(at_ms)
        cut.done_ms = at_ms

    def _collect(self, key: bytes, value: int | None, change: Carried, arrives_ms: int) -> None:
        """Write only the newest of the changes of a row that are under way."""
        _, changes = self._held.get(key, (None, []))
        if changes:
            self.diary.note(Fault.PIPELINE_SKIPS, change.at_ms, self.replica.name, key)
        else:
            self.schedule.put(arrives_ms, partial(self._write_held, key))
        self._held[key] = (value, [*changes, change])

    def _write_held(self, key: bytes, at_ms: int) -> None:
        value, changes = self._held.pop(key)
        self._write(key, value, changes, at_ms)

    def _write(self, key: bytes, value: int | None, changes: list[Carried], at_ms: int) -> None:
        self.replica.write(at_ms, key, value)
        for change in changes:
            change.done_ms = at_ms

    def report(self, now_ms: int, seen_at_ms: int) -> tuple[bytes, int]:
        """Return up to which place everything was carried, and when that was seen; late, what it was some time ago."""
        # Others write while the applier steps, which may be ahead of this moment.
        while self._under_way and (done_ms := self._under_way[0].done_ms) is not None and done_ms <= now_ms:
            place = self._under_way.popleft().place
            if (
                not self._under_way or self._under_way[0].place != place
            ):  # a key that changes is two changes in one place
                self._through = place
        self._reports.append((self._through, seen_at_ms))
        dice = self._dice_of("reports")
        if self.setting.has(Fault.PIPELINE_REPORTS_LATE) and dice.random() < _LATE_SHARE:
            self.diary.note(Fault.PIPELINE_REPORTS_LATE, now_ms, self.replica.name)
            return dice.choice(self._reports[-_LATE_REPORTS:])
        return self._reports[-1]
