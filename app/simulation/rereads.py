"""Slices of a store that are read again, as Debezium reads them, and rows that somebody changed past its log.

A store of which no snapshot tells is read as a whole, slice by slice, whenever nothing else shows which rows it has.

A slice is selected at one moment and stands in the log at a later one, without the rows that changed in between. What
is hidden is hidden when the world is at rest, so that nobody can doubt whether a read has seen a row's last change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from random import Random
from typing import Final

from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.keys import key_of
from app.simulation.oracle import is_told
from app.simulation.schedule import Schedule
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import Kind, Slice, Store, twin_of

_SLICES: Final = 4
_CUTS_OF_PASS: Final = (0, 1, 4)
_LOOKS_MS: Final = 1_000
_PAUSE_MS: Final = (1_000, 4_000)
"""How long a pass is given to show, before another one is begun."""
_READ_MOST_MS: Final = 3_000
_LONG_MOST_MS: Final = 12_000
_SEEN_LATE_MS: Final = (0, 0, 300)
"""How long a store may show a row as it was before a change that stands in its log."""
_DONE_MOST_MS: Final = 400
_HIDDEN_BEFORE_MS: Final = 1_000
_HIDDEN_MOST: Final = 4
_HIDDEN: Final = 1 << 62
_DOUBTFUL: Final = frozenset(
    {
        Fault.CONNECTOR_LIES,
        Fault.RECORDS_UNREADABLE,
        Fault.SCHEMA_UNKNOWN,
        Fault.VALUES_UNMAPPABLE,
        Fault.VALUES_LEFT_OUT,
        Fault.KEYS_COLLIDE,
    }
)
"""Where rows of a busy store are not known by its log, nobody can say exactly which of its reads told them."""


@dataclass(slots=True)
class Rereads:
    """The slices of one store."""

    setting: Setting
    store: Store
    schedule: Schedule
    diary: Diary
    awaits_pass: Callable[[], bool]
    _dice: Random = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        setting = self.setting
        self._dice = dice = setting.dice(f"rereads {self.store.name}")
        if setting.reads_amid_changes and not setting.faults & _DOUBTFUL:
            for _ in range(_SLICES):
                low, high = sorted(dice.sample(range(setting.keys + 1), 2))
                begin = partial(self._begin, key_of(low), key_of(high))
                self.schedule.put(dice.randint(START_MS + 2_000, setting.end_ms), begin)
        if self.store.name in setting.streams_alone:
            self.schedule.put(START_MS, self._look)
        if setting.has(Fault.ROWS_HIDDEN):
            self.schedule.put(setting.reread_ms - _HIDDEN_BEFORE_MS, self._hide)
            self.schedule.put(setting.reread_ms, partial(self._begin, b"", b""))

    def _hide(self, at_ms: int) -> None:
        dice, store = self._dice, self.store
        there = sorted(key for _, key in store.rows.rows)
        for key in dice.sample(there, min(_HIDDEN_MOST, len(there))):
            store.hide(at_ms, key, dice.choice([None, _HIDDEN | store.index]))
        store.hide(at_ms, f"y{store.name}".encode(), _HIDDEN)

    def _look(self, at_ms: int) -> None:
        """Begin a pass where one is awaited, or look again later."""
        if not self.awaits_pass():
            self.schedule.put(at_ms + _LOOKS_MS, self._look)
            return
        keys = range(1, self.setting.keys)
        cuts = sorted(self._dice.sample(keys, min(self._dice.choice(_CUTS_OF_PASS), len(keys))))
        bounds = [b"", *map(key_of, cuts), b""]
        begun = self._begun(b"", b"", at_ms)
        self._read_on(begun, len(self.store.log), list(pairwise(bounds)), frozenset(), at_ms)

    def _read_on(
        self, begun: Slice, n: int, rest: list[tuple[bytes, bytes]], read: frozenset[bytes], at_ms: int
    ) -> None:
        """Read the next slice of a pass, or end it."""
        if rest:
            (low, high), *rest = rest
            self._read(
                Slice(begun.slice_id, low, high, begun.begun),
                at_ms,
                lambda found, later_ms: self._read_on(begun, n, rest, read | found, later_ms),
            )
            return
        self._end(begun, n, read, at_ms)
        self.schedule.put(at_ms + self._dice.randint(*_PAUSE_MS), self._look)

    def _begun(self, low: bytes, high: bytes, at_ms: int) -> Slice:
        self._number += 1
        return self.store.begin_slice(at_ms, f"{self.store.name}{self._number}".encode(), low, high)

    def _begin(self, low: bytes, high: bytes, at_ms: int) -> None:
        begun = self._begun(low, high, at_ms)
        n = len(self.store.log)
        self._read(begun, at_ms, lambda read, later_ms: self._end(begun, n, read, later_ms))

    def _read(self, begun: Slice, at_ms: int, done: Callable[[frozenset[bytes], int], None]) -> None:
        """Read a slice's rows, and let it be known which they are when their reading is over."""
        store, low = self.store, begun.low
        rows = {key: value for _, key in store.rows.rows if begun.has(key) and (value := store.value(key)) is not None}
        twins = {key: value for key, value in store.twins.items() if begun.has(key)}
        may_be_late = low and self.setting.reads_late(at_ms) and store.name not in self.setting.streams_alone
        late_ms = self._dice.choice(_SEEN_LATE_MS) if may_be_late else 0
        unseen = {key for key in self._changed(at_ms - late_ms, at_ms) if begun.has(key)}
        for key in sorted(unseen):
            was = store.history[key].at(at_ms - late_ms)
            if was is None:
                rows.pop(key, None)
            elif is_told(was):
                rows[key] = was
        read_ms = self._dice.randint(20, self._dice.choice([_READ_MOST_MS, _LONG_MOST_MS]) if low else _READ_MOST_MS)
        close = partial(self._close, len(store.log), rows, twins, frozenset(unseen), done)
        self.schedule.put(at_ms + (min(read_ms, _READ_MOST_MS) if unseen else read_ms), close)

    def _changed(self, from_ms: int, to_ms: int) -> set[bytes]:
        """Return the rows that were changed, by the log, after a moment and before another."""
        found = set()
        for entry in reversed(self.store.log):
            if entry.at_ms <= from_ms:
                break
            if entry.kind is Kind.ROW and entry.at_ms < to_ms:
                found.add(entry.key)
        return found

    def _close(
        self,
        n: int,
        rows: dict[bytes, int],
        twins: dict[bytes, int],
        unseen: frozenset[bytes],
        done: Callable[[frozenset[bytes], int], None],
        at_ms: int,
    ) -> None:
        store = self.store
        changed = {entry.key for entry in store.log[n:] if entry.kind is Kind.ROW and not entry.hidden}
        was_cut = any(entry.kind is Kind.TRUNCATE for entry in store.log[n:])
        for key, value in sorted(rows.items()):
            if key not in changed:
                if self.setting.has(Fault.SLICES_READ_AMID_CHANGES):
                    self.diary.note(Fault.SLICES_READ_AMID_CHANGES, at_ms, store.name, key)
                store.log_read(at_ms, key, value, says_nothing=was_cut or key in unseen)
                if key in twins:
                    store.log_read(at_ms, key, twins[key], twin_of(key), says_nothing=was_cut)
        found = frozenset(rows) | unseen
        self.schedule.put(at_ms + self._dice.randint(10, _DONE_MOST_MS), partial(done, found))

    def _end(self, begun: Slice, n: int, read: frozenset[bytes], at_ms: int) -> None:
        changed = {entry.key for entry in self.store.log[n:] if entry.kind is Kind.ROW and not entry.hidden}
        self.store.end_slice(at_ms, begun, read | changed)
