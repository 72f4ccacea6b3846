"""A pipeline that fills a replica from the authority's changes, and everything that such pipelines get wrong."""

from __future__ import annotations

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


@dataclass(slots=True)
class Pipeline:
    """Carries each change of the authority into one replica, some time later, in the order of each row's changes."""

    setting: Setting
    replica: Store
    schedule: Schedule
    diary: Diary
    _dice: dict[str, Random] = field(default_factory=dict)
    _arrived_ms: dict[bytes, int] = field(default_factory=dict)
    _held: dict[bytes, int | None] = field(default_factory=dict)
    _stalls: list[tuple[int, int]] = field(default_factory=list)
    _share: float = field(init=False)
    _lag_ms: int = field(init=False)

    def __post_init__(self) -> None:
        setting = self.setting
        # Some rows are damaged, but most changes arrive.
        self._share = min(_SHARE_MOST, _PER_KEY * setting.keys / setting.changes)
        self._lag_ms = max(6, min(_LAG_MOST_MS, setting.window_ms // 2))
        if setting.has(Fault.PIPELINE_STALLS):
            dice = self._dice_of("stalls")
            begin = dice.randint(START_MS, setting.end_ms)
            self._stalls.append((begin, begin + dice.choice([300, setting.window_ms // 2, setting.window_ms + 4_000])))

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
            self._write(key, value, 0)
            return
        if self._happens(Fault.PIPELINE_LOSES, at_ms, key):
            return
        if value is None and self._happens(Fault.PIPELINE_KEEPS_DELETED, at_ms, key):
            return
        if value is not None and self._happens(Fault.PIPELINE_ALTERS, at_ms, key):
            value |= _ALTERED
        lag_ms = self._dice_of("lag").randint(5, self._lag_ms)
        arrives_ms = max(self._arrived_ms.get(key, 0), at_ms + lag_ms)
        for begin_ms, end_ms in self._stalls:
            if begin_ms <= arrives_ms < end_ms:
                arrives_ms = end_ms
                self.diary.note(Fault.PIPELINE_STALLS, at_ms, self.replica.name, key)
        if self._happens(Fault.PIPELINE_REORDERS, at_ms, key):
            late_ms = self._dice_of("late").randint(self._lag_ms, self.setting.window_ms + 3_000)
            self.schedule.put(arrives_ms + late_ms, partial(self._write, key, value))
            return
        self._arrived_ms[key] = arrives_ms
        if self.setting.has(Fault.PIPELINE_SKIPS):
            self._collect(key, value, at_ms, arrives_ms)
        else:
            self.schedule.put(arrives_ms, partial(self._write, key, value))
        if self._happens(Fault.PIPELINE_DOUBLES, at_ms, key):
            again_ms = self._dice_of("again").choice([200, 2_000, self.setting.window_ms + 2_000])
            self.schedule.put(arrives_ms + again_ms, partial(self._write, key, value))

    def _collect(self, key: bytes, value: int | None, at_ms: int, arrives_ms: int) -> None:
        """Write only the newest of the changes of a row that are under way."""
        if key in self._held:
            self.diary.note(Fault.PIPELINE_SKIPS, at_ms, self.replica.name, key)
        else:
            self.schedule.put(arrives_ms, partial(self._write_held, key))
        self._held[key] = value

    def _write_held(self, key: bytes, at_ms: int) -> None:
        self.replica.write(at_ms, key, self._held.pop(key))

    def _write(self, key: bytes, value: int | None, at_ms: int) -> None:
        self.replica.write(at_ms, key, value)
