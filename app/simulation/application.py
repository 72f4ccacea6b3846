"""The application: what it does to the authority's rows, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
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

_ABSENT_AT_FIRST: Final = 0.1
_DELETES: Final = 0.1
_HOT_MS: Final = (60, 700)
"""How often the hot rows change, one much oftener than beacons are written, one nearly as seldom."""
_KEY_CHANGES: Final = 0.05
_LONG_SHARE: Final = 0.3
_VALUE_BITS: Final = 24

Carry = Callable[[int, bytes, int | None], None]
CarryTruncate = Callable[[int, list[bytes]], None]


@dataclass(slots=True)
class Application:
    """Writes into the authority, all through the run, and tells the pipelines what it has committed."""

    setting: Setting
    authority: Store
    schedule: Schedule
    diary: Diary
    carry: list[Carry]
    carry_truncate: list[CarryTruncate]
    _dice: Random = field(init=False)
    _written: Counter[int] = field(default_factory=Counter)  # per row's number

    def __post_init__(self) -> None:
        self._dice = self.setting.dice("application")
        for number in range(self.setting.keys):
            if self._dice.random() >= _ABSENT_AT_FIRST:
                self._write(number, None, 0)
        for at_ms, stamp_ms, number in sorted(self._changes()):
            self.schedule.put(at_ms, partial(self._write, number, stamp_ms))
        if self.setting.has(Fault.KEYS_CHANGE):
            dice = self.setting.dice(Fault.KEYS_CHANGE.value)
            for _ in range(max(2, round(self.setting.keys * _KEY_CHANGES))):
                at_ms = dice.randint(START_MS, self.setting.end_ms)
                self.schedule.put(at_ms, partial(self._change_key, dice.randrange(self.setting.keys)))

        if self.setting.has(Fault.AUTHORITY_TRUNCATED):
            dice = self.setting.dice(Fault.AUTHORITY_TRUNCATED.value)
            self.schedule.put(dice.randint(START_MS, self.setting.end_ms - 3_000), self._truncate)

    def _truncate(self, at_ms: int) -> None:
        self.diary.note(Fault.AUTHORITY_TRUNCATED, at_ms, self.authority.name)
        keys = [key for key, _ in self.authority.truncate(at_ms)]
        for carry in self.carry_truncate:
            carry(at_ms, keys)

    def _changes(self) -> Iterator[tuple[int, int, int]]:
        """Draw when which row changes, and when its statement began."""
        dice, setting = self._dice, self.setting
        skew = dice.choice([1.0, 1.0, 3.0])
        long_at = self._long_transactions()
        for _ in range(setting.changes // (1 + setting.replicas)):
            stamp_ms = at_ms = dice.randint(1, setting.end_ms)
            number = int(setting.keys * dice.random() ** skew)
            for begin_ms, end_ms in long_at:
                if begin_ms <= at_ms < end_ms and dice.random() < _LONG_SHARE:
                    at_ms = end_ms
                    self.diary.note(Fault.TRANSACTIONS_LONG, at_ms, self.authority.name)
            yield at_ms, stamp_ms, number
        if setting.has(Fault.ROW_HOT):
            for number, every_ms in enumerate(_HOT_MS):
                for at_ms in range(START_MS, setting.end_ms, every_ms):
                    self.diary.note(Fault.ROW_HOT, at_ms, self.authority.name)
                    yield at_ms, at_ms, number

    def _long_transactions(self) -> list[tuple[int, int]]:
        dice = self.setting.dice(Fault.TRANSACTIONS_LONG.value)
        if not self.setting.has(Fault.TRANSACTIONS_LONG):
            return []
        begins = [dice.randint(0, self.setting.end_ms) for _ in range(3)]
        return [(begin, begin + dice.choice([1_000, 6_000])) for begin in begins]

    def _change_key(self, number: int, at_ms: int) -> None:
        """Let a row have another key, or its own again."""
        key, other = key_of(number), b"m" + key_of(number)[1:]
        if self.authority.value(key) is None:
            key, other = other, key
        value = self.authority.change_key(at_ms, key, other)
        if value is None:
            return
        self.diary.note(Fault.KEYS_CHANGE, at_ms, self.authority.name, key)
        for carry in self.carry:
            carry(at_ms, key, None)
            carry(at_ms, other, value)

    def write_now(self, key: bytes, at_ms: int) -> None:
        """Write or delete a row that has a number, as at any other time."""
        if key[:1] == key_of(0)[:1]:
            self._write(int(key[1:]), at_ms, at_ms)

    def _write(self, number: int, stamp_ms: int | None, at_ms: int) -> None:
        dice = self._dice
        n = self._written[number]
        self._written[number] += 1
        if self.setting.has(Fault.OLD_STATES_RETURN) and at_ms and dice.random() < 0.2:  # noqa: PLR2004 - a share
            n = max(0, n - 2)
            self.diary.note(Fault.OLD_STATES_RETURN, at_ms, self.authority.name, key_of(number))
        deletes = at_ms > 0 and dice.random() < _DELETES
        value = None if deletes else (number + 1) << _VALUE_BITS | n
        key = key_of(number)
        transaction = 0 if stamp_ms is None else self.authority.begin(stamp_ms)
        if self.authority.write(at_ms, key, value, transaction):
            for carry in self.carry:
                carry(at_ms, key, value)
