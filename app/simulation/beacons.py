"""Beacon writers as the product decides them, over stores that are slow, and processes that die, hang and sleep.

The common time is what the newest writer's clock says. It stands still while nobody writes, so the world's exact
moments are told on it by `common_ms`; only with it can anybody say what is true, for windows are common time too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from app.core.beacon_writer import BeaconRow, BeaconWriter, Beat, Role
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.schedule import Schedule
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import Store

BEACON_MS: Final = 500
BEGIN_MS: Final = -10_000
"""When the writers begin: time runs by the time there is anything to read."""
_SLOW_SHARE: Final = 0.05
_LOST_SHARE: Final = 0.1
_HANGS: Final = 4
_IN_FLIGHT_SHARE: Final = 0.7
SLEEPS_MOST_MS: Final = 3 * BEACON_MS
"""How long a writer's machine sleeps at most."""
AHEAD_MOST_MS: Final = 2 * BEACON_MS
"""How much common time may gain on the world's at once: who begins at the same time as another may be behind it."""


@dataclass(slots=True)
class _Process:
    """One writer's process: its monotonic clock stands `clock_ms` off the world's."""

    writer: BeaconWriter
    clock_ms: int
    is_alive: bool = True
    hangs_until_ms: int = BEGIN_MS
    hangs_next_ms: int = 0  # for how long, as soon as its next beacon is on its way
    epoch_seen: int = 0

    def now(self, at_ms: int) -> int:
        """Return what its clock says."""
        return at_ms + self.clock_ms


@dataclass(slots=True)
class Beacons:
    """All writers, and the rows that they write."""

    setting: Setting
    stores: list[Store]
    schedule: Schedule
    diary: Diary
    _dice: Random = field(init=False)
    _rows: dict[str, BeaconRow] = field(init=False)
    _processes: list[_Process] = field(init=False)
    _issued: list[tuple[int, int, int]] = field(default_factory=list)  # world's moment, common time, writer's epoch
    _began_ms: dict[int, int] = field(default_factory=dict)
    _went_on: list[tuple[str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = self.setting.dice("beacons")
        self._rows = {store.name: BeaconRow(0, 0, 0, 0) for store in self.stores}
        self._processes = []
        writers = {Fault.BEACON_WRITER_DIES, Fault.BEACON_WRITERS_DOUBLE} & self.setting.faults
        for _ in range(2 if writers else 1):
            self._start(BEGIN_MS)
        for fault, act, times in (
            (Fault.BEACON_WRITER_DIES, self._die, 1),
            (Fault.BEACON_WRITERS_DOUBLE, self._hang, _HANGS),
            (Fault.BEACON_CLOCK_STEPS, self._sleep, 1),
        ):
            for _ in range(times if self.setting.has(fault) else 0):
                self.schedule.put(self._dice.randint(START_MS, self.setting.end_ms), act)

    def _start(self, at_ms: int) -> None:
        clock_ms = self._dice.randint(0, 10**6)
        names = self.setting.store_names
        nonce = 1 + len(self._processes)
        process = _Process(BeaconWriter(names, nonce, BEACON_MS, at_ms + clock_ms), clock_ms)
        self._processes.append(process)
        for store in self.stores:
            self.schedule.put(at_ms + self._dice.randint(1, BEACON_MS), partial(self._turn, process, store))

    def _writing(self) -> _Process | None:
        return next((p for p in self._processes if p.is_alive and p.writer.role is Role.WRITING), None)

    def _die(self, at_ms: int) -> None:
        process = self._writing()
        if process is not None:
            process.is_alive = False
            self.diary.note(Fault.BEACON_WRITER_DIES, at_ms)

    def _hang(self, at_ms: int) -> None:
        """Let the writer hang until another has taken over, or just about; a beacon may be on its way meanwhile."""
        process = self._writing()
        if process is not None:
            most = self._dice.choice([6, 12])
            hangs_ms = self._dice.randint(4 * BEACON_MS, most * BEACON_MS)
            if self._dice.random() < _IN_FLIGHT_SHARE:
                process.hangs_next_ms = hangs_ms
            else:
                process.hangs_until_ms = at_ms + hangs_ms
            self.diary.note(Fault.BEACON_WRITERS_DOUBLE, at_ms)

    def _sleep(self, at_ms: int) -> None:
        process = self._writing()
        if process is not None:
            slept_ms = self._dice.randint(BEACON_MS, SLEEPS_MOST_MS)
            process.hangs_until_ms = max(process.hangs_until_ms, at_ms + slept_ms)
            process.clock_ms -= slept_ms
            self.diary.note(Fault.BEACON_CLOCK_STEPS, at_ms)

    def _turn(self, process: _Process, store: Store, at_ms: int) -> None:
        """Do what the writer's shell does for one store."""
        if not process.is_alive:
            return
        if at_ms < process.hangs_until_ms:
            self.schedule.put(process.hangs_until_ms, partial(self._turn, process, store))
            return
        now_ms = process.now(at_ms)
        beat = process.writer.next_beat(store.name, now_ms)
        if beat is None:
            process.writer.read_back(store.name, self._rows[store.name], now_ms)
            process.epoch_seen = max(process.epoch_seen, self._rows[store.name].epoch)
            beat = process.writer.next_beat(store.name, now_ms)
        if beat is None:
            self.schedule.put(at_ms + BEACON_MS, partial(self._turn, process, store))
            return
        if beat.row.epoch < process.epoch_seen:
            self._went_on.append(("a writer goes on that was replaced", store.name, beat.row.issued_at_ms))
        slow = self.setting.has(Fault.BEACONS_SLOW) and self._dice.random() < _SLOW_SHARE
        if slow:
            self.diary.note(Fault.BEACONS_SLOW, at_ms, store.name)
        committed_ms = at_ms + self._dice.randint(1, 900 if slow else 30)
        if process.hangs_next_ms:
            committed_ms += process.hangs_next_ms
            process.hangs_until_ms, process.hangs_next_ms = at_ms + process.hangs_next_ms, 0
        self.schedule.put(committed_ms, partial(self._commit, process, store, beat, at_ms))

    def _commit(self, process: _Process, store: Store, beat: Beat, issued_ms: int, at_ms: int) -> None:
        held = self._rows[store.name]
        done = (held.epoch, held.sequence) == (beat.expected_epoch, beat.expected_sequence)
        if done:
            self._rows[store.name] = beat.row
            store.log_beacon(at_ms, beat.row)
            self._began_ms.setdefault(beat.row.epoch, beat.row.issued_at_ms)
            self._issued.append((issued_ms, beat.row.issued_at_ms, beat.row.epoch))
        if self.setting.has(Fault.BEACON_ANSWERS_LOST) and self._dice.random() < _LOST_SHARE:
            self.diary.note(Fault.BEACON_ANSWERS_LOST, at_ms, store.name)
            done = False
        answer = partial(self._answer, process, store, beat if done else None, issued_ms)
        self.schedule.put(at_ms + self._dice.randint(1, 40), answer)

    def _answer(self, process: _Process, store: Store, beat: Beat | None, issued_ms: int, at_ms: int) -> None:
        if not process.is_alive:
            return
        if at_ms < process.hangs_until_ms:
            self.schedule.put(process.hangs_until_ms, partial(self._answer, process, store, beat, issued_ms))
            return
        if beat is None:
            process.writer.unsettled(store.name)
        else:
            process.writer.acknowledged(store.name, beat, process.now(at_ms))
        self.schedule.put(max(issued_ms + BEACON_MS, at_ms + 1), partial(self._turn, process, store))

    def now_ms(self, at_ms: int) -> int:
        """Return a common time that no beacon issued before this moment is later than, as a worker reckons it."""
        return max(common_ms + at_ms - issued_ms for issued_ms, common_ms, _ in self._issued)

    def wrong(self) -> list[tuple[str, str, int]]:
        """Return what no writer may do: go on after another has begun, or let the common time run faster than time."""
        found = list(self._went_on)
        ahead_ms: int | None = None
        for at_ms, common_ms, _ in sorted(self._issued):
            if ahead_ms is not None and common_ms - at_ms > ahead_ms + AHEAD_MOST_MS:
                found.append(("the common time ran ahead", "", common_ms))
            ahead_ms = common_ms - at_ms if ahead_ms is None else max(ahead_ms, common_ms - at_ms)
        return found

    def clock(self) -> CommonClock:
        """Return the common time as it went."""
        clock = CommonClock([], self._began_ms)
        points = clock.points
        for at_ms, common_ms, epoch in sorted(self._issued):
            if not clock.is_replaced(epoch, common_ms) and (not points or points[-1][1] < common_ms):
                points.append((at_ms, common_ms))
        return clock


@dataclass(frozen=True, slots=True)
class CommonClock:
    """The common time at each moment of the world: exact where a beacon was issued, and as the clock went between."""

    points: list[tuple[int, int]]
    began_ms: Mapping[int, int]  # per writer's epoch

    def is_replaced(self, epoch: int, common_ms: int) -> bool:
        """Whether a newer writer had begun when one issued a beacon: their clocks are close, but not the same."""
        return any(newer > epoch and began_ms < common_ms for newer, began_ms in self.began_ms.items())

    def gap_ms(self, common_ms: int) -> int:
        """Return how far apart the beacons around a moment of the common time are: nothing between is told apart."""
        n = bisect_right(self.points, common_ms, key=lambda point: point[1])
        return self.points[n][1] - self.points[n - 1][1] if 0 < n < len(self.points) else 0

    def around_ms(self, at_ms: int) -> tuple[int, int]:
        """Return the common time of the beacons around a moment of the world's clock: nothing between is told apart."""
        n = bisect_right(self.points, (at_ms, 2**62))
        return self.points[n - 1][1] if n else -(2**62), self.points[n][1] if n < len(self.points) else 2**62

    def common_ms(self, at_ms: int) -> int:
        """Return the common time at a moment of the world's clock."""
        n = bisect_right(self.points, (at_ms, 2**62))
        if not n:
            first_ms, common_ms = self.points[0]
            return common_ms - (first_ms - at_ms)
        last_ms, common_ms = self.points[n - 1]
        reached_ms = common_ms + at_ms - last_ms
        return min(reached_ms, self.points[n][1]) if n < len(self.points) else reached_ms
