"""A store: its rows, and its log in the order of commits. What its log tells of each row is what can be known of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Mapping
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
from app.simulation.setting import START_MS, Setting

ENTITY: Final = "orders"
NUMBER: Final = 7
VALUE: Final = "value"
UNTOLD: Final = -1
_LARGE_SHIFT: Final = 2
_ODD_SHARE: Final = 0.01
_NOT_UNDERSTOOD_MS: Final = (2_000, 5_000, 8_000)
_CLOCK_ZERO_MS: Final = 2**31
_CLOCK_STEP_MS: Final = 20_000


class Kind(Enum):
    """What an entry of a log is."""

    ROW = 0
    TRUNCATE = 1
    BEACON = 2
    LEDGER = 3
    READ = 4
    SLICE = 5


class Slice(NamedTuple):
    """Canonical keys from `low` on and before `high` (empty: no end), read again as a whole since `begun`."""

    slice_id: bytes
    low: bytes
    high: bytes
    begun: bytes

    def has(self, key: bytes) -> bool:
        """Whether a row belongs to it."""
        return self.low <= key and (not self.high or key < self.high)


class Entry(NamedTuple):
    """One entry of a store's log.

    `reason` says why a row's image cannot be known from it; `raw_key` is how the store writes the key, if not as usual.
    A read `says_nothing` where what it has read was over by then.
    """

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
    replaced: tuple[int, int] | None = None  # the beacon before it
    ledger: LedgerRow | None = None
    raw_key: bytes = b""
    server: str = ""
    slice: Slice | None = None
    says_nothing: bool = False


def twin_of(key: bytes) -> bytes:
    """Return another raw key that means the same."""
    return b"t" + key[-7:]


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
        self.gaps: Counter[bytes] = Counter()
        self.missed: set[bytes] = set()
        self.twins: dict[bytes, int] = {}
        self.server = "server 1"
        self._beacon = (0, 0)
        self.log_begins = 0
        self._setting = setting
        self._schedule = schedule
        self._diary = diary
        self._dice = setting.dice(f"store {name}")
        self._large_known: set[bytes] = set()
        self._transaction = 0
        self._hidden: set[bytes] = set()
        self._log_file = 2
        self._raw_keys: dict[bytes, set[bytes]] = {}  # of rows that share a key, or have: which the log shows
        self._hides = setting.has(Fault.CONNECTOR_LIES)
        self._odd = [
            (fault, reason, setting.dice(f"{fault.value} {name}"))
            for fault, reason in (
                (Fault.RECORDS_UNREADABLE, UnknownReason.QUARANTINED),
                (Fault.VALUES_UNMAPPABLE, UnknownReason.SCHEMA),
            )
            if setting.has(fault)
        ]
        self._not_understood = self._schema_changes()
        self._lies: Random = setting.dice(f"lies {name}")

    def _schema_changes(self) -> range:
        """Draw from when until when, in ms, nobody has told yet what the store's columns mean."""
        if not self._setting.has(Fault.SCHEMA_UNKNOWN):
            return range(0)
        dice = self._setting.dice(f"{Fault.SCHEMA_UNKNOWN.value} {self.name}")
        begin_ms = dice.randint(START_MS, self._setting.end_ms)
        return range(begin_ms, begin_ms + dice.choice(_NOT_UNDERSTOOD_MS))

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
        if value is None and key in self.twins:
            self.put_twin(at_ms, key, None)
        reason = None
        hidden = False
        if at_ms:
            hidden = self._hides and self._lies.random() < _ODD_SHARE
            for fault, odd_reason, dice in self._odd:
                if value is not None and dice.random() < _ODD_SHARE:
                    reason = odd_reason
                    self._diary.note(fault, at_ms, self.name, key)
            if value is not None and at_ms in self._not_understood:
                reason = UnknownReason.SCHEMA
                self._diary.note(Fault.SCHEMA_UNKNOWN, at_ms, self.name, key)
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
        place = self._place(is_delete=value is None)
        entry = Entry(at_ms, Kind.ROW, place, transaction, key, value, created, reason, left_out, hidden)
        self.log.append(entry)
        if not hidden:
            self.history[key].change(at_ms, self._told(entry))

    def change_key(self, at_ms: int, key: bytes, new_key: bytes) -> int | None:
        """Let a row have another key: it goes and comes in one place of the log. Return what it holds, None if gone."""
        value = self.value(key)
        locked = (ENTITY, key) in self.rows.locks or (ENTITY, new_key) in self.rows.locks
        if value is None or locked or self.value(new_key) is not None:
            return None
        transaction = self.begin(at_ms)
        self.write(at_ms, key, None, transaction)
        offset = len(self.log)
        self.write(at_ms, new_key, value, transaction)
        self.log[-1] = self.log[-1]._replace(place=self._place(offset))
        return value

    def put_twin(self, at_ms: int, key: bytes, value: int | None) -> bool:
        """Write or delete a second row whose key means the same; False where it is so already."""
        if self.twins.get(key) == value:
            return False
        if value is None:
            del self.twins[key]
        else:
            self.twins[key] = value
        self._log_told(Entry(at_ms, Kind.ROW, self._place(), self.begin(at_ms), key, value, raw_key=twin_of(key)))
        return True

    def _log_told(self, entry: Entry) -> None:
        self.log.append(entry)
        self.history[entry.key].change(entry.at_ms, self._told(entry))

    def _told(self, entry: Entry) -> int | None:
        if (entry.raw_key or entry.key in self._raw_keys) and self._is_shared(entry):
            self._large_known.discard(entry.key)
            return UNTOLD
        if entry.reason is not None or entry.value is None:
            self._large_known.discard(entry.key)
            return None if entry.value is None else UNTOLD
        if entry.left_out and entry.key not in self._large_known:
            return UNTOLD
        self._large_known.add(entry.key)
        return entry.value

    def _is_shared(self, entry: Entry) -> bool:
        """Note which rows of one key there are by now; whether others than this one are."""
        raw_key = entry.raw_key or entry.key
        there = self._raw_keys.setdefault(entry.key, {entry.key} if self._shows(entry.key) else set())
        there.discard(raw_key)
        is_shared = bool(there)
        if entry.value is not None:
            there.add(raw_key)
        return is_shared

    def _shows(self, key: bytes) -> bool:
        return self.history[key].states[-1] is not None

    def truncate(self, at_ms: int) -> list[tuple[bytes, int]]:
        """Cut all rows, and return what they held."""
        cut = [(key, value) for _, key in self.rows.rows if (value := self.value(key)) is not None]
        self.rows.rows.clear()
        self.twins.clear()
        self.log.append(Entry(at_ms, Kind.TRUNCATE, self._place(), self.begin(at_ms)))
        self._cut(at_ms)
        return cut

    def log_ledger(self, at_ms: int, row: LedgerRow, transaction: int) -> None:
        """Put a ledger row into the log, in the transaction of what it records."""
        self.log.append(Entry(at_ms, Kind.LEDGER, self._place(), transaction, ledger=row))

    def log_beacon(self, at_ms: int, row: BeaconRow) -> None:
        """Put a committed beacon into the log."""
        place, was = self._place(), self._beacon
        entry = Entry(at_ms, Kind.BEACON, place, self.begin(at_ms), beacon=row, replaced=was, server=self.server)
        self.log.append(entry)
        self._beacon = (row.epoch, row.sequence)

    def step_clock(self, at_ms: int) -> None:
        """Let the store's own clock jump."""
        self.clock_ms += self._dice.choice([-_CLOCK_STEP_MS, _CLOCK_STEP_MS])
        self._diary.note(Fault.STORE_CLOCK_STEPS, at_ms, self.name)

    def restart_log(self, at_ms: int) -> None:
        """Let the log begin anew: it was reset, or another server has taken over."""
        self._log_file = self._dice.choice([1, 3])
        self.server = f"server {self._log_file}"
        self.log_begins = len(self.log)
        self._diary.note(Fault.LOG_RESTARTS, at_ms, self.name)

    def hide(self, at_ms: int, key: bytes, value: int | None) -> None:
        """Change a row past the log."""
        self.rows.put(ENTITY, key, None if value is None else {VALUE: value})
        self._diary.note(Fault.ROWS_HIDDEN, at_ms, self.name, key)

    def begin_slice(self, at_ms: int, slice_id: bytes, low: bytes, high: bytes) -> Slice:
        """Put the word into the log that a slice is read again."""
        begun = Slice(slice_id, low, high, self._place())
        self.log.append(Entry(at_ms, Kind.SLICE, begun.begun))
        return begun

    def log_read(self, at_ms: int, key: bytes, value: int, raw_key: bytes = b"", *, says_nothing: bool = False) -> None:
        """Put a row into the log as it was read again; where the log had told another, it has left something out.

        What was read before a truncate, and comes behind it, says nothing; nor does what was read while a change stood
        in the log and was not to be seen yet.
        """
        entry = Entry(at_ms, Kind.READ, self._place(), key=key, value=value, raw_key=raw_key, says_nothing=says_nothing)
        if says_nothing:
            self.log.append(entry)
            return
        was = self.history[key].states[-1]
        self._log_told(entry)
        is_state = self.history[key].states[-1]
        self.gaps[key] += UNTOLD not in {was, is_state} and was != is_state

    def end_slice(self, at_ms: int, read: Slice, seen: Container[bytes]) -> None:
        """Put the word into the log that a slice is complete: its rows that are there were seen since it began."""
        self.log.append(Entry(at_ms, Kind.SLICE, self._place(), slice=read))
        for key, history in self.history.items():
            if read.has(key) and key not in seen and history.states[-1] is not None:
                history.change(at_ms, None)
                self._large_known.discard(key)
                self._raw_keys.pop(key, None)
                self.gaps[key] += 1
                self.missed.add(key)

    def was_read(self, n: int, at_ms: int, shown: Mapping[bytes, int], shared: Mapping[bytes, set[bytes]]) -> None:
        """Note that a snapshot has read all rows after n entries: what the log had hidden or not told is known then.

        Of rows that share a key it shows each, and so none of them is known.
        """
        for key in sorted({*self.history, *shown}):
            history = self.history[key]
            history.forget_after(at_ms)
            history.change(at_ms, UNTOLD if len(shared.get(key, ())) > 1 else shown.get(key))
        self._large_known = {key for key in shown if len(shared.get(key, ())) < 2}  # noqa: PLR2004 - itself
        self._raw_keys = {key: set(raw_keys) for key, raw_keys in shared.items()}
        for entry in self.log[n:]:
            if entry.kind in {Kind.ROW, Kind.READ} and not entry.hidden and not entry.says_nothing:
                self.history[entry.key].change(entry.at_ms, self._told(entry))
            elif entry.kind is Kind.TRUNCATE:
                self._cut(entry.at_ms)

    def _cut(self, at_ms: int) -> None:
        self._large_known.clear()
        self._raw_keys.clear()
        for history in self.history.values():
            history.change(at_ms, None)

    def place_after(self, n: int) -> bytes:
        """Return the place up to which the first n entries stand, in the log as it is now."""
        return binlog_place(self._log_file, n - self.log_begins, 0, is_delete=False)

    def _place(self, offset: int | None = None, *, is_delete: bool = False) -> bytes:
        n = len(self.log) + 1 if offset is None else offset
        return binlog_place(self._log_file, n - self.log_begins, 0, is_delete=is_delete)
