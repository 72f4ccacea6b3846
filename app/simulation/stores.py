"""A store: its rows, and its log in the order of commits. What its log tells of each row is what can be known of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from app.adapters.memory_rows import MemoryRows
from app.core.beacon_writer import BeaconRow
from app.core.digest import row_digest
from app.core.finding import UnknownReason
from app.core.ledger import LedgerRow
from app.core.position import binlog_place
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.oracle import History
from app.simulation.schedule import Schedule
from app.simulation.setting import Setting

ENTITY: Final = "orders"
NUMBER: Final = 7
VALUE: Final = "value"
UNTOLD: Final = -1
_LARGE_SHIFT: Final = 2
_ODD_SHARE: Final = 0.01
_CLOCK_ZERO_MS: Final = 2**31
_CLOCK_STEP_MS: Final = 20_000


class Kind(Enum):
    """What an entry of a log is."""

    ROW = 0
    TRUNCATE = 1
    BEACON = 2
    LEDGER = 3


class Entry(NamedTuple):
    """One entry of a store's log; `reason` says why a row's image cannot be known from it."""

    at_ms: int
    kind: Kind
    place: bytes
    transaction: int = 0
    key: bytes = b""
    value: int | None = None
    created: bool = False
    reason: UnknownReason | None = None
    left_out: bool = False
    hidden: bool = False
    beacon: BeaconRow | None = None
    ledger: LedgerRow | None = None


def groups_of(value: int) -> tuple[bytes, bytes]:
    """Return the digests of a row's two groups: all fields but a large one, and the large one, which changes seldom."""
    return value.to_bytes(16, "big"), (value >> _LARGE_SHIFT).to_bytes(16, "little")


class Store:
    """One store of the world."""

    def __init__(self, name: str, index: int, setting: Setting, schedule: Schedule, diary: Diary) -> None:
        self.name = name
        self.index = index
        self.topic = f"{name}.{ENTITY}"
        self.log: list[Entry] = []
        self.history: defaultdict[bytes, History] = defaultdict(History)
        self.has_large = setting.has(Fault.VALUES_LEFT_OUT)
        self.rows = MemoryRows((VALUE,), digest=self._digest)
        self.clock_ms = 0
        self.lied_of: set[bytes] = set()
        self._setting = setting
        self._schedule = schedule
        self._diary = diary
        self._dice = setting.dice(f"store {name}")
        self._large_known: set[bytes] = set()
        self._transaction = 0
        self._hidden: set[bytes] = set()
        self._hides = setting.has(Fault.CONNECTOR_LIES)
        self._odd = [
            (fault, reason, setting.dice(f"{fault.value} {name}"))
            for fault, reason in (
                (Fault.RECORDS_UNREADABLE, UnknownReason.QUARANTINED),
                (Fault.VALUES_UNMAPPABLE, UnknownReason.SCHEMA),
            )
            if setting.has(fault)
        ]
        self._lies: Random = setting.dice(f"lies {name}")

    def _digest(self, values: Mapping[str, object]) -> bytes:
        value = values[VALUE]
        if not isinstance(value, int):
            raise TypeError("a row of this world holds a number")
        main, large = groups_of(value)
        return row_digest(main + large) if self.has_large else main

    def digest_of(self, value: int | None) -> bytes:
        """Return the row digest of a value; empty for an absent row."""
        return b"" if value is None else self._digest({VALUE: value})

    def value(self, key: bytes) -> int | None:
        """Return what a row holds now, None for an absent one."""
        row = self.rows.rows.get((ENTITY, key))
        held = None if row is None else row[VALUE]
        return held if isinstance(held, int) else None

    def begin(self, stamp_ms: int) -> int:
        """Begin a transaction: its number grows with the moment at which the store's own clock says that it began."""
        self._transaction += 1
        return (stamp_ms + self.clock_ms + _CLOCK_ZERO_MS) << 20 | self._transaction

    def write(self, at_ms: int, key: bytes, value: int | None, transaction: int = 0) -> bool:
        """Write a row, or delete it, as an application does; False where it is so already, or waits for a lock."""
        if (ENTITY, key) in self.rows.locks:
            self._schedule.put(at_ms + 1, lambda later_ms: self._write_later(later_ms, key, value))
            return False
        before = self.value(key)
        if before == value:
            return False
        self.rows.put(ENTITY, key, None if value is None else {VALUE: value})
        self.log_row(at_ms, key, before, value, transaction or self.begin(at_ms))
        return True

    def _write_later(self, at_ms: int, key: bytes, value: int | None) -> None:
        self.write(at_ms, key, value)

    def log_row(self, at_ms: int, key: bytes, before: int | None, value: int | None, transaction: int) -> None:
        """Put a row's change into the log, and note what the log tells of the row from then on."""
        reason = None
        hidden = False
        if at_ms:
            hidden = self._hides and self._lies.random() < _ODD_SHARE
            for fault, odd_reason, dice in self._odd:
                if value is not None and dice.random() < _ODD_SHARE:
                    reason = odd_reason
                    self._diary.note(fault, at_ms, self.name, key)
        left_out = False
        if self.has_large and value is not None and before is not None:
            left_out = value >> _LARGE_SHIFT == before >> _LARGE_SHIFT and key not in self._hidden
            if left_out:
                self._diary.note(Fault.VALUES_LEFT_OUT, at_ms, self.name, key)
        self._hidden.discard(key)  # this image is whole, for the one before it is in no log
        if hidden:
            self._hidden.add(key)
            self.lied_of.add(key)
            self._diary.note(Fault.CONNECTOR_LIES, at_ms, self.name, key)
        created = before is None
        entry = Entry(at_ms, Kind.ROW, self._place(), transaction, key, value, created, reason, left_out, hidden)
        self.log.append(entry)
        if not hidden:
            self.history[key].change(at_ms, self._told(entry))

    def _told(self, entry: Entry) -> int | None:
        if entry.reason is not None or entry.value is None:
            self._large_known.discard(entry.key)
            return None if entry.value is None else UNTOLD
        if entry.left_out and entry.key not in self._large_known:
            return UNTOLD
        self._large_known.add(entry.key)
        return entry.value

    def truncate(self, at_ms: int) -> list[tuple[bytes, int]]:
        """Cut all rows, and return what they held."""
        cut = [(key, value) for _, key in self.rows.rows if (value := self.value(key)) is not None]
        self.rows.rows.clear()
        self.log.append(Entry(at_ms, Kind.TRUNCATE, self._place(), self.begin(at_ms)))
        self._cut(at_ms)
        return cut

    def log_ledger(self, at_ms: int, row: LedgerRow, transaction: int) -> None:
        """Put a ledger row into the log, in the transaction of what it records."""
        self.log.append(Entry(at_ms, Kind.LEDGER, self._place(), transaction, ledger=row))

    def log_beacon(self, at_ms: int, row: BeaconRow) -> None:
        """Put a committed beacon into the log."""
        self.log.append(Entry(at_ms, Kind.BEACON, self._place(), self.begin(at_ms), beacon=row))

    def step_clock(self, at_ms: int) -> None:
        """Let the store's own clock jump."""
        self.clock_ms += self._dice.choice([-_CLOCK_STEP_MS, _CLOCK_STEP_MS])
        self._diary.note(Fault.STORE_CLOCK_STEPS, at_ms, self.name)

    def was_read(self, n: int, at_ms: int, shown: Mapping[bytes, int]) -> None:
        """Note that a snapshot has read all rows after n entries: what the log had hidden or not told is known then."""
        for key in sorted({*self.history, *shown}):
            history = self.history[key]
            history.forget_after(at_ms)
            history.change(at_ms, shown.get(key))
        self._large_known = set(shown)
        for entry in self.log[n:]:
            if entry.kind is Kind.ROW and not entry.hidden:
                self.history[entry.key].change(entry.at_ms, self._told(entry))
            elif entry.kind is Kind.TRUNCATE:
                self._cut(entry.at_ms)

    def _cut(self, at_ms: int) -> None:
        self._large_known.clear()
        for history in self.history.values():
            history.change(at_ms, None)

    def _place(self) -> bytes:
        return binlog_place(1, len(self.log) + 1, 0, is_delete=False)
