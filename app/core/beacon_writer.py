"""Decide what a beacon writer does next in each store. Two or more may run; one writes, the others watch.

The argument, step by step:

1. A beacon is a compare-and-set on the row's (epoch, sequence), so a row never loses a beacon to a slower writer.
2. An epoch belongs to one writer: a generation, one above every epoch that was seen, and a number that only this
   process has. Two writers that take over at the same moment differ; the higher one stays, the lower one finds its
   rows taken and goes back to watching.
3. Who takes over starts the clock at the highest `issued_at` that it has seen in any store, and goes on from there by
   what has passed since it saw it: time never goes back, nor faster than it did; and a beacon that the other writer had
   on its way when it fell silent, and that comes only now, stands at no moment that is yet to come. What was read back
   had been committed by then, so the reading counts as the acknowledgement that the dead writer could not send.
4. An answer that never came is settled by reading the row again: a row in our own epoch is a beacon of ours.
5. Who was heard by no store for as long as another would wait must believe that another writes by now: it goes back to
   watching before it writes again, and reads every row first. A process that hung finds out so that it did, before it
   writes into a store that its successor has not come to yet.
6. Stores do not wait for each other. Only a writer that has just started, and so knows nothing of a store that it
   cannot reach, waits a while for it: that store may hold the highest value.

All times are milliseconds of the process's monotonic clock unless they are named issued or acknowledged, which are
the common time. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.beacon_clock import BeaconClock

NONCE_BITS: Final = 16
MISSED_MAX: Final = 4
"""Intervals without a beacon in any store after which a watching writer takes over, and one that writes gives way."""
UNREAD_PATIENCE_MS: Final = 10_000
"""How long a writer that has just started waits for a store that it has never been able to read."""


@dataclass(frozen=True, slots=True)
class BeaconRow:
    """The row of one store as it was read or written."""

    epoch: int
    sequence: int
    issued_at_ms: int
    previous_acknowledged_ms: int


@dataclass(frozen=True, slots=True)
class Beat:
    """One beacon to be written: `row`, if the store's row is still at the expected epoch and sequence."""

    expected_epoch: int
    expected_sequence: int
    row: BeaconRow


class Role(Enum):
    """What a writer does."""

    WATCHING = "watching"
    WRITING = "writing"


@dataclass(slots=True)
class _Held:
    """What is known of one store: its row, if it is still to be read again, and when the row was acknowledged."""

    row: BeaconRow | None = None
    must_read: bool = True
    acknowledged_ms: int = 0
    sequence_max: int = 0
    issued: tuple[int, int] = (0, 0)
    """The sequence of our newest beacon for it, and when it was issued by the process's clock."""


class BeaconWriter:
    """The state of one writer over all its stores. Not thread-safe: the shell holds a lock around each call."""

    def __init__(self, stores: Sequence[str], nonce: int, interval_ms: int, started_ms: int) -> None:
        if not 0 <= nonce < 1 << NONCE_BITS:
            raise ValueError(f"nonce {nonce} does not fit {NONCE_BITS} bits")
        self._stores = {name: _Held() for name in stores}
        self._nonce = nonce
        self._interval_ms = interval_ms
        self._started_ms = started_ms
        self._moved_at_ms = started_ms
        self._heard_at_ms = started_ms
        self._reckoned = BeaconClock(0, started_ms)  # what the writer whose rows were seen would say, or less
        self._epoch_max = 0
        self._clock: BeaconClock | None = None
        self.epoch = 0

    @property
    def role(self) -> Role:
        """Whether this writer writes."""
        return Role.WATCHING if self._clock is None else Role.WRITING

    def unread(self) -> tuple[str, ...]:
        """Return the stores whose row has never been read."""
        return tuple(name for name, held in self._stores.items() if held.row is None)

    def next_beat(self, store: str, now_ms: int) -> Beat | None:
        """Return the beacon to write into a store now; None means that its row must be read first."""
        held = self._stores[store]
        if self._clock is not None and self._silent_too_long(self._heard_at_ms, now_ms):
            self._give_way(now_ms)
        if held.must_read or held.row is None:
            return None
        if self._clock is None:
            if not self._may_take_over(now_ms):
                held.must_read = True
                return None
            self._take_over(now_ms)
        return self._beat(held, held.row, now_ms)

    def _beat(self, held: _Held, row: BeaconRow, now_ms: int) -> Beat:
        if self._clock is None:
            raise RuntimeError("a writer that watches issues no beacon")
        # Strictly above what stands there: two beacons of one store never share a moment.
        self._clock = self._clock.at_least(row.issued_at_ms + 1, now_ms)
        issued_ms = self._clock.at(now_ms)
        self._reckoned = self._reckoned.at_least(issued_ms, now_ms)
        # A restored store may show an older row than it had: its sequence goes on above every one that was seen.
        sequence = max(row.sequence, held.sequence_max) + 1
        held.issued = sequence, now_ms
        return Beat(row.epoch, row.sequence, BeaconRow(self.epoch, sequence, issued_ms, held.acknowledged_ms))

    def _may_take_over(self, now_ms: int) -> bool:
        if not self._silent_too_long(self._moved_at_ms, now_ms):
            return False
        return not self.unread() or now_ms - self._started_ms >= UNREAD_PATIENCE_MS

    def _silent_too_long(self, since_ms: int, now_ms: int) -> bool:
        return now_ms - since_ms > MISSED_MAX * self._interval_ms

    def _give_way(self, now_ms: int) -> None:
        self._clock = None
        self._moved_at_ms = now_ms
        for held in self._stores.values():
            held.must_read = True

    def _take_over(self, now_ms: int) -> None:
        self._heard_at_ms = now_ms
        self.epoch = ((self._epoch_max >> NONCE_BITS) + 1) << NONCE_BITS | self._nonce
        self._epoch_max = self.epoch
        self._clock = BeaconClock(self._reckoned.at(now_ms) + 1, now_ms)
        for held in self._stores.values():
            # Committed before it was read, so before now.
            held.acknowledged_ms = self._clock.at(now_ms)

    def read_back(self, store: str, row: BeaconRow, now_ms: int) -> None:
        """Take in a store's row. A writer that sees a newer epoch than its own stops writing, everywhere."""
        held = self._stores[store]
        if held.row is None or (held.row.epoch, held.row.sequence) != (row.epoch, row.sequence):
            self._moved_at_ms = now_ms
        held.row, held.must_read = row, False
        held.sequence_max = max(held.sequence_max, row.sequence)
        self._epoch_max = max(self._epoch_max, row.epoch)
        self._reckoned = self._reckoned.at_least(row.issued_at_ms, now_ms)
        if self._clock is None:
            return
        if row.epoch > self.epoch:
            self._clock = None
            return
        self._hear(held, row)
        self._clock = self._clock.at_least(row.issued_at_ms, now_ms)
        held.acknowledged_ms = self._clock.at(now_ms)

    def acknowledged(self, store: str, beat: Beat, now_ms: int) -> None:
        """Take in that a store committed a beacon. `now_ms` is when the answer was there."""
        held = self._stores[store]
        held.row, held.must_read = beat.row, False
        held.sequence_max = max(held.sequence_max, beat.row.sequence)
        if self._clock is not None:
            self._hear(held, beat.row)
            held.acknowledged_ms = self._clock.at(now_ms)

    def _hear(self, held: _Held, row: BeaconRow) -> None:
        sequence, issued_at_ms = held.issued
        if (row.epoch, row.sequence) == (self.epoch, sequence):
            # From when it was issued: who watches may have seen it as soon as it was committed.
            self._heard_at_ms = max(self._heard_at_ms, issued_at_ms)

    def unsettled(self, store: str) -> None:
        """Take in that a beacon was refused, or that its answer never came: only the row itself can tell."""
        self._stores[store].must_read = True
