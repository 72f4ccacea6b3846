"""What is done to a replica behind the pipeline's back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.keys import key_of
from app.simulation.schedule import Schedule
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import Store

_ROGUE: Final = 1 << 60
_PER_KEY: Final = 0.15
_UNDONE_SHARE: Final = 0.5
_UNDONE_MOST_MS: Final = 8_000
_RETURN_SHARE: Final = 0.7
_RESTORED_SHARE: Final = 0.3
_SHARED_KEYS: Final = 0.03
_SHARED_MS: Final = (300, 3_000, 8_000)


@dataclass(slots=True)
class Damages:
    """Damages of one replica."""

    setting: Setting
    replica: Store
    schedule: Schedule
    diary: Diary
    _dice: Random = field(init=False)
    _number: int = 0
    _copy: list[tuple[bytes, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        setting = self.setting
        self._dice = setting.dice(f"damages {self.replica.name}")
        for fault in (Fault.ROGUE_WRITES, Fault.ROGUE_DELETES, Fault.ROGUE_INSERTS):
            dice = setting.dice(f"{fault.value} {self.replica.name}")
            if setting.has(fault):
                for _ in range(max(2, round(setting.keys * _PER_KEY))):
                    at_ms = dice.randint(START_MS, setting.end_ms)
                    self.schedule.put(at_ms, partial(self._damage, fault, dice.randrange(setting.keys)))
        if setting.shares_keys:
            dice = setting.dice(f"{Fault.KEYS_COLLIDE.value} {self.replica.name}")
            for _ in range(max(2, round(setting.keys * _SHARED_KEYS))):
                at_ms, key = dice.randint(START_MS, setting.end_ms), key_of(dice.randrange(setting.keys))
                self.schedule.put(at_ms, partial(self._share_key, key, _ROGUE | dice.randrange(1 << 20)))
                # It ends before everything is read again: a read says nothing of a row that has just changed.
                over_ms = max(at_ms + 1, min(at_ms + dice.choice(_SHARED_MS), setting.end_ms))
                self.schedule.put(over_ms, partial(self._share_key, key, None))
        if setting.has(Fault.TABLE_TRUNCATED):
            self.schedule.put(self._dice.randint(START_MS + 5_000, setting.end_ms - 3_000), self._truncate)
        if setting.has(Fault.OLD_COPY_RESTORED):
            taken_ms = self._dice.randint(START_MS, setting.end_ms - 5_000)
            self.schedule.put(taken_ms, self._copy_rows)
            self.schedule.put(self._dice.randint(taken_ms + 1, setting.end_ms), self._restore_rows)

    def _damage(self, fault: Fault, number: int, at_ms: int) -> None:
        self._number += 1
        key = b"x" + key_of(number) if fault is Fault.ROGUE_INSERTS else key_of(number)
        value = None if fault is Fault.ROGUE_DELETES else _ROGUE | self._number << 2
        before = self.replica.value(key)
        if self.replica.write(at_ms, key, value):
            self.diary.note(fault, at_ms, self.replica.name, key)
            if self._dice.random() < _UNDONE_SHARE:
                undone_ms = at_ms + self._dice.randint(1, self.setting.window_ms + _UNDONE_MOST_MS)
                self.schedule.put(undone_ms, partial(self._undo, key, value, before))

    def _undo(self, key: bytes, value: int | None, before: int | None, at_ms: int) -> None:
        """Let a row be again what it was before a damage, if nobody has written it since."""
        if self.replica.value(key) == value:
            self.replica.write(at_ms, key, before)

    def _share_key(self, key: bytes, value: int | None, at_ms: int) -> None:
        if value is not None and self.replica.value(key) is None:
            return  # alone it would be the row itself
        if self.replica.put_twin(at_ms, key, value) and value is not None:
            self.diary.note(Fault.KEYS_COLLIDE, at_ms, self.replica.name, key)

    def _truncate(self, at_ms: int) -> None:
        if self.replica.rows.locks:
            self.schedule.put(at_ms + 1, self._truncate)
            return
        self.diary.note(Fault.TABLE_TRUNCATED, at_ms, self.replica.name)
        for key, value in self.replica.truncate(at_ms):
            if self.setting.has(Fault.TRUNCATED_ROWS_RETURN) and self._dice.random() < _RETURN_SHARE:
                back_ms = at_ms + self._dice.choice([20, 500, self.setting.window_ms + 3_000])
                self.schedule.put(back_ms, partial(self._put_back, key, value))

    def _put_back(self, key: bytes, value: int, at_ms: int) -> None:
        if self.replica.value(key) is None and self.replica.write(at_ms, key, value):
            self.diary.note(Fault.TRUNCATED_ROWS_RETURN, at_ms, self.replica.name, key)

    def _copy_rows(self, at_ms: int) -> None:
        del at_ms
        self._copy = [(key_of(n), self.replica.value(key_of(n))) for n in range(self.setting.keys)]

    def _restore_rows(self, at_ms: int) -> None:
        for key, value in self._copy:
            if self._dice.random() < _RESTORED_SHARE and self.replica.write(at_ms, key, value):
                self.diary.note(Fault.OLD_COPY_RESTORED, at_ms, self.replica.name, key)
